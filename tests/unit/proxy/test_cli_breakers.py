"""``misrule breakers`` against a running proxy, and what its metrics and events say."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy
from tests.unit.proxy.test_cli import run

RULES = """\
version: 1
rules:
  - name: asked
    match: {path: {prefix: /}}
    faults: [breaker: {profile: gobreaker, consecutive_failures: 1}]
  - {name: not-asked, match: {path: /never}, faults: [breaker: polly]}
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with breakers, before an upstream that is not there."""
    folder = tmp_path_factory.mktemp("breakers")
    (folder / "rules.yaml").write_text(RULES)
    running = Proxy(folder, "127.0.0.1:9", [folder / "rules.yaml"])
    yield running
    running.stop()


def get(proxy: Proxy) -> tuple[int, bytes]:
    """Send a request through the proxy; it never succeeds."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(proxy.url, timeout=20)
    with caught.value as answer:
        return answer.code, answer.read()


@pytest.fixture
def proxy(started: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The proxy with a breaker that has opened; commands find it through the environment."""
    started.admin("POST", "/v1/rules/asked/reset")
    monkeypatch.setenv("MISRULE_ADMIN", started.admin_address)
    assert get(started)[0] == 502
    assert get(started)[1] == b"circuit breaker is open"
    return started


def test_it_shows_every_breaker(proxy: Proxy) -> None:
    code, out, _ = run("breakers")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["rule", "profile", "key", "state", "calls", "failures", "slow", "refused"],
        ["asked", "gobreaker", "open", "0", "0", "0", "1"],
        ["not-asked", "polly", "not", "asked", "yet"],
    ]


def test_it_shows_one_and_says_where_there_is_none(proxy: Proxy) -> None:
    code, out, _ = run("breakers", "asked", "--json")
    (one,) = json.loads(out)["breakers"]
    assert (code, one["rule"], one["keys"][0]["state"]) == (0, "asked", "open")
    code, _, err = run("breakers", "nobody")
    assert (code, err) == (1, 'misrule: the rule "nobody" has no breaker, or there is no such rule\n')


def test_it_holds_a_state_and_lets_go(proxy: Proxy) -> None:
    assert run("breakers", "asked", "--force", "closed")[:2] == (0, "asked: forced closed\n")
    assert proxy.metric("misrule_breakers", rule="asked", state="closed") == 1
    assert get(proxy)[0] == 502
    assert "gobreaker (forced)" in run("breakers")[1]
    assert run("breakers", "asked", "--force", "none")[:2] == (0, "asked: works by itself\n")
    assert get(proxy)[1] == b"circuit breaker is open"
    code, _, err = run("breakers", "--force", "open")
    assert code == 2
    assert "needs the name of a rule" in err


def test_metrics_and_the_log_tell_of_it(proxy: Proxy) -> None:
    assert proxy.metric("misrule_breakers", rule="asked", state="open") == 1
    assert proxy.metric("misrule_breaker_transitions_total", rule="asked", state="open") == 1
    assert proxy.metric("misrule_breaker_calls_total", rule="asked", verdict="admitted") == 1
    assert proxy.metric("misrule_breaker_calls_total", rule="asked", verdict="refused") == 1
    record = proxy.wait_record(event="breaker_transition", after="open", reason="consecutive_failures")
    assert (record["rule"], record["key"], record["before"]) == ("asked", "", "closed")
