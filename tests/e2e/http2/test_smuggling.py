"""What would be one message for us and another, or two, for the next parser is refused, both ways."""

from collections.abc import Iterator

import pytest

from tests.support.h2_peer import PROTOCOL_ERROR, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wait import eventually
from tests.support.wire import Wire, get

_PSEUDO = {":method": "GET", ":scheme": "http", ":authority": "shop.example", ":path": "/"}
_SECOND = "GET /second HTTP/1.1\r\nhost: shop.example\r\n\r\n"


@pytest.fixture
def down(proxy: Proxy) -> Iterator[Peer]:
    """A client in HTTP/2; the upstream speaks HTTP/1.1."""
    with Peer.to(proxy.address) as made:
        yield made


def head(*fields: tuple[str, str], **pseudo: str) -> list[tuple[str, str]]:
    """Make a request's fields, with other pseudo-headers where given."""
    changed = {**_PSEUDO, **{f":{name}": value for name, value in pseudo.items()}}
    return [*changed.items(), *fields]


_VALUES = ["a\r\nx: y", "a\ny", "a\0", "a\r", " a", "a ", "\ta", f"a\r\n\r\n{_SECOND}"]
_NAMES = [
    "X-Upper",
    "a b",
    "a:",
    "a\r\nb",
    "a\n",
    "",
    "a\0",
    "a\x7f",
    "transfer-encoding\t",
    "ä",
    "a: b\r\nc",
]
_HOP = [
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("keep-alive", "1"),
    ("proxy-connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("te", "chunked"),
]
_LENGTHS = [
    (("content-length", "+1"),),
    (("content-length", "-1"),),
    (("content-length", "1, 1"),),
    (("content-length", ""),),
    (("content-length", "0x1"),),
    (("content-length", "1"), ("content-length", "2")),
    (("content-length", "1_0"),),
]
_TARGETS = [
    {"path": ""},
    {"path": "a"},
    {"path": "http://other.example/"},
    {"path": "*"},
    {"path": "/ HTTP/1.1\r\nhost: other.example\r\n\r\n"},
    {"path": "/a b"},
    {"path": "/a\tb"},
    {"path": f"/\r\n\r\n{_SECOND}"},
    {"path": "/\0"},
    {"method": "GET / HTTP/1.1\r\nx:"},
    {"method": ""},
    {"method": "GE T"},
    {"authority": "a/b"},
    {"authority": "user@shop.example"},
    {"authority": "a b"},
    {"authority": "a\r\nx: y"},
    {"authority": ""},
    {"scheme": "http://x/?"},
    {"scheme": ""},
    {"status": "200"},
    {"odd": "1"},
]
_CASES: list[list[tuple[str, str]]] = [
    *[head(("x-a", value)) for value in _VALUES],
    *[head(("cookie", value)) for value in _VALUES],
    *[head((name, "1")) for name in _NAMES],
    *[head(pair) for pair in _HOP],
    *[head(*pairs, method="POST") for pairs in _LENGTHS],
    *[head(**pseudo) for pseudo in _TARGETS],
    head(("host", "other.example")),
    head(("host", "shop.example"), ("host", "shop.example")),
    [*head(("x-a", "1")), (":path", "/late")],
    [*head(), (":path", "/twice")],
    [(name, value) for name, value in head() if name != ":path"],
    [(name, value) for name, value in head() if name != ":method"],
    [(name, value) for name, value in head() if name != ":authority"],
]


@pytest.mark.parametrize("fields", _CASES, ids=str)
def test_refused_head(proxy: Proxy, shop: Scripted, down: Peer, fields: list[tuple[str, str]]) -> None:
    """Nothing of it reaches the upstream, and the connection goes on."""
    answer = down.open(fields)
    down.until(lambda: answer.reset is not None or answer.ended)
    assert answer.reset == PROTOCOL_ERROR or answer.status in (400, 404, 421, 501), answer
    assert down.fetch("/").body == b"ok"
    assert [asked.target for asked in shop.requests] == ["/"]


@pytest.mark.parametrize("said", ["3", "10"])
def test_body_that_is_not_as_long_as_said(proxy: Proxy, shop: Scripted, down: Peer, said: str) -> None:
    """The upstream's connection is not used again: what is missing would be taken from the next request."""
    asked = down.ask("/echo", ("content-length", said), method="POST", end=False)
    down.push(asked.sid, b"hello", end=True)
    down.wait(asked)
    assert asked.reset == PROTOCOL_ERROR
    assert down.fetch("/next").body == b"ok"
    assert not [asked for asked in shop.requests if asked.wholly and asked.target == "/echo"]
    later = [asked for asked in shop.requests if asked.target == "/next"]
    begun = [asked for asked in shop.requests if asked.target == "/echo"]
    assert len(later) == 1
    assert not begun or begun[0].opening != later[0].opening


def test_trailers_cannot_frame(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    """What means something in a head does not pass as a trailer to HTTP/1.1."""
    bad = [("content-length", "5"), ("host", "other.example"), ("authorization", "me"), ("x-kept", "1")]
    answer = down.wait(down.ask("/echo", method="POST", body=b"hello", trailers=bad))
    assert answer.body == b"hello"
    assert shop.last.trailers == [("x-kept", "1")]


@pytest.mark.parametrize("trailer", [(":path", "/x"), ("x-a", "a\r\nb"), ("connection", "close"), ("A", "1")])
def test_refused_trailers(proxy: Proxy, shop: Scripted, down: Peer, trailer: tuple[str, str]) -> None:
    answer = down.wait(down.ask("/echo", method="POST", body=b"hello", trailers=[trailer]))
    assert answer.reset == PROTOCOL_ERROR
    assert down.fetch("/").body == b"ok"
    assert not [asked for asked in shop.requests if asked.wholly and asked.target == "/echo"]


def test_body_that_looks_like_a_request(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    """With and without content-length it is a body."""
    for fields in ([], [("content-length", str(len(_SECOND)))]):
        answer = down.fetch("/echo", *fields, method="POST", body=_SECOND.encode())
        assert answer.body == _SECOND.encode()
        answer = down.fetch("/echo", *fields, method="GET", body=_SECOND.encode())
        assert answer.body == _SECOND.encode()
    assert {asked.target for asked in shop.requests} == {"/echo"}


def test_connect_is_declined(proxy: Proxy, shop: Scripted, down: Peer) -> None:
    answer = down.open([(":method", "CONNECT"), (":authority", "shop.example:80")], end=False)
    down.until(lambda: answer.reset is not None or answer.status)
    assert answer.status in (0, 400, 405, 501), answer
    assert down.fetch("/").body == b"ok"
    assert [asked.target for asked in shop.requests] == ["/"]


# Answers


_ANSWERS = [
    [(":status", "200"), ("x-a", "a\r\nb: c")],
    [(":status", "200"), ("X-Upper", "1")],
    [(":status", "200"), ("transfer-encoding", "chunked")],
    [(":status", "200"), ("connection", "close")],
    [(":status", "200\r\nx: y")],
    [(":status", "20")],
    [(":status", "101")],
    [("x-a", "1")],
    [(":status", "200"), (":status", "200")],
    [(":status", "200"), (":path", "/")],
    [(":status", "200"), ("content-length", "1"), ("content-length", "1")],
    [(":status", "200"), ("content-length", "abc")],
]


@pytest.mark.parametrize("fields", _ANSWERS, ids=str)
def test_refused_answer(h2_proxy: Proxy, h2_shop: ScriptedH2, fields: list[tuple[str, str]]) -> None:
    """The client of either protocol gets a 502, whole, and its connection goes on."""
    h2_shop.play = lambda upstream, asked: upstream.head(asked.sid, fields, True)
    with Peer.to(h2_proxy.address) as peer, Wire.to(h2_proxy.address) as wire:
        assert peer.fetch("/").status == 502
        assert wire.ask(get("/")).status == 502
        h2_shop.forget()
        assert peer.fetch("/").body == b"ok"
        assert wire.ask(get("/")).body == b"ok"


@pytest.mark.parametrize("said", ["3", "10"])
def test_answer_that_is_not_as_long_as_said(h2_proxy: Proxy, h2_shop: ScriptedH2, said: str) -> None:
    """It never looks whole, and nothing of it is taken for the next answer."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "200"), ("content-length", said)])
        upstream.push(asked.sid, b"hello", end=True)

    h2_shop.play = play
    with Peer.to(h2_proxy.address) as peer, Wire.to(h2_proxy.address) as wire:
        answer = peer.fetch("/")
        assert answer.reset is not None or answer.status == 502
        wire.send(get("/"))
        data, how = wire.rest(3.0)
        whole = data.startswith(b"HTTP/1.1 502 ")
        assert whole or how != "open"
        body = data.partition(b"\r\n\r\n")[2]
        assert whole or len(body) != int(said)
    eventually(lambda: h2_proxy.metric("misrule_requests_active") == 0)


@pytest.mark.parametrize("status", ["204", "304"])
def test_body_behind_a_status_that_has_none(h2_proxy: Proxy, h2_shop: ScriptedH2, status: str) -> None:
    """An HTTP/1.1 client would take it for the next answer."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", status)])
        upstream.push(asked.sid, b"HTTP/1.1 200 OK\r\n\r\n", end=True)

    h2_shop.play = play
    with Wire.to(h2_proxy.address) as wire:
        wire.send(get("/"))
        assert wire.read_head().status in (int(status), 502)
        data, _ = wire.rest(0.5)
        assert b"200 OK" not in data


@pytest.mark.parametrize("status", ["204", "304"])
def test_empty_frame_behind_a_status_that_has_no_body(
    h2_proxy: Proxy, h2_shop: ScriptedH2, status: str
) -> None:
    """That is allowed, and usual: the stream is ended by a frame of its own."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", status)])
        upstream.push(asked.sid, b"", end=True)

    h2_shop.play = play
    with Wire.to(h2_proxy.address) as wire, Peer.to(h2_proxy.address) as peer:
        for _ in range(2):
            assert wire.ask(get("/")).status == int(status)
            assert peer.fetch("/").status == int(status)


_ODD = [
    [("x-high", "\x80\xff"), ("x-tab", "a\tb"), ("x-empty", ""), ("!#$%&'*+-.^_`|~1", "x"), ("x-a", ':,;"')],
    [("content-length", "2"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
    [(f"x-{number}", "y" * 200) for number in range(90)],
]


@pytest.mark.parametrize("fields", _ODD, ids=["odd", "twice", "many"])
def test_odd_and_allowed(h2_proxy: Proxy, h2_shop: ScriptedH2, fields: list[tuple[str, str]]) -> None:
    """What both protocols can say passes in both directions as it is."""
    h2_shop.play = lambda upstream, asked: upstream.answer(asked, 200, *fields, body=b"ok")
    with Wire.to(h2_proxy.address) as wire, Peer.to(h2_proxy.address) as peer:
        for answer in (wire.ask(get("/")), peer.fetch("/", *[pair for pair in fields if pair[0][0] != "c"])):
            assert [pair for pair in answer.headers if pair in fields] == fields
            assert answer.body == b"ok"
