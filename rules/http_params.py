"""Parameters that HTTP and gRPC define: header names and values, methods, gRPC status codes."""

import re
from typing import Final

from rules.params import ALONE, BadValue, Context, Param, Schema, check_unicode, nearest, show

# The canonical status codes, by number (grpc/doc/statuscodes.md).
GRPC_CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

# HTTP/2's error codes, by number (RFC 9113, section 7).
H2_CODES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
MOST_CODE: Final = 0xFFFFFFFF

# What the proxy writes itself, so that no rule can make a message that cannot be framed (RFC 9112 section 6).
FRAMING: Final = frozenset(
    {
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
# What frames a gRPC answer, or says how the call ended: fields of rules have places of their own for it.
GRPC_FRAMING: Final = FRAMING | {"content-type", "grpc-status", "grpc-message"}

# What a request gets from the proxy, from what came and from where it came.
FORWARDED: Final = frozenset(
    {
        "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-client-cert",
        "x-misrule",
    }
)  # fmt: skip

_TOKEN: Final = re.compile(TOKEN)
_VALUE: Final = re.compile(
    r"[^\x00-\x08\x0a-\x1f\x7f]*"
)  # RFC 9110 section 5.5: no control character but tab
_RANGE: Final = re.compile(r"([1-5][0-9]{2})-([1-5][0-9]{2})")
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)  # fmt: skip


class HeaderName(Param[str]):
    """A header name, read in lower case.  ``refused``: names that may not be given here."""

    human = "a header name"

    def __init__(self, refused: frozenset[str] = frozenset()) -> None:
        self.refused = refused

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a header name."""
        if not isinstance(value, str) or _TOKEN.fullmatch(value) is None or len(value) > 256:
            raise BadValue(
                f"{show(value)} is no header name (letters, digits and - mostly, no space or colon)"
            )
        name = value.lower()
        if name in self.refused:
            raise BadValue(f'"{name}" cannot be set: the proxy writes it itself')
        return name

    def schema(self) -> Schema:
        """Describe it."""
        schema: Schema = {"type": "string", "pattern": f"^{TOKEN}$", "maxLength": 256}
        if self.refused:
            schema["not"] = {"enum": sorted(self.refused)}
        return schema


class HeaderValue(Param[str]):
    """A header value: text without control characters."""

    human = "a header value"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a header value."""
        if isinstance(value, bool | int | float):
            raise BadValue(f"expected {self.human}, got {show(value)}; quote it to make it a string")
        if not isinstance(value, str):
            raise self.wrong(value)
        if _VALUE.fullmatch(value) is None:
            raise BadValue("a header value holds no control characters (line breaks, NUL)")
        if len(value) > 8192:
            raise BadValue(f"a header value has at most 8192 characters, got {len(value)}")
        check_unicode(value)
        return value

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "maxLength": 8192, "pattern": r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"}


class Method(Param[str]):
    """A request method; methods are case-sensitive (RFC 9110 section 9.1)."""

    human = "a request method such as GET"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a method."""
        if not isinstance(value, str) or _TOKEN.fullmatch(value) is None or len(value) > 64:
            raise self.wrong(value)
        if value not in _METHODS and value.upper() in _METHODS:
            raise BadValue(f'methods are case-sensitive: write "{value.upper()}", not "{value}"')
        return value

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": f"^{TOKEN}$", "maxLength": 64}


class GrpcStatus(Param[int]):
    """A gRPC status code, as its name or its number; read as the number."""

    human = f"a gRPC status: a name such as UNAVAILABLE, or a number from 0 to {len(GRPC_CODES) - 1}"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a gRPC status."""
        if type(value) is int and 0 <= value < len(GRPC_CODES):
            return value
        if isinstance(value, str):
            if value in GRPC_CODES:
                return GRPC_CODES.index(value)
            near = nearest(value, [name.lower() for name in GRPC_CODES]).upper()
            if near:
                raise BadValue(f'{show(value)} is no gRPC status; did you mean "{near}"?')
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        number = {"type": "integer", "minimum": 0, "maximum": len(GRPC_CODES) - 1}
        return {"anyOf": [{"enum": list(GRPC_CODES)}, number]}


class Http2Code(Param[int]):
    """An error code of HTTP/2, as its name or its number, also an undefined one; read as the number."""

    human = f"an HTTP/2 error code: a name such as CANCEL, or a number from 0 to {MOST_CODE}"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read an error code."""
        if type(value) is int and 0 <= value <= MOST_CODE:
            return value
        if isinstance(value, str):
            if value in H2_CODES:
                return H2_CODES.index(value)
            near = nearest(value, [name.lower() for name in H2_CODES]).upper()
            if near:
                raise BadValue(f'{show(value)} is no HTTP/2 error code; did you mean "{near}"?')
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [{"enum": list(H2_CODES)}, {"type": "integer", "minimum": 0, "maximum": MOST_CODE}]}


class StatusRange(Param[tuple[int, int]]):
    """An HTTP status, or a range of them such as 500-599; read as first and last."""

    human = "a status such as 503, or a range such as 500-599"

    def parse(self, value: object, context: Context = ALONE) -> tuple[int, int]:
        """Read a status or a range."""
        if type(value) is int and 100 <= value <= 599:
            return value, value
        found = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.wrong(value)
        first, last = int(found[1]), int(found[2])
        if first > last:
            raise BadValue(f"{show(value)} ends before it begins")
        return first, last

    def schema(self) -> Schema:
        """Describe it."""
        number = {"type": "integer", "minimum": 100, "maximum": 599}
        return {"anyOf": [number, {"type": "string", "pattern": "^[1-5][0-9]{2}-[1-5][0-9]{2}$"}]}
