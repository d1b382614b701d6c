"""Phase connect over connections that carry many exchanges: moments in which they begin, end, or are full."""

import errno
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
from h2.settings import SettingCodes

from proxy.net.identity import Credentials
from proxy.net.pool import AUTO, HTTP1, HTTP2
from proxy.wire.h2_frames import LAST_STREAM_ID
from tests.path.test_connect import GET, OK, Between
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Http2Stage, Peer
from tests.support.pki import the_pki

NO_CONTENT = [(":status", "204")]
WEBSOCKET = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
REFUSED_BY_PEER = ConnectionResetError(errno.ECONNRESET, "reset")


def between(stage: Stage, happens: Callable[[], None]) -> None:
    stage.loop = stage.worker.loop = Between(happens)  # type: ignore[assignment]


async def served(stage: Http2Stage, client: Peer) -> Peer:
    """Ask once, and be answered: the upstream connection stands and carries nothing."""
    sid = client.ask()
    server = await stage.both(client)
    server.head(server.requests()[-1], NO_CONTENT, end=True)
    assert client.sync().fields(sid)[":status"] == "204"
    return server


def limited(server: Peer, streams: int) -> None:
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
    server.sync()


@pytest.mark.parametrize("told", [True, False])
async def test_nobody_joins_a_connection_that_ends(told: bool) -> None:
    """Between FIN (or a read that failed) and connection_lost the loop turns, and requests come."""
    stage = Http2Stage()
    client = stage.peer()
    await served(stage, client)
    first = stage.loop.upstreams[0]
    if told:
        assert first.protocol.eof_received() is False
    first.closing = True
    sid = client.ask()
    first.protocol.connection_lost(None if told else REFUSED_BY_PEER)
    server = await stage.server(1)
    server.head(server.requests()[0], NO_CONTENT, end=True)
    assert client.sync().fields(sid)[":status"] == "204"
    assert len(stage.loop.upstreams) == 2


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("protocol", [HTTP1, HTTP2])
async def test_another_address_is_tried_where_a_connection_ends_as_soon_as_it_stands(
    protocol: int, fin: bool
) -> None:
    stage = Stage(endpoints=2)
    stage.upstream.protocol = protocol

    def ends() -> None:
        if len(stage.loop.upstreams) > 1:
            return
        first = stage.loop.upstreams[0]
        if not fin:
            first.lost()
            return
        first.protocol.eof_received()
        first.closing = True

    between(stage, ends)
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    if fin:
        stage.loop.upstreams[0].protocol.connection_lost(None)
        await stage.turn()
    assert client.taken() == b""
    assert len(stage.loop.upstreams) == 2
    assert stage.upstream.open == 1


async def test_an_upstream_that_speaks_first_and_not_http2_fails_the_request_once() -> None:
    stage = Http2Stage()
    between(stage, lambda: stage.loop.upstreams[-1].gives(b"220 mail.example ESMTP ready\r\n"))
    client = stage.client()
    client.gives(GET)
    for _ in range(3):
        await stage.turn()
    assert len(stage.loop.upstreams) == 1
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"error=http_protocol_error" in answer


class Trusting(Credentials):
    """Offers both protocols."""

    def context(self, offer: int) -> ssl.SSLContext:
        return the_pki().client("h2", "http/1.1")


def shake(upstream: FakeTransport, chosen: str) -> None:
    """Be a server that goes through its handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = the_pki().leaf("a.example").server(chosen).wrap_bio(incoming, outgoing, server_side=True)
    for _ in range(2):
        incoming.write(upstream.taken())
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
        upstream.gives(outgoing.read())
    assert side.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("chosen", ["http/1.1", "h2"])
@pytest.mark.parametrize("spoke", [AUTO, HTTP1])
async def test_what_ends_right_behind_its_handshake_is_not_spoken_to(spoke: int, chosen: str) -> None:
    stage = Stage(endpoints=2, response_timeout=2.0)
    for endpoint in stage.upstream.endpoints:
        endpoint.credentials = Trusting("a.example")
        endpoint.speaks = spoke

    def ends() -> None:
        upstream = stage.loop.upstreams[-1]
        shake(upstream, chosen)
        upstream.lost(REFUSED_BY_PEER)

    between(stage, ends)
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert client.taken().startswith(b"HTTP/1.1 502 ")
    assert len(stage.loop.upstreams) == 2
    assert stage.upstream.open == 0


async def test_an_idle_connection_makes_room_for_another_address() -> None:
    stage = Http2Stage(endpoints=2, max_connections=1)
    client = stage.peer()
    await served(stage, client)
    sid = client.ask()
    await stage.turn()
    first = stage.loop.upstreams[0]
    assert first.closing
    first.lost()
    server = await stage.server(1)
    server.head(server.requests()[0], NO_CONTENT, end=True)
    assert client.sync().fields(sid)[":status"] == "204"


async def test_a_connection_that_requests_wait_for_makes_no_room() -> None:
    stage = Http2Stage(endpoints=2, max_connections=1)

    def another_asks() -> None:
        client.ask()
        assert not stage.loop.upstreams[0].closing

    between(stage, another_asks)
    client = stage.peer()
    client.ask()
    server = await stage.both(client)
    assert len(server.requests()) == 1
    assert stage.upstream.cells.queued == 1


async def test_a_turn_that_is_of_no_use_goes_to_the_next_one() -> None:
    """It was a WebSocket's, which the upstream does not offer."""
    stage = Http2Stage(max_connections=1)
    client = stage.peer()
    client.ask()
    server = await stage.both(client)
    limited(server, 1)
    sockets = [stage.client() for _ in range(300)]  # each has its turn: not one inside the other
    for one in sockets:
        one.gives(WEBSOCKET)
    last = stage.client()
    last.gives(GET)
    assert stage.upstream.cells.queued == 301
    server.head(server.requests()[0], NO_CONTENT, end=True)
    assert {one.taken()[:13] for one in sockets} == {b"HTTP/1.1 502 "}
    assert stage.upstream.cells.queued == 0
    assert len(server.sync().requests()) == 2


@pytest.mark.parametrize("how", ["it is read", "the upstream resets it", "patience ends"])
async def test_who_waits_gets_the_place_of_a_stream_that_was_slow_to_end(how: str) -> None:
    stage = Http2Stage(
        "  - {name: r, match: {path: /bad}, faults: [{reset: {at: request_body, after_bytes: 66000B}}]}",
        max_connections=1,
    )
    stage.upstream.connect_timeout = 60.0
    client = stage.peer()
    sid = client.ask("/bad", body=b"x" * 16000, end=False)
    server = await stage.both(client)
    server.credit = False
    limited(server, 1)
    for _ in range(4):
        client.say(sid, b"x" * 16000)
    server.sync()
    waits = stage.client()
    waits.gives(GET)
    assert stage.upstream.cells.queued == 1
    if how == "it is read":
        server.h2.increment_flow_control_window(100000, server.requests()[0])
        server.h2.increment_flow_control_window(100000)
    elif how == "the upstream resets it":
        server.h2.reset_stream(server.requests()[0], 0)
    else:
        stage.sweep(5.5)
    server.sync()
    assert stage.upstream.cells.queued == 0
    assert len(server.sync().requests()) == 2


async def test_a_connection_whose_streams_are_used_up_is_replaced() -> None:
    stage = Http2Stage()
    client = stage.peer()
    await served(stage, client)
    stage.loop.upstreams[0].protocol.codec._next_sid = LAST_STREAM_ID
    first = client.ask()
    server = await stage.both(client)
    assert server.requests()[-1] == LAST_STREAM_ID
    second = client.ask()
    other = await stage.server(1)
    other.head(other.requests()[0], NO_CONTENT, end=True)
    server.head(LAST_STREAM_ID, NO_CONTENT, end=True)
    client.sync()
    assert [client.fields(sid)[":status"] for sid in (first, second)] == ["204", "204"]


async def test_places_of_faults_that_are_forgotten_hold_no_connections() -> None:
    stage = Stage("  - {name: r, faults: [{dns: {address: 10.9.9.1}}]}", max_connections=1)
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    assert client.taken().endswith(OK[-4:])
    for number in range(64):
        stage.upstream.aside([f"10.9.8.{number}"], False)
    assert upstream.closing
    assert stage.upstream.cells.idle == 0
