"""The figures of a breaker: what a rule says, with the defaults of its profile filled in."""

from typing import Final

MILLION: Final = 1_000_000  # percentages are millionths, times microseconds
OFF: Final = -1  # a criterion that is not looked at

# States.  FORCED_NOT: the breaker works by itself.
CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
STATES: Final[tuple[str, ...]] = ("closed", "half_open", "open")
FORCED_NOT: Final = -1

# Profiles.
ENVOY: Final = 0
ISTIO: Final = 1
HYSTRIX: Final = 2
RESILIENCE4J: Final = 3
GOBREAKER: Final = 4
POLLY: Final = 5
SENTINEL: Final = 6
ADMISSION: Final = 7
PROFILES: Final[tuple[str, ...]] = (
    "envoy", "istio", "hystrix", "resilience4j", "gobreaker", "polly", "sentinel",
    "admission_control",
)  # fmt: skip

# What happened to a call besides its status.
NO_TROUBLE: Final = 0
RESET: Final = 1  # the connection broke, or there was none
TIMEOUT: Final = 2


class Figures:
    """What may be changed while the breaker works; never changed itself, only replaced.

    Times are microseconds, percentages millionths; ``OFF`` stands for a criterion that is not looked at.
    """

    def __init__(self, profile: int) -> None:
        self.profile: int = profile
        self.force: int = FORCED_NOT
        self.window_time: int = 0  # 0: not by time
        self.window_buckets: int = 1
        self.window_calls: int = 0  # 0: not by calls; neither: all calls since the state began
        self.min_calls: int = 1  # outcomes that the window must hold before its rates mean anything
        self.failure_percent: int = OFF
        self.failures: int = OFF  # more than so many in the window
        self.slow_over: int = OFF  # longer than that is slow
        self.slow_percent: int = MILLION
        self.consecutive_failures: int = 0  # 0: not looked at
        self.open_for: int = MILLION
        self.half_open_calls: int = 1
        self.half_open_success: int = OFF  # resilience4j: then by failure_percent and slow_percent
        self.max_active: int = OFF  # calls under way beyond which there is overflow
        self.interval: int = 10 * MILLION  # envoy: between two looks at what is ejected
        self.max_open_for: int = 300 * MILLION  # envoy
        self.max_ejection: int = MILLION  # envoy: share of the keys that may be ejected at once
        self.minimum_hosts: int = OFF  # envoy: keys whose success rates must be known to be compared
        self.request_volume: int = 100  # envoy: calls in an interval for a rate to be known
        self.stdev_factor: int = 1900  # envoy: standard deviations below the mean, in thousandths
        self.aggression: float = 1.0  # admission control, as the three below
        self.sr_threshold: int = 950_000  # success rate below which calls are shed
        self.rps_threshold: int = 0  # calls a second below which none is
        self.max_rejection: int = 800_000  # share of the calls that are shed at most
        self.failing_status: tuple[tuple[int, int], ...] = ((500, 599),)  # both ends are in it
        self.failing_grpc: frozenset[int] = frozenset()
        self.reset_fails: bool = True
        self.timeout_fails: bool = True

    def fails(self, status: int, grpc_status: int, trouble: int) -> bool:
        """Judge the end of a call; ``grpc_status`` -1: it is none of gRPC's."""
        if trouble == RESET:
            return self.reset_fails
        if trouble == TIMEOUT:
            return self.timeout_fails
        if grpc_status >= 0:
            return grpc_status in self.failing_grpc
        for low, high in self.failing_status:
            if low <= status <= high:
                return True
        return False

    def is_slow(self, took: int) -> bool:
        """Whether a call that took so long was slow."""
        return self.slow_over >= 0 and took > self.slow_over
