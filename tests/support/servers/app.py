"""The uvicorn upstream: the same calls as ``upstream.mjs``, on the folder that ``UPSTREAM_FOLDER`` names."""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_FOLDER = Path(os.environ.get("UPSTREAM_FOLDER", "."))
_PIECE = 262_144
_received: dict[str, dict[str, object]] = {}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request."""
    assert scope["type"] == "http"
    what, _, name = scope["path"].lstrip("/").partition("/")
    if what in ("files", "chunked"):
        await _file(_FOLDER / name, what == "chunked", send)
    elif what == "upload":
        _received[name] = await _read(scope, receive)
        await _answer(201, b"", send)
    elif what == "received":
        await _answer(200, json.dumps(_received.get(name)).encode(), send)
    else:
        seen = {"method": scope["method"], "path": scope["raw_path"].decode("latin-1")}
        await _answer(200, json.dumps(seen).encode(), send)


async def _answer(status: int, body: bytes, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _file(path: Path, in_chunks: bool, send: Send) -> None:
    headers = [] if in_chunks else [(b"content-length", b"%d" % path.stat().st_size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _read(scope: dict[str, Any], receive: Receive) -> dict[str, object]:
    digest = hashlib.sha256()
    length = 0
    while True:
        event = await receive()
        assert event["type"] == "http.request", event
        digest.update(event["body"])
        length += len(event["body"])
        if not event["more_body"]:
            break
    names = [name for name, _ in scope["headers"]]
    framing = "chunked" if b"transfer-encoding" in names else "length"
    return {"length": length, "sha256": digest.hexdigest(), "framing": framing}
