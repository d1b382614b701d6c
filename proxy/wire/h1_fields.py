"""What the fields of a head mean: framing, routing, the life of the connection.

RFC 9112, section 6.3 decides where a body ends.  Whatever could make another parser decide otherwise is
refused, not repaired: docs/http1.md has the list with its reasons.
"""

import re
from typing import Final

from proxy.wire.errors import ProtocolError, refusal
from proxy.wire.h1_head import (
    CHUNKED,
    COLLECT,
    CONNECTION,
    CONTENT_LENGTH,
    CUT,
    EXPECT,
    HOP,
    HOST,
    KIND,
    LENGTH,
    NO_BODY,
    PLAIN,
    REQUEST,
    RESPONSE,
    TRANSFER_ENCODING,
    UNTIL_CLOSE,
    UPGRADE,
    Head,
    Names,
)
from proxy.wire.h1_match import scan_request as match_request
from proxy.wire.h1_match import scan_response as match_response
from proxy.wire.h1_refuse import diagnose
from proxy.wire.h1_scan import scan_request as index_request
from proxy.wire.h1_scan import scan_response as index_response

COMPILED: Final = not __file__.endswith(".py")

_OWS: Final = b" \t"
_DIGITS: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_TOKENS: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(/[^?]*)?(\?.*)?").fullmatch

# uri-host [":" port] of RFC 3986, less the comma, which some read as a list of hosts.
_AUTHORITY: Final = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?"
).fullmatch

# The hosts that were checked before: few, as a rule, and asked for often.
_hosts: Final[dict[bytes, bytes]] = {}
_HOSTS_KEPT: Final = 512
_HOST_KEPT_SIZE: Final = 256

# Fields that `connection:` must not nominate: taking them away would change framing or routing.
_NEVER_NOMINATED: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"expect"))


def parse_request(raw: bytes, names: Names, most_fields: int) -> Head:
    """Read a request head that ends with its empty line; raises ProtocolError."""
    head = index_request(raw, names) if COMPILED else match_request(raw, names)
    if head is None:
        raise diagnose(REQUEST, raw)
    _read_fields(head, names, most_fields)
    _route(head)
    return head


def parse_response(raw: bytes, names: Names, most_fields: int, to_head: bool) -> Head:
    """Read a response head that ends with its empty line; ``to_head``: it answers a HEAD request."""
    head = index_response(raw, names) if COMPILED else match_response(raw, names)
    if head is None:
        raise diagnose(RESPONSE, raw)
    _read_fields(head, names, most_fields)
    status = head.status
    if status < 200 or status == 204:
        # These must not carry framing fields (RFC 9110, section 8.6; RFC 9112, section 6.1).
        if head.frame_end:
            _cut(head, head.frame_start, head.frame_end)
            head.length = -1
        head.framing = NO_BODY
    elif to_head or status == 304:
        head.framing = NO_BODY  # whatever the fields say (RFC 9112, section 6.3, rule 1)
    elif head.framing == NO_BODY:
        head.framing = UNTIL_CLOSE
        head.keep_alive = False
    return head


def _read_fields(head: Head, names: Names, most_fields: int) -> None:
    """Read the fields that were noted: what both roles have in common."""
    head.field_lines = head.raw.count(b"\r\n") - 2
    if head.field_lines > most_fields:
        raise refusal("too_many_fields", f"more than {most_fields} fields")
    for name, start, value, end in head.hits:
        _take(head, names.kinds[name], name, start, value, end)
    if head.codings is not None:
        _check_codings(head, head.codings)
    elif head.length >= 0:
        head.framing = LENGTH
    if head.options is not None:
        _connection(head, head.options)
    else:
        head.keep_alive = head.minor != 0
        head.upgrade = b""


def _take(head: Head, code: int, name: bytes, start: int, value_start: int, end: int) -> None:
    """Note what one field says."""
    value = head.raw[value_start:end].rstrip(_OWS)
    if code & (COLLECT | CUT):
        _collect(head, code, name, start, value, end)
    kind = code & KIND
    if kind == HOST and head.status == 0:
        if head.host_start >= 0:
            raise refusal("repeated_host", "more than one host field")
        head.authority = value
        head.host_start = start
        head.host_end = end + 2
    elif kind == CONTENT_LENGTH:
        if head.length >= 0:
            raise refusal("repeated_content_length", "more than one content-length field")
        if not _DIGITS(value):
            raise refusal("bad_content_length", f"content-length {value[:40]!r}")
        head.length = int(value)
        head.frame_start = start
        head.frame_end = end + 2
    elif kind == TRANSFER_ENCODING:
        head.codings = value if head.codings is None else head.codings + b"," + value
        head.frame_start = start
        head.frame_end = end + 2
    elif kind == CONNECTION:
        head.options = value if head.options is None else head.options + b"," + value
        _cut(head, start, end + 2)
    elif kind == HOP:
        _cut(head, start, end + 2)
    elif kind == UPGRADE:
        head.upgrade = value if not head.upgrade else head.upgrade + b", " + value
        _cut(head, start, end + 2)
    elif kind == EXPECT and head.status == 0:
        _expect(head, value, start, end + 2)


def _collect(head: Head, code: int, name: bytes, start: int, value: bytes, end: int) -> None:
    """Keep a value that is wanted, and leave its line out when the proxy writes its own."""
    fields = head.fields
    if fields is None:
        head.fields = {name: [value]}
    elif name in fields:
        fields[name].append(value)
    else:
        fields[name] = [value]
    if code & CUT and (code & KIND) in (PLAIN, HOST, EXPECT):
        _cut(head, start, end + 2)


def _cut(head: Head, start: int, end: int) -> None:
    """Leave a line out of what is passed on; a line may be cut twice."""
    span = (start, end)
    if head.cuts is None:
        head.cuts = [span]
    elif span > head.cuts[-1]:
        head.cuts.append(span)
    elif span not in head.cuts:
        head.cuts.append(span)
        head.cuts.sort()


def _check_codings(head: Head, codings: bytes) -> None:
    """Accept one `transfer-encoding: chunked` alone (RFC 9112, sections 6.1 and 6.3)."""
    if head.length >= 0:
        raise refusal("length_and_coding", "content-length and transfer-encoding in one message")
    if head.minor == 0:
        raise refusal("coding_in_http10", "transfer-encoding in an HTTP/1.0 message")
    if codings.lower() != b"chunked":
        raise _coding_error(codings)
    head.framing = CHUNKED


def _coding_error(codings: bytes) -> ProtocolError:
    names = [coding.strip(_OWS).lower() for coding in codings.split(b",")]
    for name in names:
        if not _TOKENS(name):
            return refusal("bad_coding", f"transfer-encoding {codings[:40]!r}")
    if all(name == b"chunked" for name in names):
        return refusal("bad_coding", "chunked more than once")
    return refusal("unknown_coding", f"transfer-encoding {codings[:40]!r}")


def _expect(head: Head, value: bytes, start: int, end: int) -> None:
    """Read `expect` (RFC 9110, section 10.1.1): an HTTP/1.0 client cannot mean it."""
    if head.minor == 0:
        _cut(head, start, end)
    elif value.lower() == b"100-continue" and not head.expect_continue:
        head.expect_continue = True
    else:
        raise refusal("bad_expectation", f"expect {value[:40]!r}")


def _route(head: Head) -> None:
    """Read target and host (RFC 9112, sections 3.2 and 3.3)."""
    if head.minor and head.host_start < 0:
        raise refusal("missing_host", "an HTTP/1.1 request without host")
    target = head.target
    if target[0] != 47 or head.method == b"CONNECT":
        _other_form(head)
    else:
        head.origin = target
        mark = target.find(b"?")
        if mark < 0:
            head.path = target
        else:
            head.path = target[:mark]
            head.query = target[mark + 1 :]
    if head.host_start >= 0 or head.authority:
        host = _hosts.get(head.authority)
        head.host = _check_host(head.authority) if host is None else host


def _other_form(head: Head) -> None:
    """Read a target that is no path."""
    if head.method == b"CONNECT":
        raise refusal("connect", "CONNECT is not served")
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise refusal("bad_target", "the target * is for OPTIONS alone")
        head.origin = head.path = b"*"
        return
    found = _ABSOLUTE(head.target)
    if found is None:
        raise refusal("bad_target", "the request target is neither a path nor an http URI")
    if head.host_start >= 0:
        _check_host(head.authority)  # it is replaced, and must be valid none the less
        _cut(head, head.host_start, head.host_end)
    authority, path, query = found.groups()
    head.as_came = False
    head.authority = authority
    head.authority_of_target = True
    head.query = query[1:] if query else b""
    # OPTIONS of a whole server is passed on as `*` (RFC 9112, section 3.2.4).
    nothing = path is None and query is None and head.method == b"OPTIONS"
    head.path = path or (b"*" if nothing else b"/")
    head.origin = head.path + (query or b"")


def authority_is_valid(authority: bytes) -> bool:
    """Whether this is a host with or without a port, as `host` and `:authority` must be."""
    return authority in _hosts or _AUTHORITY(authority) is not None


def _check_host(authority: bytes) -> bytes:
    """Check a host with its port; gives the host lower-case, alone."""
    found = _AUTHORITY(authority)
    if found is None:
        raise refusal("bad_host", f"host {authority[:80]!r}")
    host: bytes = found.group(1).lower()
    if len(authority) <= _HOST_KEPT_SIZE:
        if len(_hosts) >= _HOSTS_KEPT:
            _hosts.clear()
        _hosts[authority] = host
    return host


def _connection(head: Head, value: bytes) -> None:
    """Read the connection options (RFC 9110, section 7.6.1; RFC 9112, section 9.3)."""
    options = value.lower()
    if options == b"keep-alive":
        head.upgrade = b""
        return
    close = False
    keep = head.minor != 0
    upgrade = False
    nominated: set[bytes] = set()
    for part in options.split(b","):
        option = part.strip(_OWS)
        if option == b"close":
            close = True
        elif option == b"keep-alive":
            keep = True
        elif option == b"upgrade":
            upgrade = True
        elif option in _NEVER_NOMINATED:
            raise refusal("nominated_field", f"connection nominates {option.decode('ascii')}")
        elif option:
            nominated.add(option)
    head.keep_alive = keep and not close
    if nominated:
        _cut_nominated(head, nominated)
    # h2c by upgrade would tunnel requests past every rule.
    if not upgrade or head.minor == 0 or b"h2c" in head.upgrade.lower():
        head.upgrade = b""


def _cut_nominated(head: Head, nominated: set[bytes]) -> None:
    """Leave out the fields that the peer says are for this connection alone."""
    raw = head.raw
    spans = head.cuts or []
    at = head.line_end + 2
    while at < len(raw) - 2:
        end = raw.index(b"\r\n", at) + 2
        if raw[at : raw.index(b":", at)].lower() in nominated:
            spans.append((at, end))
        at = end
    head.cuts = sorted(set(spans))
