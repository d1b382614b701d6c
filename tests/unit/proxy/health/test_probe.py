"""Single checks by TCP, HTTP/1.1 and HTTP/2, on transports that only pretend."""

import asyncio
from typing import Any, cast

import hpack
import pytest
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame

from proxy.config import HealthCheck
from proxy.health import probe
from proxy.health.outcome import FAILED, PASSED, TIMEOUT, UNREACHABLE, Outcome
from proxy.net import dial
from proxy.net.pool import Endpoint
from tests.support.fakes import FakeTransport

PLACE = Endpoint(0, "10.0.0.1", 80, "", 1)
HEALTHZ = HealthCheck(http="/healthz?full=1")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


def connect(made: probe.Probe) -> FakeTransport:
    transport = FakeTransport()
    transport.protocol = made
    made.connection_made(cast(Any, transport))
    return transport


def seen(made: probe.Probe) -> Outcome | None:
    return made.outcome.result() if made.outcome.done() else None


async def test_tcp_passes_when_the_connection_stands() -> None:
    made = probe.Probe()
    connect(made)
    assert seen(made) == Outcome(PASSED, "connected")


async def test_http1_asks_as_a_client_would() -> None:
    made = probe.Http1Probe(HEALTHZ, PLACE)
    assert connect(made).taken().split(b"\r\n") == [
        b"GET /healthz?full=1 HTTP/1.1",
        b"host: 10.0.0.1:80",
        b"user-agent: " + probe.AGENT.encode(),
        b"accept: */*",
        b"connection: close",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("check", "place", "host"),
    [
        (HealthCheck(http="/", host="shop.example"), PLACE, "shop.example"),
        (HealthCheck(http="/"), Endpoint(0, "", 0, "/run/s", 1), "localhost"),
        (HealthCheck(http="/"), Endpoint(0, "::1", 80, "", 1), "[::1]:80"),
    ],
)
async def test_the_host_is_as_configured_or_the_address(
    check: HealthCheck, place: Endpoint, host: str
) -> None:
    assert f"host: {host}\r\n".encode() in connect(probe.Http1Probe(check, place)).taken()


@pytest.mark.parametrize(
    ("pieces", "expect", "outcome"),
    [
        ([OK], ((200, 299),), Outcome(PASSED, "status 200")),
        ([bytes([byte]) for byte in OK], ((200, 299),), Outcome(PASSED, "status 200")),
        ([OK[:-1]], ((200, 299),), None),
        ([OK], ((204, 204), (300, 399)), Outcome(FAILED, "status 200, not 204, 300-399")),
        ([b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"], ((503, 503),), Outcome(PASSED, "status 503")),
        ([b"HTTP/1.1 100 Go\r\n\r\n"], ((100, 299),), None),
        ([b"HTTP/1.1 103 Hint\r\n\r\n" + OK], ((200, 200),), Outcome(PASSED, "status 200")),
        ([b"HTTP/1.1 204 None\r\n\r\n"], ((200, 299),), Outcome(PASSED, "status 204")),
        ([ENDLESS, b"x" * 65_000], ((200, 299),), None),
        ([ENDLESS, b"x" * 65_000, b"x" * 600], ((200, 200),), Outcome(PASSED, "status 200")),
    ],
)  # fmt: skip
async def test_http1_takes_the_status_of_a_whole_answer(
    pieces: list[bytes], expect: tuple[tuple[int, int], ...], outcome: Outcome | None
) -> None:
    made = probe.Http1Probe(HealthCheck(http="/", expect=expect), PLACE)
    transport = connect(made)
    for piece in pieces:
        transport.gives(piece)
    assert seen(made) == outcome


async def test_an_answer_that_ends_with_the_connection() -> None:
    made = probe.Http1Probe(HEALTHZ, PLACE)
    transport = connect(made)
    transport.gives(b"HTTP/1.1 200 OK\r\n\r\nfine")
    transport.ends()
    assert seen(made) == Outcome(PASSED, "status 200")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
async def test_what_is_not_http1_fails(data: bytes) -> None:
    made = probe.Http1Probe(HEALTHZ, PLACE)
    connect(made).gives(data)
    outcome = seen(made)
    assert outcome is not None
    assert outcome.kind == FAILED
    assert outcome.text.startswith("not a valid answer of HTTP/1.1: ")


@pytest.mark.parametrize("kind", [probe.Http1Probe, probe.Http2Probe])
async def test_a_connection_that_ends_is_no_answer(kind: type[probe.Http1Probe]) -> None:
    for error, text in ((None, "ended without an answer"), (ConnectionResetError(), "was reset")):
        made = kind(HEALTHZ, PLACE)
        connect(made).lost(error)
        assert seen(made) == Outcome(UNREACHABLE, f"the connection {text}")


class Server:
    """The other end of an HTTP/2 check, with hyperframe and hpack."""

    def __init__(self, check: HealthCheck) -> None:
        self.made = probe.Http2Probe(check, PLACE)
        self.transport = connect(self.made)
        self.coder = hpack.Encoder()
        self.say(SettingsFrame(0))

    def say(self, frame: Frame) -> None:
        """Send a frame."""
        self.transport.gives(frame.serialize())

    def head(self, status: int, *flags: str) -> None:
        """Send a head."""
        coded = self.coder.encode([(":status", str(status))])
        self.say(HeadersFrame(1, coded, flags=["END_HEADERS", *flags]))


async def test_http2_asks_as_a_client_would() -> None:
    sent = Server(HealthCheck(http="/healthz", host="shop.example")).transport.taken()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert sent.startswith(preface)
    rest, frames = memoryview(sent[len(preface) :]), []
    while rest:
        frame, size = Frame.parse_frame_header(rest[:9])
        frame.parse_body(rest[9 : 9 + size])
        frames.append(frame)
        rest = rest[9 + size :]
    (head,) = [frame for frame in frames if isinstance(frame, HeadersFrame)]
    assert "END_STREAM" in head.flags
    fields: Any = hpack.Decoder().decode(head.data)
    assert fields == [
        (":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/healthz"),
        ("user-agent", probe.AGENT), ("accept", "*/*"),
    ]  # fmt: skip


async def test_http2_takes_the_status_of_a_whole_answer() -> None:
    at_once = Server(HEALTHZ)
    at_once.head(204, "END_STREAM")
    assert seen(at_once.made) == Outcome(PASSED, "status 204")
    later = Server(HEALTHZ)
    later.head(103)
    later.head(500)
    later.say(DataFrame(1, b"oh"))
    assert seen(later.made) is None
    later.say(DataFrame(1, b"", flags=["END_STREAM"]))
    assert seen(later.made) == Outcome(FAILED, "status 500, not 200-299")


async def test_http2_that_breaks_off_or_is_none() -> None:
    reset = Server(HEALTHZ)
    reset.say(RstStreamFrame(1, error_code=7))
    assert seen(reset.made) == Outcome(FAILED, "the request was reset")
    other = probe.Http2Probe(HEALTHZ, PLACE)
    connect(other).gives(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    outcome = seen(other)
    assert outcome is not None
    assert outcome.text.startswith("not a valid answer of HTTP/2: ")


# Connecting


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(111, "refused"), Outcome(UNREACHABLE, "upstream refused the connection")),
        (UnicodeError("label too long"), Outcome(UNREACHABLE, "upstream's name does not resolve")),
        (TimeoutError(), Outcome(TIMEOUT, "no connection within 5 s")),
    ],
)
async def test_what_keeps_from_connecting(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: Outcome
) -> None:
    async def reach(*_: object) -> None:
        raise error

    monkeypatch.setattr(dial, "reach", reach)
    made = probe.Probe()
    assert await probe.run(made, PLACE, 5.0) == outcome
    assert made.outcome.cancelled()


async def test_silence_has_an_end_and_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    transport: Any = FakeTransport()

    async def reach(loop: object, made: asyncio.Protocol, *_: object) -> None:
        made.connection_made(transport)

    monkeypatch.setattr(dial, "reach", reach)
    outcome = await probe.run(probe.Http1Probe(HEALTHZ, PLACE), PLACE, 0.01)
    assert outcome == Outcome(TIMEOUT, "no answer within 0.01 s")
    assert transport.aborted
