"""The service behind the demo's proxy: a small HTTP/1.1 server on asyncio streams.

It serves ``/hello``, ``/orders``, ``/items``, ``/cart``, ``/big`` (1 MiB), ``/report`` (64 KiB) and,
with any method, ``/echo``, which answers what it was sent.  It is honest and plain on purpose: what the
tour shows comes from the proxy.
"""

import asyncio
import json
from typing import Any, Final

Headers = dict[str, str]

BIG: Final = bytes(range(256)) * 4096  # 1 MiB whose every part tells where it stands
REPORT: Final = b"".join(b"line %05d of the report\n" % number for number in range(2730))

ORDERS: Final = {
    "orders": [{"id": 17, "item": "umbrella", "paid": True}, {"id": 18, "item": "kite", "paid": False}]
}
PAGES: Final[dict[str, tuple[str, bytes]]] = {
    "/hello": ("text/plain; charset=utf-8", b"hello from the upstream\n"),
    "/orders": ("application/json", json.dumps(ORDERS).encode() + b"\n"),
    "/items": ("application/json", b'{"items": ["umbrella", "kite"]}\n'),
    "/cart": ("application/json", b'{"cart": []}\n'),
    "/inventory": ("application/json", b'{"umbrella": 3, "kite": 1}\n'),
    "/big": ("application/octet-stream", BIG),
    "/report": ("text/plain", REPORT),
}


class Upstream:
    """The server; ``address`` is known after ``start``."""

    def __init__(self) -> None:
        self.address = ""
        self.requests = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        """Stop listening; what is open ends with the loop."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the proxy went away, or spoke badly: a plain server closes
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection ends after it."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, headers = _parse(head)
        body = await _read_body(reader, headers)
        self.requests += 1
        status, kind, content = _page(method, target, headers, body)
        keep = headers.get("connection", "").lower() != "close"
        writer.write(_head(status, kind, len(content), keep))
        if method != "HEAD":
            writer.write(content)
        await writer.drain()
        return keep


def _parse(head: bytes) -> tuple[str, str, Headers]:
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers: Headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            headers[name.lower()] = value.strip()
    return method, target, headers


async def _read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        while await reader.readline() not in (b"\r\n", b""):
            pass  # trailers
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", "0")))


def _page(method: str, target: str, headers: Headers, body: bytes) -> tuple[str, str, bytes]:
    path = target.partition("?")[0]
    if path.startswith("/echo"):
        echo: dict[str, Any] = {
            "method": method,
            "target": target,
            "headers": headers,
            "body": body.decode("utf-8", "backslashreplace"),
        }
        return "200 OK", "application/json", json.dumps(echo, indent=2).encode() + b"\n"
    if path in PAGES:
        kind, content = PAGES[path]
        return "200 OK", kind, content
    known = " ".join([*PAGES, "/echo"])
    return "404 Not Found", "text/plain", f"nothing at {path}; try {known}\n".encode()


def _head(status: str, kind: str, length: int, keep: bool) -> bytes:
    connection = "" if keep else "connection: close\r\n"
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{connection}\r\n"
    ).encode("latin-1")
