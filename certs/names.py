"""The names that certificates are for: host names, IP addresses and the URIs of workloads."""

import ipaddress
import re
from typing import Final

import idna
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.errors import CertError

LONGEST: Final = 253  # RFC 1035, 2.3.4, as text without the last dot
COMMON_NAME: Final = 64  # ub-common-name, RFC 5280 appendix A.1

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.{_LABEL}\.)?{_LABEL}(?:\.{_LABEL})*")
_NUMBERS: Final = re.compile(r"[0-9.]+")
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+")


def canonical(name: str) -> str:
    """Give a name as certificates carry it: lower case, without the last dot, IDNA 2008 in A-labels.

    IP addresses come in their short form, with or without brackets.  A wildcard stands alone in the
    first label, with at least two labels behind it, as clients take it (RFC 6125, 6.4.3).  A URI
    (``spiffe://…``) names a client.  Raises CertError.
    """
    if len(name) <= LONGEST and _HOST.fullmatch(name) and not _NUMBERS.fullmatch(name):
        return name
    if _URI.fullmatch(name):
        return name
    address = as_address(name)
    if address is not None:
        return str(address)
    lowered = _to_ascii(name.lower().removesuffix("."))
    if len(lowered) > LONGEST or not _HOST.fullmatch(lowered) or _NUMBERS.fullmatch(lowered):
        raise CertError(f"{name!r} is neither a host name (also *.example.com) nor an IP address")
    return lowered


def as_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP literal; None if it is none."""
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name
    star, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return star + idna.encode(rest, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise CertError(f"{name!r} is not a host name: {error}") from None


def general_name(name: str) -> x509.GeneralName:
    """Give a canonical name as an entry of subjectAltName (RFC 5280, 4.2.1.6)."""
    address = as_address(name)
    if address is not None:
        return x509.IPAddress(address)
    return x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)


def subject(common_name: str, *, insist: bool = False) -> x509.Name:
    """Give a subject with a common name; an empty one where it is too long; its end if we ``insist``."""
    if len(common_name) > COMMON_NAME:
        if not insist:
            return x509.Name([])
        common_name = common_name[-COMMON_NAME:].lstrip("-.")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
