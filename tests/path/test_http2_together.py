"""Requests whose heads come in one piece take steps together; what becomes of one counts for the next."""

from typing import Any

from h2.errors import ErrorCodes

from tests.support.h2_stage import Http2Stage, Peer

OK = [(":status", "200")]


def fields(path: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]


def at_once(client: Peer, *paths: str) -> list[int]:
    """Ask for these paths in one piece."""
    sids = [2 * number + 1 for number in range(len(paths))]
    for sid, path in zip(sids, paths, strict=True):
        client.h2.send_headers(sid, fields(path), True)
    client.sync()
    return sids


def stage(fault: str, sample: str = "{}", **options: Any) -> Http2Stage:
    return Http2Stage(
        f"  - {{name: r, match: {{path: /bad}}, sample: {sample}, faults: [{fault}]}}", **options
    )


async def answered(on: Http2Stage, client: Peer) -> list[str]:
    """Let the upstream answer all that came; gives the status of each of the client's first four requests."""
    server = await on.both(client)
    for sid in server.requests():
        server.head(sid, OK, end=True)
    client.sync()
    return [str(client.fields(sid).get(":status")) for sid in range(1, 8, 2)]


async def test_all_of_them_are_answered_in_their_order() -> None:
    on = Http2Stage()
    client = on.peer()
    sids = at_once(client, *[f"/{number}" for number in range(50)])  # more than take their steps together
    server = await on.both(client)
    assert server.requests() == sids
    for sid in sids:
        server.head(sid, OK)
        server.say(sid, str(sid).encode(), True)
    client.sync()
    assert [client.body(sid) for sid in sids] == [str(sid).encode() for sid in sids]
    assert sum(cells.active for cells in on.worker.cells.routes) == 0


async def test_a_fault_ends_the_one_that_it_is_for() -> None:
    on = stage("abort: {status: 503}")
    client = on.peer()
    at_once(client, "/a", "/bad", "/b", "/bad")
    assert await answered(on, client) == ["200", "503", "200", "503"]


async def test_the_first_of_a_rule_is_the_first_that_came() -> None:
    on = stage("abort: {status: 503}", "{first: 1}")
    client = on.peer()
    at_once(client, "/a", "/bad", "/bad", "/bad")
    assert await answered(on, client) == ["200", "503", "200", "200"]


async def test_one_whose_turn_is_over_makes_room_for_the_next() -> None:
    """An abort ends at once: never is more than one active."""
    on = stage("abort: {status: 503}", "{max_active: 1}")
    client = on.peer()
    at_once(client, "/bad", "/bad", "/bad", "/a")
    assert await answered(on, client) == ["503", "503", "503", "200"]


async def test_behind_a_reset_of_the_connection_nothing_goes_on() -> None:
    on = stage("reset: {scope: connection}")
    client = on.peer()
    at_once(client, "/a", "/bad", "/b", "/c")
    assert client.transport.aborted
    client.transport.lost(ConnectionResetError())
    assert (await on.server()).requests() in ([], [1])  # it was given up before it was sent
    assert on.listener.cells.open == 0
    assert sum(cells.active for cells in on.worker.cells.routes) == 0


async def test_behind_a_close_nothing_goes_on() -> None:
    on = stage("close: {}")
    client = on.peer()
    at_once(client, "/a", "/bad", "/b", "/c")
    assert client.goaways() == [(1, 0, b"")]
    assert (await on.server()).requests() in ([], [1])
    client.transport.lost(None)
    assert sum(cells.active for cells in on.worker.cells.routes) == 0


async def test_one_that_is_refused_holds_up_none() -> None:
    on = Http2Stage()
    client = on.peer()
    client.h2.send_headers(1, fields("/a"), True)
    client.h2.config.validate_outbound_headers = False
    client.h2.config.normalize_outbound_headers = False
    client.h2.send_headers(3, [*fields("/b"), ("Upper", "x")], True)
    client.h2.send_headers(5, fields("/c"), True)
    client.sync()
    assert (await answered(on, client))[:3] == ["200", "None", "200"]
    assert client.reset(3) == ErrorCodes.PROTOCOL_ERROR


async def test_what_breaks_the_connection_comes_behind_those_before_it() -> None:
    """They were asked in order: they are counted, and given up with the connection."""
    on = Http2Stage()
    client = on.peer()
    client.h2.send_headers(1, fields("/a"), True)
    client.h2.send_headers(3, fields("/b"), True)
    good = client.h2.data_to_send()
    client.transport.gives(good + b"\0\0\1\1\5\0\0\0\2\x82")  # HEADERS on a stream that is the server's
    client.sync()
    assert [goaway[:2] for goaway in client.goaways()] == [(3, ErrorCodes.PROTOCOL_ERROR)]
    assert on.listener.cells.open == 1
    client.transport.lost(None)
    assert sum(cells.active for cells in on.worker.cells.routes) == 0


async def test_a_websocket_among_them() -> None:
    on = Http2Stage()
    on.connect = True
    client = on.peer()
    client.h2.send_headers(1, fields("/a"), True)
    asking = [(":method", "CONNECT"), (":scheme", "http"), (":authority", "a"), (":path", "/chat")]
    client.h2.send_headers(3, [*asking, (":protocol", "websocket"), ("sec-websocket-version", "13")])
    client.h2.send_headers(5, fields("/b"), True)
    client.sync()
    server = await on.both(client)
    assert server.requests() == [1, 3, 5]  # that of the WebSocket last: it waits for the SETTINGS
    for sid in server.requests():
        server.head(sid, OK, end=sid != 5)
    client.sync()
    assert [client.fields(sid)[":status"] for sid in (1, 3, 5)] == ["200"] * 3
    assert [client.ended(sid) for sid in (1, 3, 5)] == [True, False, True]


async def test_one_that_is_reset_right_behind() -> None:
    on = Http2Stage()
    client = on.peer()
    for sid in (1, 3, 5):
        client.h2.send_headers(sid, fields("/a"), True)
    client.h2.reset_stream(3, ErrorCodes.CANCEL)
    client.sync()
    assert await answered(on, client) == ["200", "None", "200", "None"]
    assert sum(cells.active for cells in on.worker.cells.routes) == 0
