"""Parameters of look-ups: addresses, times to live, types of records."""

from ipaddress import ip_address
from typing import Final

from rules.params import ALONE, BadValue, Context, Integer, Param, Schema, show

# The greatest TTL there is (RFC 2181, section 8).
MOST: Final = 2**31 - 1

# Types of records that people name (RFC 1035 and later); any other goes by its number, as RFC 3597 writes it.
TYPES: Final = (
    "A", "AAAA", "ANY", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV",
    "SVCB", "TLSA", "TXT",
)  # fmt: skip


class AddressOf(Param[str]):
    """An IP address, read in canonical form."""

    human = "an IP address such as 192.0.2.1 or 2001:db8::1"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read an address."""
        try:
            return str(ip_address(value)) if isinstance(value, str) else self._none(value)
        except ValueError:
            return self._none(value)

    def _none(self, value: object) -> str:
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it loosely: ``parse`` has the last word."""
        return {"type": "string", "pattern": "^[0-9a-fA-F:.]+$"}


class TimeToLive(Integer):
    """Seconds as DNS counts them: a bare number, for that is how zones write it."""

    def __init__(self) -> None:
        super().__init__(0, MOST)
        self.human = f"a TTL: seconds as a whole number from 0 to {MOST}"


class RecordType(Param[str]):
    """The type of a record by its name, in whatever case, or as TYPE65280."""

    human = f"a type of record ({', '.join(TYPES)}), or its number such as TYPE65280"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a type."""
        if not isinstance(value, str):
            raise self.wrong(value)
        name = value.upper()
        if name in TYPES:
            return name
        number = name.removeprefix("TYPE")
        if not name.startswith("TYPE") or not number.isdecimal() or int(number[:6]) > 65535:
            raise BadValue(f"expected {self.human}, got {show(value)}")
        return name

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": "^([A-Za-z]+|[Tt][Yy][Pp][Ee][0-9]{1,5})$"}
