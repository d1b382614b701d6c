"""What the documentation of each original says, as cases: what is said, where, and what must then happen.

A script is words: ``ok``, ``bad``, ``slow`` (a call that is let through and ends so; ``ok*9`` is nine of
them), ``pass`` (a call is let through and goes on), ``ends:ok`` and ``ends:bad`` (the oldest of these ends),
``refused``, a time to wait (``5s``, ``1us``), and the state that it must be in then.
"""

from dataclasses import dataclass, field
from typing import Final

import pytest

from rules.actions import Consult
from rules.breakers.figures import MILLION, STATES
from rules.breakers.keeper import Breakers, Pass
from tests.faults.cases import FACTS, dice, read

HYSTRIX: Final = "https://github.com/Netflix/Hystrix/wiki/Configuration"
HYSTRIX_WORKS: Final = "https://github.com/Netflix/Hystrix/wiki/How-it-Works#CircuitBreaker"
R4J: Final = "https://resilience4j.readme.io/docs/circuitbreaker"
GOBREAKER: Final = "https://github.com/sony/gobreaker/blob/master/README.md"
POLLY: Final = "https://www.pollydocs.org/strategies/circuit-breaker"
POLLY_API: Final = "https://pollydocs.org/api/Polly.CircuitBreaker.CircuitBreakerStrategyOptions.html"
SENTINEL: Final = "https://github.com/alibaba/Sentinel/wiki/Circuit-Breaking"
SENTINEL_OPEN: Final = "https://docs.rs/crate/sentinel-core/latest/source/src/core/circuitbreaker/mod.rs"
ENVOY: Final = "https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto"
ENVOY_WORKS: Final = "https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier"
ENVOY_LIMITS: Final = (
    "https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto"
)
ISTIO: Final = "https://istio.io/latest/docs/reference/config/networking/destination-rule/"
RATIO: Final = "{profile: sentinel, failure_percent: 50, open_for: 10s}"
SLOW: Final = "{profile: sentinel, slow_call: {over: 1s, percent: 50}, open_for: 10s}"

CASES: Final[list[tuple[str, str, str, str]]] = [
    ("20 requests must be there: 19 failures do not open", HYSTRIX, "hystrix", "bad*19 closed bad open"),
    ("50 % of them must fail", HYSTRIX, "hystrix", "ok*11 bad*9 closed bad*2 open"),
    ("at 50 % it opens", HYSTRIX, "hystrix", "ok*10 bad*9 closed bad open"),
    ("the window is 10 s", HYSTRIX, "hystrix", "bad*19 10s bad closed"),
    ("in 10 buckets: a second leaves at a time", HYSTRIX, "hystrix", "bad*10 1s bad*9 9s bad*10 closed"),
    ("5 s are slept", HYSTRIX, "hystrix", "bad*20 5s refused 1us pass half_open"),
    ("the next single request goes through", HYSTRIX_WORKS, "hystrix", "bad*20 6s pass refused half_open"),
    ("if it fails, open again for the sleep window", HYSTRIX_WORKS, "hystrix",
     "bad*20 6s bad open 5s refused 1us pass"),
    ("if it succeeds, closed, and counted anew", HYSTRIX_WORKS, "hystrix",
     "bad*20 6s ok closed bad*19 closed"),
    ("the last 100 calls, of which 100 must be there", R4J, "resilience4j", "bad*99 closed bad open"),
    ("equal or greater than 50 %", R4J, "resilience4j", "ok*50 bad*49 closed bad open"),
    ("also when a success completes the minimum", R4J, "resilience4j", "bad*50 ok*49 closed ok open"),
    ("calls are counted, not time", R4J, "resilience4j", "bad*50 8h ok*49 closed ok open"),
    ("slower than 60 s is slow, at 100 %", R4J, "resilience4j", "slow*99 closed slow open"),
    ("not all are slow", R4J, "resilience4j", "slow*99 ok closed slow*99 closed slow open"),
    ("60 s until half open", R4J, "resilience4j", "bad*100 60s refused 1us pass half_open"),
    ("10 calls are permitted in half open", R4J, "resilience4j", "bad*100 61s pass*10 refused half_open"),
    ("below the threshold it closes", R4J, "resilience4j", "bad*100 61s bad*4 ok*5 half_open ok closed"),
    ("at the threshold it opens again", R4J, "resilience4j", "bad*100 61s bad*5 ok*4 half_open ok open"),
    ("a time-based window, a bucket for each second", R4J,
     "{profile: resilience4j, window: {time: 10s}, min_calls: 5}", "bad*4 10s bad*4 closed bad open"),
    ("consecutive failures, more than 5", GOBREAKER, "gobreaker", "bad*5 ok bad*5 closed bad open"),
    ("the timeout of the open state is 60 s", GOBREAKER, "gobreaker", "bad*6 60s refused 1us pass half_open"),
    ("one request passes in half open (MaxRequests 0 is 1)", GOBREAKER, "gobreaker",
     "bad*6 61s pass refused half_open"),
    ("a failure in half open opens again", GOBREAKER, "gobreaker", "bad*6 61s bad open"),
    ("MaxRequests successes close", GOBREAKER, "{profile: gobreaker, half_open: {calls: 3}}",
     "bad*6 61s ok*2 half_open ok closed"),
    ("Interval 0 never clears the counts", GOBREAKER, "gobreaker", "bad*5 24h bad open"),
    ("Interval clears them", GOBREAKER, "{profile: gobreaker, window: {time: 10s}}",
     "bad*5 10s 1us bad*5 closed bad open"),
    ("results of requests sent before the clearing are ignored", GOBREAKER, "gobreaker",
     "pass bad*6 61s ok closed bad*5 ends:bad closed bad open"),
    ("ReadyToTrip by ratio", GOBREAKER, "{profile: gobreaker, failure_percent: 60, min_calls: 3}",
     "bad*2 closed ok closed bad open"),
    ("failure ratio 0.1 with a throughput of 100", POLLY, "polly", "bad*9 ok*90 closed bad open"),
    ("below the minimum throughput nothing breaks", POLLY, "polly", "bad*99 closed bad open"),
    ("only a failure breaks", POLLY_API, "polly", "bad*50 ok*60 closed bad open"),
    ("sampled over 30 s", POLLY, "polly", "bad*99 30s bad closed"),
    ("broken for 5 s", POLLY, "polly", "bad*100 4999ms refused 1ms pass half_open"),
    ("the first action after it breaks again", POLLY_API, "polly", "bad*100 5s bad open"),
    ("or the circuit will reset", POLLY_API, "polly", "bad*100 5s ok closed bad*99 closed"),
    ("one probe", POLLY, "polly", "bad*100 5s pass refused refused"),
    ("error ratio above the threshold, 5 requests at least", SENTINEL, RATIO, "bad*4 closed bad open"),
    ("at the threshold it stays closed", SENTINEL, RATIO, "ok*3 bad*3 closed bad open"),
    ("statIntervalMs is 1000", SENTINEL, RATIO, "bad*4 1s bad closed"),
    ("error count above the threshold", SENTINEL, "{profile: sentinel, failures: 5, open_for: 10s}",
     "bad*5 closed bad open"),
    ("slow request ratio", SENTINEL, SLOW, "slow*4 closed slow open"),
    ("after the retry timeout one entry probes", SENTINEL_OPEN, RATIO, "bad*5 10s pass refused half_open"),
    ("it is about slowness: an error probes well", SENTINEL, SLOW, "slow*5 10s bad closed"),
    ("five 5xx in a row eject", ENVOY, "envoy", "bad*4 ok bad*4 closed bad open"),
    ("for 30 s, looked at every 10 s", ENVOY, "envoy", "bad*5 29s refused 1s pass closed"),
    ("looked at every 10 s", ENVOY, "envoy", "ok 5s bad*5 34s refused 1s pass closed"),
    ("base time multiplied by the ejections", ENVOY_WORKS, "envoy",
     "bad*5 30s bad*5 open 59s refused 1s pass"),
    ("the multiplier falls while the host is well", ENVOY_WORKS, "envoy",
     "bad*5 30s ok 10s bad*5 open 29s refused 1s pass"),
    ("max_ejection_time bounds it", ENVOY, "{profile: envoy, max_open_for: 30s}",
     "bad*5 30s bad*5 29s refused 1s pass"),
    ("1024 requests", ENVOY_LIMITS, "envoy", "pass*1024 refused closed ends:ok pass refused"),
    ("1024 connections, 1024 pending", ENVOY_LIMITS, "{profile: envoy, max_requests: 9999}",
     "pass*2048 refused"),
    ("consecutive5xxErrors 5", ISTIO, "istio", "bad*4 closed bad open"),
    ("baseEjectionTime 30s, interval 10s", ISTIO, "istio", "bad*5 29s refused 1s pass"),
    ("http2MaxRequests 1024, whatever maxConnections", ISTIO, "istio", "pass*1024 refused"),
]  # fmt: skip

UNITS: Final = {"us": 1, "ms": 1_000, "s": MILLION, "h": 3_600 * MILLION}


@dataclass
class Script:
    """A breaker that is taken through a script; time begins at an edge of every window."""

    breakers: Breakers
    now: int = 3_600 * MILLION
    under_way: list[Pass] = field(default_factory=list)

    def let_through(self) -> Pass:
        passed = self.breakers.admit(b"", self.now)
        assert passed is not None
        return passed

    def do(self, word: str) -> None:
        if word in STATES:
            assert STATES[self.breakers.keys[b""].state] == word
        elif word in ("ok", "bad", "slow"):
            self.let_through().judge(self.now, word == "bad", word == "slow")
        elif word == "pass":
            self.under_way.append(self.let_through())
        elif word.startswith("ends:"):
            self.under_way.pop(0).judge(self.now, word == "ends:bad", False)
        elif word == "refused":
            assert self.breakers.admit(b"", self.now) is None
        else:
            number = word.rstrip("ushm")
            self.now += int(number) * UNITS[word.removeprefix(number)]


@pytest.mark.parametrize(("said", "where", "fields", "script"), CASES, ids=[f"{c[2]}: {c[0]}" for c in CASES])
def test_what_is_documented(said: str, where: str, fields: str, script: str) -> None:
    action = read(f"{{breaker: {fields}}}").decide(FACTS, dice())
    assert isinstance(action, Consult)
    run = Script(Breakers("a", action.figures))
    run.breakers.admit(b"other", run.now)
    for at, words in enumerate(script.split()):
        word, _, times = words.partition("*")
        for number in range(int(times or 1)):
            try:
                run.do(word)
            except AssertionError as error:
                raise AssertionError(f"{where}: {said}: word {at}, {word} number {number + 1}") from error
