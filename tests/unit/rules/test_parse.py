"""Rule documents: everything of the rule language is read, and every mistake is told with its place."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rules import phases
from rules.actions import Answer
from rules.fault import ON_NEW, ON_NEXT, ON_OPEN
from rules.faults.abort import AbortFault
from rules.match_params import HOST_TEXT, PATH_TEXT
from rules.model import Match, Place, ResponseMatch, Rule, Sample, Text
from rules.parse import parse_rule, parse_rules, parse_text
from rules.text import RulesError, read, read_value
from tests.unit.rules.examples import INVALID, VALID, document


def problems(data: bytes, source: str = "f", api: bool = False) -> list[str]:
    with pytest.raises(RulesError) as caught:
        parse_rules(data, source, api)
    return [str(problem) for problem in caught.value.problems]


def one(rule: str) -> Rule:
    (found,) = parse_rules(document(rule), "f")
    return found


@pytest.mark.parametrize("rule", VALID)
def test_valid(rule: str) -> None:
    assert one(rule).name == "r0"


@pytest.mark.parametrize(("rule", "path", "words", "_schema"), INVALID)
def test_invalid(rule: str, path: str, words: str, _schema: bool) -> None:
    with pytest.raises(RulesError) as caught:
        one(rule)
    (problem,) = caught.value.problems
    assert problem.path == f"rules[0].{path}"
    assert words in problem.message
    assert problem.place.line == 3
    assert problem.place.column >= 5


WHOLE = """\
version: 1
rules:
  - name: slow-gold-checkout
    description: Gold users wait
    enabled: false
    mode: shadow
    priority: 3
    final: true
    proof: false
    match:
      listener: [outbound]
      upstream: [payments]
      protocol: [http1, grpc]
      host: Pay.Example
      path: {template: "/orders/{id}/pay"}
      method: [POST, PUT]
      query: {debug: "1"}
      headers: {X-User-Tier: gold, x-debug-fail: {present: true}, user-agent: {regex: "^curl/"},
                x-canary: {not: "true"}}
      grpc: {service: shop.Cart, method: Add}
      attempt: [1]
      source: [10.0.0.0/8, "::1"]
      sni: {suffix: .Example}
      response: {status: [500-599, 404], headers: {x-a: {prefix: b}}, grpc_status: [UNAVAILABLE]}
    sample: {percent: 12.5, sticky: header:X-User-Id, every: 10, first: 100, max_active: 5, seed: 7}
    faults:
      - delay: {fixed: 100ms, at: response_head, sample: {percent: 20}}
      - reset: {at: response_body, after_bytes: 1KiB, on: new}
"""


def test_every_part_of_a_rule_is_read() -> None:
    (rule,) = parse_rules(WHOLE.encode(), "f.yaml")
    assert (rule.name, rule.description, rule.place) == (
        "slow-gold-checkout",
        "Gold users wait",
        Place("f.yaml", 3, 5),
    )
    assert (rule.enabled, rule.shadow, rule.priority, rule.final, rule.proof) == (False, True, 3, True, False)
    assert rule.match == Match(
        listener=("outbound",),
        upstream=("payments",),
        protocol=("http1", "grpc"),
        host=Text("exact", "pay.example"),
        path=Text("template", "/orders/{id}/pay"),
        method=("POST", "PUT"),
        query=(("debug", Text("exact", "1")),),
        headers=(
            ("x-user-tier", Text("exact", "gold")),
            ("x-debug-fail", Text("present", wanted=True)),
            ("user-agent", Text("regex", "^curl/")),
            ("x-canary", Text("not", negated=Text("exact", "true"))),
        ),
        grpc_service=Text("exact", "shop.Cart"),
        grpc_method=Text("exact", "Add"),
        attempt=(1,),
        source=("10.0.0.0/8", "::1/128"),
        sni=Text("suffix", ".example"),
        response=ResponseMatch(((500, 599), (404, 404)), (("x-a", Text("prefix", "b")),), (14,)),
    )
    assert rule.sample == Sample(125_000, "header:x-user-id", 10, 100, 5, 7)
    delay, reset = rule.faults
    assert (delay.fault.KIND, delay.fault.phase, delay.sample) == (
        "delay",
        phases.RESPONSE_HEAD,
        Sample(200_000),
    )
    assert (reset.fault.KIND, reset.fault.phase, reset.fault.after_bytes, reset.fault.on, reset.sample) == (
        "reset",
        phases.RESPONSE_BODY,
        1024,
        ON_NEW,
        None,
    )
    assert rule.written["sample"]["sticky"] == "header:X-User-Id"


def test_defaults() -> None:
    rule = one("{}")
    assert (rule.enabled, rule.shadow, rule.priority, rule.final, rule.proof) == (True, False, 0, False, True)
    assert (rule.match, rule.sample, rule.description, rule.ttl, rule.files) == (
        Match(),
        Sample(),
        "",
        None,
        (),
    )


TEN = """\
version: 1
rules:
  - name: Slow
    mathc: {}
    match: {path: {regex: "(a"}, method: post}
    faults:
      - delay: 100
  - name: b
    sample: {percent: 150}
    faults:
      - abort: {status: 99, body: {text: a, json: b}}
      - dely: 1s
  - name: b
    match: {path: /x}
    enabled: yes
    faults:
      - delay: {fixed: 1s, at: accept}
"""


def test_ten_mistakes_are_ten_problems() -> None:
    assert problems(TEN.encode(), "rules.yaml") == [
        "rules.yaml:3:11: rules[0].name: expected a name of a-z, 0-9, dot, dash and underscore (at most 63), "
        'got "Slow"',
        'rules.yaml:4:5: rules[0].mathc: unknown key "mathc"; did you mean "match"?',
        "rules.yaml:5:27: rules[0].match.path.regex: RE2 does not take this pattern: missing ): (a",
        'rules.yaml:5:42: rules[0].match.method: methods are case-sensitive: write "POST", not "post"',
        "rules.yaml:7:16: rules[0].faults[0].delay: expected a duration such as 100ms, 1.5s, 10m or 1h, "
        "got 100; a bare number has no unit: use ms, s, m or h",
        "rules.yaml:9:23: rules[1].sample.percent: expected a percentage from 0 to 100, got 150",
        "rules.yaml:11:25: rules[1].faults[0].abort.status: expected an HTTP status from 200 to 599, got 99",
        'rules.yaml:12:9: rules[1].faults[1].dely: unknown fault "dely"; did you mean "delay"?',
        'rules.yaml:13:11: rules[2].name: the name "b" is taken by rules[1]',
        'rules.yaml:15:14: rules[2].enabled: expected true or false, got the string "yes"',
        "rules.yaml:17:9: rules[2].faults[0].delay: delay acts at accept, but match.path is known only from "
        "request_head on",
    ]


def test_the_same_mistakes_in_json_have_the_same_paths() -> None:
    value = read(TEN.encode(), "f").value
    as_yaml = [problem.split(": ", 1)[1] for problem in problems(TEN.encode())]
    as_json = problems(json.dumps(value, indent=1).encode())
    assert sorted(problem.split(": ", 1)[1] for problem in as_json) == sorted(as_yaml)
    assert all(int(problem.split(":")[1]) > 1 for problem in as_json)


def test_one_fault_before_several_parts_is_one_problem_that_names_all() -> None:
    rule = "{match: {path: /x, response: {status: 500}}, faults: [{delay: {fixed: 1s, at: accept}}]}"
    (problem,) = problems(document(rule))
    assert problem.endswith(
        "delay acts at accept, but match.path is known only from request_head on and match.response is known "
        "only from response_head on"
    )


DOCUMENTS: list[tuple[bytes, str]] = [
    (b"", "f:1:1: expected a mapping with version: 1 and rules: a list, got nothing (null)"),
    (b"[]", "f:1:1: expected a mapping with version: 1 and rules: a list, got a list"),
    (b"rules: []", 'f:1:1: "version" is missing: 1, the only version there is'),
    (b"version: 1", 'f:1:1: "rules" is missing: a list of rules'),
    (b"version: 1\nrules:\n", "f:2:7: rules: expected a list of rules, got nothing (null)"),
    (b"version: 2\nrules: []", "f:1:10: version: expected 1, the only version there is, got 2"),
    (b"version: 1\nrules: [1]", "f:2:9: rules[0]: expected a rule: a mapping with name, match, sample"),
    (b"version: 1\nrules: [{}]", 'f:2:9: rules[0]: "name" is missing'),
]


@pytest.mark.parametrize(("data", "words"), DOCUMENTS)
def test_the_document_around_the_rules(data: bytes, words: str) -> None:
    assert problems(data)[0].startswith(words)


def test_no_rules_are_fine() -> None:
    assert parse_rules(b"version: 1\nrules: []", "f") == []


def test_names_are_unique_also_among_rules_with_mistakes() -> None:
    data = document("{name: a, mode: x}", "{name: b}", "{name: a}", "{name: a}")
    assert problems(data)[1:] == [
        'f:5:38: rules[2].name: the name "a" is taken by rules[0]',
        'f:6:38: rules[3].name: the name "a" is taken by rules[0]',
    ]


def test_faults_on_tcp_alone_act_on_what_is_open() -> None:
    def on(rule: str) -> list[int]:
        return [planned.fault.on for planned in one(rule).faults]

    faults = "faults: [reset, {close: {on: next}}, {stall: {for: 1s, on: new}}, {delay: 1s}]"
    assert on(f"{{match: {{protocol: tcp}}, {faults}}}") == [ON_OPEN, ON_NEXT, ON_NEW, ON_NEXT]
    assert on(f"{{match: {{protocol: [tcp, http1]}}, {faults}}}") == [ON_NEXT, ON_NEXT, ON_NEW, ON_NEXT]


def answer_of(rule: Rule) -> Answer:
    fault = rule.faults[0].fault
    assert isinstance(fault, AbortFault)
    return fault.answer


def body_rule(path: str) -> bytes:
    return document(f"{{faults: [{{abort: {{status: 500, body: {{file: '{path}'}}}}}}]}}")


def test_a_file_is_read_beside_the_rule_file(tmp_path: Path) -> None:
    (tmp_path / "bodies").mkdir()
    (tmp_path / "bodies" / "sorry.html").write_bytes(b"<p>sorry")
    (rule,) = parse_rules(body_rule("bodies/sorry.html"), str(tmp_path / "rules.yaml"))
    assert answer_of(rule).body == b"<p>sorry"
    assert answer_of(rule).headers == [(b"content-type", b"text/html; charset=utf-8")]
    assert [path for path, _ in rule.files] == ["bodies/sorry.html"]
    before = rule.files
    (tmp_path / "bodies" / "sorry.html").write_bytes(b"<p>very sorry")
    (rule,) = parse_rules(body_rule("bodies/sorry.html"), str(tmp_path / "rules.yaml"))
    assert rule.files != before
    assert one("{}").files == ()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    source = str(tmp_path / "rules.yaml")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    for name, words in [
        ("none", "No such file or directory"),
        ("pipe", "is no regular file"),
        (".", "is no regular file"),
        ("big", "is larger than 1 MiB"),
    ]:
        (problem,) = problems(body_rule(name), source)
        assert "faults[0].abort.body.file: " in problem
        assert words in problem


def test_no_file_is_read_for_the_admin_endpoint(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (problem,) = problems(body_rule(str(tmp_path / "a")), "admin", api=True)
    assert "a rule made over the admin endpoint cannot name a file" in problem


def test_a_ttl_is_for_the_admin_endpoint() -> None:
    (rule,) = parse_rules(document("{ttl: 1h}"), "admin", api=True)
    assert rule.ttl == 3600.0


def test_one_rule_from_a_plain_value() -> None:
    rule = parse_rule({"name": "a", "ttl": "1m", "faults": [{"abort": 503}]}, "admin")
    assert (rule.name, rule.ttl, rule.place) == ("a", 60.0, Place("admin"))
    with pytest.raises(RulesError) as caught:
        parse_rule({"name": "a", "faults": [{"abort": {"status": 1, "x": 2}}], "proof": 0}, "admin")
    assert str(caught.value).split("\n") == [
        "admin: faults[0].abort.status: expected an HTTP status from 200 to 599, got 1",
        'admin: faults[0].abort.x: unknown key "x"; known keys: at, body, grpc_message, grpc_status, '
        "headers, status, trailers, trailers_only",
        "admin: proof: expected true or false, got 0",
    ]


def test_conditions_are_shared_with_routes() -> None:
    assert parse_text(read_value("A.Example", "f")) == Text("exact", "A.Example")
    assert parse_text(read_value("A.Example", "f"), HOST_TEXT) == Text("exact", "a.example")
    node = read(b"path: x", "f")
    assert parse_text(node.mapping()["path"], PATH_TEXT) is None
    with pytest.raises(RulesError, match='f:1:7: path: a path starts with "/"'):
        node.document.check()


def many(count: int) -> bytes:
    return document(
        *(
            f"{{name: r{n}, match: {{path: {{prefix: /api/v{n}/}}, method: [GET], headers: {{x-tier: gold, "
            f"user-agent: {{regex: '^curl/{n}'}}}}}}, sample: {{percent: 12.5, sticky: 'header:x-user'}}, "
            f"faults: [{{delay: {{uniform: {{min: 10ms, max: 1s}}}}}}, {{abort: 503}}]}}"
            for n in range(count)
        )
    )


def test_a_thousand_rules_are_read_in_well_under_a_second() -> None:
    data = many(1_000)
    start = time.process_time()
    rules = parse_rules(data, "f")
    assert time.process_time() - start < 1.5  # about 0.2 s; room for slow machines
    assert len(rules) == 1_000


def test_a_document_that_is_all_wrong_is_told_in_time() -> None:
    data = b'{"version": 1, "rules": [' + b",".join([b'{"nam":1,"mathc":2}'] * 50_000) + b"]}"
    start = time.process_time()
    assert len(problems(data)) < 1_100
    assert time.process_time() - start < 5


PIECES = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", "\n", "  ", "- ", "*a", "&a ", "!!int ", "null", "1e999", "-1", '"', "'",
     "|\n", "100ms", "{not: ", "<<: ", "? ", "#", "\x00", "\u2028", "é", "response:", "grpc_status:",
     "at: accept", "sticky: path", "10.0.0.0/8"]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from([WHOLE, TEN, document(*VALID).decode()]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        text = text[:start] + draw(PIECES | st.just("")) + text[end:]
    return text.encode()


def only_rules_or_errors(data: bytes) -> None:
    try:
        rules = parse_rules(data, "f")
    except RulesError as error:
        found = error.problems
    else:
        assert all(isinstance(rule, Rule) for rule in rules)
        return
    assert found
    assert all(str(problem) for problem in found)


@given(st.binary(max_size=300))
@example(
    b'{"version":1,"rules":[{"name":"a","faults":[{"abort":{"status":200,"body":{"json":"\\ud83d"}}}]}]}'
)
@example(b"version: 1\nrules: &a [*a]")
def test_any_bytes_are_rules_or_an_error(data: bytes) -> None:
    only_rules_or_errors(data)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_mutated_rules_are_rules_or_an_error(data: bytes) -> None:
    only_rules_or_errors(data)


KEYS = st.sampled_from(
    ["name", "match", "sample", "faults", "delay", "abort", "stall", "path", "host", "not", "regex",
     "present", "headers", "response", "grpc_status", "status", "body", "json", "at", "protocol",
     "percent", "x", "query"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | KEYS
    | st.sampled_from(["1s", "accept", "grpc", "/a/{b}", "\ud800", "10.0.0.0/8"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4)
    ),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "match", "sample", "faults", "ttl"), VALUES))
)
def test_any_plain_value_is_a_rule_or_an_error(value: dict[str, object]) -> None:
    try:
        rule = parse_rule(value, "admin")
    except RulesError as error:
        found = error.problems
    else:
        assert rule.written == value
        return
    assert found
