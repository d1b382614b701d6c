"""The scan of a head by integer index: the body for the compiled build.

Every byte is looked up in a table; the loops end at the CR of the line, which no table holds.  Compiled
it takes about a tenth of ``h1_match``, interpreted some four times as long.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h1_head import Head, Names, filter_place

_TOKEN: Final = bytes(
    1 if chr(c) in "!#$%&'*+-.^_`|~" or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 else 0
    for c in range(256)
)
_VALUE: Final = bytes(1 if c == 9 or (c >= 32 and c != 127) else 0 for c in range(256))
_TARGET: Final = bytes(1 if 33 <= c <= 126 and c != 35 else 0 for c in range(256))

_CR: Final = 13
_LF: Final = 10
_SPACE: Final = 32


def scan_request(raw: bytes, names: Names) -> Head | None:
    """Check a request head that ends with its empty line; None when a byte of it is wrong."""
    i: i64 = 0
    while _TOKEN[raw[i]]:
        i += 1
    if i == 0 or raw[i] != _SPACE:
        return None
    target: i64 = i + 1
    j: i64 = target
    while _TARGET[raw[j]]:
        j += 1
    if j == target or raw[j] != _SPACE or not raw.startswith(b"HTTP/1.", j + 1):
        return None
    digit: i64 = raw[j + 8]
    if digit < 48 or digit > 57 or raw[j + 9] != _CR or raw[j + 10] != _LF:
        return None
    head = Head(raw)
    head.method = raw[:i]
    head.target = raw[target:j]
    return head if _finish(head, names, digit, j + 9) else None


def scan_response(raw: bytes, names: Names) -> Head | None:
    """Check a response head that ends with its empty line; None when a byte of it is wrong."""
    if not raw.startswith(b"HTTP/1.") or len(raw) < 16:
        return None
    status: i64 = 0
    i: i64 = 9
    while i < 12:
        digit: i64 = raw[i]
        if digit < 48 or digit > 57:
            return None
        status = status * 10 + digit - 48
        i += 1
    digit = raw[7]
    if raw[8] != _SPACE or status < 100 or digit < 48 or digit > 57:
        return None
    head = Head(raw)
    head.status = status
    if raw[i] == _SPACE:
        i += 1
        while _VALUE[raw[i]]:
            i += 1
        head.reason = raw[13:i]
    if raw[i] != _CR or raw[i + 1] != _LF:
        return None
    return head if _finish(head, names, digit, i) else None


def _finish(head: Head, names: Names, digit: i64, line_end: i64) -> bool:
    """Note the version, check the fields; False when a byte is wrong."""
    head.line_end = line_end
    if digit != 49:
        head.as_came = False
        head.minor = 0 if digit == 48 else 1
    return _scan_fields(head, names, line_end + 2)


def _scan_fields(head: Head, names: Names, i: i64) -> bool:
    """Check the field lines and note those that matter; False when a byte is wrong."""
    raw = head.raw
    kinds = names.kinds
    table = names.filter
    last: i64 = len(raw) - 2  # the empty line
    while i < last:
        start: i64 = i
        while _TOKEN[raw[i]]:
            i += 1
        colon: i64 = i
        if colon == start or raw[i] != 58:
            return False
        i += 1
        while raw[i] == _SPACE or raw[i] == 9:
            i += 1
        value: i64 = i
        while _VALUE[raw[i]]:
            i += 1
        if raw[i] != _CR or raw[i + 1] != _LF:
            return False
        if table[filter_place(colon - start, raw[start])]:
            name = raw[start:colon].lower()
            if name in kinds:
                head.hits.append((name, start, value, i))
        i += 2
    return i == last
