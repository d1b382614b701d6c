"""The parts of a match against facts, through a compiled rule as the path asks them."""

import pytest

from rules.compile import compile_rule
from rules.conditions import LONGEST_SEEN, Condition, all_hold, show, show_all
from rules.facts import GRPC, HTTP1, HTTP2, TCP, WEBSOCKET, ClientCertificate, Facts
from rules.model import Match, ResponseMatch, Text
from tests.support.builders import facts, rule, text

CALL = HTTP2 | GRPC
NOT_CART = Text("not", negated=text("shop.Cart"))


def judge(match: Match, seen: Facts) -> bool:
    compiled = compile_rule(rule(match=match), 0, None, 1)
    return all_hold(compiled.conditions + compiled.response, seen)


def answered(status: int, headers: dict[bytes, list[bytes]] | None = None, grpc: int = -1) -> Facts:
    made = facts()
    made.response_status = status
    made.response_headers = headers or {}
    made.grpc_status = grpc
    return made


def with_sni(name: bytes | None) -> Facts:
    made = facts()
    made.sni = name
    return made


def looking_up(*names: bytes, kinds: list[bytes] | None = None) -> Facts:
    made = facts()
    made.names = list(names)
    if kinds is not None:
        made.name_types = kinds
    return made


def showing(subject: bytes, *names: bytes, fingerprint: bytes = b"00") -> Facts:
    made = facts()
    made.client_certificate = ClientCertificate(subject, list(names), fingerprint)
    return made


CASES: list[tuple[str, Match, Facts, bool]] = [
    ("nothing asked", Match(), facts(), True),
    ("listener", Match(listener=("web", "x")), facts(), True),
    ("other listener", Match(listener=("x",)), facts(), False),
    ("upstream", Match(upstream=("payments",)), facts(upstream="payments"), True),
    ("other upstream", Match(upstream=("payments",)), facts(), False),
    ("http1", Match(protocol=("http1",)), facts(protocols=HTTP1), True),
    ("http2 includes grpc", Match(protocol=("http2",)), facts(protocols=CALL), True),
    ("grpc is narrower", Match(protocol=("grpc",)), facts(protocols=HTTP2), False),
    ("grpc", Match(protocol=("grpc",)), facts(protocols=CALL), True),
    ("one of", Match(protocol=("tcp", "websocket")), facts(protocols=HTTP1 | WEBSOCKET), True),
    ("tcp", Match(protocol=("http1", "http2")), facts(protocols=TCP), False),
    ("host", Match(host=text("Web.Example")), facts(host="web.example"), True),
    ("other host", Match(host=text("web.example")), facts(host="a.web.example"), False),
    ("no host", Match(host=Text("present", wanted=False)), facts(host=""), True),
    ("host there", Match(host=Text("present", wanted=True)), facts(host=""), False),
    ("path", Match(path=Text("prefix", "/a%20")), facts("/a%20b"), True),
    ("path not decoded", Match(path=Text("prefix", "/a b")), facts("/a%20b"), False),
    ("method", Match(method=("POST", "PUT")), facts(method="PUT"), True),
    ("method, lower", Match(method=("POST",)), facts(method="post"), False),
    ("query", Match(query=(("q", text("a b")),)), facts(query="q=a%20b"), True),
    ("query any", Match(query=(("q", text("2")),)), facts(query="q=1&q=2"), True),
    ("query differs", Match(query=(("q", text("3")),)), facts(query="q=1&q=2"), False),
    ("query absent", Match(query=(("q", Text("present", wanted=False)),)), facts(query="p=1"), True),
    ("query not", Match(query=(("q", Text("not", negated=text("1"))),)), facts(query=""), True),
    ("two queries", Match(query=(("a", text("1")), ("b", text("2")))), facts(query="a=1&b=1"), False),
    ("header", Match(headers=(("x-tier", text("gold")),)), facts(headers={"x-tier": ["gold"]}), True),
    ("header any", Match(headers=(("x-tier", text("b")),)), facts(headers={"x-tier": ["a", "b"]}), True),
    ("header absent", Match(headers=(("x-tier", text("gold")),)), facts(), False),
    ("header name case", Match(headers=(("X-Tier", text("a")),)), facts(headers={"x-tier": ["a"]}), True),
    ("service", Match(grpc_service=text("shop.Cart")), facts("/shop.Cart/Add", protocols=CALL), True),
    ("other service", Match(grpc_service=text("shop.Car")), facts("/shop.Cart/Add", protocols=CALL), False),
    ("grpc method", Match(grpc_method=text("Add")), facts("/shop.Cart/Add", protocols=CALL), True),
    ("no grpc method", Match(grpc_method=text("Cart")), facts("/shop.Cart/Add", protocols=CALL), False),
    ("not a call", Match(grpc_service=text("shop.Cart")), facts("/shop.Cart/Add"), False),
    ("not, and not a call", Match(grpc_service=NOT_CART), facts("/x"), False),
    ("not, odd path", Match(grpc_service=NOT_CART), facts("/x", protocols=CALL), True),
    ("attempt", Match(attempt=(2, 3)), facts(headers={"x-envoy-attempt-count": ["3"]}), True),
    ("first attempt", Match(attempt=(1,)), facts(headers={"x-envoy-attempt-count": ["2"]}), False),
    ("no attempt", Match(attempt=(1,)), facts(), True),
    ("odd attempt", Match(attempt=(1,)), facts(headers={"x-envoy-attempt-count": ["two"]}), True),
    ("huge attempt", Match(attempt=(1,)), facts(headers={"x-envoy-attempt-count": ["9" * 5000]}), True),
    ("source", Match(source=("10.0.0.0/8", "192.0.2.0/24")), facts(source="192.0.2.9"), True),
    ("mapped source", Match(source=("10.0.0.0/8",)), facts(source="::ffff:10.1.1.1"), True),
    ("other source", Match(source=("10.0.0.0/8", "::1/128")), facts(source="192.0.2.9"), False),
    ("unix socket", Match(source=("0.0.0.0/0", "::/0")), facts(source=""), False),
    ("sni", Match(sni=Text("suffix", ".Example")), with_sni(b"A.example"), True),
    ("no sni", Match(sni=Text("suffix", ".example")), with_sni(None), False),
    ("name", Match(dns_name=Text("suffix", ".Example")), looking_up(b"a.example"), True),
    ("any host", Match(dns_name=text("b.example")), looking_up(b"a.example", b"b.example"), True),
    ("other name", Match(dns_name=text("b.example")), looking_up(b"a.example"), False),
    ("no name", Match(dns_name=Text("prefix", "")), looking_up(), False),
    ("addresses", Match(dns_type=("MX", "AAAA")), looking_up(b"a"), True),
    ("type", Match(dns_type=("MX",)), looking_up(b"a", kinds=[b"MX"]), True),
    ("other type", Match(dns_type=("MX",)), looking_up(b"a"), False),
    ("type of nothing", Match(dns_type=("A",)), looking_up(), False),
    (
        "subject",
        Match(certificate_subject=Text("suffix", ",O=Acme")),
        showing(b"CN=shop,O=Acme"),
        True,
    ),
    ("any name", Match(certificate_san=text("b")), showing(b"", b"a", b"b"), True),
    ("no such name", Match(certificate_san=text("c")), showing(b"CN=c", b"a", b"b"), False),
    ("fingerprint", Match(certificate_fingerprint=text("ab")), showing(b"", fingerprint=b"ab"), True),
    ("no certificate", Match(certificate_san=Text("prefix", "")), facts(), False),
    (
        "certificate forbidden",
        Match(certificate_subject=Text("present", wanted=False)),
        facts(),
        True,
    ),
    ("status", Match(response=ResponseMatch(status=((500, 599),))), answered(503), True),
    ("status low", Match(response=ResponseMatch(status=((500, 599),))), answered(500), True),
    ("status high", Match(response=ResponseMatch(status=((404, 404), (500, 599)))), answered(599), True),
    ("other status", Match(response=ResponseMatch(status=((404, 404), (500, 599)))), answered(499), False),
    (
        "answer's header",
        Match(response=ResponseMatch(headers=(("X-A", text("1")),))),
        answered(200, {b"x-a": [b"0", b"1"]}),
        True,
    ),
    (
        "no answer's header",
        Match(response=ResponseMatch(headers=(("x-a", text("1")),))),
        answered(200),
        False,
    ),
    ("grpc status", Match(response=ResponseMatch(grpc_status=(0, 14))), answered(200, grpc=14), True),
    ("other grpc status", Match(response=ResponseMatch(grpc_status=(0, 14))), answered(200, grpc=13), False),
    ("no grpc status", Match(response=ResponseMatch(grpc_status=(0,))), answered(200), False),
    ("all parts", Match(method=("GET",), host=text("web.example"), path=text("/")), facts(), True),
    ("all but one", Match(method=("GET",), host=text("web.example"), path=text("/x")), facts(), False),
]


@pytest.mark.parametrize(("match", "seen", "holds"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_every_part(match: Match, seen: Facts, holds: bool) -> None:
    assert judge(match, seen) is holds


def test_every_part_says_what_it_saw() -> None:
    match = Match(
        listener=("a", "b"),
        upstream=("u",),
        protocol=("grpc",),
        host=text("h"),
        path=text("/p"),
        method=("PUT",),
        query=(("q", text("1")),),
        headers=(("x-a", text("1")),),
        grpc_service=text("s"),
        grpc_method=text("m"),
        attempt=(1, 2),
        source=("10.0.0.0/8",),
        sni=text("n"),
        certificate_subject=text("CN=a"),
        certificate_san=text("a"),
        certificate_fingerprint=text("ff"),
        response=ResponseMatch(
            status=((404, 404), (500, 599)), headers=(("x-b", text("1")),), grpc_status=(3,)
        ),
    )
    seen = facts("/s/m", query="q=2&q=3", headers={"x-a": ["2"]}, protocols=CALL)
    seen.response_status = 200
    seen.client_certificate = ClientCertificate(b"CN=b", [b"b", b"c"], b"00")
    compiled = compile_rule(rule(match=match), 0, None, 1)
    shown = {part.part: (part.wanted, part.seen(seen)) for part in compiled.conditions + compiled.response}
    assert shown == {
        "listener": ("a or b", "web"),
        "upstream": ("u", "default"),
        "protocol": ("grpc", "http2, grpc"),
        "host": ('"h"', '"web.example"'),
        "path": ('"/p"', '"/s/m"'),
        "method": ("PUT", '"GET"'),
        "query.q": ('"1"', '"2", "3"'),
        "headers.x-a": ('"1"', '"2"'),
        "grpc.service": ('"s"', '"s"'),
        "grpc.method": ('"m"', '"m"'),
        "attempt": ("1 or 2", "1"),
        "source": ("10.0.0.0/8", "192.0.2.1"),
        "sni": ('"n"', "absent"),
        "client_certificate.subject": ('"CN=a"', '"CN=b"'),
        "client_certificate.san": ('"a"', '"b", "c"'),
        "client_certificate.fingerprint": ('"ff"', '"00"'),
        "response.status": ("404 or 500-599", "200"),
        "response.headers.x-b": ('"1"', "absent"),
        "response.grpc_status": ("3", "absent"),
    }


def test_what_is_absent_is_shown_so() -> None:
    match = Match(
        upstream=("u",),
        host=text("h"),
        path=text("p"),
        method=("M",),
        source=("::/0",),
        grpc_method=text("m"),
    )
    nothing = Facts("web", "", 0)
    shown = [part.seen(nothing) for part in compile_rule(rule(match=match), 0, None, 1).conditions]
    assert shown == [
        "absent",
        "absent",
        "absent",
        "none",
        "not a grpc call".replace("grpc", "gRPC"),
        "no address",
    ]


def test_values_are_shown_short_and_readable() -> None:
    assert show(b"\xff") == '"\\xff"'
    assert show("é".encode()) == '"é"'
    assert show(b"x" * 1000) == f'"{"x" * LONGEST_SEEN}…"'
    assert show_all([b"a", b"b"]) == '"a", "b"'
    assert show_all([]) == "absent"


def test_only_what_a_connection_has_can_hold_without_a_request() -> None:
    of_connection = Match(listener=("web",), source=("::/0",), sni=text("x"))
    assert not compile_rule(rule(match=of_connection), 0, None, 1).of_exchange
    assert compile_rule(rule(match=Match(method=("GET",))), 0, None, 1).of_exchange
    of_answer = Match(response=ResponseMatch(status=((200, 200),)))
    assert compile_rule(rule(match=of_answer), 0, None, 1).of_exchange


def test_a_bare_condition_cannot_tell() -> None:
    bare = Condition("x", "y", False)
    with pytest.raises(NotImplementedError):
        bare.holds(facts())
    with pytest.raises(NotImplementedError):
        bare.seen(facts())
