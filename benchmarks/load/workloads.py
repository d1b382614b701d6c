"""The workloads: what is sent, with which rules, by how many connections."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.load import rulesets
from benchmarks.load.h2load import H2Load
from benchmarks.load.handshakes import Handshakes
from benchmarks.load.rulesets import LARGE_PATH, MEBIBYTE_PATH, SMALL_PATH, UPLOAD_PATH, RuleSet
from benchmarks.load.upstream import GRPC, HTTP1, HTTP2, HTTPS, PROTOCOLS
from benchmarks.load.wrk import Load

AnyLoad = Load | H2Load | Handshakes


@dataclass(frozen=True)
class Workload:
    """One load; each proxy carries each of ``rules`` in turn."""

    name: str
    title: str
    load: AnyLoad
    rules: tuple[RuleSet, ...] = (rulesets.TWENTY,)
    ours_only: bool = False
    protocol: str = HTTP1
    unit: str = "request"  # what is counted


SMALL_1 = Workload("small-1", "small GET, keep-alive, 1 connection, 20 rules", Load(SMALL_PATH, 1))
SMALL_32 = Workload("small-32", "small GET, keep-alive, 32 connections, 20 rules", Load(SMALL_PATH, 32))
MANY_RULES = Workload(
    "many-rules",
    "small GET, 32 connections, 10 and 10,000 rules",
    Load(SMALL_PATH, 32),
    (rulesets.TEN, rulesets.TEN_THOUSAND),
    ours_only=True,
)
LARGE = Workload("large", "64 KiB response, 32 connections, 20 rules", Load(LARGE_PATH, 32))
UPLOAD = Workload("upload", "1 MiB upload, 8 connections, 20 rules", Load(UPLOAD_PATH, 8, 1_048_576))
ZERO = Workload("zero", "small GET, 32 connections, 0 % rule", Load(SMALL_PATH, 32), (rulesets.ZERO_PERCENT,))
ABORT = Workload(
    "abort", "small GET, 32 connections, 10 % aborted", Load(SMALL_PATH, 32), (rulesets.ABORT_TENTH,)
)
DELAY = Workload(
    "delay", "small GET, 32 connections, 10 % delayed by 5 ms", Load(SMALL_PATH, 32), (rulesets.DELAY_TENTH,)
)
TLS_32 = Workload(
    "tls-32",
    "small GET over TLS, keep-alive, 32 connections, 20 rules",
    Load(SMALL_PATH, 32, tls=True),
    protocol=HTTPS,
)
TLS_LARGE = Workload(
    "tls-large",
    "1 MiB response over TLS, keep-alive, 8 connections, 20 rules",
    Load(MEBIBYTE_PATH, 8, tls=True),
    protocol=HTTPS,
)
TLS_HANDSHAKES = Workload(
    "tls-handshakes",
    "full handshakes, TLS 1.3, ECDSA P-256, X25519, AES-128-GCM, 4 clients",
    Handshakes(4),
    protocol=HTTPS,
    unit="handshake",
)
_FOUR = "4 connections of 32 streams, 20 rules"
H2_SAME = Workload("h2-same", f"HTTP/2, one request, {_FOUR}", H2Load("same"), protocol=HTTP2)
H2_DISTINCT = Workload("h2-distinct", f"HTTP/2, distinct paths, {_FOUR}", H2Load("distinct"), protocol=HTTP2)
H2_CHURN = Workload(
    "h2-churn", f"HTTP/2, two fields unlike all others, {_FOUR}", H2Load("churn"), protocol=HTTP2
)
H2_GRPC = Workload("h2-grpc", f"gRPC, unary echo of 64 bytes, {_FOUR}", H2Load("grpc"), protocol=GRPC)

WORKLOADS: tuple[Workload, ...] = (
    *(SMALL_1, SMALL_32, MANY_RULES, LARGE, UPLOAD, ZERO, ABORT, DELAY),
    *(H2_SAME, H2_DISTINCT, H2_CHURN, H2_GRPC),
    *(TLS_32, TLS_LARGE, TLS_HANDSHAKES),
)
# Its subject is the injector, not a proxy.
REVIEWS = Workload(
    "reviews",
    "admission reviews of 3 KiB over TLS, 8 connections: pods patched by the injector",
    Load("/mutate", 8, tls=True, document=True),
    ours_only=True,
    unit="review",
)
MEMORY = "memory"
DELAYS = "delays"
H2_STREAMS = "h2-streams"
FLOODS = "floods"
MINT = "mint"
THROTTLE = "throttle"
ALONE: dict[str, str] = {
    MEMORY: HTTP1,
    DELAYS: HTTP1,
    H2_STREAMS: GRPC,
    FLOODS: HTTP2,
    MINT: HTTPS,
    THROTTLE: "",  # it has an upstream of its own
    REVIEWS.name: "",  # it has none
}  # without a load; their protocols
NAMES: tuple[str, ...] = (*(workload.name for workload in WORKLOADS), *ALONE)


def protocols(names: Iterable[str]) -> list[str]:
    """Give the protocols that the named workloads speak, in order."""
    of = {workload.name: workload.protocol for workload in WORKLOADS} | ALONE
    return [one for one in PROTOCOLS if one in {of[name] for name in names}]
