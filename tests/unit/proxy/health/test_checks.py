"""When checks run, and what pool, log and counters get to know; on a clock that stands still."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.config import HealthCheck
from proxy.health import checks, probe
from proxy.health.checks import FIRST_WITHIN, HealthChecks
from proxy.health.outcome import FAILED, PASSED, TIMEOUT, UNIMPLEMENTED, Outcome
from proxy.net.pool import AUTO, HTTP1, HTTP2, Endpoint
from tests.support.fakes import Stage

GOOD = Outcome(PASSED, "status 200")
BAD = Outcome(FAILED, "status 503, not 200-299")


class StillClock:
    """Sleepers wake when the test lets time pass."""

    def __init__(self) -> None:
        self.time = 100.0
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.time + seconds, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking who is due in order."""
        until = self.time + seconds
        while True:
            for _ in range(10):
                await asyncio.sleep(0)
            due = [entry for entry in self.sleepers if entry[0] <= until + 1e-9]
            if not due:
                break
            first = min(due, key=lambda entry: entry[0])
            self.sleepers.remove(first)
            self.time = max(self.time, first[0])
            if not first[1].done():
                first[1].set_result(None)
        self.time = until


class Bench:
    """Checks of a pretended upstream; ``says`` has what each address answers, ``asked`` when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, check: HealthCheck, endpoints: int = 2) -> None:
        self.stage = Stage(endpoints=endpoints)
        self.clock = StillClock()
        self.says: dict[int, Outcome | Exception] = dict.fromkeys(range(endpoints), GOOD)
        self.takes = 0.0  # seconds that an answer takes
        self.asked: list[tuple[float, int]] = []
        self.under_way = 0
        self.answers: Callable[[Endpoint], Awaitable[Outcome]] | None = None  # instead of ``says``
        monkeypatch.setattr(checks, "asker", lambda *_: self.ask)
        self.stage.worker.wall_clock = lambda: 1_700_000_000.0 + self.clock.time
        self.checks = HealthChecks(self.stage.worker, self.clock)
        self.checks.add(self.stage.upstream, check)
        self.cells = self.stage.upstream.cells.endpoints

    async def ask(self, endpoint: Endpoint) -> Outcome:
        self.asked.append((self.clock.time, endpoint.number))
        if self.answers is not None:
            return await self.answers(endpoint)
        self.under_way += 1
        if self.takes:
            await self.clock.sleep(self.takes)
        self.under_way -= 1
        said = self.says[endpoint.number]
        if isinstance(said, Exception):
            raise said
        return said

    def picked(self) -> set[int]:
        """The addresses that exchanges go to."""
        found = [self.stage.upstream.pick(0) for _ in range(8)]
        return {endpoint.number for endpoint in found if endpoint is not None}

    def times(self, number: int) -> list[float]:
        """When an address was asked."""
        return [at for at, asked in self.asked if asked == number]

    async def answer(self) -> bytes:
        """What a client gets from an upstream that answers with its port."""
        client = self.stage.client()
        client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await self.stage.turn()
        for place in self.stage.loop.upstreams:
            if place.taken():
                place.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n%d" % place.peer[1])
        return client.taken()


Make = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    made: list[Bench] = []

    async def start(endpoints: int = 2, **check: object) -> Bench:
        made.append(Bench(monkeypatch, HealthCheck(http="/", **check), endpoints))  # type: ignore[arg-type]
        made[-1].checks.start()
        return made[-1]

    yield start
    for one in made:
        await one.checks.stop()


async def test_the_first_check_comes_soon_and_then_one_each_interval(bench: Make) -> None:
    made = await bench(8)
    begun = made.clock.time
    await made.clock.advance(40)
    firsts = []
    for number in range(8):
        first, *rest = made.times(number)
        firsts.append(first)
        assert 0 <= first - begun <= FIRST_WITHIN
        assert rest == pytest.approx([first + 10 * turn for turn in range(1, 1 + len(rest))])
        assert len(rest) in (3, 4)
    assert len(set(firsts)) == 8  # not all at once


async def test_a_slow_check_puts_off_the_next_and_none_piles_up(bench: Make) -> None:
    made = await bench(1, interval=1.0, timeout=5.0)
    made.takes = 2.5
    for _ in range(50):
        await made.clock.advance(0.5)
        assert made.under_way <= 1
    times = made.times(0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([2.5] * len(gaps))


async def test_an_unhealthy_address_is_passed_over_until_it_is_well_again(bench: Make) -> None:
    made = await bench(3)
    await made.clock.advance(1)
    assert made.picked() == {0, 1, 2}
    made.says[1] = BAD
    await made.clock.advance(20)
    assert made.picked() == {0, 1, 2}  # two failures
    await made.clock.advance(10)
    assert made.picked() == {0, 2}
    made.says[1] = GOOD
    await made.clock.advance(10)
    assert made.picked() == {0, 2}  # one pass
    await made.clock.advance(10)
    assert made.picked() == {0, 1, 2}
    states = [
        (line["address"], line["state"], line["level"]) for line in made.stage.logged("upstream_health")
    ]
    assert states[3:] == [("10.0.0.1:81", "unhealthy", "warning"), ("10.0.0.1:81", "healthy", "info")]


async def test_who_flaps_below_the_threshold_stays(bench: Make) -> None:
    made = await bench(2, unhealthy_after=3)
    await made.clock.advance(1)
    for turn in range(30):
        made.says[0] = GOOD if turn % 3 == 2 else BAD
        await made.clock.advance(10)
        assert made.picked() == {0, 1}
    assert len(made.stage.logged("upstream_health")) == 2  # the first check of each


async def test_when_all_are_unhealthy_all_are_used(bench: Make) -> None:
    made = await bench(2)
    made.says = {0: BAD, 1: BAD}
    await made.clock.advance(1)
    assert made.picked() == {0, 1}
    assert made.stage.logged("upstream_health")[-1]["message"].endswith("; none is left: all are used")
    made.says[1] = GOOD
    await made.clock.advance(10)
    assert made.picked() == {1}


async def test_when_all_are_unhealthy_requests_fail_where_that_is_asked_for(bench: Make) -> None:
    made = await bench(2, when_all_unhealthy="fail")
    made.says = {0: BAD, 1: BAD}
    await made.clock.advance(1)
    assert made.picked() == set()
    assert made.stage.logged("upstream_health")[-1]["message"].endswith("; none is left: requests get 503")
    answer = await made.answer()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nproxy-status: misrule; error=destination_unavailable\r\n" in answer
    assert answer.endswith(b"\r\n\r\nmisrule: no healthy upstream\n")
    assert made.stage.upstream.cells.failures == {"no_healthy_upstream": 1}
    made.says[1] = GOOD
    await made.clock.advance(10)
    assert (await made.answer()).endswith(b"\r\n\r\n81")


async def test_the_only_address_can_be_out_too(bench: Make) -> None:
    made = await bench(1, when_all_unhealthy="fail")
    made.says[0] = BAD
    await made.clock.advance(1)
    assert (await made.answer()).startswith(b"HTTP/1.1 503 ")
    made.says[0] = GOOD
    await made.clock.advance(10)
    assert (await made.answer()).endswith(b"\r\n\r\n80")


async def test_what_is_under_way_goes_on(bench: Make) -> None:
    made = await bench(2, when_all_unhealthy="fail")
    client = made.stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    place = await made.stage.connected()
    made.says = {0: BAD, 1: BAD}
    await made.clock.advance(1)
    assert made.picked() == set()
    place.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
    assert client.taken().endswith(b"\r\n\r\nlate")


async def test_outcomes_are_counted_and_the_newest_is_shown(bench: Make) -> None:
    made = await bench(1, interval=1.0)
    await made.clock.advance(1)
    made.says[0] = Outcome(TIMEOUT, "no answer within 1 s")
    await made.clock.advance(4)
    (cells,) = made.cells
    assert (cells.address, cells.state) == ("10.0.0.1:80", "unhealthy")
    assert cells.checks == {"passed": 1, "timeout": 4}
    assert cells.last == "no answer within 1 s"
    third = made.times(0)[3]
    assert cells.since == pytest.approx(1_700_000_000.0 + third)


async def test_long_words_of_an_upstream_are_cut(bench: Make) -> None:
    made = await bench(1)
    made.says[0] = Outcome(FAILED, "UNKNOWN: " + "x" * 60_000)
    await made.clock.advance(1)
    assert len(made.cells[0].last) == 200
    (line,) = made.stage.logged("upstream_health")
    assert len(line["message"]) < 300


async def test_a_check_counts_as_no_request(bench: Make) -> None:
    made = await bench(2)
    await made.clock.advance(30)
    assert len(made.asked) >= 6
    assert [sum(cells.statuses) for cells in made.stage.worker.cells.routes] == [0, 0]
    assert made.stage.upstream.cells.opened == 0


async def test_a_server_without_the_health_service_is_taken_as_well_and_told_of(bench: Make) -> None:
    made = await bench(1)
    made.says[0] = Outcome(UNIMPLEMENTED, "UNIMPLEMENTED: no health service")
    await made.clock.advance(1)
    (line,) = made.stage.logged("upstream_health")
    assert (line["state"], line["level"], line["outcome"]) == ("healthy", "warning", "unimplemented")


async def test_a_bug_in_a_check_ends_neither_the_checks_nor_the_proxy(bench: Make) -> None:
    made = await bench(1, interval=1.0)
    made.says[0] = RuntimeError("oops")
    await made.clock.advance(3)
    assert made.cells[0].state == "unhealthy"
    assert made.stage.worker.cells.internal_errors >= 3
    made.says[0] = GOOD
    await made.clock.advance(1)
    assert made.cells[0].state == "healthy"


async def test_a_cancelled_wait_within_a_check_ends_no_later_check(bench: Make) -> None:
    """As grpclib ends a call whose connection breaks: Python 3.11.2 remembers it of the task."""
    made = await bench(1, interval=1.0)

    async def breaks(endpoint: Endpoint) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return BAD

    async def times_out(endpoint: Endpoint) -> Outcome:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return Outcome(TIMEOUT, "no answer")
        return GOOD

    made.answers = breaks
    await made.clock.advance(1)
    made.answers = times_out
    await made.clock.advance(3)
    assert made.cells[0].checks == {"failed": 1, "timeout": 3}


async def test_stopping_ends_a_check_that_is_under_way(bench: Make) -> None:
    made = await bench(1)
    made.takes = 100.0
    await made.clock.advance(1)
    assert made.under_way == 1
    await made.checks.stop()
    await made.clock.advance(200)
    assert len(made.asked) == 1


async def test_stopping_is_said_until_it_is_heard(bench: Make) -> None:
    """As if the first one came at the moment in which a connection stands (see HealthChecks.stop)."""
    made = await bench(2)
    lost: set[int] = set()

    async def deaf(endpoint: Endpoint) -> Outcome:
        try:
            await made.clock.sleep(100.0)
        except asyncio.CancelledError:
            if endpoint.number in lost:
                raise
            lost.add(endpoint.number)
        return GOOD

    made.answers = deaf
    await made.clock.advance(1)
    async with asyncio.timeout(20):
        await made.checks.stop()
    assert lost == {0, 1}


@pytest.mark.parametrize(
    ("check", "protocol", "wanted"),
    [
        (HealthCheck(http="/"), AUTO, probe.Http1Probe),
        (HealthCheck(http="/"), HTTP1, probe.Http1Probe),
        (HealthCheck(http="/"), HTTP2, probe.Http2Probe),
        (HealthCheck(tcp=True), HTTP2, probe.Probe),
    ],
)
async def test_the_upstreams_protocol_decides_how_http_is_asked(
    monkeypatch: pytest.MonkeyPatch, check: HealthCheck, protocol: int, wanted: type[probe.Probe]
) -> None:
    async def run(made: probe.Probe, *_: object) -> Outcome:
        assert type(made) is wanted
        return GOOD

    monkeypatch.setattr(probe, "run", run)
    assert await checks.asker(check, protocol)(Endpoint(0, "a", 1, "", 1)) is GOOD
