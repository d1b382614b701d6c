"""Header blocks of HTTP/2 (RFC 9113, section 8).

A block is judged once, when it is decoded, as its fields are when they are made (``h2_field``).  Blocks that
come again as the same bytes are the same object (``hpack_decode``), so what is known of a block is known of
all its messages.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_field import Field
from proxy.wire.h2_names import (
    AUTHORITY,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    LENGTH,
    METHOD,
    PATH,
    PROTOCOL,
    PSEUDO,
    SCHEME,
    STATUS,
)

# By which rules a block is judged.
REQUEST: Final = 0
RESPONSE: Final = 1
CONNECT_REQUEST: Final = 2  # a request where extended CONNECT is allowed (RFC 8441)
SENDING: Final = 3  # one of our own: not judged

_USUAL: Final = METHOD | PATH | SCHEME
_EXTENDED: Final = METHOD | PATH | SCHEME | PROTOCOL

# So many fields of two blocks that are alike may differ.
MOST_CHANGED: Final = 6
NOWHERE: Final[list[int]] = []


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
        "places",
        "protocol",
        "scheme",
        "seen",
        "size",
        "status",
        "trailer_error",
        "trailer_lines",
        "trailers_pass",
    )

    def __init__(self, fields: list[Field], rules: int, like: "Block | None" = None) -> None:
        self.fields: list[Field] = fields
        # the block that it is but for what stands in these places of its fields, see alike()
        self.like: Block | None = like
        self.places: list[int] = NOWHERE
        self.error: str = ""
        self.path: bytes = b""  # with the query
        self.status: int = 0
        self.size: i64 = 0  # of the list (RFC 9113, section 6.5.2)
        self.head: object | None = None
        self.head_names: object | None = None
        self.trailer_lines: bytes | None = None
        self.trailers_pass: bool = False
        # what an encoder made of it
        self.encoded: bytes = b""
        self.encoded_by: object | None = None
        self.encoded_epoch: i64 = 0
        if like is not None:
            self.trailer_error: str = like.trailer_error
            self.seen: i64 = like.seen
            self.method: bytes = like.method
            self.scheme: bytes = like.scheme
            self.authority: bytes = like.authority
            self.protocol: bytes = like.protocol
            self.length: int = like.length
            self.host: bytes | None = like.host
            self.content_type: bytes = like.content_type
            self.expect: bytes = like.expect
            return
        self.trailer_error = ""
        self.seen = 0  # the pseudo-headers that it has, bits of h2_names
        self.method = self.scheme = b""
        self.authority = b""  # of :authority, else of host
        self.protocol = b""  # of extended CONNECT
        self.length = -1  # what content-length says
        self.host = None  # the host field, where there is one
        self.content_type = self.expect = b""  # the first of these fields
        self._judge(rules)

    def _judge(self, rules: int) -> None:
        """Note what the fields say, and whether they may."""
        seen = self._read()
        self.seen = seen
        self.trailer_error = (self.error or "pseudo_in_trailers") if seen else self.error
        if not self.error and rules != SENDING:
            self.error = self._fault_of_response() if rules == RESPONSE else self._fault_of_request(rules)

    @staticmethod
    def of(fields: list[Field]) -> "Block":
        """Make a block for sending; its fields are taken as they are: lower-case, pseudo-headers first."""
        return Block(fields, SENDING)

    def with_path(self, path: Field, places: list[int]) -> "Block":
        """Make the block that is this one, of a request with nothing wrong, but for its (valid) path.

        ``places``: the one of the path.
        """
        place = places[0]
        fields = self.fields.copy()
        fields[place] = path
        made = Block(fields, SENDING, self)
        made.places = places
        made.path = path.value
        made.size = self.size + path.size - self.fields[place].size
        return made

    def alike(self, fields: list[Field]) -> "Block | None":
        """Make the block of these fields, if it is this one but for the path and values without a meaning.

        None: it is not, or one of the two is no request with nothing wrong.
        """
        mine = self.fields
        if len(mine) != len(fields):
            return None
        places: list[int] = []
        for at, field in enumerate(fields):
            if field is not mine[at]:
                places.append(at)
        return self.but_for(fields, places)

    def but_for(self, fields: list[Field], places: list[int]) -> "Block | None":
        """Do the same for as many fields, of which none but those in these places can be another."""
        if self.error or len(places) > MOST_CHANGED:
            return None
        mine = self.fields
        size = self.size
        path = self.path
        for at in places:
            field = fields[at]
            other = mine[at]
            if field.name != other.name or field.fault:
                return None
            if field.meaning:
                if field.meaning != PATH or not field.value[:1] == b"/" == path[:1]:
                    return None
                path = field.value
            size += field.size - other.size
        made = Block(fields, SENDING, self)
        made.places = places
        made.path = path
        made.size = size
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
        pseudo: i64 = 0  # so many came
        error = ""
        fields = self.fields
        for field in fields:
            size += field.size
            if not field.special:
                continue
            meaning = field.meaning
            if field.fault:
                error = error or field.fault
            if meaning & PSEUDO:
                if not error:
                    if not fields[pseudo].meaning & PSEUDO:
                        error = "late_pseudo"
                    elif seen & meaning:
                        error = "repeated_pseudo"
                pseudo += 1
                seen |= meaning
                self._take_pseudo(meaning, field)
            elif not error:
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
        elif meaning == STATUS and not field.fault:
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
