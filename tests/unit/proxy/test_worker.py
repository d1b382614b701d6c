"""What one event loop owns: the rules in force, ids, Tasks, sweeps, a drain."""

import asyncio
import re

import pytest

from proxy.metrics.cells import WorkerCells
from proxy.worker import Live
from tests.support.fakes import Stage, snapshot_of

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
RULE = (
    "  - {name: r, match: {headers: {x-a: '1'}, response: {headers: {x-b: '2'}}}, "
    "faults: [abort: {status: 500, at: response_head}]}\n"
)
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
    assert stage.worker.drain() == 1 + (sent == GET)
    assert other.closing == (sent == b"")
    upstream.gives(OK)
    assert b"connection: close\r\n" in busy.taken()
    assert busy.closing
    assert stage.worker.drain() == (sent == GET)
    assert upstream.closing


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
