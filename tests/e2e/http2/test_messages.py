"""What a request and its answer are on the other side: both translations, and HTTP/2 all the way."""

import json
from collections.abc import Iterator

import pytest

from tests.support.h2_peer import Heard, Peer, linger
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling
from tests.support.wire import Message, Wire, chunked, get, request, response


def seen(heard: Heard) -> dict[str, list[str]]:
    """Return the head that ``/seen`` tells of."""
    found: dict[str, list[str]] = {}
    for name, value in json.loads(heard.body):
        found.setdefault(name, []).append(value)
    return found


# HTTP/2 to HTTP/2


def test_head(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    head = seen(peer.fetch("/seen?a=1", ("x-twice", "1"), ("x-twice", "2"), ("te", "trailers")))
    assert head[":method"] == ["GET"]
    assert head[":path"] == ["/seen?a=1"]
    assert head[":authority"] == ["shop.example"]
    assert head["x-twice"] == ["1", "2"]
    assert head["te"] == ["trailers"]
    assert head["via"] == ["2 misrule"]
    assert head["x-forwarded-proto"] == ["http"]
    assert head["x-forwarded-host"] == ["shop.example"]
    assert "host" not in head


def test_authority_from_host(h2_proxy: Proxy, peer: Peer) -> None:
    """A request that came without :authority is routed by its host."""
    asked = peer.open(
        [(":method", "GET"), (":scheme", "http"), (":path", "/seen"), ("host", "other.example")]
    )
    head = seen(peer.wait(asked))
    assert head.get(":authority", head.get("host")) == ["other.example"]


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_535, 300_000])
@pytest.mark.parametrize("pad", [0, 1, 255])
def test_body_both_ways_with_padding(
    h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, size: int, pad: int
) -> None:
    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "200")], pad=pad)
        upstream.push(asked.sid, asked.body, end=True, pad=pad)

    h2_shop.play = play
    data = filling(size)
    asked = peer.ask("/echo", method="POST", end=False)
    peer.push(asked.sid, data, end=True, pad=pad)
    assert peer.wait(asked).body == data
    assert h2_shop.last.body == data


def test_trailers_both_ways(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_shop.play = lambda upstream, asked: upstream.answer(
        asked, 200, body=b"body", trailers=[("x-sum", "1"), ("x-sum", "2")]
    )
    answer = peer.wait(peer.ask("/", method="POST", body=b"sent", trailers=[("x-check", "abc")]))
    assert (answer.body, answer.trailers) == (b"body", [("x-sum", "1"), ("x-sum", "2")])
    assert (h2_shop.last.body, h2_shop.last.trailers) == (b"sent", [("x-check", "abc")])


def test_trailers_without_content(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_shop.play = lambda upstream, asked: upstream.answer(asked, 200, trailers=[("x-sum", "1")])
    answer = peer.wait(peer.ask("/", method="POST", trailers=[("x-check", "abc")]))
    assert (answer.body, answer.trailers) == (b"", [("x-sum", "1")])
    assert (h2_shop.last.body, h2_shop.last.trailers) == (b"", [("x-check", "abc")])


def test_interim_answers(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "103"), ("link", "</a>; rel=preload")])
        upstream.answer(asked, 200, body=b"ok")

    h2_shop.play = play
    answer = peer.fetch("/")
    assert answer.interim == [[(":status", "103"), ("link", "</a>; rel=preload")]]
    assert (answer.status, answer.body) == (200, b"ok")


def test_expect_continue(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_shop.on_head = lambda upstream, asked: upstream.head(asked.sid, [(":status", "100")])
    asked = peer.ask("/echo", ("expect", "100-continue"), method="POST", end=False)
    peer.until(lambda: asked.interim, what="100")
    peer.push(asked.sid, b"now", end=True)
    assert peer.wait(asked).body == b"now"


def test_head_request(h2_proxy: Proxy, peer: Peer) -> None:
    answer = peer.fetch("/bytes/5000", method="HEAD")
    assert (answer.status, answer.get("content-length"), answer.length) == (200, "5000", 0)


@pytest.mark.parametrize("status", [204, 304, 205, 404])
def test_status_without_content(h2_proxy: Proxy, peer: Peer, status: int) -> None:
    answer = peer.fetch(f"/status/{status}")
    assert (answer.status, answer.length, answer.reset) == (status, 0, None)


def test_cookie_crumbs_stay(h2_proxy: Proxy, peer: Peer) -> None:
    assert seen(peer.fetch("/seen", ("cookie", "a=1"), ("cookie", "b=2")))["cookie"] == ["a=1", "b=2"]


def test_large_heads_both_ways(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Heads that need CONTINUATION."""
    long = [(f"x-{number}", "v" * 4000) for number in range(12)]
    h2_shop.play = lambda upstream, asked: upstream.answer(asked, 200, *long, body=b"ok")
    answer = peer.fetch("/", *long)
    assert [pair for pair in answer.headers if pair in long] == long
    assert [pair for pair in h2_shop.last.headers if pair in long] == long


def test_many_requests_on_one_connection(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """They share upstream connections, and each gets its own answer."""
    opened = len(h2_shop.peers)
    asked = {size: peer.ask(f"/bytes/{size}") for size in range(1, 90)}
    for size, heard in asked.items():
        assert peer.wait(heard).body == filling(size)
    assert len(h2_shop.peers) - opened <= 1


def test_connection_header_fields_are_refused(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """RFC 9113, section 8.2.2: such a message is malformed."""
    for name, value in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("upgrade", "x"),
    ]:
        assert peer.fetch("/", (name, value)).reset == 1
    assert peer.fetch("/").status == 200
    assert len(h2_shop.requests) == 1


# HTTP/2 to HTTP/1.1


@pytest.fixture
def down(proxy: Proxy) -> Iterator[Peer]:
    """An HTTP/2 client of the proxy whose upstream speaks HTTP/1.1."""
    with Peer.to(proxy.address) as made:
        yield made


def test_down_head(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    answer = down.fetch(
        "/x?y", ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-a", "1"), ("x-a", "2")
    )
    asked = shop.last
    assert (answer.status, answer.body) == (200, b"ok")
    assert asked.first == ["GET", "/x?y", "HTTP/1.1"]
    assert asked.get("host") == "shop.example"
    assert asked.get("via") == "2 misrule"
    assert asked.get("cookie") == "a=1; b=2"
    assert asked.all("x-a") == ["1", "2"]
    assert asked.get("transfer-encoding") is None
    assert asked.get("content-length") is None
    assert not [name for name, _ in asked.headers if name.startswith(":")]


@pytest.mark.parametrize("size", [0, 1, 65_536, 300_000])
@pytest.mark.parametrize("length", [True, False])
def test_down_upload(proxy: Proxy, shop: Scripted, down: Peer, size: int, length: bool) -> None:
    data = filling(size)
    fields = [("content-length", str(size))] if length else []
    answer = down.fetch("/echo", *fields, method="POST", body=data)
    assert answer.body == data
    assert shop.last.body == data
    assert (shop.last.get("content-length") is not None) == length
    assert (shop.last.get("transfer-encoding") is None) == length


@pytest.mark.parametrize("how", ["bytes", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_down_download(proxy: Proxy, shop: Scripted, down: Peer, how: str, size: int) -> None:
    answer = down.fetch(f"/{how}/{size}")
    assert (answer.status, answer.body) == (200, filling(size))
    assert answer.get("transfer-encoding") is None
    assert answer.get("content-length") == (str(size) if how == "bytes" else None)


def test_down_answer_until_the_connection_ends(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200) + b"all of it")
        wire.close()

    shop.play = play
    answer = down.fetch("/")
    assert (answer.body, answer.ended, answer.reset) == (b"all of it", True, None)


def test_down_trailers_both_ways(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        wire.send(response(200, "transfer-encoding: chunked") + chunked(b"body", trailers=b"X-Sum: 1\r\n"))

    shop.play = play
    answer = down.wait(down.ask("/", method="POST", body=b"sent", trailers=[("x-check", "abc")]))
    assert (answer.body, answer.trailers) == (b"body", [("x-sum", "1")])
    assert (shop.last.body, shop.last.trailers) == (b"sent", [("x-check", "abc")])


def test_down_connection_fields_of_the_answer(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    def play(wire: Wire, asked: Message) -> None:
        lines = ["Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Upgrade: h2c", "X-Kept: Yes"]
        wire.send(response(200, *lines, body=b"ok"))

    shop.play = play
    answer = down.fetch("/")
    names = [name for name, _ in answer.headers]
    assert not {"connection", "x-hop", "keep-alive", "upgrade", "transfer-encoding"} & set(names)
    assert answer.get("x-kept") == "Yes"
    assert all(name == name.lower() for name in names)


def test_down_interim(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(103, "link: </a>") + response(200, body=b"ok"))

    shop.play = play
    answer = down.fetch("/")
    assert answer.interim == [[(":status", "103"), ("link", "</a>")]]
    assert answer.body == b"ok"


@pytest.mark.parametrize("status", [204, 304])
def test_down_without_content(proxy: Proxy, shop: Scripted, down: Peer, status: int) -> None:
    answer = down.fetch(f"/status/{status}")
    assert (answer.status, answer.length, answer.ended, answer.reset) == (status, 0, True, None)


def test_down_head_request(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    answer = down.fetch("/bytes/5000", method="HEAD")
    assert (answer.get("content-length"), answer.length, answer.ended) == ("5000", 0, True)


@pytest.mark.parametrize("after", [0, 100])
@pytest.mark.parametrize("framing", ["content-length: 5000", "transfer-encoding: chunked"])
def test_down_answer_cut_short(proxy: Proxy, shop: Scripted, down: Peer, after: int, framing: str) -> None:
    """It never looks whole: RST_STREAM."""

    def play(wire: Wire, asked: Message) -> None:
        piece = b"1388\r\n" if "chunked" in framing else b""
        wire.send(response(200, framing) + piece + filling(after))
        wire.close()

    shop.play = play
    answer = down.wait(down.ask("/"))
    assert (answer.status, answer.ended) == (200, False)
    assert answer.body == filling(after)
    assert answer.reset == 2


# HTTP/1.1 to HTTP/2


def test_up_head(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    with Wire.to(h2_proxy.address) as wire:
        answer = wire.ask(
            get(
                "/seen?q",
                "Cookie: a=1; b=2",
                "X-Mixed: Case",
                "Connection: x-hop, te",
                "X-Hop: 1",
                "TE: trailers",
            )
        )
    head = dict(json.loads(answer.body))
    assert (head[":method"], head[":path"], head[":authority"]) == ("GET", "/seen?q", "shop.example")
    assert head["x-mixed"] == "Case"
    assert head["via"] == "1.1 misrule"
    assert head["cookie"] == "a=1; b=2"
    assert not {"host", "connection", "x-hop", "transfer-encoding"} & set(head)


@pytest.mark.parametrize("size", [0, 1, 300_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_up_upload(h2_proxy: Proxy, h2_shop: ScriptedH2, size: int, framing: str) -> None:
    data = filling(size)
    with Wire.to(h2_proxy.address) as wire:
        if framing == "length":
            answer = wire.ask(request("POST", "/echo", body=data))
        else:
            answer = wire.ask(request("POST", "/echo", "transfer-encoding: chunked") + chunked(data))
    assert (answer.status, answer.body) == (200, data)
    assert h2_shop.last.body == data
    assert h2_shop.last.get("content-length") == (str(size) if framing == "length" else None)


def test_up_trailers_both_ways(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    h2_shop.play = lambda upstream, asked: upstream.answer(
        asked, 200, body=b"body", trailers=[("x-sum", "1")]
    )
    with Wire.to(h2_proxy.address) as wire:
        sent = request("POST", "/", "transfer-encoding: chunked") + chunked(
            b"sent", trailers=b"X-Check: abc\r\n"
        )
        answer = wire.ask(sent)
    assert (answer.body, answer.trailers) == (b"body", [("x-sum", "1")])
    assert (h2_shop.last.body, h2_shop.last.trailers) == (b"sent", [("x-check", "abc")])


@pytest.mark.parametrize("status", [204, 304, 404])
def test_up_without_content(h2_proxy: Proxy, h2_shop: ScriptedH2, status: int) -> None:
    """The connection goes on behind an answer that ended with its head."""
    with Wire.to(h2_proxy.address) as wire:
        answer = wire.ask(get(f"/status/{status}"))
        assert (answer.status, answer.body) == (status, b"")
        assert wire.ask(get("/")).body == b"ok"


def test_up_interim(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "103"), ("link", "</a>")])
        upstream.answer(asked, 200, body=b"ok")

    h2_shop.play = play
    with Wire.to(h2_proxy.address) as wire:
        wire.send(get("/"))
        early = wire.read_head()
        assert (early.status, early.get("link")) == (103, "</a>")
        assert wire.answer().body == b"ok"


def test_up_old_client(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection ends an answer of unknown length."""
    h2_shop.play = lambda upstream, asked: upstream.answer(asked, 200, body=b"all of it")
    with Wire.to(h2_proxy.address) as wire:
        wire.send(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        answer = wire.answer()
    assert (answer.body, answer.get("transfer-encoding")) == (b"all of it", None)


@pytest.mark.parametrize("after", [0, 100])
def test_up_answer_cut_short(h2_proxy: Proxy, h2_shop: ScriptedH2, after: int) -> None:
    """RST_STREAM in the middle: HTTP/1.1 ends its connection before the last chunk."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "200")])
        upstream.push(asked.sid, filling(after))
        linger(upstream, 0.02)
        upstream.reset(asked.sid, 2)

    h2_shop.play = play
    with Wire.to(h2_proxy.address) as wire:
        wire.send(get("/"))
        head = wire.read_head()
        assert head.status == 200
        data, how = wire.rest()
        assert not data.endswith(b"0\r\n\r\n")
        assert filling(after) in data
        assert how != "open"


def test_upgrade_to_h2c_is_declined(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """RFC 9113, section 3.1: that way in is obsolete; the request is answered as it is."""
    with Wire.to(h2_proxy.address) as wire:
        answer = wire.ask(
            get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        )
        assert (answer.status, answer.body) == (200, b"ok")
        assert wire.ask(get("/")).status == 200
