"""The DNS listener over real sockets: what it passes on, and what rules make of it."""

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.support.dns_server import NODATA, REFUSED, SERVFAIL, SILENCE, TRUNCATED, Resolver, Zone
from tests.support.proxy import Proxy, Rule, rule
from tests.support.wait import eventually

ZONE: Zone = {
    "shop.test": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "MX": ["10 mail.test."]},
    "many.test": {"A": [f"192.0.2.{n}" for n in range(1, 9)]},
    "large.test": {"TXT": ['"' + "x" * 200 + f'{n}"' for n in range(10)]},
    "tcp.test": {TRUNCATED: [], "A": ["192.0.2.9"]},
    "bad.test": SERVFAIL,
    "mine.test": REFUSED,
    "empty.test": NODATA,
    "silent.test": SILENCE,
}
NOERROR, NXDOMAIN = dns.rcode.NOERROR, dns.rcode.NXDOMAIN


class Names:
    """A proxy with a DNS listener, in front of a resolver of our own."""

    def __init__(self, folder: Path, resolver: Resolver) -> None:
        self.resolver = resolver
        self.proxy = Proxy(
            folder,
            config={
                "dns": {"listen": "127.0.0.1:0", "resolvers": [resolver.address]},
                "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "app"}]}],
                "upstreams": {"app": {"address": "127.0.0.1:9"}},
            },
        )
        found = self.proxy.process.wait_line(r"misrule ready: .*; dns 127\.0\.0\.1:(\d+)")
        self.port = int(found[1])

    def ask(
        self, name: str, kind: str = "A", tcp: bool = False, payload: int | None = None
    ) -> dns.message.Message:
        """Ask; payload None: without EDNS."""
        query = dns.message.make_query(name, kind, use_edns=payload is not None, payload=payload)
        if tcp:
            return dns.query.tcp(query, "127.0.0.1", 10.0, self.port)
        return dns.query.udp(query, "127.0.0.1", 10.0, self.port)

    def found(self, name: str, kind: str = "A", **how: bool) -> list[str]:
        """The records of an answer."""
        return [item.to_text() for records in self.ask(name, kind, **how).answer for item in records]

    def put(self, *faults: Rule, **parts: object) -> None:
        self.proxy.put(rule("r", *faults, **parts))


@pytest.fixture(scope="module")
def _names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    with Resolver(ZONE) as resolver:
        made = Names(tmp_path_factory.mktemp("dns"), resolver)
        yield made
        made.proxy.stop()


@pytest.fixture
def names(_names: Names) -> Iterator[Names]:
    _names.proxy.calm()
    _names.resolver.down = False
    yield _names
    _names.proxy.calm()


# Passing on


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("shop.test", "A", ["192.0.2.1"]),
        ("SHOP.test", "AAAA", ["2001:db8::1"]),
        ("shop.test", "MX", ["10 mail.test."]),
        ("shop.test", "SRV", []),
    ],
)
def test_answers_are_passed_on(names: Names, tcp: bool, name: str, kind: str, records: list[str]) -> None:
    answer = names.ask(name, kind, tcp)
    assert answer.rcode() == NOERROR
    assert [item.to_text() for one in answer.answer for item in one] == records
    assert all(one.ttl == 60 for one in answer.answer)


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody.test", NXDOMAIN), ("bad.test", dns.rcode.SERVFAIL), ("mine.test", dns.rcode.REFUSED)],
)
def test_failures_are_passed_on(names: Names, name: str, code: dns.rcode.Rcode) -> None:
    assert names.ask(name).rcode() == code


def test_what_does_not_fit_says_so_and_comes_over_tcp(names: Names) -> None:
    for payload in (None, 600):
        answer = names.ask("large.test", "TXT", payload=payload)
        assert (bool(answer.flags & dns.flags.TC), answer.answer) == (True, [])
    assert len(names.found("large.test", "TXT", tcp=True)) == 10
    answer = names.ask("large.test", "TXT", payload=4096)
    assert (bool(answer.flags & dns.flags.TC), len(answer.answer[0])) == (False, 10)


def test_a_truncated_answer_of_the_resolver_stays_one(names: Names) -> None:
    assert names.ask("tcp.test").flags & dns.flags.TC
    assert names.found("tcp.test", tcp=True) == ["192.0.2.9"]


def test_where_no_resolver_answers_it_says_servfail(names: Names) -> None:
    names.resolver.down = True
    assert names.ask("shop.test").rcode() == dns.rcode.SERVFAIL


def test_many_questions_on_one_connection(names: Names) -> None:
    with socket.create_connection(("127.0.0.1", names.port), 10.0) as sock:
        queries = [dns.message.make_query("many.test", "A") for _ in range(20)]
        for query in queries:
            wire = query.to_wire()
            sock.sendall(struct.pack("!H", len(wire)) + wire)
        stream = sock.makefile("rb")
        answered = set()
        for _ in queries:
            (size,) = struct.unpack("!H", stream.read(2))
            answered.add(dns.message.from_wire(stream.read(size)).id)
    assert answered == {query.id for query in queries}


# What is no question


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"\x12\x34\x01\x00" + bytes(8), dns.rcode.FORMERR),  # no question at all
        (b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c\x00\x01\x00\x01", dns.rcode.FORMERR),  # a loop
        (b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x3fabc", dns.rcode.FORMERR),  # cut off
        (b"\x12\x34\x29\x00" + bytes(8), dns.rcode.NOTIMP),  # an update
    ],
)
def test_bad_packets_are_answered(names: Names, packet: bytes, code: dns.rcode.Rcode) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10.0)
        sock.sendto(packet, ("127.0.0.1", names.port))
        answer = sock.recv(512)
    assert (answer[:2], answer[2] & 0x80, answer[3] & 15) == (b"\x12\x34", 0x80, int(code))


@pytest.mark.parametrize("packet", [b"", b"x", bytes(11), b"\x12\x34\x81\x80" + bytes(8), b"\xff" * 600])
def test_what_is_no_query_is_dropped(names: Names, packet: bytes) -> None:
    before = names.proxy.metric("misrule_dns_queries_total", outcome="malformed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(packet, ("127.0.0.1", names.port))
        eventually(lambda: names.proxy.metric("misrule_dns_queries_total", outcome="malformed") == before + 1)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(512)
    assert names.found("shop.test") == ["192.0.2.1"]


# Rules


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("nxdomain", NXDOMAIN),
        ("servfail", dns.rcode.SERVFAIL),
        ("refused", dns.rcode.REFUSED),
        ("nodata", NOERROR),
    ],
)
def test_each_failure(names: Names, word: str, code: dns.rcode.Rcode, tcp: bool) -> None:
    names.put({"dns": word})
    asked = names.resolver.count("shop.test")
    answer = names.ask("shop.test", tcp=tcp, payload=1232)
    assert (answer.rcode(), answer.answer) == (code, [])
    assert answer.flags & dns.flags.RA
    assert answer.edns == 0
    assert names.resolver.count("shop.test") == asked
    line = names.proxy.process.wait_line(r'(\{.*"event":"injection".*"rule":"r".*\})')[1]
    assert all(
        part in line for part in ('"listener":"dns"', '"name":"shop.test"', '"type":"A"', '"fault":"dns"')
    )
    assert names.proxy.injections(rule="r", fault="dns", phase="resolve") == 1


@pytest.mark.parametrize("tcp", [False, True])
def test_silence(names: Names, tcp: bool) -> None:
    names.put({"dns": "timeout"})
    query = dns.message.make_query("shop.test", "A")
    ask = dns.query.tcp if tcp else dns.query.udp
    with pytest.raises(dns.exception.Timeout):
        ask(query, "127.0.0.1", 0.3, names.port)
    assert names.proxy.injections(rule="r") == 1


def test_a_delay(names: Names) -> None:
    names.put({"dns": {"delay": "300ms"}})
    begun = time.monotonic()
    assert names.found("shop.test") == ["192.0.2.1"]
    assert 0.3 <= time.monotonic() - begun < 5.0


def test_a_delay_ends_with_its_rule(names: Names) -> None:
    names.put({"dns": {"delay": "1h"}})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10.0)
        sock.sendto(dns.message.make_query("shop.test", "A").to_wire(), ("127.0.0.1", names.port))
        eventually(lambda: names.proxy.metric("misrule_exchanges_held") == 1)
        names.proxy.put()
        assert len(dns.message.from_wire(sock.recv(512)).answer) == 1
    assert names.proxy.metric("misrule_exchanges_held") == 0


def test_truncation_sends_clients_to_tcp(names: Names) -> None:
    names.put({"dns": "truncated"})
    answer = names.ask("shop.test")
    assert (bool(answer.flags & dns.flags.TC), answer.answer) == (True, [])
    assert names.found("shop.test", tcp=True) == ["192.0.2.1"]
    query = dns.message.make_query("shop.test", "A")
    _, by_tcp = dns.query.udp_with_fallback(query, "127.0.0.1", 10.0, names.port)
    assert by_tcp
    assert names.proxy.injections(rule="r") == 2  # over UDP alone


def test_wrong_addresses(names: Names) -> None:
    names.put({"dns": {"address": ["203.0.113.1", "203.0.113.2", "2001:db8:bad::1"], "ttl": 7}})
    assert sorted(names.found("shop.test")) == ["203.0.113.1", "203.0.113.2"]
    assert names.found("shop.test", "AAAA") == ["2001:db8:bad::1"]
    assert names.ask("nobody.test").answer[0].ttl == 7
    assert names.found("shop.test", "MX") == ["10 mail.test."]


def test_a_wrong_address_of_one_family_leaves_none_of_the_other(names: Names) -> None:
    names.put({"dns": {"address": "203.0.113.1"}})
    answer = names.ask("shop.test", "AAAA")
    assert (answer.rcode(), answer.answer) == (NOERROR, [])


@pytest.mark.parametrize("ttl", [0, 2147483647])
def test_times_to_live(names: Names, ttl: int) -> None:
    names.put({"dns": {"ttl": ttl}})
    answer = names.ask("many.test")
    assert [(one.ttl, len(one)) for one in answer.answer] == [(ttl, 8)]


def test_partial_record_sets(names: Names) -> None:
    names.put({"dns": "partial"})
    for _ in range(5):  # the resolver turns their order
        assert sorted(names.found("many.test")) == [f"192.0.2.{n}" for n in range(1, 5)]
    assert len(names.found("shop.test")) == 1
    assert names.proxy.injections(rule="r") == 5  # one record is no set to take from


@pytest.mark.parametrize(
    ("match", "name", "kind", "fires"),
    [
        ({"dns": {"name": "shop.test"}}, "shop.test", "A", True),
        ({"dns": {"name": "shop.test"}}, "SHOP.TEST", "A", True),
        ({"dns": {"name": "shop.test"}}, "many.test", "A", False),
        ({"dns": {"name": {"suffix": ".test"}, "type": ["AAAA"]}}, "shop.test", "A", False),
        ({"dns": {"name": {"suffix": ".test"}, "type": ["AAAA"]}}, "shop.test", "AAAA", True),
        ({"dns": {"type": ["TYPE65280"]}}, "shop.test", "TYPE65280", True),
        ({"source": ["127.0.0.0/8"]}, "shop.test", "A", True),
        ({"source": ["10.0.0.0/8"]}, "shop.test", "A", False),
        ({"listener": ["dns"]}, "shop.test", "A", True),
        ({"listener": ["web"]}, "shop.test", "A", False),
        ({"upstream": ["app"]}, "shop.test", "A", False),
        ({"method": ["GET"]}, "shop.test", "A", False),
    ],
)
def test_whom_a_rule_means(names: Names, match: Rule, name: str, kind: str, fires: bool) -> None:
    names.put({"dns": "refused"}, match=match)
    assert (names.ask(name, kind).rcode() == dns.rcode.REFUSED) is fires


def test_samples(names: Names) -> None:
    names.put({"dns": "refused"}, sample={"first": 2})
    codes = [names.ask("shop.test").rcode() for _ in range(5)]
    assert codes == [dns.rcode.REFUSED] * 2 + [NOERROR] * 3
    names.put({"dns": "refused"}, sample={"percent": 50, "sticky": "source"})
    assert len({names.ask("shop.test").rcode() for _ in range(10)}) == 1
    names.put({"dns": "refused"}, sample={"percent": 50})
    assert 1 <= sum(names.ask("shop.test").rcode() == NOERROR for _ in range(60)) <= 59


def test_a_sample_sticks_to_names(names: Names) -> None:
    """Half of the names fail, the same ones for each type and transport, and always."""
    names.put({"dns": "refused"}, sample={"percent": 50, "sticky": "name"})
    hit = []
    for name in (f"n{number}.test" for number in range(40)):
        asked = [names.ask(name), names.ask(name, "AAAA"), names.ask(name.upper(), tcp=True)]
        (code,) = {answer.rcode() for answer in asked}
        hit.append(code == dns.rcode.REFUSED)
    assert 10 <= sum(hit) <= 30  # which ones is written in the seed, so this cannot change


def test_shadows_change_nothing(names: Names) -> None:
    names.put({"dns": "nxdomain"}, mode="shadow")
    assert names.found("shop.test") == ["192.0.2.1"]
    assert names.proxy.metric("misrule_shadow_injections_total", rule="r") == 1


def test_the_red_button(names: Names) -> None:
    names.put({"dns": "nxdomain"})
    names.proxy.admin("POST", "/v1/stop")
    assert names.found("shop.test") == ["192.0.2.1"]
    names.proxy.admin("POST", "/v1/resume")
    assert names.ask("shop.test").rcode() == NXDOMAIN


def test_several_faults_follow_each_other(names: Names) -> None:
    names.put({"dns": {"delay": "100ms"}}, {"dns": {"ttl": 3}}, {"dns": "partial"})
    answer = names.ask("many.test")
    assert [(one.ttl, len(one)) for one in answer.answer] == [(3, 4)]
    assert names.proxy.injections(rule="r") == 3
