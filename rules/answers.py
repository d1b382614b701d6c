"""The answers that rules give in place of the upstream's: their fields, and how they become an ``Answer``."""

import json
from typing import Final

from rules.actions import Answer
from rules.http_params import FRAMING, GRPC_FRAMING, GrpcStatus, HeaderName, HeaderValue
from rules.params import ALONE, BadValue, Bool, Context, Param, Schema, Status, Text, check_unicode
from rules.records import Field, ListOf, MapOf, Record, Values, at, exactly_one

MAX_BODY: Final = 1 << 20  # bytes
NO_CONTENT: Final = frozenset({204, 205, 304})  # answers without a body (RFC 9110 section 6.4.1)

BODY_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "xml": "application/xml",
}


class JsonBody(Param[bytes]):
    """Any JSON value; read as its compact text."""

    human = "a JSON value"

    def parse(self, value: object, context: Context = ALONE) -> bytes:
        """Write the value as JSON."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError:
            raise BadValue("JSON has no infinity and no NaN (RFC 8259 section 6)") from None
        check_unicode(text)
        body = text.encode()
        if len(body) > MAX_BODY:
            raise BadValue(f"a body has at most {MAX_BODY} bytes, this one has {len(body)}")
        return body

    def schema(self) -> Schema:
        """Describe it: anything."""
        return {}


class FileBody(Param[tuple[str, bytes]]):
    """The path of a file, relative to the rule file; read when the rule is read, as name and content."""

    human = "the path of a file"

    def parse(self, value: object, context: Context = ALONE) -> tuple[str, bytes]:
        """Read the file through the context, which says whether that is allowed."""
        path = Text(self.human, low=1).parse(value)
        return path, context.read_file(path)

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "minLength": 1, "maxLength": 4096}


BODY: Final[Record[Values]] = Record(
    {
        "text": Field(Text("text", high=MAX_BODY), None, "sent as it is, as UTF-8"),
        "json": Field(JsonBody(), None, "sent as compact JSON"),
        "file": Field(FileBody(), None, "a file beside the rule file, read with it, of at most 1 MiB"),
    },
    human="a mapping with one of text, json, file",
)

ANSWER_FIELDS: Final[dict[str, Field]] = {
    "status": Field(Status(), None, "the HTTP status; for a gRPC call it maps as gRPC's own table says"),
    "headers": Field(
        MapOf(HeaderName(FRAMING), ListOf(HeaderValue(), single=True, low=1), "a mapping of header names"),
        None,
        "header lines; a list gives several lines of one name",
    ),
    "body": Field(BODY, None, "content; without it there is none"),
    "grpc_status": Field(GrpcStatus(), None, "for gRPC calls: this status in an HTTP 200"),
    "grpc_message": Field(Text(high=1024), None, "for gRPC calls: the text beside the status"),
    "trailers": Field(
        MapOf(
            HeaderName(GRPC_FRAMING), ListOf(HeaderValue(), single=True, low=1), "a mapping of trailer names"
        ),
        None,
        "HTTP/2: lines behind the answer; HTTP/1.1 answers of the proxy's own have none",
    ),
    "trailers_only": Field(
        Bool(), True, "for gRPC calls: all in one block (Trailers-Only); false: headers, then trailers"
    ),
}


def build_answer(values: Values, default_status: int = 0) -> Answer:
    """Make the answer of values that ``ANSWER_FIELDS`` read; raises BadValue.

    ``default_status`` stands in where neither status was given; 0: that is a mistake.
    ``grpc_message`` comes out percent-encoded, as it is sent (gRPC over HTTP2, "Status-Message").
    """
    status = values["status"]
    grpc_status = values["grpc_status"]
    if status is None and grpc_status is None:
        if not default_status:
            raise BadValue("expected a status (or a grpc_status)")
        status = default_status
    if values["grpc_message"] is not None and grpc_status is None:
        raise at(("grpc_message",), "a grpc_message needs a grpc_status beside it")
    headers = _lines(values["headers"])
    body = b""
    if values["body"] is not None:
        body = _body(values["body"], status, headers)
    return Answer(
        200 if status is None else status,
        headers,
        body,
        -1 if grpc_status is None else grpc_status,
        percent_encode(values["grpc_message"] or ""),
        values["trailers_only"],
        _lines(values["trailers"]),
    )


def _lines(written: tuple[tuple[str, tuple[str, ...]], ...] | None) -> list[tuple[bytes, bytes]]:
    """Give field lines as they are sent, a name once for each of its values."""
    return [(name.encode(), value.encode()) for name, values in written or () for value in values]


def _body(body: Values, status: int | None, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Give the content, and add its type to the headers where they name none."""
    try:
        form = exactly_one(body, ("text", "json", "file"))
    except BadValue as bad:
        raise BadValue([trouble.under("body") for trouble in bad.troubles]) from None
    if status is None:
        raise at(("body",), "a body needs a status beside it: a gRPC answer of status alone has none")
    if status in NO_CONTENT:
        raise at(("body",), f"an answer with status {status} has no body")
    content: bytes
    if form == "file":
        name, content = body["file"]
        kind = BODY_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    elif form == "json":
        content, kind = body["json"], "application/json"
    else:
        content, kind = body["text"].encode(), "text/plain; charset=utf-8"
    if all(header != b"content-type" for header, _ in headers):
        headers.append((b"content-type", kind.encode()))
    return content


def percent_encode(text: str) -> bytes:
    """Encode a grpc-message: all bytes but printable ASCII, and the percent sign, as %XX."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text.encode()
    )
