"""Decodes the Huffman code of header strings (RFC 7541, section 5.2 and appendix B).

A state is a node of the code's tree, the root is state 0; there are 256.  No code is shorter than five bits,
so four bits complete at most one symbol, and a byte at most two.  Two bodies, one result: the compiled build
takes half a byte a step through two flat tables; the interpreted one takes a byte a step through rows that
are made when they are first needed.  A differential test holds the two to each other.

Strings that came before are remembered, since the same few come again and again.
"""

from typing import Any, Final

from mypy_extensions import i64, u8

from proxy.wire.h2_errors import h2_error
from proxy.wire.hpack_tables import END_OF_STRING, HUFFMAN

NATIVE: Final = not __file__.endswith(".py")
try:
    from librt.strings import BytesWriter
except ImportError:  # only the body for the compiled build writes with it
    pass

_NOTHING: Final = 0  # what a step says besides the next state: no symbol was completed,
_SYMBOL: Final = 1  # one was,
_WRONG: Final = 2  # or the bits belong to no symbol (EOS, or longer padding than it may be)

_KEPT: Final = 4096  # strings, of at most
_KEPT_SIZE: Final = 128  # bytes
_strings: Final[dict[bytes, bytes]] = {}


def _tree() -> list[list[int]]:
    """Make the tree: for each inner node what 0 and 1 lead to, a node or -1 - symbol."""
    nodes: list[list[int]] = [[0, 0]]
    for symbol, (code, length) in enumerate(HUFFMAN):
        at = 0
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if nodes[at][bit] == 0:
                nodes.append([0, 0])
                nodes[at][bit] = len(nodes) - 1
            at = nodes[at][bit]
        nodes[at][code & 1] = -1 - symbol
    return nodes


def _steps() -> tuple[bytes, bytes, bytes]:
    """Make the tables of half a byte, by state * 16 + bits: next state, what the step says, symbol."""
    nodes = _tree()
    following, said, symbols = bytearray(), bytearray(), bytearray()
    for state in range(len(nodes)):
        for bits in range(16):
            at, verdict, symbol = state, _NOTHING, 0
            for shift in (3, 2, 1, 0):
                at = nodes[at][bits >> shift & 1]
                if at < 0:
                    verdict = _WRONG if at == -1 - END_OF_STRING else _SYMBOL
                    symbol, at = (-1 - at) & 255, 0
                    if verdict == _WRONG:
                        break
            following.append(at)
            said.append(verdict)
            symbols.append(symbol)
    return bytes(following), bytes(said), bytes(symbols)


def _accepting() -> bytes:
    """Say for each state whether a string may end there: after at most seven bits, all 1 (section 5.2)."""
    nodes = _tree()
    table = bytearray(len(nodes))
    at = 0
    for _ in range(8):
        table[at] = 1
        at = nodes[at][1]
    return bytes(table)


_STEPS: Final = _steps()
_FOLLOWING: Final[bytes] = _STEPS[0]
_VERDICTS: Final[bytes] = _STEPS[1]
_LETTERS: Final[bytes] = _STEPS[2]
_ENDS: Final[bytes] = _accepting()


# What each byte does in a state: the row of the next state, and the symbols that it completes.  Steps that
# nobody needed yet are missing (None).  Behind the 256 steps a row says whether a string may end there.
_MAY_END: Final = 256
_rows: Final[list[list[Any]]] = [[*([None] * 256), _ENDS[state]] for state in range(len(_ENDS))]


def decode(coded: bytes) -> bytes:
    """Decode a string; raises H2Error."""
    known = _strings.get(coded)
    if known is not None:
        return known
    text = decode_new(coded)
    if len(coded) <= _KEPT_SIZE:
        if len(_strings) >= _KEPT:
            _strings.clear()
        _strings[coded] = text
    return text


def decode_new(coded: bytes) -> bytes:
    """Decode a string that is not worth remembering; raises H2Error."""
    return decode_by_nibble(coded) if NATIVE else decode_by_byte(coded)


def decode_by_nibble(coded: bytes) -> bytes:
    """Decode a string four bits a step: the body for the compiled build, which alone has the writer."""
    out = BytesWriter()
    state: i64 = 0
    i: i64 = 0
    n: i64 = len(coded)
    while i < n:
        byte: i64 = coded[i]
        i += 1
        at: i64 = (state << 4) | (byte >> 4)
        for _ in range(2):
            said: i64 = _VERDICTS[at]
            if said != _NOTHING:
                if said == _WRONG:
                    raise h2_error("bad_compression", "a Huffman string holds no symbol")
                out.append(u8(_LETTERS[at]))
            state = _FOLLOWING[at]
            at = (state << 4) | (byte & 15)
    if not _ENDS[state]:
        raise h2_error("bad_compression", "a Huffman string is padded wrongly")
    return out.getvalue()


def decode_by_byte(coded: bytes) -> bytes:
    """Decode a string eight bits a step: the body for the interpreted build."""
    parts: list[bytes] = []
    row = _rows[0]
    try:
        for byte in coded:
            row, symbols = row[byte]
            parts.append(symbols)
    except TypeError:  # a step that is missing
        _learn(coded)
        return decode_by_byte(coded)
    if not row[_MAY_END]:
        raise h2_error("bad_compression", "a Huffman string is padded wrongly")
    return b"".join(parts)


def _learn(coded: bytes) -> None:
    """Fill in the steps that a string takes; raises H2Error where there is none."""
    state = 0
    for byte in coded:
        after, symbols = _two_steps(state, byte)
        _rows[state][byte] = (_rows[after], symbols)
        state = after


def _two_steps(state: int, byte: int) -> tuple[int, bytes]:
    """Give the state behind a byte, and the symbols that it completes; raises H2Error."""
    symbols = b""
    for bits in (byte >> 4, byte & 15):
        at = state << 4 | bits
        if _VERDICTS[at] == _WRONG:
            raise h2_error("bad_compression", "a Huffman string holds no symbol")
        if _VERDICTS[at] == _SYMBOL:
            symbols += _LETTERS[at : at + 1]
        state = _FOLLOWING[at]
    return state, symbols
