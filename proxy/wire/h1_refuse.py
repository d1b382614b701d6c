"""Says what is wrong with a head that a scan refused.

The first wrong byte decides, and nothing after it: so a head gets the same verdict however its bytes are
split over reads.  Not on the path of a good message.
"""

import re
from typing import Final

from proxy.wire.errors import ProtocolError, refusal
from proxy.wire.h1_head import REQUEST, RESPONSE

# The third role: the trailer section of a chunked body, fields without a first line.
TRAILERS: Final = 2

# A byte that can stand nowhere in a head.  A CR at the very end may still get its LF.
_BROKEN: Final = re.compile(rb"(?<!\r)\n|\r(?![\n]|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_TARGET: Final = re.compile(rb"[!\"$-~]+").fullmatch
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.[0-9]").fullmatch
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]").fullmatch


def broken_at(data: bytes | bytearray, start: int, end: int) -> int:
    """Say where the first byte stands that no head can hold, -1 when there is none from start to end."""
    found = _BROKEN.search(data, start, end)
    return -1 if found is None else found.start()


def first_line_error(role: int, line: bytes) -> ProtocolError | None:
    """Say what is wrong with a request line or a status line (without its CRLF)."""
    if role == REQUEST:
        return _request_line_error(line)
    if role == RESPONSE:
        return _status_line_error(line)
    return None


def diagnose(role: int, data: bytes) -> ProtocolError:
    """Find the first thing that is wrong with these bytes of a head, complete or not."""
    stop = broken_at(data, 0, len(data))
    if stop < 0:
        stop = len(data)
    at = 0
    while True:
        end = data.find(b"\r\n", at, stop)
        if end < 0:
            break
        line = data[at:end]
        if at == 0 and role != TRAILERS:
            error = first_line_error(role, line)
        else:
            error = _field_error(line)
        if error is not None:
            return error
        at = end + 2
    return _broken_error(data[stop : stop + 1])


def _broken_error(byte: bytes) -> ProtocolError:
    if byte == b"\n":
        return refusal("bare_lf", "a line ends with LF alone")
    if byte == b"\r":
        return refusal("bare_cr", "a CR without its LF")
    return refusal("control_character", f"the byte {byte!r} in a head")


def _request_line_error(line: bytes) -> ProtocolError | None:
    parts = line.split(b" ")
    if not _TOKEN(parts[0]):
        return refusal("bad_request_line", "the method is not a token")
    if len(parts) == 2 and _TARGET(parts[1]):
        return refusal("http09", "a request line without a version")
    if len(parts) != 3:
        return refusal("bad_request_line", "a request line is: method, target, version, one space between")
    if not _TARGET(parts[1]):
        return refusal("bad_target", "the request target is empty or has a byte that no target may have")
    version = _VERSION(parts[2])
    if version is None:
        return refusal("bad_request_line", "the version is not HTTP/ digit . digit")
    if version.group(1) != b"1":
        if line == b"PRI * HTTP/2.0":
            return refusal("http2_preface", "the preface of HTTP/2")
        return refusal("bad_version", f"version {parts[2].decode('ascii')} is not spoken here")
    return None


def _status_line_error(line: bytes) -> ProtocolError | None:
    parts = line.split(b" ", 2)
    version = _VERSION(parts[0])
    if version is None or len(parts) < 2 or not _STATUS(parts[1]):
        return refusal("bad_status_line", "a status line is: version, status, reason")
    if version.group(1) != b"1":
        return refusal("bad_version", f"version {parts[0].decode('ascii')} is not spoken here")
    return None


def _field_error(line: bytes) -> ProtocolError | None:
    """Say what is wrong with a field line; its bytes are known to be no control characters."""
    if line[:1] in (b" ", b"\t"):
        return refusal("obs_fold", "a field line that starts with white space")
    name, colon, _value = line.partition(b":")
    if not colon:
        return refusal("missing_colon", "a field line without a colon") if line else None
    if name and name[-1:] in (b" ", b"\t"):
        return refusal("space_before_colon", "white space between a field name and its colon")
    if not _TOKEN(name):
        return refusal("bad_field_name", "a field name is not a token")
    return None
