"""The ``match`` part of a rule: conditions on strings, and what a rule may look at."""

import re
from functools import lru_cache
from ipaddress import ip_network
from typing import Any, Final

import re2

from rules.dns_params import RecordType
from rules.facts import PROTOCOLS
from rules.http_params import GrpcStatus, HeaderName, Method, StatusRange
from rules.model import Match, ResponseMatch, Text
from rules.params import (
    ALONE,
    BadValue,
    Bool,
    Context,
    Integer,
    Param,
    Schema,
    check_unicode,
    shorten,
    show,
    words,
)
from rules.params import Text as String
from rules.records import Field, ListOf, MapOf, Record, Values, at, exactly_one

ANY: Final = "any"
HOST: Final = "host"
PATH: Final = "path"

_PORT: Final = re.compile(r"[^:]+:[0-9]+|\[.*\]:[0-9]+")
_SEGMENT: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}|[^{}]*")
_FINGERPRINT: Final = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}")
_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


@lru_cache(maxsize=4096)
def regex_problem(pattern: str) -> str:
    """Say why RE2 does not take a pattern, "" where it does."""
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else b"refused"
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return f"RE2 does not take this pattern: {words}"
    return ""


def template_problem(template: str) -> str:
    """Say what is wrong with a path template, "" where nothing is."""
    if not template.startswith("/"):
        return 'a template starts with "/"'
    for segment in template.split("/"):
        if _SEGMENT.fullmatch(segment) is None:
            return (
                f'"{shorten(segment)}": braces fill a whole segment and hold one name, as in /orders/{{id}}'
            )
    return ""


class TextParam(Param[Text]):
    """A condition on a string: the string itself, or a mapping with one way to compare.

    ``kind`` is ANY, HOST (lower case, without port) or PATH (without query; has templates).
    """

    def __init__(self, kind: str = ANY, negatable: bool = True) -> None:
        self.kind = kind
        ways = ["exact", "prefix", "suffix", "regex", *(["template"] if kind == PATH else [])]
        self._ways = (*ways, "present", *(["not"] if negatable else []))
        string = String("a string", high=4096)
        fields = {way: Field(string, None) for way in ways}
        fields["present"] = Field(Bool(), None, "whether it is there at all")
        if negatable:
            fields["not"] = Field(TextParam(kind, False), None, "holds where this does not, also if absent")
        self.human = f"a string, or a mapping with one of {', '.join(self._ways)}"
        self._record: Record[Values] = Record(fields, human=self.human)

    def parse(self, value: object, context: Context = ALONE) -> Text:
        """Read a condition."""
        if type(value) is str:
            return Text("exact", self._checked("exact", value, ()))
        if type(value) is not dict:
            if isinstance(value, bool | int | float):
                raise BadValue(f"expected a string, got {show(value)}; quote it to make it a string")
            raise self.wrong(value)
        values = self._record.parse(value)
        how = exactly_one(values, self._ways)
        if how == "present":
            return Text("present", wanted=values[how])
        if how == "not":
            return Text("not", negated=values[how])
        return Text(how, self._checked(how, values[how], (how,)))

    def _checked(self, how: str, text: str, path: tuple[str, ...]) -> str:
        problem = ""
        if len(text) > 4096:
            problem = f"a condition has at most 4096 characters, got {len(text)}"
        elif how == "regex":
            problem = regex_problem(text)
        elif how == "template":
            problem = template_problem(text)
        elif self.kind == PATH and "?" in text:
            problem = "the path is compared without the query: use query: for what follows the ?"
        elif self.kind == PATH and how in ("exact", "prefix") and not text.startswith("/") and text != "*":
            problem = f'a path starts with "/": "{shorten(text)}" never fits'
        elif self.kind == HOST and how in ("exact", "suffix") and _PORT.fullmatch(text):
            problem = "the host is compared without its port"
        if problem:
            raise at(path, problem)
        if not path:
            check_unicode(text)  # the mapping forms went through a parameter that looks at this
        return text.lower() if self.kind == HOST and how != "regex" else text

    def schema(self) -> Schema:
        """Describe both forms."""
        mapping: Any = dict(self._record.schema()["anyOf"][0])
        mapping["minProperties"] = mapping["maxProperties"] = 1
        return {"anyOf": [{"type": "string", "maxLength": 4096}, mapping]}


class Network(Param[str]):
    """An IP network in CIDR form, or one address; read in canonical form with its prefix length."""

    human = "an IP network such as 10.0.0.0/8, or an address"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a network; bits beyond the prefix are a mistake."""
        if not isinstance(value, str):
            raise self.wrong(value)
        try:
            return str(ip_network(value))
        except ValueError:
            pass
        try:
            meant = ip_network(value, strict=False)
        except ValueError:
            raise self.wrong(value) from None
        raise BadValue(f"{show(value)} has bits beyond its prefix; the network is {meant}")

    def schema(self) -> Schema:
        """Describe it loosely: ``parse`` has the last word."""
        return {"type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"}


def _make_grpc(values: Values) -> Values:
    if values["service"] is None and values["method"] is None:
        raise BadValue("expected service or method, or both")
    return values


class Fingerprint(Param[Text]):
    """The SHA-256 of a certificate, as openssl shows it; read without colons, in small letters."""

    human = "the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons"

    def parse(self, value: object, context: Context = ALONE) -> Text:
        """Read a fingerprint."""
        if not isinstance(value, str) or _FINGERPRINT.fullmatch(value) is None:
            raise self.wrong(value)
        return Text("exact", value.replace(":", "").lower())

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": f"^{_FINGERPRINT.pattern}$"}


def _make_certificate(values: Values) -> Values:
    if all(values[key] is None for key in ("subject", "san", "fingerprint")):
        raise BadValue("expected at least one of subject, san and fingerprint")
    return values


def _make_dns(values: Values) -> Values:
    if values["name"] is None and values["type"] is None:
        raise BadValue("expected name or type, or both")
    return values


def _make_response(values: Values) -> ResponseMatch:
    return ResponseMatch(values["status"] or (), values["headers"] or (), values["grpc_status"] or ())


def _make_match(values: Values) -> Match:
    grpc = values["grpc"] or {}
    given = {key: values[key] for key in _PLAIN_PARTS if values[key] is not None}
    shown = values["client_certificate"] or {}
    looked_up = values["dns"] or {}
    return Match(
        **given,
        grpc_service=grpc.get("service"),
        grpc_method=grpc.get("method"),
        dns_name=looked_up.get("name"),
        dns_type=looked_up.get("type") or (),
        certificate_subject=shown.get("subject"),
        certificate_san=shown.get("san"),
        certificate_fingerprint=shown.get("fingerprint"),
    )


TEXT: Final = TextParam()
HOST_TEXT: Final = TextParam(HOST)
PATH_TEXT: Final = TextParam(PATH)
HEADERS: Final = MapOf(HeaderName(), TEXT, "a mapping of header names")
_NAMES: Final = ListOf(String("a name", low=1, high=256), single=True, low=1)

RESPONSE: Final = Record(
    {
        "status": Field(ListOf(StatusRange(), single=True, low=1), None, "statuses and ranges"),
        "headers": Field(HEADERS, None, "of the answer, as in match.headers"),
        "grpc_status": Field(ListOf(GrpcStatus(), single=True, low=1), None, "for gRPC calls"),
    },
    make=_make_response,
)

_PLAIN_PARTS: Final = (
    "listener", "upstream", "protocol", "host", "path", "method", "query", "headers", "attempt", "source",
    "sni", "response",
)  # fmt: skip

MATCH: Final = Record(
    {
        "listener": Field(_NAMES, None, "names of listeners"),
        "upstream": Field(_NAMES, None, "names of upstreams, as the route chose"),
        "protocol": Field(
            ListOf(words(*PROTOCOLS), single=True, low=1),
            None,
            "http2 includes gRPC calls; grpc is the narrower",
        ),
        "host": Field(HOST_TEXT, None, "in lower case, without port"),
        "path": Field(PATH_TEXT, None, "without the query, as it came"),
        "method": Field(ListOf(Method(), single=True, low=1), None, "request methods"),
        "query": Field(
            MapOf(String("a parameter name", low=1, high=1024), TEXT, "a mapping of parameter names"),
            None,
            "query parameters; any value of a repeated one",
        ),
        "headers": Field(HEADERS, None, "request headers; any value of a repeated one"),
        "grpc": Field(
            Record({"service": Field(TEXT, None), "method": Field(TEXT, None)}, make=_make_grpc),
            None,
            "gRPC service and method",
        ),
        "attempt": Field(
            ListOf(Integer(1, 1_000_000), single=True, low=1),
            None,
            "x-envoy-attempt-count; absent counts as 1",
        ),
        "source": Field(ListOf(Network(), single=True, low=1), None, "networks of the client's address"),
        "sni": Field(HOST_TEXT, None, "the name in the TLS ClientHello"),
        "dns": Field(
            Record(
                {
                    "name": Field(HOST_TEXT, None, "that is looked up, without its last dot"),
                    "type": Field(
                        ListOf(RecordType(), single=True, low=1),
                        None,
                        "types of records; A and AAAA for upstreams",
                    ),
                },
                make=_make_dns,
            ),
            None,
            "a look-up: of the upstream's host, or by a client of the DNS listener",
        ),
        "client_certificate": Field(
            Record(
                {
                    "subject": Field(TEXT, None, "as RFC 4514 writes it: CN=shop,O=Acme"),
                    "san": Field(TEXT, None, "any of its names: DNS, URI, IP, e-mail"),
                    "fingerprint": Field(Fingerprint(), None, "its SHA-256"),
                },
                make=_make_certificate,
            ),
            None,
            "the certificate that the client has shown; without one nothing of it matches",
        ),
        "response": Field(RESPONSE, None, "the upstream's answer; for faults of the response phases"),
    },
    make=_make_match,
)
