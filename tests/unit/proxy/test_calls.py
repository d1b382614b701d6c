"""gRPC calls by method and status: bounded cells, and the status that the client saw, however it came."""

import pytest

from proxy.metrics.calls import BAD_STATUS, LONGEST_NAME, MOST_CALLS, NO_STATUS, CallTable, status_of
from proxy.metrics.cells import WorkerCells
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

CASES = [
    (None, NO_STATUS), (b"0", 0), (b"14", 14), (b"16", 16), (b"05", 5), (b"17", BAD_STATUS),
    (b"", BAD_STATUS), (b"-1", BAD_STATUS), (b"fourteen", BAD_STATUS), (b"9" * 5000, BAD_STATUS),
    (b"\xb2", BAD_STATUS),
]  # fmt: skip


@pytest.mark.parametrize(("value", "status"), CASES)
def test_a_status_is_read(value: bytes | None, status: int) -> None:
    assert status_of(value) == status


def test_a_method_has_cells_made_once() -> None:
    table = CallTable()
    cells = table.find(b"/shop.Cart/Add")
    assert (cells.service, cells.method, cells.table) == ("shop.Cart", "Add", table)
    assert table.find(b"/shop.Cart/Add") is cells
    assert table.find(b"/shop.Cart/Get") is not cells


ODD = [
    b"/", b"", b"/shop.Cart", b"/shop.Cart/", b"//Add", b"/a/b/c", b"/a b/c", b"/a/b\xff",
    b"/a/" + b"x" * (LONGEST_NAME + 1),
]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
def test_what_names_no_method_is_counted_with_the_others(path: bytes) -> None:
    table = CallTable()
    assert table.find(path) is table.other
    assert not table.by_path


def test_invented_names_are_bounded() -> None:
    table = CallTable()
    first = table.find(b"/shop.Cart/Add")
    for number in range(MOST_CALLS + 100):
        table.find(b"/invented/%d" % number)
    assert len(table.by_path) == MOST_CALLS
    assert table.find(b"/invented/anew") is table.other
    assert table.find(b"/shop.Cart/Add") is first


def test_the_routes_of_a_listener_share_a_table() -> None:
    cells = WorkerCells()
    assert cells.route("web", "a").calls is cells.route("web", "b").calls
    assert cells.route("web", "a").calls is not cells.route("other", "a").calls


def counted(on: Http2Stage) -> dict[int, int]:
    """Give the calls of the one method by their status."""
    (cells,) = on.worker.cells.calls["web"].by_path.values()
    assert (cells.service, cells.method) == ("shop.Cart", "Watch")
    places = [*range(17), BAD_STATUS, NO_STATUS]
    return {place: count for place, count in zip(places, cells.statuses, strict=True) if count}


async def test_what_passes_is_counted_once_for_each_call() -> None:
    on = Http2Stage("")
    client = on.peer()
    for number, status in enumerate((0, 0, 5)):
        client.call(b"x")
        server = await on.both(client)
        server.head(2 * number + 1, GRPC_OK)
        server.say(2 * number + 1, message(b"hello"))
        server.done(2 * number + 1, status)
        client.sync()
    client.call(b"x")
    server.sync()
    server.head(7, [*GRPC_OK, ("grpc-status", "12")], end=True)
    client.sync()
    assert counted(on) == {0: 2, 5: 1, 12: 1}


ENDS = [
    ("abort: {status: 503}", 14),
    ("abort: {grpc_status: ABORTED}", 10),
    ("grpc: {after_messages: 0, status: DATA_LOSS}", 15),
    ("grpc: {status: missing}", NO_STATUS),
    ("grpc: {status: garbled}", BAD_STATUS),
    ("grpc: {status: NOT_FOUND}", 5),
    ("reset", NO_STATUS),
    ("grpc: {after_messages: 0, reset: CANCEL}", NO_STATUS),
]


@pytest.mark.parametrize(("fault", "status"), ENDS)
async def test_what_faults_make_of_a_call(fault: str, status: int) -> None:
    on = Http2Stage(f"  - {{name: r, match: {{protocol: grpc}}, faults: [{fault}]}}\n")
    client = on.peer()
    client.call(b"x")
    if not on.worker.cells.calls["web"].by_path:
        server = await on.both(client)
        server.head(1, GRPC_OK)
        server.say(1, message(b"hello"))
        if server.sync().reset(1) is None:
            server.done(1)
        client.sync()
    assert counted(on) == {status: 1}


async def test_a_call_that_the_client_gives_up_ends_without_a_status() -> None:
    on = Http2Stage("")
    client = on.peer()
    sid = client.call(b"x")
    await on.both(client)
    client.h2.reset_stream(sid)
    client.sync()
    assert counted(on) == {NO_STATUS: 1}


async def test_an_upstream_that_fails_is_what_the_client_was_told() -> None:
    on = Http2Stage("")
    client = on.peer()
    client.call(b"x")
    server = await on.both(client)
    server.h2.reset_stream(1)
    server.sync()
    client.sync()
    assert counted(on) == {14: 1}


async def test_other_requests_are_not_counted() -> None:
    on = Http2Stage("")
    client = on.peer()
    client.ask("/shop.Cart/Watch", ("content-type", "application/grpc-web"))
    server: Peer = await on.both(client)
    server.head(1, [(":status", "200"), ("grpc-status", "0")], end=True)
    client.sync()
    table = on.worker.cells.calls["web"]
    assert not table.by_path
    assert not any(table.other.statuses)
