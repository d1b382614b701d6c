"""Writes HTTP/1.1 messages (RFC 9112).

A head that is passed on keeps its field lines as they came, order and case included, less those that
belong to one connection or that the proxy writes itself.
"""

from http import HTTPStatus
from typing import Final

from proxy.wire.h1_head import CHUNKED, LENGTH, Head

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def request_head(head: Head, extra: bytes, upgrade: bool, authority: bytes = b"") -> bytes:
    """Write a request head for the upstream, as HTTP/1.1 and in origin-form.

    ``extra``: whole lines ("name: value", CRLF) put after the fields that came.  ``upgrade``: pass on the
    upgrade that the client asked for.  ``authority``: the host of a message that came without one (1.0).
    """
    raw = head.raw
    if upgrade and head.upgrade:
        extra = b"connection: upgrade\r\nupgrade: " + head.upgrade + b"\r\n" + extra
    if head.as_came and head.cuts is None:
        return raw[:-2] + extra + b"\r\n"
    if head.as_came:
        return _kept(head, raw[: head.line_end + 2], False) + extra + b"\r\n"
    line = head.method + b" " + head.origin + b" HTTP/1.1\r\n"
    if head.authority_of_target or not head.authority:
        # The target's authority takes the place of Host (RFC 9112, section 3.2.2).
        line += b"host: " + (head.authority or authority) + b"\r\n"
    return _kept(head, line, False) + extra + b"\r\n"


def response_head(head: Head, framing: int, close: bool, extra: bytes) -> bytes:
    """Write a response head for the client.

    ``framing``: how the client finds the end of the body; other than the head's own, the field that
    framed it is replaced.  ``close``: say that the connection ends after this.  ``extra``: whole lines.
    """
    raw = head.raw
    if close:
        extra += b"connection: close\r\n"
    if head.upgrade and head.status in (101, 426):
        extra += b"connection: upgrade\r\nupgrade: " + head.upgrade + b"\r\n"
    reframe = framing != head.framing
    if reframe and framing == CHUNKED:
        extra += b"transfer-encoding: chunked\r\n"
    elif reframe and framing == LENGTH:
        extra += b"content-length: %d\r\n" % head.length
    if head.as_came and head.cuts is None and not reframe:
        return raw[:-2] + extra + b"\r\n"
    line = raw[: head.line_end + 2]
    if not head.as_came:
        line = b"HTTP/1.1" + line[8:]
    return _kept(head, line, reframe) + extra + b"\r\n"


def _kept(head: Head, line: bytes, reframe: bool) -> bytes:
    """Join a first line and the field lines that are passed on."""
    raw = head.raw
    at = head.line_end + 2
    cuts = head.cuts
    if reframe and head.frame_end:
        cuts = sorted([*(cuts or ()), (head.frame_start, head.frame_end)])
    if cuts is None:
        return line + raw[at:-2]
    if len(cuts) == 1:
        start, end = cuts[0]
        return line + raw[at:start] + raw[end:-2]
    parts = [line]
    for start, end in cuts:
        if start > at:
            parts.append(raw[at:start])
        at = end
    parts.append(raw[at:-2])
    return b"".join(parts)


def answer(
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    close: bool,
    head_request: bool,
    extra: bytes = b"",
) -> bytes:
    """Write a whole response of our own; content-length is added, names and values are taken as given.

    ``head_request``: it answers HEAD, so the body is counted and not sent.  ``extra``: whole lines.
    """
    parts = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))]
    for name, value in headers:
        parts.append(name + b": " + value + b"\r\n")
    bodyless = status < 200 or status in (204, 304)
    if not bodyless:
        parts.append(b"content-length: %d\r\n" % len(body))
    parts.append(extra)
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    if not bodyless and not head_request:
        parts.append(body)
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """Frame content as one chunk; none for no content, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def chunk_start(size: int) -> bytes:
    """Write the line before a chunk's content; for content that is too large to be copied."""
    return b"%x\r\n" % size


def last_chunk(trailers: bytes) -> bytes:
    """Write the end of a chunked body with trailer lines (each with its CRLF)."""
    return b"0\r\n" + trailers + b"\r\n"
