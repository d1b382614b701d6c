"""Real clients behind one call, each saying in one vocabulary what its user would have seen.

``Seen.trouble`` is what the client reported: "" (none), RESET (its words for ECONNRESET), CLOSED (the
connection ended before the message did), TIMEOUT (it gave up), REFUSED.  ``Seen.native`` keeps the client's
own words, so that a failing test can be read.
"""

import asyncio
import base64
import errno
import gc
import hashlib
import json
import os
import socket
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import aiohttp
import h2.exceptions
import h11
import httpx
import requests

from tests.support.need import need

RESET = "reset"
CLOSED = "closed"
TIMEOUT = "timeout"
REFUSED = "refused"

_KEEP = 1_048_576
_PIECE = 262_144
_SCRIPT = Path(__file__).parent / "servers" / "client.mjs"
_SCRIPT_2 = Path(__file__).parent / "servers" / "client2.mjs"


@dataclass(frozen=True)
class Call:
    """One request; ``file`` is its body, sent with content-length or (``chunked``) in chunks.

    ``http2``: by HTTP/2 with prior knowledge, for the clients of ``HTTP2_CLIENTS``; ``chunked`` means
    without content-length then.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    file: Path | None = None
    chunked: bool = False
    timeout: float = 30.0
    http2: bool = False


@dataclass
class Seen:
    """What the client's user saw; ``body`` is kept up to 1 MiB, ``length`` and ``sha256`` tell of all."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    length: int = 0
    sha256: str = ""
    trouble: str = ""
    native: str = ""
    seconds: float = 0.0

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name]


class _Body:
    """Collects a body: hash, length, and its start."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._hash = hashlib.sha256()

    def take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._seen.length += len(piece)
        if self._seen.length <= _KEEP:
            self._seen.body += piece

    def end(self) -> None:
        self._seen.sha256 = self._hash.hexdigest()


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(_PIECE):
            yield piece


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk what a client's exception was made from, also where it only sits in ``args``."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, getattr(one, "reason", None)]
        todo += [argument for argument in one.args if isinstance(argument, BaseException)]


def _judge(error: BaseException, timeouts: tuple[type[BaseException], ...]) -> str:
    """Put a Python client's exception into our vocabulary."""
    causes = list(_causes(error))
    if any(isinstance(one, timeouts) for one in causes):
        return TIMEOUT
    for one in causes:
        number = getattr(one, "errno", None)
        if isinstance(one, ConnectionRefusedError) or number == errno.ECONNREFUSED:
            return REFUSED
        if isinstance(one, (ConnectionResetError, BrokenPipeError)) or number in (
            errno.ECONNRESET,
            errno.EPIPE,
        ):
            # http.client and aiohttp make subclasses of ConnectionResetError for a plain early end.
            if type(one) is ConnectionResetError or number in (errno.ECONNRESET, errno.EPIPE):
                return RESET
        if isinstance(one, aiohttp.ClientPayloadError) and "ConnectionResetError(" in str(one):
            return RESET  # aiohttp keeps the cause of a body cut short only as words
    return CLOSED


def _curl(call: Call) -> Seen:
    version = "--http2-prior-knowledge" if call.http2 else "--http1.1"
    command = [need("curl"), "-sS", "-i", version, "-X", call.method, "--max-time", str(call.timeout)]
    command += [
        "-w",
        "%{stderr}@%{time_total}",
        "-H",
        "expect: 100-continue" if _expects(call) else "expect:",
    ]
    if call.method == "HEAD":
        command += ["-I"]
    for name, value in call.headers:
        if name.lower() != "expect":
            command += ["-H", f"{name}: {value}"]
    if call.file is not None:
        # What it reads from stdin curl sends in chunks; of an empty file told to chunk it forgets the end.
        command += ["-T", "-" if call.chunked else str(call.file)]
    seen = Seen()
    with (call.file or Path(os.devnull)).open("rb") as source:
        status, words = _run_curl([*command, call.url], source, seen)
    seen.native = f"curl {status}: {words}"
    seen.trouble = {0: "", 7: REFUSED, 18: CLOSED, 52: CLOSED, 28: TIMEOUT}.get(status, seen.native)
    if status in (35, 55, 56):
        # 56 is curl's "failure in receiving": reset or, with chunks left open, an early end.
        seen.trouble = RESET if "reset by peer" in words or "Broken pipe" in words else CLOSED
    return seen


def _run_curl(command: list[str], source: BinaryIO, seen: Seen) -> tuple[int, str]:
    with subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        out, err = child.stdout, child.stderr
        assert out is not None
        assert err is not None
        _read_curl(iter(lambda: out.read(_PIECE), b""), seen)
        told = err.read().decode()
    words, _, seconds = told.rpartition("@")
    seen.seconds = float(seconds)
    return child.returncode, words.strip()


def _expects(call: Call) -> bool:
    return any(name.lower() == "expect" for name, _ in call.headers)


def _read_curl(pieces: Iterator[bytes], seen: Seen) -> None:
    """Read what ``curl -i`` prints: heads (interim ones first), then the body."""
    body = _Body(seen)
    held = b""
    in_head = True
    for piece in pieces:
        held += piece
        while in_head and b"\r\n\r\n" in held:
            head, _, held = held.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            seen.status = int(first.split(" ")[1])
            parted = [line.partition(":") for line in lines]
            seen.headers = [(name.lower(), value.strip()) for name, _, value in parted]
            in_head = seen.status < 200
        if not in_head:
            body.take(held)
            held = b""
    body.end()


def _httpx(call: Call) -> Seen:
    seen = Seen()
    body = _Body(seen)
    content = None
    if call.file is not None:
        content = _pieces(call.file) if call.chunked else call.file.read_bytes()
    try:
        with (
            httpx.Client(
                timeout=call.timeout, trust_env=False, http1=not call.http2, http2=call.http2
            ) as client,
            client.stream(call.method, call.url, headers=list(call.headers), content=content) as answer,
        ):
            seen.status = answer.status_code
            seen.headers = list(answer.headers.multi_items())
            for piece in answer.iter_raw():
                body.take(piece)
    except httpx.HTTPError as error:
        seen.native = f"{type(error).__name__}: {error}"
        seen.trouble = _judge(error, (httpx.TimeoutException,))
    except h2.exceptions.ProtocolError as error:
        # httpx passes h2's word on as it is, but as this where the bytes came in one read with the head.
        seen.native = f"{httpx.LocalProtocolError.__name__}: {error}"
        seen.trouble = CLOSED
    body.end()
    return seen


def _requests(call: Call) -> Seen:
    seen = Seen()
    body = _Body(seen)
    data = None
    if call.file is not None:
        data = _pieces(call.file) if call.chunked else call.file.read_bytes()
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.request(
                call.method,
                call.url,
                headers=dict(call.headers),
                data=data,
                timeout=call.timeout,
                stream=True,
            ) as answer:
                seen.status = answer.status_code
                seen.headers = [(name.lower(), value) for name, value in answer.headers.items()]
                for piece in answer.raw.stream(_PIECE, decode_content=False):
                    body.take(piece)
    except (requests.RequestException, OSError, requests.packages.urllib3.exceptions.HTTPError) as error:  # type: ignore[attr-defined]
        seen.native = f"{type(error).__name__}: {error}"
        timeouts = (TimeoutError, requests.Timeout)
        seen.trouble = _judge(error, timeouts)
    body.end()
    return seen


async def _async_pieces(file: Path) -> AsyncIterator[bytes]:
    for piece in _pieces(file):
        yield piece


async def _aiohttp_call(call: Call, seen: Seen, body: _Body) -> None:
    data: BytesIO | AsyncIterator[bytes] | None = None
    if call.file is not None:
        data = _async_pieces(call.file) if call.chunked else BytesIO(call.file.read_bytes())
    headers = [(name, value) for name, value in call.headers if name.lower() != "expect"]
    timeout = aiohttp.ClientTimeout(total=call.timeout)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        session.request(
            call.method, call.url, headers=headers, data=data, expect100=_expects(call), allow_redirects=False
        ) as answer,
    ):
        seen.status = answer.status
        seen.headers = [(name.lower(), value) for name, value in answer.headers.items()]
        async for piece in answer.content.iter_any():
            body.take(piece)


def _aiohttp(call: Call) -> Seen:
    seen = Seen()
    body = _Body(seen)
    try:
        with warnings.catch_warnings():
            # An answer that comes before the upload has ended leaves aiohttp with a transport that it closes
            # only after its loop has gone.
            warnings.simplefilter("ignore", ResourceWarning)
            asyncio.run(_aiohttp_call(call, seen, body))
            if call.file is not None:
                gc.collect()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        seen.native = f"{type(error).__name__}: {error}"
        seen.trouble = _judge(error, (TimeoutError,))
    body.end()
    return seen


def _node(call: Call) -> Seen:
    said = {
        "url": call.url,
        "method": call.method,
        "headers": [list(pair) for pair in call.headers],
        "file": str(call.file) if call.file else "",
        "chunked": call.chunked,
        "timeout": call.timeout,
    }
    done = subprocess.run(
        [need("node"), "--no-warnings", str(_SCRIPT_2 if call.http2 else _SCRIPT)],
        input=json.dumps(said).encode(),
        capture_output=True,
        check=True,
        timeout=call.timeout + 30,
    )
    told = json.loads(done.stdout)
    seen = Seen(told["status"], [(n, v) for n, v in told["headers"]], base64.b64decode(told["body"]))
    seen.length, seen.sha256, seen.seconds = told["length"], told["sha256"], told["seconds"]
    seen.native = f"{told['code']} {told['detail']}".strip()
    seen.trouble = {"": "", "ECONNRESET": RESET, "EPIPE": RESET, "ECONNREFUSED": REFUSED}.get(
        told["code"], CLOSED
    )
    if "TimeoutError" in told["code"] + told["detail"]:
        seen.trouble = TIMEOUT
    return seen


def _h11(call: Call) -> Seen:
    seen = Seen()
    body = _Body(seen)
    parts = urlsplit(call.url)
    connection = h11.Connection(h11.CLIENT)
    headers = [("host", parts.netloc), *call.headers]
    if call.file is not None and call.chunked:
        headers.append(("transfer-encoding", "chunked"))
    elif call.file is not None:
        headers.append(("content-length", str(call.file.stat().st_size)))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), call.timeout) as sock:
            sock.sendall(
                connection.send(h11.Request(method=call.method, target=target, headers=headers)) or b""
            )
            for piece in _pieces(call.file) if call.file is not None else ():
                sock.sendall(connection.send(h11.Data(data=piece)) or b"")
            sock.sendall(connection.send(h11.EndOfMessage()) or b"")
            _h11_answer(connection, sock, seen, body)
    except (OSError, h11.RemoteProtocolError) as error:
        seen.native = f"{type(error).__name__}: {error}"
        seen.trouble = _judge(error, (TimeoutError,))
    body.end()
    return seen


def _h11_answer(connection: h11.Connection, sock: socket.socket, seen: Seen, body: _Body) -> None:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(sock.recv(_PIECE))
        elif isinstance(event, h11.Response):
            seen.status = event.status_code
            seen.headers = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h11.Data):
            body.take(bytes(event.data))
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return


CLIENTS: dict[str, Callable[[Call], Seen]] = {
    "curl": _curl,
    "httpx": _httpx,
    "requests": _requests,
    "aiohttp": _aiohttp,
    "node": _node,
    "h11": _h11,
}
HTTP2_CLIENTS = ("curl", "httpx", "node")


def ask(client: str, call: Call) -> Seen:
    """Make one call with one client; ``seconds`` is how long its user waited (without its start)."""
    begun = time.monotonic()
    seen = CLIENTS[client](call)
    seen.seconds = seen.seconds or time.monotonic() - begun
    return seen
