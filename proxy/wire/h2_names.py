"""What the names of HTTP/2 fields mean, and which names and values are valid (RFC 9113, sections 8.2, 8.3).

Stricter than the RFC in one point, so that any message can be passed on as HTTP/1.1: a value holds no control
character but a tab, a path only what HTTP/1.1 takes as a target, and a method is a token.
"""

import re
from typing import Final

from proxy.wire.h1_fields import authority_is_valid

# The meaning of a name: one bit each.
METHOD: Final = 1
PATH: Final = 2
SCHEME: Final = 4
AUTHORITY: Final = 8
STATUS: Final = 16
PROTOCOL: Final = 32
UNKNOWN: Final = 64  # a pseudo-header that nobody knows
PSEUDO: Final = 127
FORBIDDEN: Final = 128  # belongs to HTTP/1.1 connections (section 8.2.2)
TE: Final = 256
LENGTH: Final = 512
HOST: Final = 1024
BAD: Final = 2048  # no name at all
CONTENT_TYPE: Final = 4096  # any value is valid under these two, but what they say matters
EXPECT: Final = 8192
GUARDED: Final = 16384  # its value must not be guessed by the size of blocks (RFC 7541, section 7.1)
JUDGED: Final = 4095

_MEANINGS: Final[dict[bytes, int]] = {
    b":method": METHOD,
    b":path": PATH,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":status": STATUS,
    b":protocol": PROTOCOL,
    b"connection": FORBIDDEN,
    b"proxy-connection": FORBIDDEN,
    b"keep-alive": FORBIDDEN,
    b"transfer-encoding": FORBIDDEN,
    b"upgrade": FORBIDDEN,
    b"te": TE,
    b"content-length": LENGTH,
    b"host": HOST,
    b"content-type": CONTENT_TYPE,
    b"expect": EXPECT,
    b"authorization": GUARDED,
    b"proxy-authorization": GUARDED,
    b"cookie": GUARDED,
}

# The names that were judged before, bounded in number and size.
_KEPT: Final = 4096
_KEPT_SIZE: Final = 64
_names: Final[dict[bytes, int]] = dict(_MEANINGS)

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_SCHEME: Final = re.compile(rb"[a-z][a-z0-9+.\-]*").fullmatch
_DIGITS: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_THREE_DIGITS: Final = re.compile(rb"[1-9][0-9][0-9]").fullmatch

# Bytes that translate() takes out: what is shorter afterwards held one of them.
_NOT_IN_VALUES: Final = bytes(c for c in range(256) if c == 127 or (c < 32 and c != 9))
_NOT_IN_PATHS: Final = bytes(c for c in range(256) if not 33 <= c <= 126 or c == 35)


def meaning_of(name: bytes) -> int:
    """Say what a name means: 0 for an ordinary one, BAD for one that is not valid."""
    known = _names.get(name)
    if known is not None:
        return known
    if name[:1] == b":":
        found = UNKNOWN
    else:
        found = 0 if _NAME(name) else BAD
    if len(name) <= _KEPT_SIZE:
        if len(_names) >= _KEPT:
            _names.clear()
            _names.update(_MEANINGS)
        _names[name] = found
    return found


def fault_of_value(value: bytes) -> bool:
    """Whether a value holds what no value may, or begins or ends with white space (section 8.2.1)."""
    if value.isalnum():
        return False
    size = len(value)
    return len(value.translate(None, _NOT_IN_VALUES)) != size or len(value.strip(b" \t")) != size


def fault_of(meaning: int, value: bytes) -> str:
    """Name what is wrong with a valid value under a name of this meaning (of JUDGED), or give ""."""
    if meaning & PSEUDO:
        return _fault_of_pseudo(meaning, value)
    if meaning == BAD:
        return "bad_field_name"
    if meaning == FORBIDDEN:
        return "connection_field"
    if meaning == TE:
        return "" if value.lower() == b"trailers" else "bad_te"
    if meaning == LENGTH:
        return "" if _DIGITS(value) else "bad_content_length"
    return "" if authority_is_valid(value) else "bad_authority"


def _fault_of_pseudo(meaning: int, value: bytes) -> str:
    if meaning == PATH:
        return "" if path_is_valid(value) else "bad_path"
    if meaning == METHOD:
        return "" if _TOKEN(value) else "bad_method"
    if meaning == SCHEME:
        return "" if _SCHEME(value) else "bad_scheme"
    if meaning == AUTHORITY:
        return "" if authority_is_valid(value) else "bad_authority"
    if meaning == STATUS:
        return "" if _THREE_DIGITS(value) and value != b"101" else "bad_status"
    if meaning == PROTOCOL:
        return "" if _TOKEN(value) else "bad_protocol"
    return "unknown_pseudo"


def path_is_valid(value: bytes) -> bool:
    """Section 8.3.1: never empty; begins with "/", or is the "*" of OPTIONS."""
    if len(value.translate(None, _NOT_IN_PATHS)) != len(value):
        return False
    return value[:1] == b"/" or value == b"*"
