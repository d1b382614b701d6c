"""What one event loop owns: the rules in force, ids, Tasks, sweeps, a drain."""

import asyncio
import re

import pytest
from hyperframe.frame import HeadersFrame, PingFrame

from proxy.metrics.cells import WorkerCells
from proxy.net.connection import Connection
from proxy.worker import Live, Releasable, Worker
from rules.compiled import CompiledRule
from rules.snapshot import Snapshot
from tests.support.fakes import Stage, snapshot_of
from tests.support.h2_stage import Http2Stage, asked, frames, goaways

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
RULE = (
    "  - {name: r, match: {headers: {x-a: '1'}, response: {headers: {x-b: '2'}}}, "
    "faults: [abort: {status: 500, at: response_head}]}\n"
)
HIGHEST = 0x7FFFFFFF
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize(
    ("rules", "stopped", "faulting"), [("", False, False), (RULE, False, True), (RULE, True, False)]
)
def test_only_names_that_somebody_looks_at_are_read(rules: str, stopped: bool, faulting: bool) -> None:
    live = Live(snapshot_of(rules, 1, None), stopped, frozenset({b"x-route"}))
    assert live.faulting == faulting
    assert b"x-route" in live.request_names.kinds
    assert b"x-request-id" in live.request_names.kinds
    assert (b"x-a" in live.request_names.kinds) == faulting
    assert (b"x-b" in live.response_names.kinds) == faulting
    assert b"x-route" not in live.response_names.kinds


def test_ids_are_uuids_and_never_the_same() -> None:
    workers = [Stage().worker, Stage().worker]
    ids = [worker.next_id().decode() for worker in workers for _ in range(100)]
    assert len(set(ids)) == 200
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids
    )


def test_a_bug_is_counted_and_logged_with_its_place() -> None:
    stage = Stage()
    try:
        raise ValueError("unthinkable")
    except ValueError:
        stage.worker.bug("client")
    assert stage.worker.cells.internal_errors == 1
    (line,) = stage.logged("internal_error")
    assert (line["level"], line["phase"]) == ("error", "client")
    assert "ValueError: unthinkable" in line["message"]
    assert "test_worker.py" in line["message"]


async def test_a_task_is_kept_until_it_is_done() -> None:
    stage = Stage()
    done = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await done

    stage.worker.spawn(work())
    await stage.turn()
    assert len(stage.worker.tasks) == 1
    done.set_result(None)
    await stage.turn()
    assert not stage.worker.tasks


async def test_a_change_of_rules_is_for_the_next_request() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    stage.change_rules("  - {name: r, faults: [abort: 500]}")
    upstream.gives(OK)
    assert client.taken() == OK
    client.gives(GET)
    assert client.taken().startswith(b"HTTP/1.1 500 ")
    stage.change_rules("")
    client.gives(GET)
    upstream.gives(OK)
    assert client.taken() == OK


@pytest.mark.parametrize("sent", [b"", GET[:5], GET])
async def test_a_drain_ends_what_is_idle_and_lets_the_rest_end(sent: bytes) -> None:
    stage = Stage()
    busy, other = stage.client(), stage.client()
    busy.gives(GET)
    upstream = await stage.connected()
    if sent:
        other.gives(sent)
        await stage.turn()
    assert stage.worker.drain() == 1 + (sent != b"")  # a head of which a byte has come is waited for
    assert other.closing == (sent == b"")
    upstream.gives(OK)
    assert b"connection: close\r\n" in busy.taken()
    assert busy.closing
    busy.lost()
    assert stage.worker.drain() == (sent != b"")
    assert not upstream.closing  # another request may want it; it ends with the process


async def test_a_drain_leaves_a_connection_that_was_just_dialled_to_its_request() -> None:
    """The loop tells of a connection before the Task that waits for it goes on."""
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    while not stage.loop.upstreams:
        await stage.turn_once()
    stage.worker.drain()
    upstream = await stage.connected()
    assert upstream.taken().startswith(b"GET / HTTP/1.1\r\n")
    upstream.gives(OK)
    assert client.taken().endswith(b"\r\n\r\nhi")


async def test_a_drain_ends_the_connection_after_an_answer_of_our_own() -> None:
    stage = Stage("  - {name: r, faults: [delay: 1s, abort: 503]}")
    client = stage.client()
    client.gives(GET)
    assert stage.worker.drain() == 1
    stage.timers.advance(1)
    assert b"connection: close\r\n" in client.taken()
    assert (client.closing, stage.worker.drain()) == (True, 0)


async def test_a_sweep_may_end_connections_while_it_looks_at_them() -> None:
    stage = Stage()
    clients = [stage.client() for _ in range(5)]
    for client in clients:
        client.protocol.pipe.transport.close = lambda client=client: client.lost()
    stage.sweep(302)
    assert not stage.worker.connections
    assert stage.listener.cells.open == 0


def test_it_begins_with_nothing() -> None:
    cells = WorkerCells()
    assert (cells.routes, cells.listeners, cells.upstreams) == ([], [], [])
    assert (cells.internal_errors, cells.waiting) == (0, 0)


async def test_a_drain_answers_the_requests_that_have_come_already() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET + GET)
    upstream = await stage.connected()
    assert stage.worker.drain() == 1
    upstream.gives(OK)
    assert client.taken() == OK
    upstream.gives(OK)
    assert b"connection: close\r\n" in client.taken()
    assert client.closing


async def test_a_drain_waits_for_bytes_that_a_client_has_not_taken() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    stage.worker.drain()
    client.get_write_buffer_size = lambda: 1  # type: ignore[method-assign]
    upstream.gives(OK)
    assert (client.closing, stage.worker.drain()) == (True, 1)
    client.get_write_buffer_size = lambda: 0  # type: ignore[method-assign]
    assert stage.worker.drain() == 0


async def test_a_drain_says_goaway_twice_and_loses_nothing_between() -> None:
    stage = Http2Stage()
    client = stage.peer()
    raw = client.transport
    asked(client, "/first")
    raw.taken()
    assert stage.worker.drain() == 1
    notice = raw.taken()
    assert goaways(notice) == [(HIGHEST, 0, b"")]
    asked(client, "/second")
    (ping,) = [frame for frame in frames(notice) if isinstance(frame, PingFrame)]
    ping.flags.add("ACK")
    assert (stage.worker.drain(), raw.taken()) == (1, b"")  # it is said once
    raw.gives(ping.serialize())
    assert goaways(raw.taken()) == [(3, 0, b"")]
    asked(client, "/too-late")
    server = await stage.server()
    assert len(server.requests()) == 2
    for there in server.requests():
        assert (stage.worker.drain(), raw.ended) == (1, False)
        server.head(there, [(":status", "200")], end=True)
    heads = [frame.stream_id for frame in frames(raw.taken()) if isinstance(frame, HeadersFrame)]
    assert (heads, stage.worker.drain(), raw.ended) == ([1, 3], 0, True)


async def test_a_drain_does_not_wait_for_a_client_of_http2_that_reads_nothing() -> None:
    stage = Http2Stage()
    client = stage.peer().transport
    assert stage.worker.drain() == 1
    stage.sweep(0.75)
    assert (goaways(client.taken()), stage.worker.drain()) == ([(HIGHEST, 0, b"")], 1)
    stage.sweep(0.75)
    assert (goaways(client.taken()), client.ended) == ([(0, 0, b"")], True)
    assert stage.worker.drain() == 0


class Faulty(Connection):
    """A connection with a bug in everything that the worker asks of it."""

    def __init__(self, worker: Worker, endless: bool) -> None:
        self.worker = worker
        self.endless = endless  # even its end goes wrong
        self.shuts = 0
        worker.connections[self] = None

    def sweep(self, now: float) -> None:
        raise KeyError("sweep")

    def rules_changed(self, before: Snapshot) -> None:
        raise KeyError("rules")

    def drain(self) -> bool:
        raise KeyError("drain")

    def shut(self) -> None:
        self.shuts += 1
        if self.endless:
            raise KeyError("shut")
        self.worker.connections.pop(self, None)


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize("asked", ["sweep", "rules", "drain"])
async def test_a_bug_of_one_connection_ends_it_and_spares_the_others(asked: str, endless: bool) -> None:
    stage = Stage()
    worker = stage.worker
    faulty = Faulty(worker, endless)
    client = stage.client()
    for _ in range(3):
        if asked == "sweep":
            stage.sweep(302)
        elif asked == "rules":
            stage.change_rules(RULE)
        else:
            assert worker.drain() == 0
    assert (faulty.shuts, faulty in worker.connections) == (1, False)
    assert worker.cells.internal_errors == 1 + endless
    assert {line["phase"] for line in stage.logged("internal_error")} == {asked}
    assert client.closing == (asked != "rules")


class Stuck(Releasable):
    """Something held that cannot be let go."""

    def rule_now(self) -> CompiledRule | None:
        return None

    def let_go(self) -> None:
        raise KeyError("let go")


async def test_a_bug_in_letting_go_keeps_nothing_else_held() -> None:
    stage = Stage("  - {name: r, faults: [delay: 1h]}")
    worker = stage.worker
    worker.waiting[Stuck()] = None
    client = stage.client()
    client.gives(GET)
    assert len(worker.waiting) == 2
    stage.change_rules("")
    assert len(worker.waiting) == 1
    assert (await stage.connected()).taken().startswith(GET[:14])
    assert worker.cells.internal_errors == 1
