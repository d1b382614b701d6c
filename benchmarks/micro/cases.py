"""What is timed: one callable for each leaf; calling it once does the work once."""

from collections.abc import Callable

from benchmarks.load.client import request_bytes
from benchmarks.load.rulesets import API, SMALL_PATH, TEN_THOUSAND, TIER_HEADER, TWENTY, PathFault, RuleSet
from benchmarks.load.subjects.misrule import document
from benchmarks.load.upstream import SMALL_BODY
from benchmarks.micro.h2_cases import http2
from proxy.wire import h1, h1_write
from proxy.wire.h1_head import Names
from rules.compile import compile_rules
from rules.facts import HTTP1, Facts
from rules.parse import parse_rules
from rules.snapshot import Snapshot

Case = Callable[[], object]

REQUEST = request_bytes(SMALL_PATH)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
) % (len(SMALL_BODY), SMALL_BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"
) + b"0\r\n\r\n"
EXTRA = b"via: 1.1 misrule\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n"
PATH = SMALL_PATH.partition("?")[0].encode()
TIER = {TIER_HEADER.encode(): [b"standard"]}

NAMES = Names(
    frozenset({TIER_HEADER.encode(), b"x-request-id"}),
    frozenset({b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-misrule"}),
)


def snapshot(rules: RuleSet) -> Snapshot:
    """Compile a rule set as the proxy does."""
    return compile_rules(parse_rules(document(rules).encode(), "rules.json"), None, 1, 0.0, "benchmark")


def reader(role: int) -> h1.H1Reader:
    """Make a reader that looks at the names that a proxy with twenty rules looks at."""
    made = h1.H1Reader(role, 65536, 100)
    made.names = NAMES
    return made


def read_all(from_peer: h1.H1Reader, data: bytes) -> int:
    """Feed one message and take its events; give how many there were."""
    from_peer.feed(data)
    events = 0
    while from_peer.next() != h1.NEED:
        events += 1
    return events


def codec() -> dict[str, Case]:
    """Reading and writing HTTP/1.1."""
    requests, responses, chunked = reader(h1.REQUEST), reader(h1.RESPONSE), reader(h1.RESPONSE)
    one, other = reader(h1.REQUEST), reader(h1.RESPONSE)
    one.feed(REQUEST)
    other.feed(RESPONSE)
    if one.next() != h1.HEAD or other.next() != h1.HEAD:
        raise AssertionError("a whole message gave no head")
    request, response = one.head, other.head
    return {
        f"read a request ({len(REQUEST)} bytes)": lambda: read_all(requests, REQUEST),
        f"read a response ({len(RESPONSE)} bytes)": lambda: read_all(responses, RESPONSE),
        "read a chunked response (one chunk of 4 KiB)": lambda: read_all(chunked, CHUNKED),
        "write a request head": lambda: h1_write.request_head(request, EXTRA, False),
        "write a response head": lambda: h1_write.response_head(response, response.framing, False, EXTRA),
    }


def index() -> dict[str, Case]:
    """Finding the rules that could match: none does."""
    few, many = snapshot(TWENTY).index_for("web"), snapshot(TEN_THOUSAND).index_for("web")
    return {
        "candidates of 20 rules: none": lambda: few.candidates(b"127.0.0.1", PATH, TIER),
        "candidates of 10,000 rules: none": lambda: many.candidates(b"127.0.0.1", PATH, TIER),
    }


def plans() -> dict[str, Case]:
    """Planning an exchange that one rule matches: drawn by 0 %, by 10 % and always."""
    return {f"candidates, plan and release, {percent} %": _planned(percent) for percent in (0, 10, 100)}


def _planned(percent: int) -> Case:
    rules = snapshot(RuleSet("one", TWENTY.conditions, (PathFault(f"{API}orders/", "abort", percent),)))
    found = rules.index_for("web")
    facts = Facts("web", "127.0.0.1", HTTP1)
    facts.method, facts.host, facts.path, facts.headers = b"GET", b"127.0.0.1", PATH, TIER

    def once() -> None:
        candidates = found.candidates(b"127.0.0.1", PATH, TIER)
        if candidates is not None:
            plan = rules.plan(candidates, facts, 1)
            if plan is not None:
                plan.release()

    return once


def cases() -> dict[str, Case]:
    """Give all of them, in the order in which an exchange meets them."""
    return {**codec(), **http2(), **index(), **plans()}
