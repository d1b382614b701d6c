"""What the facts hold inside: query parameters, cookies, addresses.

All of it comes from strangers, so that every reader here is bounded and total: what cannot
be read is absent.
"""

import ipaddress
from typing import Final

MOST_PARAMETERS: Final = 256  # of a query that are looked at; those behind are as if absent
MOST_COOKIES: Final = 256
MOST_ADDRESSES: Final = 4096  # remembered; the memory starts anew when it is full
NO_ADDRESS: Final = -1
IPV4: Final = 0xFFFF << 32  # ::ffff:0:0/96, where IPv4 lives in IPv6 (RFC 4291, 2.5.5.2)

_HEX: Final[dict[bytes, bytes]] = {
    (a + b).encode(): bytes([int(a + b, 16)])
    for a in "0123456789abcdefABCDEF"
    for b in "0123456789abcdefABCDEF"
}
_addresses: dict[str, int] = {}


def decode(value: bytes) -> bytes:
    """Decode the percent-encoding of a query's name or value; ``+`` is a space, bad escapes stay."""
    if b"+" in value:
        value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    pieces = value.split(b"%")
    out = [pieces[0]]
    for piece in pieces[1:]:
        byte = _HEX.get(piece[:2])
        out.append(b"%" + piece if byte is None else byte + piece[2:])
    return b"".join(out)


def query_values(query: bytes, name: bytes) -> list[bytes]:
    """Collect the decoded values of the parameter ``name`` (given decoded), in order."""
    found: list[bytes] = []
    pieces = query.split(b"&", MOST_PARAMETERS)
    if len(pieces) > MOST_PARAMETERS:
        pieces.pop()
    for piece in pieces:
        key, _, value = piece.partition(b"=")
        if (key == name or decode(key) == name) and piece:
            found.append(decode(value))
    return found


def cookie_value(fields: list[bytes] | None, name: bytes) -> bytes:
    """Find the first cookie of that name in ``cookie`` fields (RFC 6265, 4.2.1); b"" if there is none."""
    if fields is None:
        return b""
    for field in fields:
        for pair in field.split(b";", MOST_COOKIES)[:MOST_COOKIES]:
            key, _, value = pair.partition(b"=")
            if key.strip() == name:
                return value.strip()
    return b""


def grpc_names(path: bytes) -> tuple[bytes, bytes] | None:
    """Split ``/package.Service/Method`` in service and method; None if the path has another shape."""
    pieces = path.split(b"/")
    if len(pieces) != 3 or pieces[0] or not pieces[1] or not pieces[2]:
        return None
    return pieces[1], pieces[2]


def address(text: str) -> int:
    """Read an IP address as a number in IPv6's space (IPv4 as IPv4-mapped); ``NO_ADDRESS`` if it is none.

    The same few peers come again and again: their numbers are remembered.
    """
    known = _addresses.get(text)
    if known is not None:
        return known
    number = _read_address(text.partition("%")[0])
    if len(_addresses) >= MOST_ADDRESSES:
        _addresses.clear()
    _addresses[text] = number
    return number


def _read_address(text: str) -> int:
    try:
        read = ipaddress.ip_address(text)
    except ValueError:
        return NO_ADDRESS
    number = int(read)
    return number | IPV4 if read.version == 4 else number


class Network:
    """An address range in CIDR form, IPv4 also where it comes mapped into IPv6."""

    __slots__ = ("_is_ipv4", "_prefix", "_shift", "text")

    def __init__(self, text: str) -> None:
        """Read ``10.0.0.0/8`` or ``::1/128``; ValueError if it is neither."""
        network = ipaddress.ip_network(text, strict=False)
        bits = network.prefixlen
        number = int(network.network_address)
        if network.version == 4:
            bits += 96
            number |= IPV4
        self.text: str = text
        self._shift: int = 128 - bits
        self._prefix: int = number >> self._shift
        # ::/0 says "all of IPv6" and does not reach IPv4 clients, whichever way their address is written.
        self._is_ipv4: bool = bits >= 96 and (number >> 32) == 0xFFFF

    def holds(self, number: int) -> bool:
        """Say whether the address (as ``address`` gives it) lies within."""
        if number < 0 or (number >> self._shift) != self._prefix:
            return False
        return self._is_ipv4 == ((number >> 32) == 0xFFFF)
