"""The fields of a breaker, the defaults of each profile, and what callers of it get to see."""

from typing import Any, Final

from rules.answers import ANSWER_FIELDS
from rules.breakers import figures as of
from rules.breakers.figures import FORCED_NOT, MILLION, OFF, PROFILES, STATES, Figures
from rules.http_params import GrpcStatus, StatusRange
from rules.key_params import Per
from rules.params import (
    BadValue,
    Bool,
    Choice,
    Duration,
    Integer,
    Number,
    Percent,
    Text,
)
from rules.records import Field, ListOf, Record, Values, at

MOST_CALLS: Final = 100_000  # in a window
MOST_BUCKETS: Final = 3_600
MOST_REQUESTS: Final = 0xFFFFFFFF

# Those that admission control takes for failures: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL,
# UNAVAILABLE, DATA_LOSS.
SHEDDING_GRPC: Final = frozenset({4, 8, 10, 13, 14, 15})

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
    "envoy": {**_MESH, "success_rate": {}},
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
    "admission_control": {
        "window": {"time": "30s"}, "aggression": 1, "sr_threshold": 95, "rps_threshold": 0,
        "max_rejection_probability": 80,
    },
}  # fmt: skip
_OF_MESH: Final = (
    "interval", "max_open_for", "max_connections", "max_pending_requests", "max_requests", "success_rate",
    "max_ejection_percent",
)  # fmt: skip
_OF_LIBRARY: Final = ("window", "min_calls", "failure_percent", "failures", "slow_call", "half_open")
_OF_ADMISSION: Final = ("aggression", "sr_threshold", "rps_threshold", "max_rejection_probability")
_OF_NO_ADMISSION: Final = (*_OF_MESH, *_OF_LIBRARY[1:], "consecutive_failures", "open_for")
_CRITERIA: Final = ("failure_percent", "failures", "slow_call", "consecutive_failures")


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
_SUCCESS_RATE: Final[Record[Values]] = Record(
    {
        "minimum_hosts": Field(Integer(1, 1000), 5, "so many keys must have had the volume"),
        "request_volume": Field(Integer(0, MOST_CALLS), 100, "so many outcomes of a key in an interval"),
        "stdev_factor": Field(Integer(0, 1_000_000), 1900, "so far below the mean: 1000 is the deviation"),
    },
    human="a mapping such as {minimum_hosts: 5, request_volume: 100, stdev_factor: 1900}",
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
    "success_rate": Field(_SUCCESS_RATE, None, "envoy: when a key is ejected that fails more than others"),
    "max_ejection_percent": Field(Percent(), None, "envoy, istio: no more keys than that are ejected"),
    "aggression": Field(Number(1, 1000), None, "admission_control: how soon it sheds much"),
    "sr_threshold": Field(Percent(), None, "admission_control: below that success rate it sheds"),
    "rps_threshold": Field(Integer(0, MOST_REQUESTS), None, "admission_control: none is below this rate"),
    "max_rejection_probability": Field(Percent(), None, "admission_control: no greater share is shed"),
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
    for field in _not_of(name, mesh):
        if values[field] is not None:
            raise at((field,), f"the profile {name} has no {field}")
    if name == "admission_control" and values["sr_threshold"] == 0:
        raise at(("sr_threshold",), "expected a percentage above 0: good calls are divided by it")
    if mesh or values["force"] is not None:
        return name
    if name == "sentinel":
        if values["open_for"] is None:
            raise at(("open_for",), "open_for is missing: sentinel has no default for it (timeWindow)")
        if all(values[field] is None for field in _CRITERIA):
            raise BadValue("sentinel has no default criterion: give failure_percent, failures or slow_call")
    return name


def _not_of(name: str, mesh: bool) -> tuple[str, ...]:
    """Name the fields that a profile has not."""
    if name == "admission_control":
        return _OF_NO_ADMISSION
    if name == "istio":  # https://github.com/istio/istio: it never enforces success rates
        return (*_OF_LIBRARY, *_OF_ADMISSION, "success_rate")
    return (*(_OF_LIBRARY if mesh else _OF_MESH), *_OF_ADMISSION)


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
        _read_outliers(made, given)
    if name == "admission_control":
        made.aggression = given["aggression"]
        made.sr_threshold = given["sr_threshold"]
        made.rps_threshold = given["rps_threshold"]
        made.max_rejection = given["max_rejection_probability"]
    _read_failure(made, given["counts_as_failure"])
    return made


def _read_outliers(made: Figures, given: Values) -> None:
    """Read what a mesh looks at."""
    rate = given["success_rate"]
    if rate is not None:
        made.minimum_hosts = rate["minimum_hosts"]
        made.request_volume = rate["request_volume"]
        made.stdev_factor = rate["stdev_factor"]
    if given["max_ejection_percent"] is not None:
        made.max_ejection = given["max_ejection_percent"]
    made.interval = _micros(given["interval"])
    made.max_open_for = max(_micros(given["max_open_for"]), made.open_for)
    made.max_active = min(given["max_requests"], given["max_connections"] + given["max_pending_requests"])


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
        if name in ("gobreaker", "admission_control"):
            kind = "cycles" if name == "gobreaker" else "a window"
            raise at(("window", "calls"), f"{name} counts in {kind} of time: use time")
        made.window_calls = window["calls"]
        return
    made.window_time = _micros(window["time"])
    default = DEFAULTS[name].get("window", {}).get("buckets", 1)
    if name in ("resilience4j", "admission_control"):  # one for each second
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
    made.failing_grpc = SHEDDING_GRPC if made.profile == of.ADMISSION else FAILING_GRPC
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


def show_figures(figures: Figures) -> Values:
    """Write figures in the words of a rule, without those that are not looked at."""
    name = PROFILES[figures.profile]
    shown: Values = {"profile": name}
    if figures.force != FORCED_NOT:
        shown["force"] = STATES[figures.force]
    if figures.consecutive_failures:
        shown["consecutive_failures"] = figures.consecutive_failures
    if name == "admission_control":
        return shown | _show_admission(figures)
    shown["open_for"] = _duration(figures.open_for)
    if name in ("envoy", "istio"):
        return shown | _show_outliers(figures)
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


def _show_outliers(figures: Figures) -> Values:
    shown: Values = {
        "interval": _duration(figures.interval),
        "max_open_for": _duration(figures.max_open_for),
        "max_requests": figures.max_active,
    }
    if figures.max_ejection < MILLION:
        shown["max_ejection_percent"] = _percent(figures.max_ejection)
    if figures.minimum_hosts != OFF:
        shown["success_rate"] = {
            "minimum_hosts": figures.minimum_hosts,
            "request_volume": figures.request_volume,
            "stdev_factor": figures.stdev_factor,
        }
    return shown


def _show_admission(figures: Figures) -> Values:
    return {
        "window": {"time": _duration(figures.window_time), "buckets": figures.window_buckets},
        "aggression": figures.aggression,
        "sr_threshold": _percent(figures.sr_threshold),
        "rps_threshold": figures.rps_threshold,
        "max_rejection_probability": _percent(figures.max_rejection),
    }


def _duration(micros: int) -> str:
    return f"{micros // MILLION}s" if micros % MILLION == 0 else f"{micros // 1000}ms"


def _percent(millionths: int) -> float:
    return millionths / 10_000
