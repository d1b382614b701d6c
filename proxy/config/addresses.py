"""Addresses as people write them: ``host:port``, ``"[::1]:port"``, ``:port`` and ``unix:/path``."""

import ipaddress
import re
from typing import Final

from rules.params import ALONE, BadValue, Context, Param, Schema, show

BOTH: Final = "::"  # as a host to listen on: all addresses of both families
WILDCARDS: Final = ("0.0.0.0", BOTH)

# The address of an upstream whose connections go where each captured client has dialled, and the name of the
# one that is there without being configured.  Envoy's word for it, after the socket option that tells.
ORIGINAL_DST: Final = "original_dst"
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?")


class Address(Param[str]):
    """Where to listen (``listen``: port 0 picks a free one, no host means all interfaces) or to connect.

    Read to one canonical form: brackets around IPv6 only, ``:8080`` becomes ``0.0.0.0:8080``.
    """

    def __init__(self, listen: bool) -> None:
        self.listen = listen
        forms = "host:port, [ipv6]:port, :port" if listen else "host:port, [ipv6]:port"
        self.human = f"an address ({forms} or unix:/path)"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read an address."""
        if type(value) is int and self.listen and 0 < value < 65536:
            raise BadValue(f'expected {self.human}, got {value}; write ":{value}" for all interfaces')
        if not isinstance(value, str) or not value:
            raise self.wrong(value)
        if value.startswith("unix:"):
            return self._unix(value)
        if "://" in value:
            raise BadValue(f"expected {self.human} without a scheme, got {show(value)}")
        host, colon, port = value.rpartition(":")
        if not colon or not port:
            raise BadValue(f"{show(value)} has no port; expected {self.human}")
        return f"{self._host(host, value)}:{self._port(port, value)}"

    def _unix(self, value: str) -> str:
        path = value.removeprefix("unix:")
        if not path.startswith("/"):
            raise BadValue(f"expected unix: with an absolute path, got {show(value)}")
        if len(path.encode()) > 107:  # sun_path of unix(7) has 108 bytes, one of them the end
            raise BadValue("the path of a unix socket has at most 107 bytes")
        return value

    def _port(self, port: str, value: str) -> int:
        low = 0 if self.listen else 1
        if not port.isascii() or not port.isdigit() or not low <= int(port[:9]) <= 65535:
            raise BadValue(f'a port is a number from {low} to 65535, got "{port}" in {show(value)}')
        return int(port)

    def _host(self, host: str, value: str) -> str:
        if not host:
            if self.listen:
                return "0.0.0.0"
            raise BadValue(f"{show(value)} has no host; expected {self.human}")
        if host.startswith("[") and host.endswith("]"):
            try:
                return f"[{ipaddress.IPv6Address(host[1:-1])}]"
            except ValueError:
                raise BadValue(f"{show(host)} is not an IPv6 address") from None
        if ":" in host:
            raise BadValue(f"an IPv6 address stands in brackets: [{host}]:port, got {show(value)}")
        if host.replace(".", "").isdigit():
            try:
                return str(ipaddress.IPv4Address(host))
            except ValueError:
                raise BadValue(f"{show(host)} is not an IPv4 address") from None
        if _NAME.fullmatch(host) is None:
            raise BadValue(f"{show(host)} is neither an IP address nor a host name")
        return host

    def schema(self) -> Schema:
        """Describe it."""
        host = "" if not self.listen else "?"
        pattern = rf"^(unix:/.+|(\[[0-9a-fA-F:.%]+\]|[^:/\[\]]+){host}:[0-9]{{1,5}})$"
        return {"type": "string", "pattern": pattern, "description": self.human}


class UpstreamAddress(Address):
    """Where to connect: an address, or the word for the one that each captured client has dialled."""

    def __init__(self) -> None:
        super().__init__(listen=False)

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read an address."""
        return ORIGINAL_DST if value == ORIGINAL_DST else super().parse(value, context)

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [super().schema(), {"const": ORIGINAL_DST}]}


class PortRange(Param[tuple[int, int]]):
    """A port, or a range of them such as 8000-8010; read as first and last."""

    human = "a port such as 443, or a range such as 8000-8010"

    def parse(self, value: object, context: Context = ALONE) -> tuple[int, int]:
        """Read a port or a range."""
        text = str(value) if type(value) is int else value
        found = _PORTS.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise self.wrong(value)
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= 65535 or not 1 <= last <= 65535:
            raise BadValue(f"a port is a number from 1 to 65535, got {show(value)}")
        if first > last:
            raise BadValue(f"{show(value)} ends before it begins")
        return first, last

    def schema(self) -> Schema:
        """Describe it."""
        number = {"type": "integer", "minimum": 1, "maximum": 65535}
        return {"anyOf": [number, {"type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"}]}


class ResolverAddress(Param[str]):
    """Who looks names up: ``system``, or the IP address of a resolver with or without its port (53).

    Read to ``system`` or the canonical ``address:port``.
    """

    human = "system, or the IP address of a resolver such as 10.0.0.2, 10.0.0.2:5353 or [::1]:53"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read one."""
        if not isinstance(value, str) or not value:
            raise self.wrong(value)
        if value == "system":
            return value
        try:
            return f"[{ipaddress.IPv6Address(value.strip('[]'))}]:53"
        except ValueError:
            pass
        found = Address(listen=False).parse(value if ":" in value else f"{value}:53")
        if not is_address(split_address(found)[0]):
            raise self.wrong(value)
        return found

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": r"^(system|[0-9.]+(:[0-9]+)?|[0-9a-fA-F:.]+|\[[0-9a-fA-F:.]+\](:[0-9]+)?)$",
        }


def is_address(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def split_address(address: str) -> tuple[str, int]:
    """Give host (without brackets) and port of a canonical address; a unix socket's path and -1."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:"), -1
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it; a unix socket is guarded by the rights of its file."""
    host, port = split_address(address)
    if port == -1 or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may point anywhere


def collide(one: str, other: str) -> bool:
    """Whether two canonical addresses to listen on cannot both be had."""
    if one == other:
        return not one.endswith(":0")
    host, port = split_address(one)
    other_host, other_port = split_address(other)
    if port != other_port or port < 1:
        return False
    return host in WILDCARDS or other_host in WILDCARDS
