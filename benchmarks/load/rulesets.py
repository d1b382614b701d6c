"""What the proxies are asked to look for, said once and rendered for each in its own language.

A rule set is a list of conditions of which no measured request fulfils any (each would answer 503), and at
most a few faults on paths that are measured.  The mix is that of a working file: three in five look at the
path, one in five at the host, one in five at a header that every request carries with another value.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

API: str = "/api/v1/"
SMALL_PATH: str = "/api/v1/orders/4711?expand=items"
LARGE_PATH: str = "/static/large"
MEBIBYTE_PATH: str = "/static/mebibyte"
UPLOAD_PATH: str = "/upload/basket"
GRPC_PATH: str = "/shop.v1.Orders/Get"
TIER_HEADER: str = "x-user-tier"

# A head as a browser behind a gateway sends it: about 370 bytes with the request line and host.
REQUEST_HEADERS: dict[str, str] = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "application/json, text/plain, */*",
    "accept-language": "en-GB,en;q=0.8",
    "accept-encoding": "gzip, deflate",
    "cookie": "session=7f3c1e9a5b2d4806; theme=dark",
    TIER_HEADER: "standard",
    "referer": "https://shop.example/orders",
}

# The fields of a gRPC call, as C-core sends them.
GRPC_HEADERS: dict[str, str] = {
    "te": "trailers",
    "content-type": "application/grpc",
    "user-agent": "grpc-python/1.80.0 grpc-c/53.0.0 (linux; chttp2)",
    "grpc-accept-encoding": "identity, deflate, gzip",
    TIER_HEADER: "standard",
}
ORDERS: int = 500  # files of the HTTP/2 upstream, each of which is asked for with
QUERIES: int = 200  # so many queries
_MESSAGE: int = 64  # bytes of a gRPC message, without its prefix


def order_path(number: int) -> str:
    """Give the path of one of ORDERS orders, without a query."""
    return f"{API}orders/{4711 + number}"


def distinct_paths() -> Iterator[str]:
    """Give paths (with queries) that are all different, more than a connection sends in a measurement."""
    for query in range(QUERIES):
        for number in range(ORDERS):
            yield f"{order_path(number)}?expand=items&page={query}"


def grpc_message() -> bytes:
    """Give a message as gRPC frames it: not compressed, its length, its bytes."""
    return struct.pack(">BL", 0, _MESSAGE) + bytes(range(_MESSAGE))


@dataclass(frozen=True)
class Condition:
    """One rule that no measured request fulfils: ``kind`` is path (a prefix), host or tier (a header)."""

    kind: str
    value: str


@dataclass(frozen=True)
class PathFault:
    """A fault on a path prefix: ``kind`` is abort (503) or delay; ``percent`` of the requests."""

    prefix: str
    kind: str
    percent: int
    milliseconds: int = 0


@dataclass(frozen=True)
class RuleSet:
    """What a proxy carries in one workload; ``name`` is only for people."""

    name: str
    conditions: tuple[Condition, ...]
    faults: tuple[PathFault, ...] = ()
    rsa_below: str = ""  # who asks for a name below this domain is shown a certificate with an RSA key


def conditions(count: int) -> tuple[Condition, ...]:
    """Give ``count`` conditions in the mix that the module describes."""
    made: list[Condition] = []
    for number in range(count):
        place = number % 5
        if place == 3:
            made.append(Condition("host", f"shop-{number:05d}.example"))
        elif place == 4:
            made.append(Condition("tier", f"tier-{number:05d}"))
        else:
            made.append(Condition("path", f"{API}service-{number:05d}/"))
    return tuple(made)


DELAYS_MS: tuple[int, ...] = (5, 20, 100)


def delay_path(milliseconds: int) -> str:
    """Give the path that the ``delays`` rule set delays by so much."""
    return f"{API}delay-{milliseconds}/"


_ORDERS: str = f"{API}orders/"

TWENTY = RuleSet("20 rules, none matches", conditions(20))
TEN = RuleSet("10 rules, none matches", conditions(10))
TEN_THOUSAND = RuleSet("10,000 rules, none matches", conditions(10_000))
ZERO_PERCENT = RuleSet("20 rules and one at 0 %", conditions(20), (PathFault(_ORDERS, "abort", 0),))
ABORT_TENTH = RuleSet("20 rules and an abort on 10 %", conditions(20), (PathFault(_ORDERS, "abort", 10),))
DELAY_TENTH = RuleSet("20 rules and 5 ms on 10 %", conditions(20), (PathFault(_ORDERS, "delay", 10, 5),))
# The rule that gives RSA is for the handshake alone: requests see the same twenty.
RSA_NAMES = RuleSet("20 rules, and RSA for some names", conditions(20), rsa_below="rsa.example")
DELAYS = RuleSet(
    "delays",
    conditions(20),
    tuple(PathFault(delay_path(ms), "delay", 100, ms) for ms in DELAYS_MS),
)
