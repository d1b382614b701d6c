"""Header fields and header blocks of HTTP/2 (RFC 9113, section 8).

A field is judged once, when it is made; a block once, when it is decoded.  Blocks that come again as the same
bytes are the same object (``hpack_decode``), so what is known of a block is known of all its messages.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_names import (
    AUTHORITY,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    JUDGED,
    LENGTH,
    METHOD,
    PATH,
    PROTOCOL,
    PSEUDO,
    SCHEME,
    STATUS,
    fault_of,
    fault_of_value,
    meaning_of,
    path_is_valid,
)
from proxy.wire.hpack_tables import STATIC

# How a field may be written (RFC 7541, sections 6.2 and 7.1).
LITERAL: Final = 0  # it came as a literal that was not indexed: write it so
INDEXED: Final = 1  # it came from a table or for one: indexing it may pay
NEVER: Final = 2  # it came as never to be indexed: it must stay so

# By which rules a block is judged.
REQUEST: Final = 0
RESPONSE: Final = 1
CONNECT_REQUEST: Final = 2  # a request where extended CONNECT is allowed (RFC 8441)
SENDING: Final = 3  # one of our own: not judged
ALIKE: Final = 4  # another block that was judged, but for its path

_USUAL: Final = METHOD | PATH | SCHEME
_EXTENDED: Final = METHOD | PATH | SCHEME | PROTOCOL

# Bytes of name and value of all fields that are interned at most, and of one of them.
_INTERNED_SIZE: Final = 1 << 20
_FIELD_SIZE: Final = 1024


class Field:
    """One field.  ``size`` is what it counts in tables and limits (RFC 7541, section 4.1).

    ``fault`` names what is wrong with it, a name of ``STREAM_KINDS``; "" when nothing is.
    """

    __slots__ = ("fault", "meaning", "name", "number", "seen", "size", "value", "writing")

    def __init__(self, name: bytes, value: bytes, writing: int) -> None:
        self.name: bytes = name
        self.value: bytes = value
        self.writing: i64 = writing  # LITERAL, INDEXED or NEVER
        self.number: i64 = 0  # its index in the static table, 0 where it is not there
        self.seen: i64 = 0  # how often an encoder thought about indexing it
        self.size: i64 = len(name) + len(value) + 32
        meaning = meaning_of(name)
        self.meaning: i64 = meaning  # bits of h2_names
        if meaning == PATH and path_is_valid(value):  # which is stricter than what holds for all values
            self.fault: str = ""
        elif fault_of_value(value):
            self.fault = "bad_field_value"
        elif meaning & JUDGED:
            self.fault = fault_of(meaning, value)
        else:
            self.fault = ""

    @property
    def sensitive(self) -> bool:
        """Whether it must never be indexed (RFC 7541, section 7.1.3)."""
        return self.writing == NEVER


def _static_fields() -> list[Field]:
    """Make the fields of the static table (RFC 7541, appendix A)."""
    fields: list[Field] = []
    for name, value in STATIC:
        field = Field(name, value, INDEXED)
        fields.append(field)
        field.number = len(fields)
    return fields


STATIC_FIELDS: Final[list[Field]] = _static_fields()


class _Interned:
    """The fields that are, or may be, in dynamic tables: the same bytes are the same object everywhere."""

    def __init__(self) -> None:
        self.fields: dict[bytes, dict[bytes, Field]] = {}  # by name, by value
        self.size: i64 = 0
        self.clear()

    def clear(self) -> None:
        """Forget all but the static table."""
        self.fields.clear()
        self.size = 0
        for field in STATIC_FIELDS:
            self.put(field)

    def add(self, field: Field) -> None:
        if field.size > _FIELD_SIZE:
            return
        if self.size + field.size > _INTERNED_SIZE:
            self.clear()
        self.size += field.size
        self.put(field)

    def put(self, field: Field) -> None:
        of_name = self.fields.get(field.name)
        if of_name is None:
            self.fields[field.name] = {field.value: field}
        else:
            of_name[field.value] = field


_interned: Final = _Interned()


def interned(name: bytes, value: bytes) -> Field:
    """Give the field that stands for this name and value in all tables; it may be indexed."""
    of_name = _interned.fields.get(name)
    if of_name is None:
        field = Field(name, value, INDEXED)
        _interned.add(field)
        return field
    known = of_name.get(value)
    if known is not None:
        return known
    field = Field(name, value, INDEXED)
    if field.size <= _FIELD_SIZE and _interned.size + field.size <= _INTERNED_SIZE:
        _interned.size += field.size
        of_name[value] = field
    else:
        _interned.add(field)
    return field


class Block:
    """A decoded header block, or one made for sending.  It is shared: nobody changes it.

    ``error`` names what is wrong with it as a head (request or response, as the connection's role says),
    ``trailer_error`` as trailers; both are names of ``STREAM_KINDS``, "" when nothing is.

    The proxy keeps in ``head`` what it has derived from this block, and in ``head_names`` for what; both
    live as long as the block is remembered.  ``trailer_lines`` and ``trailers_pass`` are the proxy's too: the
    block as trailers in HTTP/1.1 (None: nobody asked yet), and whether all of it may be passed on as such.
    """

    __slots__ = (
        "authority",
        "content_type",
        "encoded",
        "encoded_by",
        "encoded_epoch",
        "error",
        "expect",
        "fields",
        "head",
        "head_names",
        "host",
        "length",
        "like",
        "method",
        "path",
        "protocol",
        "scheme",
        "seen",
        "size",
        "status",
        "trailer_error",
        "trailer_lines",
        "trailers_pass",
    )

    def __init__(self, fields: list[Field], rules: int) -> None:
        self.fields: list[Field] = fields
        self.error: str = ""
        self.trailer_error: str = ""
        self.method: bytes = b""
        self.scheme: bytes = b""
        self.path: bytes = b""  # with the query
        self.authority: bytes = b""  # of :authority, else of host
        self.protocol: bytes = b""  # of extended CONNECT
        self.status: int = 0
        self.length: int = -1  # what content-length says
        self.host: bytes | None = None  # the host field, where there is one
        self.content_type: bytes = b""  # the first of these fields
        self.expect: bytes = b""
        self.size: i64 = 0  # of the list (RFC 9113, section 6.5.2)
        self.head: object | None = None
        self.head_names: object | None = None
        self.trailer_lines: bytes | None = None
        self.trailers_pass: bool = False
        # what an encoder made of it
        self.encoded: bytes = b""
        self.encoded_by: object | None = None
        self.encoded_epoch: i64 = 0
        self.like: Block | None = None  # the block that it is but for its path, see alike()
        self.seen: i64 = 0  # the pseudo-headers that it has, bits of h2_names
        if rules == ALIKE:
            return
        seen = self._read()
        self.seen = seen
        if seen:
            self.trailer_error = self.error or "pseudo_in_trailers"
        else:
            self.trailer_error = self.error
        if not self.error and rules != SENDING:
            self.error = self._fault_of_response() if rules == RESPONSE else self._fault_of_request(rules)

    @staticmethod
    def of(fields: list[Field]) -> "Block":
        """Make a block for sending; its fields are taken as they are: lower-case, pseudo-headers first."""
        return Block(fields, SENDING)

    def alike(self, path: Field, place: i64) -> "Block":
        """Make the block that is this one, of a request with nothing wrong, but for its (valid) path."""
        fields = self.fields.copy()
        fields[place] = path
        made = Block(fields, ALIKE)
        made.trailer_error = self.trailer_error
        made.method = self.method
        made.scheme = self.scheme
        made.path = path.value
        made.authority = self.authority
        made.protocol = self.protocol
        made.length = self.length
        made.host = self.host
        made.content_type = self.content_type
        made.expect = self.expect
        made.size = self.size - len(self.path) + len(path.value)
        made.seen = self.seen
        made.like = self
        return made

    def get(self, name: bytes) -> bytes | None:
        """Give the value of the first field of this name."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def all(self, name: bytes) -> list[bytes]:
        """Give the values of all fields of this name, in their order."""
        return [field.value for field in self.fields if field.name == name]

    def collect(self, names: frozenset[bytes]) -> dict[bytes, list[bytes]] | None:
        """Give the values of the fields of these names; None when it has none of them."""
        found: dict[bytes, list[bytes]] | None = None
        for field in self.fields:
            name = field.name
            if name in names:
                if found is None:
                    found = {name: [field.value]}
                elif name in found:
                    found[name].append(field.value)
                else:
                    found[name] = [field.value]
        return found

    def count(self) -> int:
        """Count the fields as HTTP/1.1 would: the authority among them, the crumbs of a cookie as one."""
        found: i64 = 0
        cookie: i64 = 0
        for field in self.fields:
            if field.name == b"cookie":
                cookie = 1
            elif not field.meaning & PSEUDO or field.meaning == AUTHORITY:
                found += 1
        return found + cookie

    def without(self, names: frozenset[bytes]) -> "Block":
        """Give a block for sending that lacks the fields of these names; itself when it has none of them."""
        for field in self.fields:
            if field.name in names:
                return Block([kept for kept in self.fields if kept.name not in names], SENDING)
        return self

    def _read(self) -> i64:
        """Note what the fields say and what is wrong first; gives the pseudo-headers that it has."""
        seen: i64 = 0
        size: i64 = 0
        regular = False
        error = ""
        for field in self.fields:
            size += field.size
            if field.fault and not error:
                error = field.fault
            meaning = field.meaning
            if meaning & PSEUDO:
                if not error:
                    if regular:
                        error = "late_pseudo"
                    elif seen & meaning:
                        error = "repeated_pseudo"
                seen |= meaning
                self._take_pseudo(meaning, field)
            else:
                regular = True
                if meaning and not error:
                    error = self._take_special(meaning, field)
        self.size = size
        self.error = error
        return seen

    def _take_pseudo(self, meaning: i64, field: Field) -> None:
        value = field.value
        if meaning == PATH:
            self.path = value
        elif meaning == METHOD:
            self.method = value
        elif meaning == AUTHORITY:
            self.authority = value
        elif meaning == SCHEME:
            self.scheme = value
        elif meaning == STATUS:
            if not field.fault:
                self.status = int(value)
        elif meaning == PROTOCOL:
            self.protocol = value

    def _take_special(self, meaning: i64, field: Field) -> str:
        """Note a field that frames or routes; gives what is wrong with having it."""
        if meaning == LENGTH:
            if self.length >= 0:
                return "repeated_content_length"
            self.length = int(field.value)
        elif meaning == HOST:
            if self.host is not None:
                return "repeated_host"
            self.host = field.value
        elif meaning == CONTENT_TYPE:
            self.content_type = self.content_type or field.value
        elif meaning == EXPECT:
            self.expect = self.expect or field.value
        return ""

    def _fault_of_response(self) -> str:
        """RFC 9113, section 8.3.2."""
        if self.seen == STATUS:
            return ""
        return "wrong_pseudo" if self.seen & STATUS else "missing_pseudo"

    def _fault_of_request(self, rules: int) -> str:
        """RFC 9113, sections 8.3.1 and 8.5; RFC 8441, section 4."""
        seen = self.seen & ~AUTHORITY
        if seen == _USUAL and self.method != b"CONNECT":
            return self._fault_of_target()
        if seen & STATUS:
            return "wrong_pseudo"
        if self.method == b"CONNECT":
            if seen == METHOD:
                return "" if self.authority else "missing_authority"
            if seen == _EXTENDED and rules == CONNECT_REQUEST:
                return self._fault_of_target()
            return "wrong_pseudo"
        return "missing_pseudo" if seen & _USUAL != _USUAL else "wrong_pseudo"

    def _fault_of_target(self) -> str:
        """Section 8.3.1: authority and host agree; one is there, since the proxy routes by it."""
        host = self.host
        if not self.seen & AUTHORITY:
            if host is None:
                return "missing_authority"
            self.authority = host
        elif host is not None and host != self.authority and host.lower() != self.authority.lower():
            return "host_differs"
        if self.path == b"*" and self.method != b"OPTIONS":
            return "bad_path"
        return ""
