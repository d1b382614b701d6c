"""One TCP connection in a test's hands: exact bytes out, exact bytes in, and how it ended.

Both roles use it: a raw client reads answers, a scripted upstream reads requests.  The reading of
messages here is on purpose another one than the project's.
"""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

# How a connection stands after reading.
FIN = "fin"  # the peer ended it in order
RESET = "reset"  # ECONNRESET
OPEN = "open"  # nothing came within the time given

_PIECE = 262_144
_LINGER_NOW = struct.pack("ii", 1, 0)


class Gone(Exception):
    """The peer went away (``how`` says in which way) before what was asked for had come."""

    def __init__(self, how: str, had: bytes) -> None:
        super().__init__(f"connection is {how}; had {len(had)} bytes: {had[:200]!r}")
        self.how = how
        self.had = had


@dataclass
class Message:
    """One message as read.  ``first`` is the request or status line split at blanks."""

    first: list[str]
    headers: list[tuple[str, str]]
    head: bytes
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    framed: bytes = b""  # the body as it was on the wire, with its framing
    opening: int = 0  # the number of the connection, for a scripted upstream
    wholly: bool = False  # the body was read to its end

    @property
    def status(self) -> int:
        """The status code of an answer."""
        return int(self.first[1])

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.first[0]

    @property
    def target(self) -> str:
        """The target of a request, as it came."""
        return self.first[1]

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str | None:
        """Return the only value of a header, None where it is absent; two are a failure."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


def fields(block: bytes) -> list[tuple[str, str]]:
    """Read header lines (without the empty one)."""
    found = []
    for line in block.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b":")
            found.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
    return found


class Wire:
    """A socket, a buffer, and the reading of HTTP/1.1 messages in plain sight."""

    def __init__(self, sock: socket.socket, timeout: float = 10.0) -> None:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.held = b""
        self.number = 0
        self.closed = False

    @classmethod
    def to(cls, address: str, timeout: float = 10.0, receive_buffer: int = 0) -> "Wire":
        """Connect to ``host:port``; ``receive_buffer`` (bytes) keeps the kernel from taking in more."""
        host, _, port = address.rpartition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        try:
            sock.connect((host, int(port)))
        except OSError:
            sock.close()
            raise
        return cls(sock, timeout)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Out

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in order (FIN, unless unread bytes make the kernel send RST)."""
        self.closed = True
        self.sock.close()

    def reset(self) -> None:
        """End with a true RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOW)
        self.close()

    # In

    def _more(self) -> None:
        try:
            data = self.sock.recv(_PIECE)
        except TimeoutError:
            raise Gone(OPEN, self.held) from None
        except ConnectionResetError:
            raise Gone(RESET, self.held) from None
        if not data:
            raise Gone(FIN, self.held)
        self.held += data

    def take(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        while len(self.held) < count:
            self._more()
        data, self.held = self.held[:count], self.held[count:]
        return data

    def until(self, mark: bytes) -> bytes:
        """Read up to and with a mark."""
        start = 0
        while True:
            found = self.held.find(mark, start)
            if found >= 0:
                return self.take(found + len(mark))
            start = max(0, len(self.held) - len(mark))
            self._more()

    def rest(self, seconds: float = 5.0) -> tuple[bytes, str]:
        """Read until the connection ends or nothing ends it for ``seconds``: what came, and how it ended."""
        pieces = [self.held]
        self.held = b""
        end = time.monotonic() + seconds
        before = self.sock.gettimeout()
        try:
            while True:
                self.sock.settimeout(max(0.001, end - time.monotonic()))
                try:
                    data = self.sock.recv(_PIECE)
                except TimeoutError:
                    return b"".join(pieces), OPEN
                except ConnectionResetError:
                    return b"".join(pieces), RESET
                if not data:
                    return b"".join(pieces), FIN
                pieces.append(data)
        finally:
            self.sock.settimeout(before)

    def quiet(self, seconds: float) -> bool:
        """Say whether nothing at all (no byte, no end) comes for ``seconds``."""
        data, how = self.rest(seconds)
        self.held = data
        return not data and how == OPEN

    def count(self, seconds: float = 5.0) -> tuple[int, str]:
        """As ``rest``, keeping only the number of bytes."""
        data, how = self.rest(seconds)
        return len(data), how

    # Messages

    def read_head(self) -> Message:
        """Read one head: request or answer."""
        head = self.until(b"\r\n\r\n")
        first, _, block = head.partition(b"\r\n")
        return Message(first.decode("latin-1").split(" ", 2), fields(block), head)

    def read_body(self, message: Message, *, bodiless: bool = False) -> Message:
        """Read what follows the head, by its framing; without any, an answer goes on until FIN."""
        answer = message.first[0].startswith("HTTP/")
        if bodiless or (answer and (message.status < 200 or message.status in (204, 304))):
            pass
        elif message.get("transfer-encoding") is not None:
            for piece in self.chunks(message):
                message.body += piece
        elif message.get("content-length") is not None:
            message.body = message.framed = self.take(int(message.get("content-length") or "0"))
        elif answer:
            message.body, how = self.rest(self.sock.gettimeout() or 10.0)
            message.framed = message.body
            if how != FIN:
                raise Gone(how, message.body)
        message.wholly = True
        return message

    def chunks(self, message: Message) -> Iterator[bytes]:
        """Read a chunked body piece by piece into ``framed`` and ``trailers``."""
        while True:
            line = self.until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            data = self.take(size + 2)
            assert data.endswith(b"\r\n"), data[-20:]
            message.framed += line + data
            yield data[:-2]
        section = b""
        while not section.endswith(b"\r\n\r\n") and section != b"\r\n":
            section += self.until(b"\r\n")
        message.framed += line + section
        message.trailers = fields(section)

    def answer(self, method: str = "GET") -> Message:
        """Read one final answer; interim ones are read over (see ``read_head`` to see them)."""
        while True:
            message = self.read_head()
            if message.status >= 200 or message.status == 101:
                return self.read_body(message, bodiless=method == "HEAD" or message.status == 101)

    def ask(self, request: bytes, method: str = "GET") -> Message:
        """Send a request and read its answer."""
        self.send(request)
        return self.answer(method)


def meet(address: str) -> tuple[bytes, str]:
    """Connect, and give what comes and how it ends; an RST may be there before connect() returns."""
    try:
        with Wire.to(address) as wire:
            return wire.rest()
    except ConnectionResetError:
        return b"", RESET


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """Frame pieces as chunks, each its own, with the end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n" + trailers + b"\r\n"


def get(path: str = "/", *lines: str, host: str = "shop.example") -> bytes:
    """Write a GET with more header lines."""
    return request("GET", path, *lines, host=host)


def request(
    method: str, path: str, *lines: str, host: str = "shop.example", body: bytes | None = None
) -> bytes:
    """Write a request; ``body`` comes with its content-length."""
    head = [f"{method} {path} HTTP/1.1", f"host: {host}", *lines]
    if body is not None:
        head.append(f"content-length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (body or b"")


def response(status: int, *lines: str, body: bytes | None = None, reason: str = "Fine") -> bytes:
    """Write an answer; ``body`` comes with its content-length."""
    head = [f"HTTP/1.1 {status} {reason}", *lines]
    if body is not None:
        head.append(f"content-length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (body or b"")
