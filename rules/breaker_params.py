"""The fields of a breaker, the defaults of each profile, and what callers of it get to see."""

from typing import Any, Final

from rules.actions import Answer
from rules.answers import ANSWER_FIELDS, build_answer
from rules.breakers import figures as of
from rules.breakers.breaker import IS_OPEN, NO_TRIAL_LEFT, OVERFLOW, VERDICTS
from rules.breakers.figures import FORCED_NOT, MILLION, OFF, OPEN, PROFILES, STATES, Figures
from rules.http_params import TOKEN, GrpcStatus, StatusRange
from rules.params import (
    ALONE,
    BadValue,
    Bool,
    Choice,
    Context,
    Duration,
    Integer,
    Param,
    Percent,
    Schema,
    Text,
)
from rules.records import Field, ListOf, Record, Values, at

MOST_CALLS: Final = 100_000  # in a window
MOST_BUCKETS: Final = 3_600
MOST_REQUESTS: Final = 0xFFFFFFFF

# gRPC's codes that its own table maps to 5xx: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
# UNAVAILABLE, DATA_LOSS.
FAILING_GRPC: Final = frozenset({2, 4, 12, 13, 14, 15})

# Figures as the originals have them, in the words of a rule; the table of cases in
# tests/unit/rules/breakers/test_documented.py names where they stand.
_MESH: Final = {
    "consecutive_failures": 5, "open_for": "30s", "interval": "10s", "max_open_for": "300s",
    "max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024,
}  # fmt: skip
DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "envoy": _MESH,
    "istio": {**_MESH, "max_connections": MOST_REQUESTS},
    "hystrix": {
        "window": {"time": "10s", "buckets": 10}, "min_calls": 20, "failure_percent": 50, "open_for": "5s",
        "half_open": {"calls": 1},
    },
    "resilience4j": {
        "window": {"calls": 100}, "min_calls": 100, "failure_percent": 50,
        "slow_call": {"over": "60s", "percent": 100}, "open_for": "60s", "half_open": {"calls": 10},
    },
    "gobreaker": {"consecutive_failures": 6, "open_for": "60s", "half_open": {"calls": 1}},
    "polly": {
        "window": {"time": "30s", "buckets": 10}, "min_calls": 100, "failure_percent": 10, "open_for": "5s",
        "half_open": {"calls": 1},
    },
    "sentinel": {"window": {"time": "1s", "buckets": 1}, "min_calls": 5, "half_open": {"calls": 1}},
}  # fmt: skip
_OF_MESH: Final = ("interval", "max_open_for", "max_connections", "max_pending_requests", "max_requests")
_OF_LIBRARY: Final = ("window", "min_calls", "failure_percent", "failures", "slow_call", "half_open")
_CRITERIA: Final = ("failure_percent", "failures", "slow_call", "consecutive_failures")


class Per(Param[str]):
    """What the key of the state is: rule, upstream, route, or header:NAME."""

    human = "rule, upstream, route or header:NAME"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read it; the name of a header in lower case."""
        if value in ("rule", "upstream", "route"):
            return str(value)
        if isinstance(value, str) and value.startswith("header:"):
            return Text(self.human, f"header:{TOKEN}", high=256).parse(value).lower()
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": f"^(rule|upstream|route|header:{TOKEN})$", "maxLength": 256}


_WINDOW: Final[Record[Values]] = Record(
    {
        "time": Field(Duration(low=0.001, high=3600.0), None, "the last stretch of time; 1h at most"),
        "buckets": Field(Integer(1, MOST_BUCKETS), None, "in so many equal parts"),
        "calls": Field(Integer(1, MOST_CALLS), None, "or the last calls"),
    },
    human="a window such as {time: 10s, buckets: 10} or {calls: 100}",
)
_SLOW: Final[Record[Values]] = Record(
    {
        "over": Field(Duration(low=0.001), None, "a call that takes longer is slow"),
        "percent": Field(Percent(), None, "at such a share of slow calls it opens; 100 unless given"),
    },
    human="a mapping such as {over: 2s, percent: 50}",
)
_HALF_OPEN: Final[Record[Values]] = Record(
    {
        "calls": Field(Integer(1, 10_000), None, "so many calls try"),
        "success_percent": Field(Percent(), None, "such a share of them must succeed"),
    },
    human="a mapping such as {calls: 5, success_percent: 60}",
)
_FAILURE: Final[Record[Values]] = Record(
    {
        "status": Field(ListOf(StatusRange(), single=True), None, "statuses and ranges; [500-599]"),
        "grpc_status": Field(ListOf(GrpcStatus(), single=True), None, "of gRPC calls; those that mean 5xx"),
        "reset": Field(Bool(), True, "a connection that broke, or could not be made"),
        "timeout": Field(Bool(), True, "no connection, no answer or no more of it in time"),
    },
    human="a mapping such as {status: [500-599, 429], timeout: false}",
)

BREAKER_FIELDS: Final[dict[str, Field]] = {
    "profile": Field(Choice({name: n for n, name in enumerate(PROFILES)}), None, "whose breaker it is"),
    "force": Field(Choice({name: n for n, name in enumerate(STATES)}), None, "one state, whatever happens"),
    "window": Field(_WINDOW, None, "what rates are of"),
    "min_calls": Field(Integer(1, MOST_CALLS), None, "so many outcomes must be in the window"),
    "failure_percent": Field(Percent(), None, "at such a share of failures it opens"),
    "failures": Field(Integer(0, MOST_CALLS), None, "above so many failures in the window it opens"),
    "slow_call": Field(_SLOW, None, "when slow calls open it"),
    "consecutive_failures": Field(Integer(1, MOST_CALLS), None, "at so many in a row it opens"),
    "open_for": Field(Duration(low=0.001), None, "how long it stays open"),
    "half_open": Field(_HALF_OPEN, None, "how it tries"),
    "interval": Field(Duration(low=0.001), None, "envoy, istio: between two looks at what is ejected"),
    "max_open_for": Field(Duration(low=0.001), None, "envoy, istio: no ejection is longer"),
    "max_connections": Field(Integer(0, MOST_REQUESTS), None, "envoy, istio: with max_pending_requests"),
    "max_pending_requests": Field(Integer(0, MOST_REQUESTS), None, "envoy, istio: beyond max_connections"),
    "max_requests": Field(Integer(0, MOST_REQUESTS), None, "envoy, istio: more under way are overflow"),
    "counts_as_failure": Field(_FAILURE, None, "which ends of a call are failures"),
    "response": Field(
        Record(ANSWER_FIELDS, short="status", human="an answer such as 503 or {status: 503}"),
        None,
        "what callers get instead of what the profile says",
    ),
    "per": Field(Per(), "rule", "one state for the rule, or one for each upstream, route or header value"),
    "name": Field(Text("a name", low=1, high=256), "default", "of the breaker, where its message has one"),
}


def check_fields(values: Values) -> str:
    """Give the profile's name; raises BadValue where fields contradict it or each other."""
    if values["profile"] is None and values["force"] is None:
        raise BadValue(f"expected a profile ({', '.join(PROFILES)}), or force: open")
    name = PROFILES[values["profile"] or 0]
    mesh = name in ("envoy", "istio")
    for field in _OF_LIBRARY if mesh else _OF_MESH:
        if values[field] is not None:
            raise at((field,), f"the profile {name} has no {field}")
    if mesh or values["force"] is not None:
        return name
    if name == "sentinel":
        if values["open_for"] is None:
            raise at(("open_for",), "open_for is missing: sentinel has no default for it (timeWindow)")
        if all(values[field] is None for field in _CRITERIA):
            raise BadValue("sentinel has no default criterion: give failure_percent, failures or slow_call")
    return name


def read_figures(values: Values) -> Figures:
    """Make the figures, with the profile's defaults where none are given; raises BadValue."""
    name = check_fields(values)
    given = _with_defaults(name, values)
    made = Figures(PROFILES.index(name))
    made.force = FORCED_NOT if values["force"] is None else values["force"]
    _read_window(made, given["window"], name)
    made.min_calls = given["min_calls"] or 1
    made.failure_percent = _or_off(given["failure_percent"])
    made.failures = _or_off(given["failures"])
    made.consecutive_failures = given["consecutive_failures"] or 0
    made.open_for = _micros(given["open_for"] or 5.0)
    _read_slow(made, given["slow_call"])
    half_open = given["half_open"]
    if half_open is not None:
        made.half_open_calls = half_open["calls"] or DEFAULTS[name]["half_open"]["calls"]
        made.half_open_success = _or_off(half_open["success_percent"])
    if name in ("envoy", "istio"):
        made.interval = _micros(given["interval"])
        made.max_open_for = max(_micros(given["max_open_for"]), made.open_for)
        made.max_active = min(given["max_requests"], given["max_connections"] + given["max_pending_requests"])
    _read_failure(made, given["counts_as_failure"])
    return made


def _with_defaults(name: str, values: Values) -> Values:
    """Fill in the profile's defaults for what was not given."""
    given = dict(values)
    own = [field for field in _CRITERIA if values[field] is not None]
    for field, default in DEFAULTS[name].items():
        # gobreaker has one criterion: ReadyToTrip.  Another one takes its place.
        if field == "consecutive_failures" and name == "gobreaker" and own:
            continue
        if given[field] is None:
            given[field] = BREAKER_FIELDS[field].param.parse(default)
    return given


def _read_window(made: Figures, window: Values | None, name: str) -> None:
    if window is None:
        return
    if (window["time"] is None) == (window["calls"] is None):
        raise at(("window",), "expected either time (with buckets, where wanted) or calls")
    if window["calls"] is not None:
        if window["buckets"] is not None:
            raise at(("window", "buckets"), "a window of calls has no buckets")
        if name == "gobreaker":
            raise at(("window", "calls"), "gobreaker counts in cycles of time: use time")
        made.window_calls = window["calls"]
        return
    made.window_time = _micros(window["time"])
    default = DEFAULTS[name].get("window", {}).get("buckets", 1)
    if name == "resilience4j":  # one for each second
        default = max(1, made.window_time // MILLION)
    made.window_buckets = window["buckets"] or default


def _read_slow(made: Figures, slow: Values | None) -> None:
    if slow is None:
        return
    if slow["over"] is None:
        raise at(("slow_call", "over"), "over is missing: the time beyond which a call is slow")
    made.slow_over = _micros(slow["over"])
    made.slow_percent = MILLION if slow["percent"] is None else slow["percent"]


def _read_failure(made: Figures, failure: Values | None) -> None:
    made.failing_grpc = FAILING_GRPC
    if failure is None:
        return
    if failure["status"] is not None:
        made.failing_status = failure["status"]
    if failure["grpc_status"] is not None:
        made.failing_grpc = frozenset(failure["grpc_status"])
    made.reset_fails = failure["reset"]
    made.timeout_fails = failure["timeout"]


def _micros(seconds: float) -> int:
    return round(seconds * MILLION)


def _or_off(value: int | None) -> int:
    return OFF if value is None else value


_TEXT: Final[list[tuple[bytes, bytes]]] = [(b"content-type", b"text/plain")]
_OVERFLOW: Final = Answer(
    503,
    [(b"x-envoy-overloaded", b"true"), *_TEXT],
    b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
)
_NO_HOST: Final = Answer(503, _TEXT, b"no healthy upstream")

# What the library's exception says, open and half open; a service that lets it through answers with it.
_MESSAGES: Final[dict[int, tuple[int, str, str]]] = {
    of.HYSTRIX: (503, "Hystrix circuit short-circuited and is OPEN", ""),
    of.RESILIENCE4J: (
        503,
        "CircuitBreaker '{name}' is OPEN and does not permit further calls",
        "CircuitBreaker '{name}' is HALF_OPEN and does not permit further calls",
    ),
    of.GOBREAKER: (503, "circuit breaker is open", "too many requests"),
    of.POLLY: (503, "The circuit is now open and is not allowing calls.", ""),
    of.SENTINEL: (429, "Blocked by Sentinel (flow limiting)", ""),
}


def read_answers(values: Values, figures: Figures) -> list[Answer]:
    """Make what callers get, by what the breaker says (its first place, admitted, is never used)."""
    written = values["response"]
    if written is not None:
        try:
            return [build_answer(written, 503)] * len(VERDICTS)
        except BadValue as bad:
            raise BadValue([trouble.under("response") for trouble in bad.troubles]) from None
    answers = [_OVERFLOW] * len(VERDICTS)
    if figures.profile in (of.ENVOY, of.ISTIO):
        if figures.force != OPEN:  # forced, it is its threshold that is exceeded
            answers[IS_OPEN] = _NO_HOST
        return answers
    status, is_open, no_trial_left = _MESSAGES[figures.profile]
    answers[IS_OPEN] = _said(status, is_open, values["name"])
    answers[NO_TRIAL_LEFT] = _said(status, no_trial_left or is_open, values["name"])
    answers[OVERFLOW] = answers[IS_OPEN]
    return answers


def _said(status: int, message: str, name: str) -> Answer:
    return Answer(status, _TEXT, message.replace("{name}", name).encode())


def show_figures(figures: Figures) -> Values:
    """Write figures in the words of a rule, without those that are not looked at."""
    name = PROFILES[figures.profile]
    shown: Values = {"profile": name}
    if figures.force != FORCED_NOT:
        shown["force"] = STATES[figures.force]
    if figures.consecutive_failures:
        shown["consecutive_failures"] = figures.consecutive_failures
    shown["open_for"] = _duration(figures.open_for)
    if name in ("envoy", "istio"):
        shown["interval"] = _duration(figures.interval)
        shown["max_open_for"] = _duration(figures.max_open_for)
        shown["max_requests"] = figures.max_active
        return shown
    if figures.window_calls:
        shown["window"] = {"calls": figures.window_calls}
    elif figures.window_time:
        shown["window"] = {"time": _duration(figures.window_time), "buckets": figures.window_buckets}
    shown["min_calls"] = figures.min_calls
    if figures.failure_percent != OFF:
        shown["failure_percent"] = _percent(figures.failure_percent)
    if figures.failures != OFF:
        shown["failures"] = figures.failures
    if figures.slow_over != OFF:
        shown["slow_call"] = {
            "over": _duration(figures.slow_over),
            "percent": _percent(figures.slow_percent),
        }
    shown["half_open"] = {"calls": figures.half_open_calls}
    if figures.half_open_success != OFF:
        shown["half_open"]["success_percent"] = _percent(figures.half_open_success)
    return shown


def _duration(micros: int) -> str:
    return f"{micros // MILLION}s" if micros % MILLION == 0 else f"{micros // 1000}ms"


def _percent(millionths: int) -> float:
    return millionths / 10_000
