"""breaker: its fields, the defaults of the profiles, what callers see, and whom it asks."""

import json

import pytest

from rules import phases
from rules.actions import Answer, Consult, Nothing
from rules.breaker_params import show_figures
from rules.breakers.breaker import IS_OPEN, NO_TRIAL_LEFT, OVERFLOW, SHED
from rules.breakers.figures import MILLION, OFF, PROFILES, STATES, Figures
from rules.facts import Facts
from tests.faults.cases import FACTS, dice, problem, read

SECOND = MILLION


def consult(entry: str, facts: Facts = FACTS) -> Consult:
    action = read(entry).decide(facts, dice())
    assert isinstance(action, Consult)
    return action


def figures(fields: str) -> Figures:
    return consult(f"{{breaker: {fields}}}").figures


def test_where_it_acts() -> None:
    fault = read("{breaker: hystrix}")
    assert fault.phase == phases.REQUEST_HEAD
    assert fault.figures is not None
    assert not fault.ends_exchange
    assert fault.header == b""


def test_every_figure() -> None:
    made = figures(
        "{profile: polly, window: {time: 20s, buckets: 4}, min_calls: 7, failure_percent: 12.5, failures: 3, "
        "slow_call: {over: 2s, percent: 40}, consecutive_failures: 9, open_for: 1500ms, "
        "half_open: {calls: 3, success_percent: 66.6}, "
        "counts_as_failure: {status: [429, 500-502], grpc_status: [ABORTED], reset: false, timeout: false}}"
    )
    assert (PROFILES[made.profile], made.force) == ("polly", -1)
    assert (made.window_time, made.window_buckets, made.window_calls) == (20 * SECOND, 4, 0)
    assert (made.min_calls, made.failure_percent, made.failures) == (7, 125_000, 3)
    assert (made.slow_over, made.slow_percent, made.consecutive_failures) == (2 * SECOND, 400_000, 9)
    assert (made.open_for, made.half_open_calls, made.half_open_success) == (1_500_000, 3, 666_000)
    assert made.failing_status == ((429, 429), (500, 502))
    assert made.failing_grpc == {10}
    assert not made.reset_fails
    assert not made.timeout_fails


def test_every_figure_of_a_mesh() -> None:
    made = figures(
        "{profile: istio, consecutive_failures: 2, open_for: 4s, interval: 3s, max_open_for: 9s, "
        "max_connections: 5, max_pending_requests: 6, max_requests: 100}"
    )
    assert (made.consecutive_failures, made.open_for) == (2, 4 * SECOND)
    assert (made.interval, made.max_open_for, made.max_active) == (3 * SECOND, 9 * SECOND, 11)
    assert figures("{profile: envoy, max_requests: 0}").max_active == 0


def test_every_figure_of_a_cluster() -> None:
    made = figures(
        "{profile: envoy, success_rate: {minimum_hosts: 3, request_volume: 50, stdev_factor: 1100}, "
        "max_ejection_percent: 12.5}"
    )
    assert (made.minimum_hosts, made.request_volume, made.stdev_factor) == (3, 50, 1100)
    assert made.max_ejection == 125_000
    made = figures("envoy")
    assert (made.minimum_hosts, made.request_volume, made.stdev_factor) == (5, 100, 1900)
    assert made.max_ejection == MILLION
    assert figures("istio").minimum_hosts == OFF


def test_every_figure_of_admission_control() -> None:
    made = figures(
        "{profile: admission_control, window: {time: 10s}, aggression: 2.5, sr_threshold: 90, "
        "rps_threshold: 5, max_rejection_probability: 60}"
    )
    assert (made.window_time, made.window_buckets, made.window_calls) == (10 * SECOND, 10, 0)
    assert (made.aggression, made.sr_threshold) == (2.5, 900_000)
    assert (made.rps_threshold, made.max_rejection) == (5, 600_000)
    made = figures("admission_control")
    assert (made.window_time, made.window_buckets) == (30 * SECOND, 30)
    assert (made.aggression, made.sr_threshold) == (1.0, 950_000)
    assert (made.rps_threshold, made.max_rejection) == (0, 800_000)
    assert [code for code in range(17) if made.fails(200, code, 0)] == [4, 8, 10, 13, 14, 15]
    shown = show_figures(made)
    assert show_figures(figures(json.dumps(shown))) == shown


def test_admission_control_draws() -> None:
    """The same exchange gets the same draw; other profiles need none."""
    fault = read("{breaker: admission_control}")
    draws = []
    for number in (1, 1, 2):
        action = fault.decide(FACTS, dice(number))
        assert isinstance(action, Consult)
        draws.append(action.draw)
    assert draws[0] == draws[1] != draws[2]
    assert 0 < draws[0] < 1
    assert consult("{breaker: hystrix}").draw == 1.0


def test_what_is_a_failure_unless_said_otherwise() -> None:
    made = figures("hystrix")
    assert [made.fails(status, -1, 0) for status in (499, 500, 599)] == [False, True, True]
    assert [code for code in range(17) if made.fails(200, code, 0)] == [2, 4, 12, 13, 14, 15]
    assert made.fails(0, -1, 1)
    assert made.fails(0, -1, 2)


def test_windows() -> None:
    assert figures("{profile: hystrix, window: {calls: 5}}").window_calls == 5
    seconds = figures("{profile: resilience4j, window: {time: 15s}}")
    assert (seconds.window_calls, seconds.window_time, seconds.window_buckets) == (0, 15 * SECOND, 15)
    assert figures("{profile: resilience4j, window: {time: 100ms}}").window_buckets == 1
    assert figures("{profile: polly, window: {time: 15s}}").window_buckets == 10


def test_another_criterion_takes_the_place_of_gobreakers() -> None:
    assert figures("{profile: gobreaker, failure_percent: 60}").consecutive_failures == 0
    assert figures("{profile: gobreaker, consecutive_failures: 3}").consecutive_failures == 3
    assert figures("{profile: gobreaker, open_for: 3s}").consecutive_failures == 6


@pytest.mark.parametrize("state", STATES)
def test_forced(state: str) -> None:
    made = figures(f"{{force: {state}}}")
    assert STATES[made.force] == state
    assert PROFILES[made.profile] == "envoy"
    assert figures("{force: open, profile: sentinel}").failure_percent == OFF


def said(entry: str, verdict: int) -> tuple[int, dict[bytes, bytes], bytes]:
    answer = consult(entry).answers[verdict]
    return answer.status, dict(answer.headers), answer.body


PLAIN = {b"content-type": b"text/plain"}
OVERFLOWS = b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
SAID = [
    ("envoy", IS_OPEN, 503, PLAIN, b"no healthy upstream"),
    ("envoy", OVERFLOW, 503, {b"x-envoy-overloaded": b"true", **PLAIN}, OVERFLOWS),
    ("{force: open}", IS_OPEN, 503, {b"x-envoy-overloaded": b"true", **PLAIN}, OVERFLOWS),
    ("istio", IS_OPEN, 503, PLAIN, b"no healthy upstream"),
    ("hystrix", IS_OPEN, 503, PLAIN, b"Hystrix circuit short-circuited and is OPEN"),
    ("hystrix", NO_TRIAL_LEFT, 503, PLAIN, b"Hystrix circuit short-circuited and is OPEN"),
    ("resilience4j", IS_OPEN, 503, PLAIN,
     b"CircuitBreaker 'default' is OPEN and does not permit further calls"),
    ("{profile: resilience4j, name: pay}", NO_TRIAL_LEFT, 503, PLAIN,
     b"CircuitBreaker 'pay' is HALF_OPEN and does not permit further calls"),
    ("gobreaker", IS_OPEN, 503, PLAIN, b"circuit breaker is open"),
    ("gobreaker", NO_TRIAL_LEFT, 503, PLAIN, b"too many requests"),
    ("polly", IS_OPEN, 503, PLAIN, b"The circuit is now open and is not allowing calls."),
    ("{profile: sentinel, failure_percent: 50, open_for: 1s}", IS_OPEN, 429, PLAIN,
     b"Blocked by Sentinel (flow limiting)"),
    ("admission_control", SHED, 503, {}, b""),
    ("{profile: admission_control, force: open}", IS_OPEN, 503, {}, b""),
    ("{profile: polly, response: 418}", IS_OPEN, 418, {}, b""),
    ("{profile: envoy, response: {body: {text: no}}}", OVERFLOW, 503,
     {b"content-type": b"text/plain; charset=utf-8"}, b"no"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "verdict", "status", "headers", "body"), SAID)
def test_what_callers_see(
    fields: str, verdict: int, status: int, headers: dict[bytes, bytes], body: bytes
) -> None:
    assert said(f"{{breaker: {fields}}}", verdict) == (status, headers, body)


def test_what_grpc_callers_see() -> None:
    answer = consult(
        "{breaker: {profile: envoy, response: {status: 500, grpc_status: ABORTED, grpc_message: no}}}"
    ).answers[IS_OPEN]
    assert (answer.status, answer.grpc_status, answer.grpc_message) == (500, 10, b"no")
    assert isinstance(answer, Answer)


def facts() -> Facts:
    made = Facts("web", "127.0.0.1")
    made.upstream = "pay"
    made.headers = {b"x-tenant": [b"a", b"b"]}
    return made


@pytest.mark.parametrize(
    ("per", "key"),
    [("rule", b""), ("upstream", b"pay"), ("route", b"web/pay"), ("'header:X-Tenant'", b"a")],
)
def test_the_key(per: str, key: bytes) -> None:
    assert consult(f"{{breaker: {{profile: envoy, per: {per}}}}}", facts()).key == key


def test_a_long_key_is_not_kept_whole() -> None:
    keys = []
    for end in (b"a", b"b", b"b"):
        asked = facts()
        asked.headers = {b"x-tenant": [b"x" * 60_000 + end]}
        keys.append(consult("{breaker: {profile: envoy, per: 'header:x-tenant'}}", asked).key)
    assert keys[0] != keys[1] == keys[2]
    assert len(keys[0]) == 128 + 1 + 32
    whole = facts()
    whole.headers = {b"x-tenant": [b"x" * 128]}
    assert consult("{breaker: {profile: envoy, per: 'header:x-tenant'}}", whole).key == b"x" * 128


def test_without_the_header_there_is_no_breaker() -> None:
    fault = read("{breaker: {profile: envoy, per: 'header:x-other'}}")
    assert fault.header == b"x-other"
    assert isinstance(fault.decide(facts(), dice()), Nothing)
    empty = facts()
    empty.headers = {b"x-other": [b""]}
    assert isinstance(fault.decide(empty, dice()), Nothing)


INVALID = [
    ("{}", "", "expected a profile (envoy, istio, hystrix"),
    ("histrix", "", 'did you mean "hystrix"?'),
    ("{profile: envoy, force: broken}", "force", "expected closed, half_open or open"),
    ("{profile: envoy, window: {calls: 5}}", "window", "the profile envoy has no window"),
    ("{profile: hystrix, interval: 5s}", "interval", "the profile hystrix has no interval"),
    ("{profile: envoy, aggression: 2}", "aggression", "the profile envoy has no aggression"),
    ("{profile: istio, success_rate: {}}", "success_rate", "the profile istio has no success_rate"),
    ("{profile: hystrix, success_rate: {}}", "success_rate", "the profile hystrix has no success_rate"),
    ("{profile: envoy, success_rate: {minimum_hosts: 0}}", "success_rate.minimum_hosts", "from 1 to 1000"),
    ("{profile: admission_control, open_for: 1s}", "open_for", "admission_control has no open_for"),
    ("{profile: admission_control, min_calls: 1}", "min_calls", "admission_control has no min_calls"),
    ("{profile: admission_control, aggression: 0.5}", "aggression", "a number from 1 to 1000"),
    ("{profile: admission_control, sr_threshold: 0}", "sr_threshold", "expected a percentage above 0"),
    ("{profile: admission_control, window: {calls: 9}}", "window.calls", "in a window of time: use time"),
    ("{profile: hystrix, window: {}}", "window", "expected either time"),
    ("{profile: hystrix, window: {calls: 5, time: 5s}}", "window", "expected either time"),
    ("{profile: hystrix, window: {calls: 5, buckets: 5}}", "window.buckets", "has no buckets"),
    ("{profile: gobreaker, window: {calls: 5}}", "window.calls", "counts in cycles of time"),
    ("{profile: hystrix, window: {time: 2h}}", "window.time", "from 1ms to 1h"),
    ("{profile: hystrix, failure_percent: 101}", "failure_percent", "from 0 to 100"),
    ("{profile: hystrix, slow_call: {percent: 5}}", "slow_call.over", "over is missing"),
    ("{profile: sentinel, failure_percent: 5}", "open_for", "sentinel has no default for it"),
    ("{profile: sentinel, open_for: 5s}", "", "sentinel has no default criterion"),
    ("{profile: hystrix, counts_as_failure: {status: 600}}", "counts_as_failure.status", "a status such"),
    ("{profile: hystrix, response: {body: {text: a}, status: 204}}", "response.body", "has no body"),
    ("{profile: hystrix, per: host}", "per", "expected rule, upstream, route, source or header:NAME"),
    ("{profile: hystrix, per: 'header:a b'}", "per", "header:NAME"),
    ("{profile: hystrix, opens_for: 5s}", "opens_for", 'did you mean "open_for"?'),
    ("{profile: hystrix, half_open: {calls: 0}}", "half_open.calls", "from 1 to 10000"),
]


@pytest.mark.parametrize(("fields", "path", "message"), INVALID)
def test_what_is_wrong(fields: str, path: str, message: str) -> None:
    found = problem(f"{{breaker: {fields}}}")
    where = "breaker" + (f".{path}" if path else "")
    assert found.startswith(f"{where}: "), found
    assert message in found


def test_it_cannot_look_at_the_answer() -> None:
    assert "breaker acts at request_head" in problem("{breaker: envoy}", "{response: {status: 500}}")
