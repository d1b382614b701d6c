"""Makes the head and the body of a message anew, as a rule says.

A head stays in the protocol that it came by.  What is written for HTTP/1.1 is read again by the strict
reader: what could desynchronise the next parser is refused there, as if it had come so.
"""

from typing import Final

from proxy.codings import Unreadable, unpack
from proxy.http2 import heads
from proxy.wire.errors import ProtocolError
from proxy.wire.h1_fields import authority_is_valid, parse_request, parse_response
from proxy.wire.h1_head import NO_BODY, Head, Names
from proxy.wire.h1_write import REASONS
from proxy.wire.h2_block import Block
from proxy.wire.h2_field import LITERAL, Field
from rules import json_path
from rules.message_actions import MOST, NO_PLACE, NOT_JSON, TOO_LARGE, BodyEdit, MessageEdit

NO_CONTENT: Final = frozenset({204, 205, 304})

_MANY: Final = 1 << 20  # the fields of the head that came were counted already
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class BadHead(Exception):
    """What the rule asks for gives no valid head."""


class Change:
    """What becomes of a head: the rule's edit, and what follows of it for the fields of the body."""

    def __init__(self, edit: MessageEdit) -> None:
        self.edit = edit
        self.length = -1  # of the new body, -1: as it came
        self.bodyless = False  # none follows, whatever came
        self.drop = {name for name, _ in edit.set} | set(edit.remove)
        self.lines = [*edit.set, *edit.add]

    def body(self, length: int) -> None:
        """Note that another body goes with it."""
        self.length = length
        edit = self.edit.body
        if edit is not None and edit.replace is not None:
            self.drop.add(b"content-encoding")
            if edit.kind and b"content-type" not in {name for name, _ in self.lines}:
                self.drop.add(b"content-type")
                self.lines.append((b"content-type", edit.kind))

    def no_body(self, empty: bool) -> None:
        """Note that no body goes with it; ``empty``: its status lets one be expected."""
        self.bodyless = True
        self.drop |= _FRAMING
        if empty:
            self.lines.append((b"content-length", b"0"))

    def measured(self, head: Head) -> None:
        """Let the head say how long the new body is, where it has said so of the old one, or had none."""
        if self.length >= 0 and (head.length >= 0 or head.framing == NO_BODY):
            self.drop.add(b"content-length")
            self.lines.append((b"content-length", b"%d" % self.length))


def values_of(head: Head, name: bytes) -> list[bytes]:
    """Give the values of a field (lower-case), whatever was collected of the head."""
    block = head.block
    if isinstance(block, Block):
        return block.all(name)
    found: list[bytes] = []
    for line in _lines(head):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            found.append(value.strip(b" \t"))
    return found


def _lines(head: Head) -> list[bytes]:
    return head.raw[head.line_end + 2 : -4].split(b"\r\n") if len(head.raw) > head.line_end + 4 else []


# --- bodies


def body(came: bytes, codings: list[bytes], edit: BodyEdit) -> bytes:
    """Give the new body; raises Unreadable."""
    if edit.replace is not None:
        return edit.replace
    content, coding = unpack(codings, came, MOST)
    for change in edit.json:
        content = _changed(content, change.steps, change.value)
    content += edit.append
    return content if coding is None else coding.pack(content)


def _changed(content: bytes, steps: list[json_path.Step], value: str) -> bytes:
    try:
        made = json_path.replace(content.decode(), steps, value, 2 * MOST)
    except (UnicodeDecodeError, json_path.NotJson):
        raise Unreadable(NOT_JSON) from None
    except OverflowError:
        raise Unreadable(TOO_LARGE) from None
    if made is None:
        raise Unreadable(NO_PLACE)
    return made.encode()


# --- heads


def request(head: Head, change: Change, names: Names) -> Head:
    """Give the new head of a request; raises BadHead."""
    change.measured(head)
    block = head.block
    try:
        if isinstance(block, Block):
            made = _request_of(block, head, change, names)
        else:
            made = parse_request(_request_lines(head, change), names, _MANY)
    except ProtocolError as error:
        raise BadHead from error
    made.grpc = head.grpc  # who called waits for an answer of gRPC
    return made


def _target(head: Head, path: bytes) -> bytes:
    """Give the new target, in origin-form."""
    if not path:
        return head.origin
    return path + b"?" + head.query if head.query and b"?" not in path else path


def _request_lines(head: Head, change: Change) -> bytes:
    edit = change.edit
    hosted = any(name == b"host" for name, _ in change.lines)
    target = _target(head, edit.path) if edit.path or hosted else head.target
    if head.authority_of_target and not hosted and edit.path:
        target = b"http://" + head.authority + target
    first = b"%b %b HTTP/1.%d\r\n" % (edit.method or head.method, target, head.minor)
    return first + _joined(_lines(head), change)


def _joined(came: list[bytes], change: Change) -> bytes:
    """Give the field lines that stay, those that are new, and the empty line."""
    kept = [line for line in came if line.partition(b":")[0].lower() not in change.drop]
    kept += [name + b": " + value for name, value in change.lines]
    return b"".join([line + b"\r\n" for line in kept]) + b"\r\n"


def _request_of(block: Block, head: Head, change: Change, names: Names) -> Head:
    edit = change.edit
    pseudo = {b":method": edit.method, b":path": _target(head, edit.path) if edit.path else b""}
    for name, value in change.lines:
        if name == b"host":
            if not authority_is_valid(value):
                raise BadHead
            pseudo[b":authority"] = value
    change.lines = [line for line in change.lines if line[0] != b"host"]
    ended = head.framing == NO_BODY and change.length < 0
    return heads.request_head(_block(block, pseudo, change), names, ended)


def _block(block: Block, pseudo: dict[bytes, bytes], change: Change) -> Block:
    """Give a block with other fields; pseudo-headers stand first, as they have to."""
    first = [field for field in block.fields if field.name[:1] == b":" and not pseudo.get(field.name)]
    first += [Field(name, value, LITERAL) for name, value in pseudo.items() if value]
    rest = [f for f in block.fields if f.name[:1] != b":" and f.name not in change.drop]
    made = Block.of([*first, *rest, *[Field(name, value, LITERAL) for name, value in change.lines]])
    if made.error:
        raise BadHead
    return made


def response(head: Head, change: Change, names: Names, to_head: bool) -> Head:
    """Give the new head of an answer; ``to_head``: it answers HEAD.  Raises BadHead."""
    change.measured(head)
    status = change.edit.status or head.status
    block = head.block
    if isinstance(block, Block):
        pseudo = {b":status": b"%d" % status if change.edit.status else b""}
        ended = change.bodyless or (head.framing == NO_BODY and change.length < 0)
        made = heads.response_head(_block(block, pseudo, change), names, ended)
        made.tunnel = head.tunnel
        return made
    first = b"HTTP/1.%d %d %b" % (head.minor, status, REASONS.get(status, b""))
    if not change.edit.status:
        first = head.raw[: head.line_end]
    try:
        made = parse_response(first + b"\r\n" + _joined(_lines(head), change), names, _MANY, to_head)
    except ProtocolError as error:
        raise BadHead from error
    return made
