"""Parameters of changes to messages: header lines, paths, bodies."""

import re
from typing import Final

from rules.answers import BODY_TYPES, MAX_BODY, NO_CONTENT, FileBody, JsonBody
from rules.http_params import FORWARDED, FRAMING, HeaderName, HeaderValue, Method
from rules.json_path import Step, read_path
from rules.message_actions import BodyEdit, JsonEdit, MessageEdit
from rules.params import ALONE, BadValue, Context, Param, Schema, Status, Text, show
from rules.records import REQUIRED, Field, ListOf, MapOf, Record, Values, at, exactly_one

# What frames a message, or says how a call ended, is nobody's to change: the next parser would be lost.
_OF_MESSAGES: Final = FRAMING | {"expect", "grpc-status", "grpc-message"}
_OF_REQUESTS: Final = _OF_MESSAGES | FORWARDED
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?")


class EditedName(HeaderName):
    """The name of a header to be changed."""

    def __init__(self, refused: frozenset[str], verb: str) -> None:
        super().__init__(refused)
        self.verb = verb

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a header name; pseudo-headers have fields of their own."""
        if isinstance(value, str) and value.startswith(":"):
            raise BadValue(
                f"{show(value)} is a pseudo-header: use path, method, status, or set host in its place"
            )
        if isinstance(value, str) and value.lower() in self.refused:
            raise BadValue(f'"{value.lower()}" cannot be {self.verb}: {_why(value.lower())}')
        return super().parse(value, context)


def _why(name: str) -> str:
    if name == "host":
        return "a request has exactly one; set it"
    if name.startswith("grpc-"):
        return "the fault grpc gives a call another end"
    if name in FORWARDED:
        return "the proxy writes it itself"
    return "the message would not be framed as it says any more, and the proxy does that itself"


class RequestPath(Text):
    """A path, with or without a query, as it is sent."""

    def __init__(self) -> None:
        super().__init__("a path such as /orders/7 or /orders?all=1", r"/[!\"$-~]*", high=8192)


class OtherMethod(Method):
    """A method to put in the place of another."""

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a method whose answers are framed as those of most others."""
        method = super().parse(value, context)
        if method == "HEAD":
            raise BadValue("an answer to HEAD has no body, and the client waits for one: HEAD cannot be set")
        if method == "CONNECT":
            raise BadValue("behind CONNECT there is no message any more: it cannot be set")
        return method


class Place(Param[list[Step]]):
    """A place in a JSON text."""

    human = 'a JSON path such as $.items[0].price or $["a b"]'

    def parse(self, value: object, context: Context = ALONE) -> list[Step]:
        """Read a path."""
        if not isinstance(value, str) or len(value) > 1024:
            raise self.wrong(value)
        try:
            return read_path(value)
        except ValueError as error:
            raise BadValue(f"expected {self.human}; {error}") from None

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": r"^\$", "maxLength": 1024}


_REPLACE: Final[Record[Values]] = Record(
    {
        "text": Field(
            Text("text", high=MAX_BODY), None, "this text, as UTF-8; content-type stays as it came"
        ),
        "json": Field(JsonBody(), None, "this value, with content-type application/json"),
        "file": Field(FileBody(), None, "a file beside the rule file, with the content-type of its name"),
    },
    short="text",
    human="a text, or a mapping with one of text, json, file",
)
_JSON: Final[Record[Values]] = Record(
    {
        "path": Field(Place(), REQUIRED, "where: every place that it leads to, and it must lead somewhere"),
        "value": Field(JsonBody(), REQUIRED, "what stands there instead"),
    },
    human="a mapping such as {path: $.price, value: 0}",
)
_BODY: Final[Record[Values]] = Record(
    {
        "replace": Field(_REPLACE, None, "another body in its place"),
        "json": Field(ListOf(_JSON, low=1), None, "other values in a JSON text, one after the other"),
        "append": Field(Text("text", high=MAX_BODY), None, "this text behind it, as UTF-8"),
    },
    human="a mapping such as {replace: gone} or {json: [{path: $.price, value: 0}]}",
)


def _headers_field(refused: frozenset[str], host: bool) -> Field:
    lines = ListOf(HeaderValue(), single=True, low=1)
    alone = refused | {"host"} if host else refused
    return Field(
        Record(
            {
                "set": Field(
                    MapOf(EditedName(refused, "set"), lines, "a mapping of header names"),
                    None,
                    "these lines, instead of all of their names",
                ),
                "add": Field(
                    MapOf(EditedName(alone, "added"), lines, "a mapping of header names"),
                    None,
                    "these lines, beside what is there",
                ),
                "remove": Field(
                    ListOf(EditedName(alone, "removed"), single=True, low=1), None, "no line of these names"
                ),
            },
            human="a mapping with set, add or remove",
        ),
        None,
        "header lines",
    )


_REQUEST_FIELDS: Final[dict[str, Field]] = {
    "headers": _headers_field(_OF_REQUESTS, True),
    "method": Field(OtherMethod(), None, "another method"),
    "path": Field(RequestPath(), None, "another path; without ? the query stays as it came"),
    "body": Field(_BODY, None, "another body, of a request of at most 1 MiB"),
}
_RESPONSE_FIELDS: Final[dict[str, Field]] = {
    "headers": _headers_field(_OF_MESSAGES, False),
    "status": Field(Status(), None, "another status; 204, 205 and 304 take the body away"),
    "body": Field(_BODY, None, "another body, of an answer of at most 1 MiB"),
}


def _edit(values: Values) -> MessageEdit:
    """Make it of its fields; raises BadValue where they contradict each other."""
    edit = MessageEdit()
    given = [name for name, value in values.items() if value is not None]
    if not given:
        raise BadValue(f"expected at least one of {', '.join(values)}")
    if values["headers"] is not None:
        _edit_headers(edit, values["headers"])
    edit.method = (values.get("method") or "").encode()
    edit.path = (values.get("path") or "").encode()
    edit.status = values.get("status") or 0
    if values["body"] is not None:
        if edit.status in NO_CONTENT:
            raise at(("body",), f"an answer with status {edit.status} has no body")
        edit.body = _edit_body(values["body"])
    return edit


def _edit_headers(edit: MessageEdit, headers: Values) -> None:
    if all(value is None for value in headers.values()):
        raise at(("headers",), "expected at least one of set, add, remove")
    edit.set = _lines(headers["set"])
    edit.add = _lines(headers["add"])
    edit.remove = [name.encode() for name in headers["remove"] or ()]
    for name, value in edit.set:
        if name in edit.remove:
            raise at(("headers", "remove"), f'"{name.decode()}" is set, too')
        if name == b"host" and _HOST.fullmatch(value.decode()) is None:
            raise at(("headers", "set", "host"), "expected a host, with or without a port")
    hosts = [name for name, _ in edit.set if name == b"host"]
    if len(hosts) > 1:
        raise at(("headers", "set", "host"), "a request has exactly one host")


def _lines(written: tuple[tuple[str, tuple[str, ...]], ...] | None) -> list[tuple[bytes, bytes]]:
    """Give field lines; blanks around a value mean nothing, and HTTP/2 forbids them (RFC 9113, 8.2.1)."""
    return [
        (name.encode(), value.strip(" \t").encode()) for name, values in written or () for value in values
    ]


def _edit_body(body: Values) -> BodyEdit:
    """Make it of its fields; raises BadValue."""
    if all(value is None for value in body.values()):
        raise at(("body",), "expected at least one of replace, json, append")
    if body["replace"] is not None and (body["json"] is not None or body["append"] is not None):
        raise at(
            ("body", "replace"), "what is replaced as a whole has nothing left to change: leave the rest out"
        )
    content, kind = None, ""
    if body["replace"] is not None:
        content, kind = _replacement(body["replace"])
    edits = [JsonEdit(one["path"], one["value"].decode()) for one in body["json"] or ()]
    return BodyEdit(content, kind.encode(), edits, (body["append"] or "").encode())


def _replacement(replace: Values) -> tuple[bytes, str]:
    try:
        form = exactly_one(replace, ("text", "json", "file"))
    except BadValue as bad:
        raise BadValue([trouble.under("replace").under("body") for trouble in bad.troubles]) from None
    if form == "file":
        name, content = replace["file"]
        return content, BODY_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    if form == "json":
        return replace["json"], "application/json"
    return replace["text"].encode(), ""


REQUEST: Final[Record[MessageEdit]] = Record(
    _REQUEST_FIELDS, make=_edit, human="a mapping with headers, method, path or body"
)
RESPONSE: Final[Record[MessageEdit]] = Record(
    _RESPONSE_FIELDS, make=_edit, human="a mapping with headers, status or body"
)
