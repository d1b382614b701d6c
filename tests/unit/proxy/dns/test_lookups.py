"""What is known of a name, for how long, and what then; on a clock that stands still."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from proxy import errors
from proxy.dns import lookups
from proxy.dns.lookups import Lookups
from proxy.logs import Log
from proxy.metrics.cells import LookupCells
from proxy.net import dial
from proxy.net.pool import Endpoint
from tests.support.dns_server import NODATA, NXDOMAIN, REFUSED, SERVFAIL, SILENCE, TRUNCATED, Resolver, Zone
from tests.support.fakes import Lines

PATIENCE = 20.0


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    zone: Zone = {
        "shop.test": {"A": ["192.0.2.1"]},
        "both.test": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
        "large.test": {TRUNCATED: [], "A": ["192.0.2.9"]},
        "loop.test": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
        "bad.test": SERVFAIL,
        "mine.test": REFUSED,
        "empty.test": NODATA,
        "silent.test": SILENCE,
    }
    with Resolver(zone, ttl=0) as started:  # c-ares has a cache of its own, on a clock of its own
        yield started


class Case:
    """One asker, its clock and what it has counted and said."""

    def __init__(self, resolver: Resolver) -> None:
        self.time = 100.0
        self.cells = LookupCells()
        self.lines = Lines()
        self.log = Log(stream=self.lines)
        self.lookups = Lookups([resolver.address], self.now, self.cells, self.log)

    def now(self) -> float:
        return self.time

    async def ask(self, name: str = "shop.test", patience: float = PATIENCE) -> list[str]:
        known = self.lookups.known(name)
        return await self.lookups.look_up(name, patience) if known is None else known

    async def fails(self, name: str, patience: float = PATIENCE) -> errors.Failure:
        with pytest.raises(socket.gaierror) as raised:
            await self.ask(name, patience)
        return dial.failure_of(raised.value)

    def counted(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.cells.outcomes.items() if count}

    def events(self) -> list[str]:
        self.log.flush()
        return [json.loads(line)["event"] for line in self.lines.text.splitlines()]


@contextlib.asynccontextmanager
async def waiting(resolver: Resolver, monkeypatch: pytest.MonkeyPatch, timeout: float) -> AsyncIterator[Case]:
    """Ask once, and wait so many seconds."""
    monkeypatch.setattr(lookups, "TIMEOUT", timeout)
    monkeypatch.setattr(lookups, "TRIES", 1)
    made = Case(resolver)
    yield made
    await made.lookups.close()
    made.log.close()


@pytest_asyncio.fixture
async def case(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """It waits long for answers that do come, however busy the machine is."""
    async with waiting(resolver, monkeypatch, 10.0) as made:
        yield made


@pytest_asyncio.fixture
async def hasty(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """It waits no longer than a busy machine may take, for answers that do not come."""
    async with waiting(resolver, monkeypatch, 0.5) as made:
        yield made


async def test_a_name_is_asked_for_once_in_its_ttl(case: Case, resolver: Resolver) -> None:
    resolver.ttl = 30
    assert await case.ask() == ["192.0.2.1"]
    asked = resolver.count("shop.test")
    case.time += 29.9
    resolver.zone["shop.test"] = {"A": ["192.0.2.2"]}
    assert case.lookups.known("shop.test") == ["192.0.2.1"]
    case.time += 0.2
    assert case.lookups.known("shop.test") is None
    assert resolver.count("shop.test") == asked == 2  # A and AAAA


async def test_a_change_is_taken_up_when_the_ttl_is_over(case: Case, resolver: Resolver) -> None:
    await case.ask()
    resolver.zone["shop.test"] = {"A": ["192.0.2.2"]}
    case.time += lookups.LEAST_TTL
    assert await case.ask() == ["192.0.2.2"]
    assert case.events() == ["upstream_addresses"]


async def test_those_who_ask_at_once_ask_together(case: Case, resolver: Resolver) -> None:
    found = await asyncio.gather(*[case.lookups.look_up("shop.test", PATIENCE) for _ in range(20)])
    assert found == [["192.0.2.1"]] * 20
    assert resolver.count("shop.test") == 2
    assert case.counted() == {"found": 1}


async def test_both_families_and_all_addresses_come(case: Case) -> None:
    assert sorted(await case.ask("both.test")) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


async def test_a_truncated_answer_is_fetched_over_tcp(case: Case, resolver: Resolver) -> None:
    assert await case.ask("large.test") == ["192.0.2.9"]
    assert ("large.test", "A", "tcp") in resolver.asked


async def test_etc_hosts_needs_no_resolver(case: Case, resolver: Resolver) -> None:
    assert "127.0.0.1" in await case.ask("localhost")
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("nobody.test", errors.DNS_NXDOMAIN),
        ("empty.test", errors.DNS_NODATA),
        ("bad.test", errors.DNS_SERVFAIL),
        ("mine.test", errors.DNS_REFUSED),
        ("x" * 64 + ".test", errors.DNS_ERROR),
    ],
)
async def test_each_failure_has_its_kind(case: Case, name: str, failure: errors.Failure) -> None:
    assert await case.fails(name) is failure
    assert case.counted() == {failure.kind: 1}


async def test_silence_is_a_timeout(hasty: Case) -> None:
    assert await hasty.fails("silent.test") is errors.DNS_TIMEOUT
    assert hasty.counted() == {"dns_timeout": 1}


async def test_a_resolver_that_is_not_there_is_a_timeout(case: Case) -> None:
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    port = gone.getsockname()[1]
    gone.close()
    alone = Lookups([f"127.0.0.1:{port}"], case.now, case.cells, case.log)
    with pytest.raises(socket.gaierror) as raised:
        await alone.look_up("shop.test", PATIENCE)
    assert dial.failure_of(raised.value) is errors.DNS_TIMEOUT
    await alone.close()


async def test_patience_ends_before_the_resolver_does(resolver: Resolver) -> None:
    slow = Case(resolver)
    began = time.monotonic()
    assert await slow.fails("silent.test", 0.05) is errors.DNS_TIMEOUT
    assert time.monotonic() - began < lookups.TIMEOUT
    await slow.lookups.close()


@pytest.mark.parametrize("word", [SERVFAIL, REFUSED])
async def test_what_has_expired_is_used_while_no_answer_helps(
    case: Case, resolver: Resolver, word: str
) -> None:
    await _stale_while(case, resolver, word)


async def test_what_has_expired_is_used_while_nobody_answers(hasty: Case, resolver: Resolver) -> None:
    await _stale_while(hasty, resolver, SILENCE)


async def _stale_while(case: Case, resolver: Resolver, word: str) -> None:
    await case.ask()
    resolver.zone["shop.test"] = word
    case.time += 60.0
    assert await case.ask() == ["192.0.2.1"]
    assert case.counted() == {"found": 1, "stale": 1}
    assert case.events() == ["upstream_addresses_stale"]
    asked = resolver.count("shop.test")
    case.time += lookups.RECHECK - 0.1
    assert await case.ask() == ["192.0.2.1"]
    assert resolver.count("shop.test") == asked  # not asked again before the time is over
    resolver.zone["shop.test"] = {"A": ["192.0.2.7"]}
    case.time += 0.2
    assert await case.ask() == ["192.0.2.7"]


async def test_what_has_expired_is_not_used_for_ever(case: Case, resolver: Resolver) -> None:
    await case.ask()
    resolver.zone["shop.test"] = SERVFAIL
    case.time += lookups.LEAST_TTL + lookups.STALE_FOR - 1.0
    assert await case.ask() == ["192.0.2.1"]
    case.time += 1.0
    assert await case.fails("shop.test") is errors.DNS_SERVFAIL


@pytest.mark.parametrize(("word", "failure"), [(NXDOMAIN, errors.DNS_NXDOMAIN), (NODATA, errors.DNS_NODATA)])
async def test_what_the_zone_denies_is_used_no_more(
    case: Case, resolver: Resolver, word: str, failure: errors.Failure
) -> None:
    await case.ask()
    resolver.zone["shop.test"] = word
    case.time += 60.0
    assert await case.fails("shop.test") is failure
    resolver.zone["shop.test"] = SERVFAIL
    assert await case.fails("shop.test") in (failure, errors.DNS_SERVFAIL)  # c-ares keeps some denials


# Dialling


class Peer(asyncio.Protocol):
    """Notes where it was connected to, and ends."""

    def __init__(self) -> None:
        self.peer: tuple[str, int] = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = transport.get_extra_info("peername")
        transport.close()


async def _dial(case: Case, name: str, port: int) -> tuple[str, int]:
    endpoint = Endpoint(0, name, port, "", 1)
    endpoint.names = case.lookups
    made = Peer()
    await dial.reach(asyncio.get_running_loop(), made, endpoint, PATIENCE)
    return made.peer


async def test_a_connection_goes_to_what_was_found(case: Case, resolver: Resolver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        resolver.zone["one.test"] = {"A": ["127.0.0.1"]}
        assert await _dial(case, "one.test", port) == ("127.0.0.1", port)


async def test_of_several_addresses_the_first_that_answers_is_taken(case: Case, resolver: Resolver) -> None:
    """127.0.0.2 refuses, and the other family is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        resolver.zone["some.test"] = {"A": ["127.0.0.2", "127.0.0.1"], "AAAA": ["::1"]}
        for _ in range(4):  # resolvers and c-ares turn the order
            assert (await _dial(case, "some.test", port))[0] == "127.0.0.1"
            case.time += 60.0


async def test_an_address_that_says_nothing_holds_up_the_next_for_a_moment_only(
    case: Case, resolver: Resolver
) -> None:
    """RFC 8305, section 5: after 250 ms the next one is tried beside it."""
    with socket.socket() as deaf, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        deaf.bind(("127.0.0.3", port))
        deaf.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:  # its queue is full: further SYNs are dropped
            one.setblocking(False)
            one.connect_ex(("127.0.0.3", port))
        case.lookups._known["two.test"] = lookups.Answer(["127.0.0.3", "127.0.0.1"], case.time + 60.0)
        began = time.monotonic()
        assert (await _dial(case, "two.test", port))[0] == "127.0.0.1"
        assert 0.25 <= time.monotonic() - began < 5.0
        for one in crowd:
            one.close()


async def test_several_addresses_that_all_refuse(case: Case, resolver: Resolver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    resolver.zone["none.test"] = {"A": ["127.0.0.1", "127.0.0.2"]}
    with pytest.raises(OSError) as raised:
        await _dial(case, "none.test", port)
    assert dial.failure_of(raised.value) is errors.CONNECT_REFUSED


def test_the_kinds_are_those_of_the_table() -> None:
    assert set(LookupCells().outcomes) == {"found", "stale", "dns_error", *errors.LOOKUPS}
