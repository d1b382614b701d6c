"""Every shape of an HTTP/1.1 message passes: the same tests run against the upstream itself and the proxy."""

import time

import pytest

from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling, plain
from tests.support.wire import FIN, OPEN, Message, Wire, chunked, get, request, response


def test_head_has_no_body_and_the_connection_goes_on(door: str) -> None:
    with Wire.to(door) as wire:
        for _ in range(3):
            answer = wire.ask(request("HEAD", "/bytes/5000"), "HEAD")
            assert (answer.status, answer.get("content-length")) == (200, "5000")
        assert wire.ask(get("/bytes/7")).body == filling(7)


def test_head_of_a_chunked_answer(door: str) -> None:
    with Wire.to(door) as wire:
        answer = wire.ask(request("HEAD", "/chunked/5000"), "HEAD")
        assert (answer.status, answer.get("transfer-encoding")) == (200, "chunked")
        assert wire.ask(get("/bytes/7")).body == filling(7)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_never_have_a_body(door: str, status: int) -> None:
    with Wire.to(door) as wire:
        assert wire.ask(get(f"/status/{status}")).status == status
        assert wire.ask(get("/bytes/7")).body == filling(7)


def test_304_may_tell_the_length_of_what_it_does_not_send(door: str, shop: Scripted) -> None:
    shop.play = lambda wire, _: wire.send(response(304, "content-length: 77", 'etag: "a"'))
    with Wire.to(door) as wire:
        for _ in range(2):
            answer = wire.ask(get())
            assert (answer.status, answer.get("etag")) == (304, '"a"')
        assert wire.quiet(0.05)


def test_interim_answers_come_in_order(door: str, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(103, "link: </style.css>; rel=preload"))
        wire.send(response(103, "link: </script.js>; rel=preload"))
        plain(wire, asked)

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(get("/bytes/3"))
        first, second, last = wire.read_head(), wire.read_head(), wire.read_head()
        assert [first.status, second.status, last.status] == [103, 103, 200]
        assert first.get("link") == "</style.css>; rel=preload"
        assert wire.read_body(last).body == filling(3)


def test_interim_answer_comes_before_the_final_one_exists(door: str, shop: Scripted) -> None:
    """An early hint that waits for the answer would be of no use."""
    told: list[bool] = []

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(103))
        told.append(wire.take(2) == b"go")
        wire.send(response(200, body=b""))

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(request("POST", "/x", "content-length: 2"))
        assert wire.read_head().status == 103
        wire.send(b"go")
        assert wire.read_head().status == 200
    assert told == [True]


def test_expect_100_continue(door: str, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        if asked.get("expect") == "100-continue":
            wire.send(response(100))
        plain(wire, asked)

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(request("PUT", "/echo", "content-length: 5", "expect: 100-continue"))
        assert wire.read_head().status == 100
        wire.send(b"hello")
        assert wire.answer().body == b"hello"
        assert wire.ask(get("/bytes/2")).status == 200
    assert shop.requests[0].get("expect") == "100-continue"


def test_expect_100_continue_refused(door: str, shop: Scripted) -> None:
    """The final answer comes without a 100, and the body that was never sent is not waited for."""
    shop.play = lambda wire, _: wire.send(response(413, "connection: close", body=b"no"))
    with Wire.to(door) as wire:
        wire.send(request("PUT", "/echo", "content-length: 8000000", "expect: 100-continue"))
        begun = time.monotonic()
        head = wire.read_head()
        assert (head.status, wire.read_body(head).body) == (413, b"no")
        assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize("path", ["/bytes/5000", "/chunked/5000"])
def test_http_1_0_client(door: str, shop: Scripted, path: str) -> None:
    """It gets no chunks, and the connection ends with the answer."""

    def play(wire: Wire, asked: Message) -> None:
        if asked.first[2] == "HTTP/1.0":  # asked without the proxy between
            wire.send(b"HTTP/1.0 200 OK\r\n\r\n" + filling(5000))
            wire.close()
        else:
            plain(wire, asked)

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(f"GET {path} HTTP/1.0\r\nhost: shop.example\r\n\r\n".encode())
        answer = wire.read_head()
        assert (answer.status, answer.get("transfer-encoding")) == (200, None)
        assert wire.rest() == (filling(5000), FIN)


def test_http_1_0_client_without_host(door: str) -> None:
    with Wire.to(door) as wire:
        wire.send(b"GET /bytes/30 HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, filling(30))


def test_answer_that_ends_with_its_connection(door: str, shop: Scripted) -> None:
    """The client gets it whole, however it is framed for it, and knows that it is whole."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n" + filling(100_000))
        wire.close()

    shop.play = play
    with Wire.to(door) as wire:
        answer = wire.ask(get("/old"))
        assert answer.body == filling(100_000)
        if door != shop.address:  # the proxy frames it anew, and the client's connection lives
            shop.play = plain
            assert wire.ask(get("/bytes/2")).body == filling(2)


def test_trailers_of_an_answer(door: str, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "transfer-encoding: chunked", "trailer: x-sum"))
        wire.send(chunked(b"one", b"two", trailers=b"x-sum: 6\r\n"))

    shop.play = play
    with Wire.to(door) as wire:
        answer = wire.ask(get("/", "te: trailers", "connection: te"))
        assert (answer.body, answer.trailers) == (b"onetwo", [("x-sum", "6")])
        assert answer.get("trailer") == "x-sum"


def test_trailers_of_a_request(door: str, shop: Scripted) -> None:
    with Wire.to(door) as wire:
        wire.send(request("POST", "/echo", "transfer-encoding: chunked", "trailer: x-sum"))
        wire.send(chunked(b"one", b"two", trailers=b"x-sum: 6\r\n"))
        assert wire.answer().body == b"onetwo"
    assert shop.last.trailers == [("x-sum", "6")]
    assert shop.last.get("trailer") == "x-sum"


def test_chunk_extensions(door: str, shop: Scripted) -> None:
    body = b'3;name=value\r\none\r\n3;a;b="q;\\"r"\r\ntwo\r\n0;last\r\n\r\n'

    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        wire.send(response(200, "transfer-encoding: chunked") + body)

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(request("POST", "/x", "transfer-encoding: chunked") + body)
        assert wire.answer().body == b"onetwo"
        assert wire.quiet(0.02)
    assert shop.last.body == b"onetwo"


def test_pipelining(door: str, shop: Scripted) -> None:
    with Wire.to(door) as wire:
        wire.send(b"".join(get(f"/bytes/{size}", f"x-number: {size}") for size in range(40)))
        for size in range(40):
            assert wire.answer().body == filling(size)
    assert [asked.get("x-number") for asked in shop.requests] == [str(size) for size in range(40)]


def test_pipelined_requests_with_bodies(door: str) -> None:
    """Lengths, chunks and no body in turn, all in one write: each answer belongs to its request."""
    asked = []
    for number in range(10):
        asked.append(request("POST", "/echo", body=b"length %d" % number))
        asked.append(
            request("POST", "/echo", "transfer-encoding: chunked") + chunked(b"chunks ", b"%d" % number)
        )
        asked.append(get(f"/bytes/{number}"))
    with Wire.to(door) as wire:
        wire.send(b"".join(asked))
        for number in range(10):
            assert wire.answer().body == b"length %d" % number
            assert wire.answer().body == b"chunks %d" % number
            assert wire.answer().body == filling(number)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_byte_by_byte(door: str, shop: Scripted, framing: str) -> None:
    """Both messages arrive one byte at a time."""
    if framing == "length":
        asked, told = request("POST", "/x", body=b"question"), response(200, body=b"answer")
    else:
        asked = request("POST", "/x", "transfer-encoding: chunked") + chunked(b"ques", b"tion")
        told = response(200, "transfer-encoding: chunked") + chunked(b"ans", b"wer")

    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        for at in range(len(told)):
            wire.send(told[at : at + 1])

    shop.play = play
    with Wire.to(door) as wire:
        for at in range(len(asked)):
            wire.send(asked[at : at + 1])
        assert wire.answer().body == b"answer"
    assert shop.last.body == b"question"


def test_connections_are_kept_and_used_again(door: str, shop: Scripted) -> None:
    with Wire.to(door) as wire:
        for _ in range(10):
            assert wire.ask(get("/bytes/100")).body == filling(100)
    assert len({asked.opening for asked in shop.requests}) == 1


def test_client_asks_to_close(door: str, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        plain(wire, asked)
        if asked.get("connection") == "close":  # asked without the proxy between
            wire.close()

    shop.play = play
    with Wire.to(door) as wire:
        assert wire.ask(get("/bytes/100", "connection: close")).body == filling(100)
        assert wire.rest() == (b"", FIN)


def test_large_heads(door: str, shop: Scripted) -> None:
    """Just under 64 KiB, in both directions."""
    value = "v" * 6000
    lines = [f"x-{number}: {value}" for number in range(10)]
    shop.play = lambda wire, _: wire.send(response(200, *lines, body=b"ok"))
    with Wire.to(door) as wire:
        answer = wire.ask(get("/", *lines))
        assert [answer.get(f"x-{number}") for number in range(10)] == [value] * 10
    assert [shop.last.get(f"x-{number}") for number in range(10)] == [value] * 10


def test_what_a_head_says_stays_as_it_came(door: str, shop: Scripted) -> None:
    """Target, reason, order, case, repeated fields, bytes above 127."""
    lines = ["Set-Cookie: a=1", "X-Mixed-Case:  two  words ", "set-cookie: b=2", "x-raw: \xe9\xff"]

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(299, *lines, body=b"", reason="Quite All Right"))

    shop.play = play
    target = "/a%2Fb//c/../d;e=f?q=1&q=2&r=%20+'"
    with Wire.to(door) as wire:
        answer = wire.ask(request("PURGE", target, "X-Thing: 1", "x-thing: 2"))
    assert answer.first == ["HTTP/1.1", "299", "Quite All Right"]
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer.get("x-mixed-case") == "two  words"
    assert answer.get("x-raw") == "\xe9\xff"
    assert b"\r\nSet-Cookie: a=1\r\n" in answer.head
    assert b"\r\nX-Mixed-Case:" in answer.head
    assert (shop.last.method, shop.last.target) == ("PURGE", target)
    assert shop.last.all("x-thing") == ["1", "2"]


def test_options_of_the_whole_server(door: str, shop: Scripted) -> None:
    with Wire.to(door) as wire:
        assert wire.ask(request("OPTIONS", "*")).status == 200
    assert shop.last.target == "*"


def test_empty_line_before_a_request(proxy: Proxy) -> None:
    """RFC 9112 section 2.2: a server ignores at least one; clients send it after a POST."""
    with Wire.to(proxy.address) as wire:
        assert wire.ask(request("POST", "/echo", body=b"x") + b"\r\n").status == 200
        assert wire.ask(get("/bytes/4")).body == filling(4)


def test_a_slow_answer_flows_as_it_comes(door: str, shop: Scripted) -> None:
    """Nothing waits for the message to be whole: what is there goes on."""
    told: list[bytes] = []

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "transfer-encoding: chunked"))
        for _ in range(3):
            wire.send(b"4\r\ntick\r\n")
            told.append(wire.take(4))
        wire.send(b"0\r\n\r\n")

    shop.play = play
    with Wire.to(door) as wire:
        wire.send(request("POST", "/x", "content-length: 12"))
        answer = wire.read_head()
        pieces = wire.chunks(answer)
        for _ in range(3):
            assert next(pieces) == b"tick"
            wire.send(b"tock")
        assert list(pieces) == []
    assert told == [b"tock"] * 3


def test_a_connection_that_says_nothing_is_left_alone(door: str) -> None:
    with Wire.to(door) as wire:
        assert wire.rest(0.1) == (b"", OPEN)
        assert wire.ask(get("/bytes/2")).body == filling(2)
