"""How the values of annotations are written: strings all, read with the reasons that rules give."""

import ipaddress
import re
from decimal import Decimal
from typing import Final

from rules.params import ALONE, BadValue, Choice, Context, Param, Schema, Text, show

PROTOCOLS: Final = ("auto", "http", "http1", "http2", "tcp")
EVERY: Final = "*"

Mapping = tuple[int, int, str]  # port of the proxy, port of the application, protocol

BOOL: Final[Choice[bool]] = Choice({"true": True, "false": False})
CONFIG_MAP: Final = Text("the name of a ConfigMap", r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
IMAGE: Final = Text("an image such as registry.example/misrule:0.1.0", r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
# Kubernetes' grammar of quantities, without exponents and signs.
CPU: Final = Text("an amount of CPU such as 50m or 0.5", r"[0-9]{1,9}(\.[0-9]{1,3})?|[0-9]{1,9}m")
MEMORY: Final = Text(
    "an amount of memory such as 96Mi or 1Gi", r"[0-9]{1,15}|[0-9]{1,9}(\.[0-9]{1,3})?([kMGT]|[KMGT]i)"
)

_UNITS: Final = {
    "": Decimal(1), "m": Decimal("0.001"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30), "Ti": Decimal(1 << 40),
}  # fmt: skip


def quantity(text: str) -> Decimal:
    """Give the value of a quantity that was read before."""
    number = text.rstrip("kKMGTim")
    return Decimal(number) * _UNITS[text[len(number) :]]


def port(text: str) -> int:
    """Read the number of a port; raises BadValue."""
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536:
        return int(text)
    raise BadValue(f"a port is a number from 1 to 65535, got {show(text)}")


def parts(value: object) -> list[str]:
    """Split a list with commas; raises BadValue for what is no text."""
    if not isinstance(value, str):
        raise BadValue(f"expected a string, got {show(value)}")
    return [part for part in re.split(r"[,\s]+", value) if part]


class PortNumber(Param[int]):
    """The number of a port."""

    human = "a port from 1 to 65535"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a port."""
        return port(str(value))

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": "^[0-9]{1,5}$"}


class PortList(Param[tuple[str, ...]]):
    """Ports and ranges of them with commas between; ``every``: ``*`` stands for all, and is read as ()."""

    def __init__(self, every: bool) -> None:
        self.every = every
        self.human = "ports such as 8080,9000-9010" + (" or *" if every else "")

    def parse(self, value: object, context: Context = ALONE) -> tuple[str, ...]:
        """Read the ports, each once."""
        found = parts(value)
        if self.every and found == [EVERY]:
            return ()
        if not found:
            raise BadValue(f"expected {self.human}, got {show(value)}")
        return tuple(dict.fromkeys(map(self._range, found)))

    def _range(self, text: str) -> str:
        first, dash, last = text.partition("-")
        if dash and port(first) > port(last):
            raise BadValue(f"{show(text)} ends before it begins")
        return text if dash else str(port(text))

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string"}


class Networks(Param[tuple[str, ...]]):
    """Networks in CIDR form with commas between; a bare address stands for itself alone."""

    human = "networks such as 10.0.0.0/8,fd00::/8"

    def parse(self, value: object, context: Context = ALONE) -> tuple[str, ...]:
        """Read the networks, each once."""
        found = parts(value)
        if not found:
            raise BadValue(f"expected {self.human}, got {show(value)}")
        return tuple(dict.fromkeys(map(self._network, found)))

    def _network(self, text: str) -> str:
        try:
            return str(ipaddress.ip_network(text))
        except ValueError:
            pass
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise BadValue(f"expected {self.human}, got {show(text)}") from None
        raise BadValue(f"{show(text)} has bits beyond its prefix; did you mean {meant}?")

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string"}


class PortMappings(Param[tuple[Mapping, ...]]):
    """``8080:3000, 8443:3443/tcp``: where the proxy listens, where the application does, what is spoken."""

    human = "PROXY:APP such as 8080:3000, or 5432:15432/tcp"

    def parse(self, value: object, context: Context = ALONE) -> tuple[Mapping, ...]:
        """Read the mappings."""
        found = [self._mapping(part) for part in parts(value)]
        if not found:
            raise BadValue(f"expected {self.human}, got {show(value)}")
        taken = [listen for listen, _, _ in found]
        twice = next((one for number, one in enumerate(taken) if one in taken[:number]), 0)
        if twice:
            raise BadValue(f"port {twice} is given twice; the proxy can listen there once")
        behind = next((listen for listen in taken if listen in {app for _, app, _ in found}), 0)
        if behind:
            raise BadValue(
                f"port {behind} is the proxy's and the application's, and a pod has one network: "
                "let the application listen on another port"
            )
        return tuple(found)

    def _mapping(self, text: str) -> Mapping:
        ports, slash, protocol = text.partition("/")
        listen, colon, app = ports.partition(":")
        if not colon:
            raise BadValue(f"expected {self.human}, got {show(text)}")
        if slash and protocol not in PROTOCOLS:
            raise BadValue(f"expected one of {', '.join(PROTOCOLS)} behind the slash, got {show(protocol)}")
        return port(listen), port(app), protocol if slash else "auto"

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string"}


class User(Param[int | None]):
    """A numeric user, or ``none``: the platform chooses one (OpenShift)."""

    human = "a user number such as 1337, or none"

    def parse(self, value: object, context: Context = ALONE) -> int | None:
        """Read a user; root is none that a proxy should be."""
        if value == "none":
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and 0 < int(value[:11]) < 1 << 31:
            return int(value)
        raise BadValue(f"expected {self.human} (never 0), got {show(value)}")

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string"}
