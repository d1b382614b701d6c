"""What becomes of a stream when either side ends it, or the connection under it."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.http2.conftest import HTTP2
from tests.support.h2_peer import (
    CANCEL,
    INTERNAL_ERROR,
    MAX_STREAMS,
    NO_ERROR,
    REFUSED_STREAM,
    Heard,
    Peer,
    linger,
)
from tests.support.h2_scripted import ScriptedH2, plain
from tests.support.process import free_port
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, once_within
from tests.support.wire import FIN, Message, Wire, response


def silent(upstream: Peer, asked: Heard) -> None:
    """Answer nothing."""


# The client ends it


@pytest.mark.parametrize("begun", ["head", "body", "answer"])
def test_client_cancels(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, begun: str) -> None:
    """The upstream's stream is reset within 50 ms, its connection stays."""
    h2_shop.play = silent
    if begun == "answer":

        def play(upstream: Peer, asked: Heard) -> None:
            upstream.head(asked.sid, [(":status", "200")])
            upstream.push(asked.sid, b"some")

        h2_shop.play = play

    def attempt() -> float:
        before = len(h2_shop.requests)
        asked = peer.ask("/", method="POST", body=b"x" if begun == "body" else None, end=begun == "answer")
        eventually(lambda: len(h2_shop.requests) > before, what="the request at the upstream")
        if begun == "answer":
            peer.until(lambda: asked.body == b"some")
        heard = h2_shop.last
        peer.reset(asked.sid)
        eventually(lambda: heard.reset is not None, what="RST_STREAM at the upstream")
        assert heard.reset == CANCEL
        return heard.reset_at - peer.sent_at

    once_within(0.05, attempt)
    h2_shop.play = plain
    assert peer.fetch("/").body == b"ok"
    assert len([one for one in h2_shop.peers if not one.gone]) >= 1


def test_client_goes_away(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """All its streams are reset at the upstream; other clients on the same upstream connection are not."""
    h2_shop.play = silent
    with Peer.to(h2_proxy.address) as other:
        stays = other.ask("/")
        with Peer.to(h2_proxy.address) as peer:
            for _ in range(5):
                peer.ask("/")
            peer.settle()
            eventually(lambda: len(h2_shop.requests) == 6)
        eventually(lambda: sum(heard.reset == CANCEL for heard in h2_shop.requests) == 5)
        assert other.quiet(0.1)
        (heard,) = [heard for heard in h2_shop.requests if heard.reset is None]
        h2_shop.tell(lambda upstream: plain(upstream, heard), heard)
        assert other.wait(stays).body == b"ok"


def test_client_cancels_before_the_upstream_is_connected(launch: Launch) -> None:
    """A dial that nobody waits for any more does no harm."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        proxy = launch(f"127.0.0.1:{server.getsockname()[1]}", upstream_options=HTTP2)
        with Peer.to(proxy.address) as peer:
            asked = peer.ask("/")
            peer.reset(asked.sid)
            peer.settle()
    assert proxy.metric("misrule_upstream_failures_total") == 0


def test_cancel_reaches_a_http1_upstream(proxy: Proxy, shop: Scripted) -> None:
    go = threading.Event()
    shop.play = lambda wire, asked: wire.rest(5.0) and go.set()  # type: ignore[func-returns-value]
    with Peer.to(proxy.address) as peer:
        asked = peer.ask("/")
        eventually(lambda: shop.requests)
        peer.reset(asked.sid)
        assert go.wait(4.0), "and not only when the upstream gives up"


# The upstream answers early


def test_early_answer_to_an_upload(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """The whole answer, then RST_STREAM with NO_ERROR: the rest of the request is not wanted."""

    def early(upstream: Peer, asked: Heard) -> None:
        upstream.answer(asked, 413, body=b"too much")
        upstream.reset(asked.sid, NO_ERROR)

    h2_shop.on_head = early
    asked = peer.ask("/", method="POST", body=filling(30_000), end=False)
    peer.until(lambda: asked.reset is not None)
    assert (asked.status, asked.body, asked.ended, asked.reset) == (413, b"too much", True, NO_ERROR)
    h2_shop.on_head = None
    assert peer.fetch("/").body == b"ok"


def test_early_answer_that_the_client_reads_slowly(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """RST_STREAM does not overtake an answer that waits for the client's window."""
    body = filling(300_000)

    def early(upstream: Peer, asked: Heard) -> None:
        upstream.answer(asked, 413, body=body)

    h2_shop.on_head = early
    peer.credit = lambda _: False
    asked = peer.ask("/", method="POST", body=b"x", end=False)
    peer.until(lambda: asked.length == 65_535)
    assert peer.quiet(0.2)
    peer.credit = lambda _: True
    peer.widen(asked.sid, 65_535)
    peer.until(lambda: asked.reset is not None or asked.ended)
    peer.until(lambda: asked.reset is not None)
    assert (asked.body == body, asked.ended, asked.reset) == (True, True, NO_ERROR)


def test_answer_before_the_end_of_a_complete_body(proxy: Proxy, shop: Scripted) -> None:
    """An HTTP/1.1 upstream answers when content-length is met; the frame that ends the stream comes later."""
    with Peer.to(proxy.address) as peer:
        asked = peer.ask("/echo", ("content-length", "5"), method="POST", end=False)
        peer.push(asked.sid, b"hello")
        peer.until(lambda: asked.ended)
        assert (asked.status, asked.body) == (200, b"hello")
        assert peer.quiet(0.1)
        assert asked.reset is None
        peer.push(asked.sid, b"", end=True)
        assert peer.fetch("/").body == b"ok"


def test_early_answer_of_a_http1_upstream(proxy: Proxy, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(413, "connection: close", body=b"too much"))
        wire.half_close()
        wire.rest(2.0)

    shop.play = play
    with Peer.to(proxy.address) as peer:
        asked = peer.ask("/", method="POST", body=filling(500_000), end=False)
        peer.until(lambda: asked.reset is not None)
        assert (asked.status, asked.body, asked.ended, asked.reset) == (413, b"too much", True, NO_ERROR)


# The upstream ends it


@pytest.mark.parametrize("code", [INTERNAL_ERROR, CANCEL])
def test_upstream_resets_before_its_answer(
    h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, code: int
) -> None:
    h2_shop.play = lambda upstream, asked: upstream.reset(asked.sid, code)
    answer = peer.fetch("/")
    assert answer.status == 502
    assert answer.get("proxy-status") == "misrule; error=connection_terminated"
    assert len(h2_shop.requests) == 1
    assert h2_proxy.failures("upstream_reset") >= 1


def test_upstream_resets_in_its_answer(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """What came before it is passed on."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "200")])
        upstream.push(asked.sid, filling(20_000))
        upstream.reset(asked.sid, INTERNAL_ERROR)

    h2_shop.play = play
    answer = peer.fetch("/")
    assert (answer.status, answer.body, answer.ended) == (200, filling(20_000), False)
    assert answer.reset == INTERNAL_ERROR


def test_refused_stream_is_sent_again(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """RFC 9113, section 8.7: nothing was done for it."""
    refused: list[int] = []

    def play(upstream: Peer, asked: Heard) -> None:
        if not refused:
            refused.append(asked.sid)
            upstream.reset(asked.sid, REFUSED_STREAM)
        else:
            plain(upstream, asked)

    h2_shop.play = play
    assert peer.fetch("/").body == b"ok"
    assert len(h2_shop.requests) == 2


def test_refused_stream_with_a_body_is_not_sent_again(
    h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer
) -> None:
    """Its body is gone: the client has to say it once more."""
    h2_shop.on_head = lambda upstream, asked: upstream.reset(asked.sid, REFUSED_STREAM)
    asked = peer.ask("/", method="POST", body=b"x", end=False)
    peer.until(lambda: asked.status)
    assert asked.status in (502, 503)
    assert len(h2_shop.requests) == 1


def test_always_refused(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """It is not tried for ever."""
    h2_shop.play = lambda upstream, asked: upstream.reset(asked.sid, REFUSED_STREAM)
    assert peer.fetch("/").status in (502, 503)
    assert 2 <= len(h2_shop.requests) <= 4


def test_goaway_before_the_request_was_seen(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Streams beyond the last id are sent again on another connection; those up to it are answered."""
    kept: list[Heard] = []

    def play(upstream: Peer, asked: Heard) -> None:
        if asked.path == "/kept":
            kept.append(asked)
        elif upstream is first:
            upstream.goaway(kept[0].sid)
            linger(upstream, 0.05)
            plain(upstream, kept[0])
        else:
            plain(upstream, asked)

    assert peer.fetch("/").body == b"ok"
    first = h2_shop.peer_of(h2_shop.last)
    h2_shop.play = play
    stays = peer.ask("/kept")
    eventually(lambda: kept)
    assert peer.fetch("/moved").body == b"ok"
    assert peer.wait(stays).body == b"ok"
    assert h2_shop.peer_of(h2_shop.last) is not first
    assert peer.fetch("/later").body == b"ok"
    eventually(lambda: first.gone, 15.0, "the end of the connection that said GOAWAY")


def test_graceful_goaway(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Nothing is lost, and new requests go elsewhere."""
    h2_shop.play = silent
    stays = peer.ask("/")
    eventually(lambda: h2_shop.requests)
    first = h2_shop.peer_of(h2_shop.last)
    h2_shop.tell(lambda upstream: upstream.goaway(2**31 - 1), h2_shop.last)
    linger(peer, 0.1)
    h2_shop.play = plain
    assert peer.fetch("/").body == b"ok"
    assert h2_shop.peer_of(h2_shop.last) is not first
    heard = h2_shop.requests[0]
    h2_shop.tell(lambda upstream: plain(upstream, heard), heard)
    assert peer.wait(stays).body == b"ok"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("point", ["connected", "head", "body"])
def test_upstream_connection_ends(
    h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, point: str, how: str
) -> None:
    def end(upstream: Peer) -> None:
        if how == "fin":
            upstream.sock.shutdown(socket.SHUT_WR)
            linger(upstream, 0.2)
        else:
            upstream.abort()

    def play(upstream: Peer, asked: Heard) -> None:
        if point == "body":
            upstream.head(asked.sid, [(":status", "200")])
            upstream.push(asked.sid, filling(1000))
            linger(upstream, 0.05)
        end(upstream)

    if point == "connected":
        peer.fetch("/")
        h2_shop.tell(end, h2_shop.last)
        linger(peer, 0.2)
        assert peer.fetch("/").body == b"ok"
        return
    h2_shop.play = play
    answer = peer.fetch("/", method="POST", body=b"x")
    if point == "body":
        assert (answer.status, answer.body, answer.ended) == (200, filling(1000), False)
        assert answer.reset == INTERNAL_ERROR
    else:
        assert answer.status == 502
    h2_shop.play = plain
    assert peer.fetch("/").body == b"ok"


def test_upstream_that_refuses_connections(launch: Launch) -> None:
    proxy = launch(f"127.0.0.1:{free_port()}", upstream_options=HTTP2)
    with Peer.to(proxy.address) as peer:
        answers = [peer.ask("/") for _ in range(5)]
        peer.wait(*answers)
        assert {answer.status for answer in answers} == {502}
        assert answers[0].get("proxy-status") == "misrule; error=connection_refused"


def _raw_upstream(say: Callable[[socket.socket], None]) -> Iterator[str]:
    def serve(server: socket.socket) -> None:
        sock, _ = server.accept()
        with sock:
            sock.recv(1000)
            say(sock)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def test_upstream_that_speaks_http1(launch: Launch) -> None:
    """It is told from a broken connection: the answer names the protocol."""
    for address in _raw_upstream(lambda sock: sock.sendall(response(400, body=b"what?"))):
        proxy = launch(address, upstream_options=HTTP2)
        with Peer.to(proxy.address) as peer:
            answer = peer.fetch("/")
        assert answer.status == 502
        assert answer.get("proxy-status") == "misrule; error=http_protocol_error"


# SETTINGS


def test_upstream_that_allows_few_streams(launch: Launch) -> None:
    """Further connections are opened; nobody is refused."""
    few = ScriptedH2(settings={MAX_STREAMS: 3})
    try:
        few.on_head = lambda upstream, asked: linger(upstream, 0.02)
        proxy = launch(few.address, upstream_options=HTTP2)
        with Peer.to(proxy.address) as peer:
            answers = [peer.ask("/bytes/100") for _ in range(30)]
            peer.wait(*answers)
            assert {answer.status for answer in answers} == {200}
        assert not any(heard.reset for heard in few.requests)
        assert all(len(one.streams) >= 1 for one in few.peers[1:])
    finally:
        few.close()


def test_few_streams_and_few_connections(launch: Launch) -> None:
    """What finds no place waits for one."""
    few = ScriptedH2(settings={MAX_STREAMS: 2})
    try:
        proxy = launch(few.address, upstream_options={**HTTP2, "pool": {"max_connections": 2}})
        with Peer.to(proxy.address) as peer:
            answers = [peer.ask("/bytes/100") for _ in range(40)]
            peer.wait(*answers)
            assert {answer.status for answer in answers} == {200}
        assert len(few.peers) <= 2
    finally:
        few.close()


def test_upstream_shrinks_its_window(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Uploads keep to what SETTINGS say, also while they run."""
    data = filling(400_000)
    h2_shop.on_head = lambda upstream, asked: upstream.change({4: 1000})
    try:
        assert peer.fetch("/hash", method="POST", body=data).body.split()[0] == b"400000"
    finally:
        h2_shop.on_head = None
        h2_shop.tell(lambda upstream: upstream.change({4: 65_535}), h2_shop.last)


def test_client_changes_its_window(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    peer.change({4: 10})
    asked = peer.ask("/bytes/300000")
    peer.until(lambda: asked.length >= 10)
    peer.change({4: 1_000_000})
    assert peer.wait(asked).body == filling(300_000)
    peer.change({4: 0})
    peer.settle()
    held = peer.ask("/bytes/100")
    peer.until(lambda: held.status)
    assert peer.quiet(0.1)
    peer.change({4: 65_535})
    assert peer.wait(held).body == filling(100)


def test_client_table_size(h2_proxy: Proxy, peer: Peer) -> None:
    """A client without a table for headers is told no indexed ones; hpack would fail."""
    peer.change({1: 0})
    peer.settle()
    for _ in range(5):
        assert peer.fetch("/").body == b"ok"


# Drain


def test_drain(launch: Launch, h2_shop: ScriptedH2) -> None:
    """SIGTERM: GOAWAY, what is under way ends, what comes after is not begun, then the connection ends."""
    proxy = launch(h2_shop.address, upstream_options=HTTP2, listener={"timeouts": {"drain": "10s"}})
    h2_shop.play = silent
    with Peer.to(proxy.address) as peer, Peer.to(proxy.address) as idle:
        idle.settle()
        stays = peer.ask("/")
        eventually(lambda: h2_shop.requests)
        begun = time.monotonic()
        proxy.process.signal(signal.SIGTERM)
        peer.until(lambda: peer.goaways, 3.0)
        assert peer.goaways[-1].error_code == NO_ERROR
        assert peer.goaways[-1].last_stream_id >= stays.sid
        assert idle.rest(3.0) == FIN
        assert idle.goaways
        heard = h2_shop.last
        h2_shop.tell(lambda upstream: plain(upstream, heard), heard)
        assert peer.wait(stays).body == b"ok"
        assert peer.rest(3.0) == FIN
        assert proxy.process.wait(5.0) == 0
        assert time.monotonic() - begun < 6.0
