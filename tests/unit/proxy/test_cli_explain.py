"""``misrule explain`` without a proxy: the request is built as curl would, the answer says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.explain import build_request, facts_of
from rules.explain import BEHIND_BODY, TRAILERS_ONLY
from tests.unit.proxy.test_cli import run

RULES = """\
version: 1
rules:
  - name: gold
    match: {host: shop.example, path: /pay, method: POST, headers: {x-tier: gold}, query: {debug: "1"}}
    faults: [delay: 100ms, abort: 503]
  - name: tenth
    sample: {every: 10}
    faults: [delay: 1s]
  - name: after
    match: {response: {status: 500-599, headers: {x-a: b}}}
    faults: [{reset: {at: response_head}}]
  - name: missing
    match: {protocol: grpc, response: {grpc_status: NOT_FOUND}}
    faults: [{delay: {fixed: 1s, at: response_head}}, {reset: {at: response_body}}]
  - {name: off, enabled: false, faults: [abort: 500]}
  - {name: quiet, mode: shadow, match: {protocol: grpc}, faults: [abort: 500]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file of rules."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def outcomes(*words: str) -> dict[str, str]:
    """The outcome of each rule."""
    code, out, _ = run("explain", "--json", *words)
    assert code == 0
    return {entry["rule"]: entry["outcome"] for entry in json.loads(out)}


def test_a_request_is_given_as_to_curl(file: str) -> None:
    words = ["-X", "POST", "-H", "X-Tier: gold", "http://Shop.Example:8080/pay?debug=1", "--rules", file]
    assert outcomes(*words) == {
        "gold": "fires",
        "tenth": "not_sampled",
        "after": "needs_response",
        "missing": "no_match",
        "quiet": "no_match",
        "off": "disabled",
    }


def test_each_part_that_fails_is_named_with_wanted_and_seen(file: str) -> None:
    code, out, _ = run("explain", "-X", "POST", "http://shop.example/pay?debug=1", "--rules", file)
    assert code == 0
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert out.splitlines()[0] == "POST shop.example/pay?debug=1"
    assert lines["gold"] == 'no match headers.x-tier: wanted "gold", saw absent'
    assert lines["tenth"] == "not sampled every 10: this would be number 1, does not fire"
    assert lines["after"] == "depends on the answer"
    assert lines["off"] == "disabled"


def test_what_would_be_done_is_told_in_order(file: str) -> None:
    words = ["-X", "POST", "-H", "x-tier: gold", "-H", "host: shop.example", "/pay?debug=1", "--rules", file]
    _, out, _ = run("explain", *words)
    assert "1. delay at request_head; 2. abort at request_head" in out


def test_rules_that_look_at_the_answer_are_asked_with_one(file: str) -> None:
    assert (
        outcomes("/", "--status", "503", "--response-header", "x-a: b", "--rules", file)["after"] == "fires"
    )
    assert outcomes("/", "--status", "404", "--rules", file)["after"] == "no_match"


def test_a_protocol_can_be_said(file: str) -> None:
    found = outcomes("/", "--protocol", "http2", "--protocol", "grpc", "--rules", file)
    assert found["quiet"] == "shadow"


def test_a_rule_that_looks_at_a_status_says_when_it_acts(file: str) -> None:
    words = ["explain", "/", "--protocol", "grpc", "--rules", file]
    late = f"delay at response_head ({TRAILERS_ONLY})"
    for more, said in (((), "depends on the answer"), (("--grpc-status", "NOT_FOUND"), "fires")):
        _, out, _ = run(*words, *more)
        (line,) = [line for line in out.splitlines() if line.startswith("missing")]
        assert said in line
        assert late in line
        assert f"reset at response_body ({BEHIND_BODY})" in line
    for status, outcome in (("5", "fires"), ("6", "no_match")):
        assert (
            outcomes("/", "--protocol", "grpc", "--grpc-status", status, "--rules", file)["missing"]
            == outcome
        )
    code, _, err = run(*words, "--grpc-status", "NOTFOUND")
    assert code == 2
    assert 'did you mean "NOT_FOUND"' in err


def test_rules_with_mistakes_are_shown_and_not_asked(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\nrules: [{name: A}]\n")
    code, out, err = run(
        "explain", "/", "--rules", str(tmp_path / "r.yaml"), "--rules", str(tmp_path / "none")
    )
    assert (code, out) == (1, "")
    assert "r.yaml:2:16: rules[0].name: expected" in err
    assert f"{tmp_path}/none: the file does not exist" in err


def test_names_that_two_files_share_are_refused(file: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("version: 1\nrules: [{name: gold, faults: [abort: 500]}]\n")
    code, _, err = run("explain", "/", "--rules", str(tmp_path))
    assert code == 1
    assert "has the name of another one" in err


def test_no_rules_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\nrules: []\n")
    assert run("explain", "/", "--rules", str(tmp_path)) == (0, "", "there are no rules\n")


def request(url: str, *lines: str, **more: Any) -> dict[str, Any]:
    """Build a request."""
    given: dict[str, Any] = {
        "method": "GET", "listener": "", "upstream": "", "source": "10.0.0.1", "protocols": (), "sni": "",
        "status": None, "answer_lines": (),
    }  # fmt: skip
    return build_request(url, lines=lines, **(given | more))


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("http://a.example", "a.example", "/"),
        ("https://user@A.example:443/x?q=1#f", "a.example", "/x?q=1"),
        ("a.example:80/x", "a.example", "/x"),
        ("http://[::1]:80/x", "[::1]", "/x"),
        ("/x", "", "/x"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, path: str) -> None:
    made = request(url)
    assert (made["host"], made["path"]) == (host, path)


def test_the_host_header_wins() -> None:
    assert request("http://a/", "Host: B:80")["host"] == "b"


def test_facts_are_as_the_proxy_would_have_them() -> None:
    made = request("http://a/x?y=1", "X-A: 1", "x-a: 2", listener="web", upstream="u", sni="s")
    facts = facts_of(made)
    assert (facts.listener, facts.source, facts.protocols, facts.upstream) == ("web", "10.0.0.1", 1, "u")
    assert (facts.method, facts.host, facts.path, facts.query, facts.sni) == (
        b"GET",
        b"a",
        b"/x",
        b"y=1",
        b"s",
    )
    assert facts.headers == {b"x-a": [b"1", b"2"], b"host": [b"a"]}
    assert facts.response_status == 0


def test_a_fault_of_both_messages_and_what_a_shadow_would_do(tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    both = "{rewrite: {request: {path: /b}, response: {status: 500}}}"
    path.write_text(
        "version: 1\nrules:\n"
        f"  - {{name: a, faults: [{both}, {{throttle: {{rate: 1KiB/s, direction: both}}}}]}}\n"
        "  - {name: b, mode: shadow, faults: [duplicate]}\n"
    )
    code, out, _ = run("explain", "--rules", str(path), "http://a/")
    words = " ".join(out.split())
    assert code == 0
    assert "1. rewrite at request_head (and at response_head); 2. throttle at request_body" in words
    assert words.endswith("would fire (shadow) duplicate at request_head")
