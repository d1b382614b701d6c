"""``misrule presets``, and presets wherever a rule file may be named."""

import json
from pathlib import Path

import pytest

from proxy.cli.run import RulePath
from proxy.config import parse
from proxy.rulefiles import directories, look, read_files
from rules.parse import parse_rules
from rules.presets import FOLDER, names, preset
from tests.house import ROOT
from tests.support.proxy import Proxy
from tests.support.wait import eventually
from tests.unit.proxy.test_cli import run


def test_the_list() -> None:
    code, out, _ = run("presets")
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split() == ["preset", "rehearses", "protocols"]
    assert [line.split()[0] for line in lines] == names()
    (canary,) = [line for line in lines if line.startswith("canary-header ")]
    assert canary.split("  ")[-1].strip() == "http1, http2"
    assert "Requests with the header x-canary fail, all others are well" in canary


def test_the_page_shows_the_list_and_tells_of_each() -> None:
    page = (ROOT / "docs" / "presets.md").read_text()
    _, out, _ = run("presets")
    assert f"$ misrule presets\n{out}```" in page
    told = page.rpartition("| preset | client |")[2]
    assert [name for name in names() if not name.startswith("http2-") and f"| `{name}` |" not in told] == []


def test_the_list_for_machines() -> None:
    code, out, _ = run("presets", "--json")
    assert code == 0
    by_name = {one["name"]: one for one in json.loads(out)}
    assert list(by_name) == names()
    assert by_name["handshake-timeout"] == {
        "name": "handshake-timeout",
        "rehearses": "A TLS handshake hangs: the ClientHello is never answered",
        "protocols": ["tls"],
        "path": str(FOLDER / "handshake-timeout.yaml"),
    }


def test_show() -> None:
    text = (FOLDER / "gateway-errors.yaml").read_text()
    assert run("presets", "show", "gateway-errors") == (0, text, "")
    assert run("presets", "show", "preset:gateway-errors") == (0, text, "")
    code, out, _ = run("presets", "show", "gateway-errors", "--json")
    assert code == 0
    shown = parse_rules(out.encode(), "shown")
    assert [rule.name for rule in shown] == [f"gateway-errors-{status}" for status in (502, 503, 504)]


def test_show_what_is_not_there() -> None:
    code, out, err = run("presets", "show", "gatewayerrors")
    assert (code, out) == (1, "")
    assert 'there is no preset "gatewayerrors"; did you mean "gateway-errors"?' in err


def test_check_and_explain() -> None:
    code, out, _ = run("check", "preset:retry-storm")
    assert (code, out) == (0, f"{FOLDER / 'retry-storm.yaml'}: ok, 2 rules\n")
    code, out, _ = run("check", "preset:retry-strom")
    assert code == 1
    assert 'preset:retry-strom: there is no preset "retry-strom"; did you mean "retry-storm"?' in out
    code, out, _ = run("explain", "/", "-H", "x-canary: 1", "--rules", "preset:canary-header")
    assert code == 0
    assert out.splitlines()[-1].split()[:2] == ["canary-header", "fires"]


def test_beside_other_rule_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("version: 1\nrules: []\n")
    found = look([str(tmp_path), "preset:slow-network"])
    assert found.paths == [str(tmp_path / "mine.yaml"), preset("slow-network").path]
    assert read_files(found).problems == ()
    assert str(FOLDER) in directories(["preset:slow-network"])


def test_in_a_configuration(tmp_path: Path) -> None:
    text = """\
version: 1
listeners: [{name: web, address: "127.0.0.1:0", routes: [{upstream: default}]}]
upstreams: {default: {address: "127.0.0.1:9"}}
rules: [preset:slow-network, mine.yaml]
"""
    assert parse(text.encode(), "misrule.yaml").rules[0] == "preset:slow-network"
    (tmp_path / "misrule.yaml").write_text(text)
    (tmp_path / "mine.yaml").write_text("version: 1\nrules: []\n")
    code, out, _ = run("check", str(tmp_path / "misrule.yaml"))
    assert code == 0
    assert "slow-network.yaml: ok, 2 rules" in out


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("preset:a", ["preset:a"]),
        ("/etc/rules:preset:a:b.yaml:preset:c", ["/etc/rules", "preset:a", "b.yaml", "preset:c"]),
        ("a:b", ["a", "b"]),
    ],
)
def test_the_environment_separates_paths_by_colons(text: str, paths: list[str]) -> None:
    assert RulePath().split_envvar_value(text) == paths


def test_a_proxy_runs_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line, and then another one by `misrule rules apply`."""
    proxy = Proxy(tmp_path, "127.0.0.1:9", [Path("preset:circuit-open")])
    try:
        monkeypatch.setenv("MISRULE_ADMIN", proxy.admin_address)
        assert [view["name"] for view in proxy.admin("GET", "/v1/rules")["rules"]] == ["circuit-open"]
        code, out, _ = run("rules", "diff", "preset:circuit-open")
        assert (code, out.splitlines()[0][:14]) == (0, "no difference ")
        code, out, _ = run("rules", "apply", "preset:canary-header")
        assert (code, out.splitlines()[0]) == (0, "+ canary-header")
        eventually(lambda: len(proxy.admin("GET", "/v1/rules")["rules"]) == 2)
        code, _, err = run("rules", "apply", "preset:canary")
        assert code == 1
        assert 'there is no preset "canary"; did you mean "canary-header"?' in err
    finally:
        proxy.stop()


def test_a_preset_that_is_not_there_stops_the_start() -> None:
    code, _, err = run(
        "run", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--rules", "preset:no-such"
    )
    assert code == 1
    assert 'there is no preset "no-such"; `misrule presets` lists them' in err
