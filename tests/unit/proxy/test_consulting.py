"""Breakers on the path: what they see of exchanges, and what exchanges see of them."""

from typing import Any

import pytest

from tests.support.fakes import FakeTransport, Stage

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
BAD = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n"


def rule(breaker: str, more: str = "") -> str:
    return f"  - {{name: b, {more} faults: [breaker: {breaker}]}}"


class Calls:
    """A client that calls again and again over one connection, and an upstream that answers as told."""

    def __init__(self, rules: str, **options: Any) -> None:
        self.stage = Stage(rules, **options)
        self.client = self.stage.client()

    async def send(self, header: str = "") -> FakeTransport | None:
        """Send a request; gives the upstream that got it, None where the proxy has answered."""
        before = self.client.taken()
        assert before == b""
        self.client.gives(f"GET / HTTP/1.1\r\nhost: a\r\n{header}\r\n".encode())
        await self.stage.turn()
        for upstream in self.stage.loop.upstreams:
            if upstream.taken():
                return upstream
        return None

    async def call(self, answer: bytes = OK, header: str = "", takes: float = 0.0) -> bytes:
        """Call once; gives what the client got."""
        upstream = await self.send(header)
        if upstream is not None:
            self.stage.timers.advance(takes)
            upstream.gives(answer)
            await self.stage.turn()
        return self.client.taken()

    def transitions(self) -> list[tuple[str, str, str, str]]:
        found = self.stage.logged("breaker_transition")
        return [(one["key"], one["before"], one["after"], one["reason"]) for one in found]

    def reconnect(self) -> None:
        self.client = self.stage.client()


async def test_it_opens_answers_tries_and_closes() -> None:
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 2, open_for: 5s}"))
    assert (await calls.call(BAD)).startswith(b"HTTP/1.1 500 Oh\r\n")
    assert (await calls.call(BAD)).startswith(b"HTTP/1.1 500 Oh\r\n")
    refused = await calls.call()
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"content-type: text/plain\r\n" in refused
    assert b"x-misrule: rule=b; fault=breaker; ms=0; version=1\r\n" in refused
    assert refused.endswith(b"\r\n\r\ncircuit breaker is open")
    calls.stage.timers.advance(5.001)
    assert (await calls.call()).endswith(b"hi")
    assert (await calls.call()).endswith(b"hi")
    assert calls.transitions() == [
        ("", "closed", "open", "consecutive_failures"),
        ("", "open", "half_open", "open_for"),
        ("", "half_open", "closed", "trials_succeeded"),
    ]
    (state,) = calls.stage.snapshot.rules
    assert state.state.injected == [1]
    assert state.state.active == 0
    assert state.state.fired == 1  # what it let pass is not charged


@pytest.mark.parametrize(
    ("counts", "answer", "failure"),
    [
        ("{}", BAD, True),
        ("{}", BUSY, False),
        ("{status: [429]}", BUSY, True),
        ("{status: [429]}", BAD, False),
        ("{status: 400-499}", BUSY, True),
        ("{status: []}", BAD, False),
    ],
)
async def test_which_statuses_are_failures(counts: str, answer: bytes, failure: bool) -> None:
    calls = Calls(rule(f"{{profile: gobreaker, consecutive_failures: 1, counts_as_failure: {counts}}}"))
    await calls.call(answer)
    assert ((await calls.call()).endswith(b"hi")) is not failure


@pytest.mark.parametrize("counted", [True, False])
async def test_a_connection_that_breaks(counted: bool) -> None:
    counts = f"counts_as_failure: {{reset: {str(counted).lower()}}}"
    calls = Calls(rule(f"{{profile: gobreaker, consecutive_failures: 1, {counts}}}"))
    upstream = await calls.send()
    assert upstream is not None
    upstream.lost(ConnectionResetError())
    assert calls.client.taken().startswith(b"HTTP/1.1 502 ")
    assert (await calls.call()).endswith(b"hi") is not counted


@pytest.mark.parametrize("counted", [True, False])
async def test_an_answer_that_does_not_come(counted: bool) -> None:
    counts = f"counts_as_failure: {{timeout: {str(counted).lower()}}}"
    calls = Calls(rule(f"{{profile: gobreaker, consecutive_failures: 1, {counts}}}"), response_timeout=2.0)
    assert await calls.send() is not None
    calls.stage.sweep(3.0)
    assert calls.client.taken().startswith(b"HTTP/1.1 504 ")
    assert (await calls.call()).endswith(b"hi") is not counted


@pytest.mark.parametrize(("profile", "state"), [("gobreaker", "open"), ("envoy", "closed")])
async def test_a_client_that_goes_away_is_as_the_original_has_it(profile: str, state: str) -> None:
    calls = Calls(rule(f"{{profile: {profile}, consecutive_failures: 1}}"))
    assert await calls.send() is not None
    calls.client.lost()
    await calls.stage.turn()
    calls.reconnect()
    assert (await calls.call()).endswith(b"hi") is (state == "closed")


async def test_what_another_rule_injects_counts() -> None:
    other = "  - {name: a, match: {headers: {x: bad}}, faults: [abort: 503]}"
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 2}", "priority: 1,") + "\n" + other)
    for _ in range(2):
        assert (await calls.call(header="x: bad\r\n")).startswith(b"HTTP/1.1 503 ")
    assert (await calls.call()).endswith(b"circuit breaker is open")


async def test_a_reset_by_another_rule_counts() -> None:
    other = "  - {name: a, match: {headers: {x: bad}}, faults: [reset]}"
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 1}", "priority: 1,") + "\n" + other)
    await calls.send("x: bad\r\n")
    calls.reconnect()
    assert (await calls.call()).endswith(b"circuit breaker is open")


async def test_slow_calls() -> None:
    breaker = "{profile: sentinel, slow_call: {over: 1s, percent: 100}, open_for: 5s, min_calls: 1}"
    calls = Calls(rule(breaker))
    assert (await calls.call(takes=1.0)).endswith(b"hi")
    calls.stage.timers.advance(2.0)
    assert (await calls.call(takes=1.001)).endswith(b"hi")
    refused = await calls.call()
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert refused.endswith(b"Blocked by Sentinel (flow limiting)")
    assert calls.transitions() == [("", "closed", "open", "slow_call")]


async def test_one_state_for_each_value_of_a_header() -> None:
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 1, per: 'header:X-Tenant'}"))
    await calls.call(BAD, "x-tenant: a\r\n")
    assert (await calls.call(OK, "X-Tenant: a\r\n")).endswith(b"circuit breaker is open")
    assert (await calls.call(OK, "x-tenant: b\r\n")).endswith(b"hi")
    assert (await calls.call(BAD)).startswith(b"HTTP/1.1 500")  # without a key there is no breaker
    assert (await calls.call(OK)).endswith(b"hi")
    assert calls.transitions() == [("a", "closed", "open", "consecutive_failures")]


@pytest.mark.parametrize(("per", "key"), [("rule", ""), ("upstream", "app"), ("route", "web/app")])
async def test_the_key(per: str, key: str) -> None:
    calls = Calls(rule(f"{{profile: gobreaker, consecutive_failures: 1, per: {per}}}"))
    await calls.call(BAD)
    assert [found for found, *_ in calls.transitions()] == [key]


async def test_a_change_of_figures_keeps_the_state() -> None:
    calls = Calls(rule("{profile: hystrix, min_calls: 4, open_for: 5s}"))
    for _ in range(3):
        await calls.call(BAD)
    calls.stage.change_rules(rule("{profile: hystrix, min_calls: 4, failure_percent: 90, open_for: 60s}"))
    assert calls.transitions() == []
    await calls.call(BAD)
    assert calls.transitions() == [("", "closed", "open", "failure_percent")]
    calls.stage.timers.advance(6.0)
    assert (await calls.call()).endswith(b"Hystrix circuit short-circuited and is OPEN")
    calls.stage.change_rules(rule("{profile: hystrix, open_for: 5s}"))
    assert (await calls.call()).endswith(b"hi")


async def test_the_state_goes_with_the_rule() -> None:
    breaker = rule("{profile: gobreaker, consecutive_failures: 1}")
    calls = Calls(breaker)
    await calls.call(BAD)
    calls.stage.change_rules("")
    assert (await calls.call()).endswith(b"hi")
    calls.stage.change_rules(breaker)
    assert (await calls.call()).endswith(b"hi")


async def test_a_reset_of_the_rule_starts_it_anew() -> None:
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 1}"))
    await calls.call(BAD)
    calls.stage.snapshot.rules[0].state.reset()
    assert (await calls.call()).endswith(b"hi")


async def test_a_call_under_way_while_the_rule_goes() -> None:
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 1}"))
    upstream = await calls.send()
    assert upstream is not None
    calls.stage.change_rules("")
    upstream.gives(BAD)
    await calls.stage.turn()
    assert calls.client.taken().startswith(b"HTTP/1.1 500 ")


async def test_shadow_counts_and_changes_nothing() -> None:
    calls = Calls(rule("{profile: gobreaker, consecutive_failures: 1}", "mode: shadow,"))
    await calls.call(BAD)
    for _ in range(2):
        assert b"x-misrule" not in await calls.call()
    (state,) = calls.stage.snapshot.rules
    assert (state.state.shadowed, state.state.injected) == ([2], [0])
    assert len(calls.stage.logged("shadow")) == 2
    assert state.state.active == 0


async def test_stopped_it_lets_pass() -> None:
    breaker = rule("{force: open}")
    calls = Calls(breaker)
    assert b"reset reason: overflow" in await calls.call()
    calls.stage.change_rules(breaker, stopped=True)
    assert (await calls.call()).endswith(b"hi")


async def test_forced_half_open_lets_one_through_at_a_time() -> None:
    calls = Calls(rule("{force: half_open, profile: gobreaker}"))
    upstream = await calls.send()
    assert upstream is not None
    other = calls.stage.client()
    other.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert other.taken().endswith(b"too many requests")
    upstream.gives(BAD)
    await calls.stage.turn()
    calls.client.taken()
    assert (await calls.call(BAD)).startswith(b"HTTP/1.1 500")
    assert calls.transitions() == [("", "closed", "half_open", "forced")]


async def test_envoys_overflow() -> None:
    calls = Calls(rule("{profile: envoy, max_requests: 1}"))
    assert await calls.send() is not None
    other = calls.stage.client()
    other.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    head, _, body = other.taken().partition(b"\r\n\r\n")
    assert body == b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
    assert b"x-envoy-overloaded: true" in head.split(b"\r\n")


async def test_windows_are_exact_over_many_requests() -> None:
    """Each of 2,000 calls counts once, also those that come at the very edge of a bucket."""
    calls = Calls(
        rule("{profile: hystrix, window: {time: 1h, buckets: 3600}, min_calls: 2000}"), access="none"
    )
    for number in range(2000):
        assert (await calls.call(BAD if number % 2 else OK)) != b""
        calls.stage.timers.advance(1.0)
    assert calls.transitions() == [("", "closed", "open", "failure_percent")]
    breakers = calls.stage.snapshot.rules[0].state.faults[0].breakers
    assert breakers is not None
    window = breakers.keys[b""].window
    assert (window.calls, window.failures, breakers.refused) == (2000, 1000, 0)


@pytest.mark.parametrize(
    ("how", "other", "state"),
    [
        ("ends", "", "closed"),
        ("resets", "", "open"),
        ("ends", "reset: {at: response_body, after_bytes: 1B}", "open"),
        ("ends", "close: {at: response_body, after_bytes: 1B}", "open"),
        ("ends", "abort: 503", "open"),
        ("ends", "connect: refused", "open"),
        ("ends", "delay: 1ms", "closed"),
    ],
)
async def test_of_plain_tcp_it_counts_how_connections_end(how: str, other: str, state: str) -> None:
    """There is no status: a FIN of the upstream is a good end, an RST is none, nor is that of a fault."""
    guard = rule("{profile: gobreaker, consecutive_failures: 1}", "priority: 1, match: {protocol: [tcp]},")
    more = f"\n  - {{name: o, faults: [{other}], sample: {{first: 1}}}}" if other else ""
    stage = Stage(guard + more, protocol="tcp")
    client = stage.client()
    stage.timers.advance(0.01)
    if not client.ended:
        upstream = await stage.connected()
        upstream.gives(b"hello")
        if how == "resets":
            upstream.lost(ConnectionResetError())
        else:
            upstream.ends()
            client.ends()
        stage.timers.advance(1)
        upstream.lost()
    client.lost()
    again = stage.client()
    assert again.ended is (state == "open")
    assert bool(stage.logged("breaker_transition")) is (state == "open")
