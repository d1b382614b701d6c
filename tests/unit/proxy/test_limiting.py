"""Limits on the path, with a clock that the test holds: who passes, waits, is turned away, and is freed."""

import pytest

from rules.limits import Limits
from tests.support.fakes import FakeTransport, Stage
from tests.unit.proxy.test_performer import HELLO, SWITCH, UPGRADE

GET = b"GET / HTTP/1.1\r\nhost: a\r\nx-tenant: t1\r\n\r\n"
TCP = "match: {protocol: [tcp]}, "


def rule(limit: str, more: str = "") -> str:
    return f"  - {{name: r, {more} faults: [limit: {limit}]}}\n"


def limits(stage: Stage) -> Limits:
    kept = stage.snapshot.by_name["r"].state.faults[0].limits
    assert kept is not None
    return kept


def ask(stage: Stage, client: FakeTransport | None = None, request: bytes = GET) -> FakeTransport:
    client = stage.client() if client is None else client
    client.gives(request)
    return client


def said(client: FakeTransport) -> tuple[int, dict[str, str], str]:
    """Read the one answer of ours that a client got."""
    head, _, body = client.taken().decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


async def served(stage: Stage, client: FakeTransport, number: int = -1) -> None:
    """Let the upstream answer what this client has asked."""
    await stage.turn()
    stage.loop.upstreams[number].gives(HELLO)
    assert client.taken().endswith(b"hello")


async def test_requests_at_once() -> None:
    stage = Stage(rule("{requests: 2}"))
    first, second = ask(stage), ask(stage)
    third = ask(stage)
    status, headers, body = said(third)
    assert (status, body) == (503, "too many requests at once\n")
    assert headers["x-misrule"].startswith("rule=r; fault=limit; ms=0; version=1")
    assert "retry-after" not in headers
    await stage.turn()
    stage.loop.upstreams[0].gives(HELLO)
    assert first.taken().endswith(b"hello")
    ask(stage, third)
    assert third.taken() == b"", "a place is free again"
    second.lost()
    await stage.turn()
    fourth = ask(stage)
    assert fourth.taken() == b"", "who goes away frees its place"
    assert limits(stage).counts == [4, 0, 1, 0]
    state = stage.snapshot.by_name["r"].state
    assert (state.injected, state.fired, state.active) == ([1], 1, 0)
    (line,) = stage.logged("injection")
    assert (line["fault"], line["shadow"]) == ("limit", False)


async def test_a_rate_says_when_to_come_again() -> None:
    stage = Stage(rule("{rate: 3/m}"))
    for _ in range(3):
        assert ask(stage).taken() == b""
    status, headers, body = said(ask(stage))
    assert (status, body, headers["retry-after"]) == (429, "too many requests\n", "20")
    stage.timers.advance(19.99)
    assert said(ask(stage))[1]["retry-after"] == "1"
    stage.timers.advance(0.01)
    assert ask(stage).taken() == b""
    assert said(ask(stage))[0] == 429


async def test_a_queue_is_first_come_first_served() -> None:
    stage = Stage(rule("{requests: 1, queue: 2}"))
    first = ask(stage)
    second, third = ask(stage), ask(stage)
    assert said(ask(stage))[0] == 503, "the queue is full"
    assert stage.worker.cells.waiting == 2
    stage.timers.advance(2.0)
    await served(stage, first)
    await stage.turn()
    assert stage.worker.cells.waiting == 1
    await stage.turn()
    stage.loop.upstreams[-1].gives(HELLO)
    answer = second.taken()
    assert b"x-misrule: rule=r; fault=limit; ms=2000; version=1" in answer
    await stage.turn()
    stage.loop.upstreams[-1].gives(HELLO)
    assert third.taken().endswith(b"hello")
    assert (stage.worker.cells.waiting, limits(stage).counts) == (0, [3, 0, 1, 0])
    assert limits(stage).under_way() == [0, 0, 0]
    assert len(stage.loop.upstreams) == 1, "one after the other"


async def test_who_waits_too_long_is_turned_away() -> None:
    stage = Stage(rule("{requests: 1, queue: 5, queue_timeout: 1s, over: 429}"))
    ask(stage)
    late = ask(stage)
    stage.timers.advance(0.999)
    assert late.taken() == b""
    stage.timers.advance(0.001)
    status, headers, _ = said(late)
    assert (status, headers["retry-after"]) == (429, "1")
    assert "ms=1000" in headers["x-misrule"]
    assert (limits(stage).under_way(), stage.worker.cells.waiting) == ([0, 1, 0], 0)


async def test_tokens_are_given_out_in_order_and_on_time() -> None:
    stage = Stage(rule("{rate: 10/s, burst: 1, over: wait}"))
    clients = [ask(stage) for _ in range(5)]
    begun = stage.timers.now()
    passed = []
    for _ in range(400):
        stage.timers.advance(0.001)
        passed.append(limits(stage).counts[0])
    assert [passed.index(number) + 1 for number in (2, 3, 4, 5)] == [100, 200, 300, 400]
    assert stage.timers.now() == pytest.approx(begun + 0.4)
    assert stage.worker.cells.waiting == 0
    assert [client.taken() for client in clients] == [b""] * 5


async def test_who_leaves_the_queue_makes_room_for_the_next() -> None:
    stage = Stage(rule("{rate: 1/s, burst: 1, queue: 2}"))
    ask(stage)
    second, third = ask(stage), ask(stage)
    assert said(ask(stage))[0] == 429
    second.lost()
    fourth = ask(stage)
    assert fourth.taken() == b""
    stage.timers.advance(1.0)
    assert limits(stage).counts == [2, 0, 0, 1]
    third.lost()
    fourth.lost()
    assert limits(stage).under_way() == [0, 1, 0]


async def test_a_queue_is_let_go_with_its_rule() -> None:
    stage = Stage(rule("{requests: 0, over: wait}"))
    clients = [ask(stage) for _ in range(3)]
    assert stage.worker.cells.waiting == 3
    stage.change_rules("")
    assert stage.worker.cells.waiting == 0
    await stage.turn()
    for number, client in enumerate(clients):
        stage.loop.upstreams[number].gives(HELLO)
        assert client.taken().endswith(b"hello")


async def test_other_figures_act_at_once_and_keep_what_is_counted() -> None:
    stage = Stage(rule("{requests: 1, queue: 10}"))
    ask(stage)
    for _ in range(3):
        ask(stage)
    stage.change_rules(rule("{requests: 3, queue: 10}"))
    assert limits(stage).under_way() == [0, 3, 1]
    stage.change_rules(rule("{requests: 1}"))
    assert limits(stage).under_way() == [0, 3, 1], "nobody is thrown out"
    assert said(ask(stage))[0] == 503
    stage.change_rules(rule("{requests: 1, queue: 1, rate: 5/s}"))
    assert said(ask(stage))[0] == 503


async def test_connections_of_http_keep_their_place_until_they_end() -> None:
    stage = Stage(rule("{connections: 1}"))
    one = ask(stage)
    await served(stage, one)
    ask(stage, one)
    await served(stage, one)
    other = ask(stage)
    status, _, body = said(other)
    assert (status, body) == (503, "no connection is free\n")
    one.lost()
    ask(stage, other)
    assert other.taken() == b""
    assert limits(stage).under_way() == [1, 1, 0]
    other.lost()
    assert limits(stage).under_way() == [0, 0, 0]


async def test_a_connection_waits_for_a_place_of_another() -> None:
    stage = Stage(rule("{connections: 1, requests: 1, over: wait}"))
    one = ask(stage)
    other = ask(stage)
    await served(stage, one)
    assert limits(stage).under_way() == [1, 0, 1]
    ask(stage, one)
    assert limits(stage).under_way() == [1, 1, 1], "who has a place goes on in it"
    one.lost()
    assert limits(stage).under_way() == [1, 1, 0]
    other.lost()
    assert limits(stage).under_way() == [0, 0, 0]


async def test_refuse_is_a_reset() -> None:
    stage = Stage(rule("{requests: 0, over: refuse}"))
    client = ask(stage)
    assert (client.taken(), client.aborted) == (b"", True)


async def test_tcp() -> None:
    stage = Stage(rule("{connections: 2}", TCP), protocol="tcp")
    one, two, three = stage.client(), stage.client(), stage.client()
    assert [client.aborted for client in (one, two, three)] == [False, False, True]
    three.lost()
    one.lost()
    await stage.turn()
    assert not stage.client().aborted
    assert stage.client().aborted
    assert limits(stage).counts == [3, 2, 0, 0]


async def test_tcp_may_be_told_before_the_end() -> None:
    stage = Stage(rule("{connections: 0, reply: redis}", TCP), protocol="tcp")
    client = stage.client()
    assert (client.taken(), client.ended, client.aborted) == (
        b"-ERR max number of clients reached\r\n", True, False
    )  # fmt: skip


async def test_tcp_connections_that_are_open_count() -> None:
    """The rule comes when two of three places are taken; and goes, and comes back."""
    stage = Stage(protocol="tcp")
    one, _ = stage.client(), stage.client()
    await stage.turn()
    stage.change_rules(rule("{connections: 3}", TCP))
    assert limits(stage).under_way() == [2, 0, 0]
    assert stage.snapshot.by_name["r"].state.injected == [0]
    assert [stage.client().aborted, stage.client().aborted] == [False, True]
    off = rule("{connections: 3}", TCP + "enabled: false, ")
    stage.change_rules(off)
    stage.change_rules(rule("{connections: 3}", TCP))
    assert limits(stage).under_way() == [3, 0, 0]
    one.lost()
    assert limits(stage).under_way() == [2, 0, 0]


async def test_tcp_waits_in_a_queue_and_leaves_it_by_fin() -> None:
    stage = Stage(rule("{connections: 1, queue: 2}", TCP), protocol="tcp")
    first = stage.client()
    await stage.turn()
    gone, waits = stage.client(), stage.client()
    waits.gives(b"hello")
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    gone.ends()
    assert limits(stage).under_way() == [1, 0, 1]
    first.lost()
    await stage.turn()
    assert stage.loop.upstreams[1].taken() == b"hello"


async def test_requests_say_nothing_to_tcp() -> None:
    stage = Stage(rule("{requests: 0, over: wait}"), protocol="tcp")
    client = stage.client()
    await stage.turn()
    assert (client.aborted, len(stage.loop.upstreams)) == (False, 1)


async def test_a_tunnel_has_its_place_until_it_ends() -> None:
    stage = Stage(rule("{requests: 1}"))
    client = ask(stage, request=UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    assert said(ask(stage))[0] == 503
    client.lost()
    assert ask(stage).taken() == b""


async def test_a_shadow_counts_whom_it_would_turn_away() -> None:
    stage = Stage(rule("{requests: 1, queue: 5}", "mode: shadow, "))
    assert [ask(stage).taken() for _ in range(3)] == [b""] * 3
    state = stage.snapshot.by_name["r"].state
    assert (state.injected, state.shadowed) == ([0], [2])
    assert limits(stage).under_way() == [0, 1, 0]
    assert [line["fault"] for line in stage.logged("shadow")] == ["limit", "limit"]


async def test_one_limit_for_each_key() -> None:
    stage = Stage(rule("{requests: 1, per: 'header:x-tenant'}"))
    assert ask(stage).taken() == b""
    assert ask(stage, request=GET.replace(b"t1", b"t2")).taken() == b""
    assert said(ask(stage))[0] == 503
    assert ask(stage, request=b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").taken() == b"", "no key, no limit"
    stage = Stage(rule("{requests: 1, per: source}"))
    assert [ask(stage, stage.client(f"192.0.2.{n}")).taken() for n in (1, 2)] == [b"", b""]


async def test_what_ends_an_exchange_frees_its_place_for_one_who_waits() -> None:
    """Nine hundred who wait, each of whom ends as soon as it may pass: no call is too deep."""
    stage = Stage(
        rule("{requests: 1, over: wait}") + "  - {name: s, match: {query: {no: '1'}}, faults: [abort: 418]}\n"
    )
    first = ask(stage)
    asked = GET.replace(b"GET / ", b"GET /?no=1 ")
    others = [ask(stage, request=asked) for _ in range(900)]
    await served(stage, first)
    assert {said(client)[0] for client in others} == {418}
    assert limits(stage).under_way() == [0, 0, 0]


async def test_a_reset_gives_tokens_back_and_keeps_who_is_there() -> None:
    stage = Stage(rule("{requests: 2, rate: 1/h}"))
    ask(stage)
    assert said(ask(stage))[0] == 429
    stage.snapshot.by_name["r"].state.reset()
    assert ask(stage).taken() == b""
    assert said(ask(stage))[0] == 503
    assert limits(stage).counts == [1, 0, 1, 0]
