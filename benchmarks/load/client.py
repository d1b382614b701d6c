"""Our own small clients: one that checks answers, one that measures delays, one that holds connections."""

import http.client
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.load.rulesets import REQUEST_HEADERS

_HEAD_END = b"\r\n\r\n"
Ask = Callable[[int, str, Mapping[str, str] | None, bytes], tuple[int, bytes]]  # port, path, headers, body


class WrongAnswer(RuntimeError):
    """A proxy answered something else than it was configured to; measuring it would mean nothing."""


def ask(
    port: int, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Ask once on a new connection; give status and body."""
    return _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=10), path, headers, body)


def trusting() -> ssl.SSLContext:
    """Make a context that takes any certificate, RSA of 1024 bits included, but TLS 1.3 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # what answers this is compared by the same version
    return context


def ask_over_tls(
    port: int, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Ask the same over TLS, of whomever that is."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting())
    return _ask(connection, path, headers, body)


def _ask(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None, body: bytes
) -> tuple[int, bytes]:
    try:
        connection.request(
            "POST" if body else "GET", path, body or None, {**REQUEST_HEADERS, **(headers or {})}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port: int, path: str, ask: Ask = ask) -> bool:
    """Tell whether something at ``port`` answers 200."""
    try:
        return ask(port, path, None, b"")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def expect(
    port: int,
    path: str,
    status: int,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    ask: Ask = ask,
) -> None:
    """Ask once and raise :class:`WrongAnswer` unless status (and content, where given) are as said."""
    try:
        got, found = ask(port, path, headers, body)
    except (OSError, http.client.HTTPException, WrongAnswer) as trouble:
        raise WrongAnswer(f"{path} {dict(headers or {})}: {trouble!r}") from trouble
    if got != status:
        raise WrongAnswer(f"{path} {dict(headers or {})}: status {got} instead of {status}")
    if content is not None and found != content:
        raise WrongAnswer(f"{path}: {len(found)} bytes that are not the {len(content)} of the upstream")


def request_bytes(path: str) -> bytes:
    """Give the GET of ``path`` with the common headers, as it goes over the wire."""
    lines = [f"GET {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in REQUEST_HEADERS.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(peer: socket.socket) -> bytes:
    """Read one answer with a content-length and give its first line."""
    data = read_whole(peer)
    return data[: data.index(b"\r\n")]


def read_whole(peer: socket.socket) -> bytes:
    """Read one answer with a content-length."""
    data = b""
    while (end := data.find(_HEAD_END)) < 0:
        piece = peer.recv(65536)
        if not piece:
            raise WrongAnswer("the connection ended inside an answer's head")
        data += piece
    length = content_length(data[:end])
    missing = length - (len(data) - end - len(_HEAD_END))
    while missing > 0:
        piece = peer.recv(min(missing, 65536))
        if not piece:
            raise WrongAnswer("the connection ended inside an answer's body")
        data += piece
        missing -= len(piece)
    return data


def content_length(head: bytes) -> int:
    """Read the content-length of an answer's head."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise WrongAnswer("an answer without content-length")


def connect(port: int) -> socket.socket:
    """Open a connection to a port of the loopback, without Nagle's delay."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def round_trips(peer: socket.socket, path: str, count: int) -> list[float]:
    """Ask ``count`` times on a connection, one after the other; give the seconds that each took.

    The clock runs from just before the request is sent to the moment when the answer's last byte was read.
    """
    request = request_bytes(path)
    seconds: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        peer.sendall(request)
        line = read_answer(peer)
        seconds.append(time.perf_counter() - start)
        if b" 200" not in line:
            raise WrongAnswer(f"{path}: {line.decode(errors='replace')}")
    return seconds


def allow_files(count: int) -> None:
    """Raise the soft limit of open files to ``count`` where the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


@contextmanager
def held(port: int, path: str, count: int, together: int = 50) -> Iterator[None]:
    """Hold ``count`` keep-alive connections open, each of which has had one answer.

    They ask in groups of ``together``, so the proxy's pool to its upstream stays as small as in daily use.
    """
    allow_files(count + 256)
    request = request_bytes(path)
    peers: list[socket.socket] = []
    try:
        while len(peers) < count:
            group = [connect(port) for _ in range(min(together, count - len(peers)))]
            peers += group
            for peer in group:
                peer.sendall(request)
            for peer in group:
                read_answer(peer)
        yield
    finally:
        for peer in peers:
            peer.close()
