"""hpack: header blocks that cannot be decoded."""

from tests.conformance.cases import case
from tests.conformance.peer import Peer, usual


def _undecodable(number: str, name: str, before: bytes = b"", after: bytes = b"") -> None:
    """Add the case that a request with these bytes around its block ends the connection."""

    @case(f"hpack/{number}", name)
    def run(peer: Peer) -> None:
        peer.headers(before + peer.encode(usual()) + after)
        peer.wants_connection_error("COMPRESSION_ERROR")


_undecodable("2.3.3/1", "Sends a header field representation with invalid index", after=b"\xc6")
_undecodable("4.2/1", "Sends a dynamic table size update at the end of header block", after=b"\x21")
_undecodable(
    "5.2/1",
    "Sends a Huffman-encoded string literal representation with padding longer than 7 bits",
    after=bytes.fromhex("0085f2b24a84ff8449509fff"),
)
_undecodable(
    "5.2/2",
    "Sends a Huffman-encoded string literal representation padded by zero",
    after=bytes.fromhex("0085f2b24a84ff83495090"),
)
_undecodable(
    "5.2/3",
    "Sends a Huffman-encoded string literal representation containing the EOS symbol",
    after=bytes.fromhex("0085f2b24a87fffffffd25427f"),
)
_undecodable("6.1/1", "Sends a indexed header field representation with index 0", after=b"\x80")
# 4097, in five bits and a continuation
_undecodable(
    "6.3/1",
    "Sends a dynamic table size update larger than the value of SETTINGS_HEADER_TABLE_SIZE",
    before=b"\x3f\xe2\x1f",
)
