"""Runs a reader over bytes that come in pieces, and says what came out in a form that can be compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from proxy.wire.errors import ProtocolError
from proxy.wire.h1 import BODY, END, HEAD, MARK, NEED, H1Reader, Head, Names

HEAD_SIZE = 4096
FIELDS = 20
NO_NAMES = Names(frozenset())

# Compiled classes have no __slots__.
_ATTRIBUTES: tuple[str, ...] = tuple(
    getattr(Head, "__mypyc_attrs__", None) or [*Head.__annotations__, "raw", "hits"]
)
assert "framing" in _ATTRIBUTES


@dataclass
class Message:
    """One message as it was delivered; neighbouring pieces are joined."""

    head: Head
    body: bytes = b""
    trailers: bytes = b""
    content: int = 0
    marks: list[int] = field(default_factory=list)  # content bytes before each MARK
    ended: bool = False


@dataclass
class Outcome:
    """All that a reader made of its input."""

    messages: list[Message]
    error: tuple[int, str] | None = None
    buffered: int = 0
    idle: bool = True


def read(
    role: int,
    pieces: list[bytes],
    *,
    raw: bool = False,
    eof: bool = False,
    to_head: bool = False,
    mark: int = -1,
    names: Names = NO_NAMES,
    at_once: bool = False,
    pulls: Sequence[int] = (),
) -> Outcome:
    """Feed the pieces, pull all events after each; ``at_once``: only after the last.

    ``pulls``: at most so many events after the first piece, the second and so on; all after the last.
    """
    reader = H1Reader(role, HEAD_SIZE, FIELDS)
    reader.names = names
    reader.expect(to_head)
    out = Outcome([])
    most = [0] * len(pieces) if at_once else list(pulls)
    try:
        for number, piece in enumerate(pieces):
            reader.feed(piece)
            _pull(reader, out, raw, mark, most[number] if number < len(most) else -1)
        if eof:
            reader.feed_eof()
        _pull(reader, out, raw, mark, -1)
    except ProtocolError as error:
        out.error = (error.status, error.kind)
    out.buffered = reader.buffered
    out.idle = reader.idle
    return out


def _pull(reader: H1Reader, out: Outcome, raw: bool, mark: int, most: int) -> None:
    while most and (event := reader.next()) != NEED:
        most -= 1
        if event == HEAD:
            out.messages.append(Message(reader.head))
            reader.body_as(raw)
            reader.mark(mark)
            continue
        message = out.messages[-1]
        assert not message.ended
        message.content = reader.content
        if event == BODY:
            assert reader.piece, "a piece is never empty"
            message.body += reader.piece
        elif event == MARK:
            message.marks.append(reader.content)
        else:
            assert event == END
            message.body += reader.piece
            message.trailers = reader.trailers
            message.ended = True


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at each byte."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def same(left: Outcome, right: Outcome) -> None:
    """Assert that two ways to read the same bytes made the same of them."""
    assert left.error == right.error
    assert len(left.messages) == len(right.messages)
    for one, other in zip(left.messages, right.messages, strict=True):
        assert shown(one.head) == shown(other.head)
        assert one.ended == other.ended
        if one.ended:
            assert (one.body, one.trailers, one.content) == (other.body, other.trailers, other.content)
            assert one.marks == other.marks


def shown(head: Head) -> dict[str, object]:
    """All that a head says, to be compared."""
    return {name: getattr(head, name) for name in _ATTRIBUTES}
