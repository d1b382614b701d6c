"""Which address, which connection, wait or refuse: decisions without sockets."""

import random
from collections import Counter

import pytest

from proxy.metrics.cells import UpstreamCells
from proxy.net.connection import Connection
from proxy.net.pool import (
    BALANCES,
    LEAST_REQUESTS,
    RANDOM,
    ROUND_ROBIN,
    Endpoint,
    Upstream,
    Waiter,
    least_requests,
    round_robin,
)
from tests.support.fakes import Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def endpoints(*weights: int) -> list[Endpoint]:
    return [Endpoint(number, "10.0.0.1", 80 + number, "", weight) for number, weight in enumerate(weights)]


def upstream(
    weights: list[int], balance: int = ROUND_ROBIN, connections: int = 10, idle: int = 10
) -> Upstream:
    made = endpoints(*weights)
    return Upstream("app", made, balance, UpstreamCells("app"), 5.0, 60.0, 300.0, connections, idle, True, 0)


class Kept(Connection):
    """A connection that counts as open until it is shut."""

    def __init__(self, pool: Upstream) -> None:
        self.pool = pool

    def shut(self) -> None:
        self.pool.open -= 1


class Queued(Waiter):
    def __init__(self, log: list[str], name: str, usable: bool = True) -> None:
        self.log = log
        self.name = name
        self.usable = usable

    def granted(self) -> bool:
        self.log.append(f"{self.name} granted")
        return self.usable

    def expired(self) -> None:
        self.log.append(f"{self.name} expired")


# --- which address


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ([1], "aaaa"),
        ([1, 1], "abab"),
        ([1, 1, 1], "abcabc"),
        ([5, 1, 1], "aabacaa"),
        ([3, 1], "aaba"),
        ([2, 3], "babab"),
        ([0, 1], "bbb"),
    ],
)
def test_smooth_weighted_round_robin(weights: list[int], order: str) -> None:
    made = endpoints(*weights)
    assert "".join("abc"[round_robin(made).number] for _ in order) == order


@pytest.mark.parametrize("weights", [[1, 2, 3], [7, 11, 13, 1], [100, 1], [4, 4, 4]])
def test_shares_are_exact_over_each_turn_and_close_at_any_time(weights: list[int]) -> None:
    made = endpoints(*weights)
    total = sum(weights)
    seen = [0] * len(weights)
    for turn in range(1, 3 * total + 1):
        seen[round_robin(made).number] += 1
        assert all(abs(seen[n] - turn * weight / total) < len(weights) for n, weight in enumerate(weights))
        if turn % total == 0:
            assert seen == [weight * (turn // total) for weight in weights]


@pytest.mark.parametrize(
    ("weights", "active", "chosen"),
    [
        ([1, 1, 1], [2, 1, 3], {1}),
        ([1, 1, 1], [1, 1, 3], {0, 1}),
        ([2, 1], [3, 1], {1}),
        ([2, 1], [1, 1], {0}),
        ([2, 1], [2, 1], {0, 1}),
        ([1, 1], [0, 0], {0, 1}),
    ],
)
def test_least_requests_counts_by_weight_and_equal_ones_take_turns(
    weights: list[int], active: list[int], chosen: set[int]
) -> None:
    made = endpoints(*weights)
    for endpoint, count in zip(made, active, strict=True):
        endpoint.active = count
    assert {least_requests(made).number for _ in range(6)} == chosen


def test_random_follows_the_weights() -> None:
    pool = upstream([1, 3], RANDOM)
    pool.dice = random.Random(7)
    seen = Counter(endpoint.number for _ in range(4000) if (endpoint := pool.pick(0)))
    assert seen[0] + seen[1] == 4000
    assert abs(seen[0] - 1000) < 100


@pytest.mark.parametrize("balance", [ROUND_ROBIN, LEAST_REQUESTS, RANDOM])
def test_an_address_that_failed_is_not_chosen_again(balance: int) -> None:
    pool = upstream([1, 1, 1], balance)
    picked = [pool.pick(0b101) for _ in range(20)]
    assert {endpoint.number for endpoint in picked if endpoint} == {1}
    assert pool.pick(0b111) is None


def test_the_only_address_is_chosen_until_it_failed() -> None:
    pool = upstream([1])
    assert pool.pick(0) is pool.endpoints[0]
    assert pool.pick(1) is None


@pytest.mark.parametrize("balance", [ROUND_ROBIN, LEAST_REQUESTS, RANDOM])
def test_an_unhealthy_address_is_not_chosen(balance: int) -> None:
    pool = upstream([1, 1, 1], balance)
    pool.mark(pool.endpoints[1], False)
    assert {endpoint.number for _ in range(30) if (endpoint := pool.pick(0))} == {0, 2}
    assert {endpoint.number for _ in range(30) if (endpoint := pool.pick(0b100))} == {0}
    pool.mark(pool.endpoints[0], False)
    assert pool.pick(0b011) is pool.endpoints[2]  # the others were tried when they were healthy
    assert pool.pick(0b100) is None
    pool.mark(pool.endpoints[1], True)
    assert {endpoint.number for _ in range(30) if (endpoint := pool.pick(0))} == {1, 2}


@pytest.mark.parametrize("weights", [[1], [1, 1]])
@pytest.mark.parametrize("use_all", [True, False])
def test_when_no_address_is_healthy_all_are_chosen_or_none(weights: list[int], use_all: bool) -> None:
    pool = upstream(weights)
    pool.use_all = use_all
    for endpoint in pool.endpoints:
        pool.mark(endpoint, False)
    picked = [pool.pick(0) for _ in range(8)]
    seen = {None if one is None else one.number for one in picked}
    assert seen == (set(range(len(weights))) if use_all else {None})
    pool.mark(pool.endpoints[0], True)
    assert pool.pick(0) is pool.endpoints[0]


def test_turns_begin_anew_when_an_address_comes_or_goes() -> None:
    """What an address was owed when it went is not made up for in one go when it comes back."""
    pool = upstream([5, 1, 1])
    for _ in range(3):
        pool.pick(0)
    pool.mark(pool.endpoints[0], False)
    assert [pool.pick(0).number for _ in range(4)] == [1, 2, 1, 2]  # type: ignore[union-attr]
    pool.mark(pool.endpoints[0], True)
    assert [pool.pick(0).number for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]  # type: ignore[union-attr]


def test_balances_have_the_names_of_the_configuration() -> None:
    assert BALANCES == {"round_robin": ROUND_ROBIN, "least_requests": LEAST_REQUESTS, "random": RANDOM}


@pytest.mark.parametrize(
    ("host", "port", "path", "text"),
    [
        ("a.example", 80, "", "a.example:80"),
        ("::1", 8080, "", "[::1]:8080"),
        ("", 0, "/run/s", "unix:/run/s"),
    ],
)
def test_an_address_is_shown_as_it_is_configured(host: str, port: int, path: str, text: str) -> None:
    assert Endpoint(0, host, port, path, 1).address() == text


# --- which connection


def test_the_connection_used_last_is_taken_first() -> None:
    pool = upstream([1])
    first, second = Kept(pool), Kept(pool)
    place = pool.endpoints[0]
    assert pool.take(place) is None
    assert pool.keep(place, first)
    assert pool.keep(place, second)
    assert pool.cells.idle == 2
    assert pool.take(place) is second
    assert pool.take(place) is first
    assert (pool.take(place), pool.cells.idle) == (None, 0)


def test_as_many_idle_as_allowed_over_all_addresses() -> None:
    pool = upstream([1, 1], idle=1)
    assert pool.keep(pool.endpoints[0], Kept(pool))
    assert not pool.keep(pool.endpoints[1], Kept(pool))


def test_a_connection_that_ended_is_forgotten_once() -> None:
    pool = upstream([1])
    kept = Kept(pool)
    pool.keep(pool.endpoints[0], kept)
    for _ in range(2):
        pool.forget(pool.endpoints[0], kept)
        assert (pool.cells.idle, pool.endpoints[0].idle) == (0, [])


def test_room_is_made_at_the_expense_of_who_idles_longest() -> None:
    pool = upstream([1, 1], connections=2)
    assert pool.make_room()
    pool.open = 2
    assert not pool.make_room()
    old, new = Kept(pool), Kept(pool)
    pool.keep(pool.endpoints[1], old)
    pool.keep(pool.endpoints[1], new)
    assert pool.make_room()
    assert (pool.open, pool.endpoints[1].idle, pool.cells.idle) == (1, [new], 1)


# --- the queue


def test_who_waits_longest_is_served_first() -> None:
    pool = upstream([1])
    log: list[str] = []
    for at, name in enumerate("abc"):
        pool.wait(10.0 + at, Queued(log, name))
    assert pool.cells.queued == 3
    pool.grant()
    pool.sweep(10.9)  # a's time was up, but a was served
    pool.sweep(11.0)
    assert (log, pool.cells.queued) == (["a granted", "b expired"], 1)
    pool.grant()
    pool.grant()
    assert (log[2:], pool.cells.queued) == (["c granted"], 0)


def test_who_cannot_use_the_place_keeps_turn_and_deadline() -> None:
    pool = upstream([1])
    log: list[str] = []
    first = Queued(log, "a", usable=False)
    pool.wait(10.0, first)
    pool.wait(11.0, Queued(log, "b"))
    pool.grant()
    assert pool.cells.queued == 2
    first.usable = True
    pool.grant()
    assert log == ["a granted", "a granted"]
    pool.wait(10.0, first)
    pool.sweep(11.0)
    assert log[2:] == ["b expired", "a expired"]


def test_who_leaves_the_queue_is_not_called() -> None:
    pool = upstream([1])
    log: list[str] = []
    first = Queued(log, "a")
    pool.wait(10.0, first)
    pool.wait(10.0, Queued(log, "b"))
    pool.leave(first)
    pool.leave(first)
    pool.grant()
    assert (log, pool.cells.queued) == (["b granted"], 0)


async def test_requests_for_another_address_keep_their_order() -> None:
    """The place that became free is at an address that none of them was to go to."""
    stage = Stage(max_connections=1, endpoints=2)
    clients = [stage.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.gives(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number)
    served: list[bytes] = []
    for number in range(4):
        place = await stage.connected(number)
        served.append(place.taken()[:6])
        place.gives(OK)
        if place.closing:
            place.lost()
        await stage.turn()
        if place.taken():
            raise AssertionError("the same connection cannot serve both addresses")
    assert served == [b"GET /0", b"GET /1", b"GET /2", b"GET /3"]


async def test_a_request_that_waited_in_vain_is_turned_away_in_its_time() -> None:
    stage = Stage(max_connections=1, endpoints=2)
    first, second = stage.client(), stage.client()
    first.gives(GET)
    place = await stage.connected()
    second.gives(GET)
    stage.sweep(4)
    place.gives(OK)  # idles at the wrong address, and takes its time to close
    stage.sweep(1.25)
    assert second.taken().startswith(b"HTTP/1.1 503 ")
    assert stage.upstream.cells.failures == {"pool_exhausted": 1}
    place.lost()
    await stage.turn()
    assert (stage.upstream.open, stage.upstream.cells.queued) == (0, 0)
