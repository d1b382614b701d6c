"""WebSockets with HTTP/2 on one side, or both: real ends, whole conversations, 16 MiB by hash."""

import contextlib
import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close, Opcode
from websockets.sync.client import connect

from proxy.wire.websocket import accept_of
from tests.e2e.conftest import Launch
from tests.e2e.http2.conftest import HTTP2
from tests.support.chat import ASK, CONNECT_PROTOCOL, Chat, echo, echo_server
from tests.support.h2_peer import Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.need import need
from tests.support.process import Process
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import SERVERS
from tests.support.wait import eventually
from tests.support.wire import FIN, Message, Wire, response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_SIZE = 16 * 1_048_576
_NODE = str(SERVERS / "tunnel.mjs")
each_upstream = pytest.mark.parametrize("upstream", ["h1", "h2"])


@pytest.fixture
def chat(launch: Launch) -> Iterator[Callable[[str], Proxy]]:
    """Proxies before a WebSocket server in HTTP/1.1 and in HTTP/2."""
    with contextlib.ExitStack() as stack:

        def before(upstream: str) -> Proxy:
            if upstream == "h1":
                return launch(stack.enter_context(echo_server()))
            shop = stack.enter_context(contextlib.closing(ScriptedH2(settings={CONNECT_PROTOCOL: 1})))
            shop.on_head = echo
            return launch(shop.address, upstream_options=HTTP2)

        yield before


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Node's HTTP/2 server, which sends back what comes."""
    process = Process([need("node"), _NODE, "server"])
    port = process.wait_line(r"listening on (\d+)")[1]
    yield f"127.0.0.1:{port}"
    process.stop()


def by_node(url: str, size: int) -> dict[str, object]:
    """Let Node's client send so many bytes through a tunnel, and say what came back."""
    done = subprocess.run(
        [need("node"), _NODE, "client", url, str(size)], capture_output=True, text=True, timeout=60
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _echo_of_bytes(wire: Wire, asked: Message) -> None:
    """Switch as a WebSocket server does, then send back whatever comes, until FIN."""
    accept = accept_of((asked.get("sec-websocket-key") or "").encode()).decode()
    wire.send(response(101, "connection: upgrade", "upgrade: websocket", f"sec-websocket-accept: {accept}"))
    while data := wire.sock.recv(262_144):
        wire.send(data)
    wire.close()


# Conversations


@each_upstream
def test_a_conversation_from_http_2(chat: Callable[[str], Proxy], upstream: str) -> None:
    proxy = chat(upstream)
    with Peer.to(proxy.address) as peer:
        talk = Chat.to(peer)
        for text in [b"hello", b"", "ü".encode() * 1000, filling(100_000)]:
            talk.send(text, binary=True)
            assert talk.receive().data == text
        talk.protocol.send_text(b"frag", fin=False)
        talk.protocol.send_continuation(b"ment", fin=False)
        talk.protocol.send_continuation(b"ed", fin=True)
        talk.flush()
        assert talk.receive().data == b"fragmented"
        talk.protocol.send_ping(b"there?")
        talk.flush()
        pong = talk.receive()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"there?")
        views = proxy.admin("GET", "/v1/connections")["connections"]
        (entry,) = [view for view in views if view["side"] == "client"]
        assert [stream["state"] for stream in entry["streams"]] == ["tunnel"]
        talk.send(b"bye")
        farewell = talk.receive()
        assert farewell.opcode is Opcode.CLOSE
        assert Close.parse(bytes(farewell.data)) == Close(4001, "so long")
        peer.wait(talk.stream)
        assert talk.stream.reset in (None, 0)
        assert not peer.goaways
    eventually(lambda: proxy.metric("misrule_requests_active") == 0, what="nothing is left")


def test_a_conversation_to_http_2(chat: Callable[[str], Proxy]) -> None:
    proxy = chat("h2")
    with connect(f"ws://{proxy.address}/chat", max_size=None) as socket:
        assert socket.protocol.extensions, "permessage-deflate is between the two ends"
        messages: list[str | bytes] = ["hello", "", "ü" * 1000, b"\0\1\2", filling(100_000)]
        for message in messages:
            socket.send(message)
            assert socket.recv(timeout=10) == message
        socket.send(["frag", "ment", "ed"])
        assert socket.recv(timeout=10) == "fragmented"
        assert socket.ping(b"there?").wait(5), "pong"
        socket.send("bye")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "so long")
    eventually(lambda: proxy.metric("misrule_requests_active") == 0, what="nothing is left")


def test_many_at_once_on_one_connection(chat: Callable[[str], Proxy]) -> None:
    proxy = chat("h1")
    with Peer.to(proxy.address) as peer:
        talks = [Chat.to(peer) for _ in range(20)]
        for number, talk in enumerate(talks):
            talk.send(b"from %d" % number)
        for number, talk in enumerate(talks):
            assert talk.receive().data == b"from %d" % number


# Real ends in HTTP/2, and bytes by the million


def test_node_to_http_1(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    shop = upstream()
    shop.play = _echo_of_bytes
    found = by_node(f"{launch(shop.address).url}/chat", _SIZE)
    assert (
        found["allowed"],
        found["status"],
        found["length"],
        found["same"],
        found["code"],
        found["error"],
    ) == ((True, 200, _SIZE, True, 0, "")), found
    assert shop.last.method == "GET"
    assert shop.last.target == "/chat"


def test_node_to_node(launch: Launch, node: str) -> None:
    found = by_node(f"{launch(node, upstream_options=HTTP2).url}/chat", _SIZE)
    assert (found["status"], found["length"], found["same"], found["code"], found["error"]) == (
        (200, _SIZE, True, 0, "")
    ), found


def test_node_under_the_fault_http2(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    shop = upstream()
    shop.play = _echo_of_bytes
    proxy = launch(shop.address)
    small = {"padding": 100, "frame_size": 700, "settings": {"initial_window_size": 5000}}
    proxy.put(rule("odd", {"http2": small}, match={"protocol": ["websocket"]}))
    found = by_node(f"{proxy.url}/chat", 100_000)
    assert (found["status"], found["length"], found["same"], found["code"]) == (200, 100_000, True, 0), found
    assert proxy.injections(rule="odd", fault="http2") == 1


def test_http_1_to_node(launch: Launch, node: str) -> None:
    proxy = launch(node, upstream_options=HTTP2)
    data = filling(_SIZE)
    with Wire.to(proxy.address, timeout=30) as wire:
        wire.send(ask())
        head = wire.read_head()
        assert (head.status, head.get("sec-websocket-accept")) == (101, accept_of(KEY.encode()).decode())
        assert head.get("upgrade") == "websocket"

        def send() -> None:
            wire.send(data)
            wire.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        came, how = wire.rest(30)
        sender.join()
    assert (len(came), hashlib.sha256(came).digest(), how) == (_SIZE, hashlib.sha256(data).digest(), FIN)


def ask(path: str = "/chat") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    ).encode()


# Refusals


def test_node_refuses(launch: Launch, node: str) -> None:
    proxy = launch(node, upstream_options=HTTP2)
    with Wire.to(proxy.address) as wire:
        for _ in range(2):
            answer = wire.ask(ask("/refused"))
            assert (answer.status, answer.body) == (403, b"not you")
    found = by_node(f"{proxy.url}/refused", 0)
    assert (found["status"], found["body"]) == (403, "not you"), found


def test_an_upstream_in_http_1_refuses(proxy: Proxy, shop: Scripted) -> None:
    shop.play = lambda wire, asked: wire.send(response(401, "www-authenticate: Basic", body=b"not you"))
    with Peer.to(proxy.address) as peer:
        for _ in range(2):
            heard = peer.wait(peer.open(ASK, end=False))
            assert (heard.status, heard.get("www-authenticate"), heard.body) == (401, "Basic", b"not you")
    assert {asked.opening for asked in shop.requests} == {shop.requests[0].opening}, "its connection is kept"


def test_an_upstream_that_does_not_offer_it(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    with Peer.to(h2_proxy.address) as peer:
        heard = peer.wait(peer.open(ASK, end=False))
        assert (heard.status, heard.get("proxy-status")) == (502, "misrule; error=http_upgrade_failed")
        assert peer.fetch("/bytes/3").body == filling(3)
    with Wire.to(h2_proxy.address) as wire:
        assert wire.ask(ask()).status == 502
    assert [heard.path for heard in h2_shop.requests] == ["/bytes/3"]


def test_plain_connect(proxy: Proxy, shop: Scripted) -> None:
    """This is no forward proxy, in either protocol."""
    with Peer.to(proxy.address) as peer:
        heard = peer.wait(peer.open([(":method", "CONNECT"), (":authority", "a:443")], end=False))
        assert (heard.status, heard.reset) == (501, 0)
    with Wire.to(proxy.address) as wire:
        wire.send(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")
        assert wire.read_head().status == 501
    assert shop.requests == []
