"""The scan of a head by regular expressions: the body for the interpreted build.

One match checks every byte of the head (RFC 9112, sections 3 to 5), one search over the lower-cased head
finds the fields that matter.  ``h1_scan`` does the same by integer index; a table of cases and a
differential test hold the two to each other.
"""

import re
from typing import Final

from proxy.wire.h1_head import Head, Names

# Possessive, so that a long bad head costs no backtracking.  `#` is no part of a request target.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELDS: Final = rb"(?:" + _TOKEN + rb":[\t -~\x80-\xff]*+\r\n)*+\r\n"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([!\"$-~]++) HTTP/1\.([0-9])\r\n" + _FIELDS).fullmatch
_RESPONSE: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?\r\n" + _FIELDS
).fullmatch
_TRAILERS: Final = re.compile(_FIELDS).fullmatch


def scan_request(raw: bytes, names: Names) -> Head | None:
    """Check a request head that ends with its empty line; None when a byte of it is wrong."""
    found = _REQUEST(raw)
    if found is None:
        return None
    head = Head(raw)
    head.method, head.target, digit = found.groups()
    if digit != b"1":
        head.as_came = False
        head.minor = 0 if digit == b"0" else 1
    head.line_end = found.end(3)
    _find(head, names)
    return head


def scan_response(raw: bytes, names: Names) -> Head | None:
    """Check a response head that ends with its empty line; None when a byte of it is wrong."""
    found = _RESPONSE(raw)
    if found is None:
        return None
    head = Head(raw)
    digit, status, reason = found.groups()
    head.status = int(status)
    if reason is None:
        head.line_end = found.end(2)
    else:
        head.reason = reason
        head.line_end = found.end(3)
    if digit != b"1":
        head.as_came = False
        head.minor = 0 if digit == b"0" else 1
    _find(head, names)
    return head


def fields_are_valid(raw: bytes) -> bool:
    """Say whether these are field lines and an empty line, each byte as it must be."""
    return _TRAILERS(raw) is not None


def _find(head: Head, names: Names) -> None:
    """Note the fields that matter."""
    hits = head.hits
    lower = head.raw.lower()
    if names.many:
        kinds = names.kinds
        for found in names.finditer(lower, head.line_end):
            name = found[1]
            if name in kinds:
                hits.append((name, found.start(1), found.start(2), found.end(2)))
        return
    for found in names.finditer(lower, head.line_end):
        start, end = found.span(2)
        hits.append((found[1], found.start(1), start, end))
