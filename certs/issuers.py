"""Which issuer signs a leaf of a flavour, and what a server sends behind that leaf."""

import ipaddress
from typing import Final

from cryptography import x509

from certs.issuer import DAY, Issuer, make_issuing, make_root

# The only names that the constrained intermediate may sign: nobody connects to any of them.
PERMITTED: Final = "permitted.invalid"
_CONSTRAINTS: Final = x509.NameConstraints(
    permitted_subtrees=[
        x509.DNSName(PERMITTED),
        x509.IPAddress(ipaddress.ip_network("255.255.255.255/32")),
        x509.IPAddress(ipaddress.ip_network("100::1/128")),  # RFC 6666: what is sent there is thrown away
    ],
    excluded_subtrees=None,
)


class Chain:
    """An issuer, and the certificates that are sent behind its leaves (PEM)."""

    __slots__ = ("issuer", "sent")

    def __init__(self, issuer: Issuer, sent: bytes) -> None:
        self.issuer = issuer
        self.sent = sent


def chain_for(kind: str, root: Issuer, issuing: Issuer, now: float) -> Chain:
    """Make the chain of a flavour.

    A flawed intermediate has a key and a name of its own: a client that has met the sound one cannot mend the
    chain with it.  The untrusted root is sent along, as servers with such a chain do: without it a
    client could not tell it from an incomplete chain.
    """
    if kind == "untrusted_root":
        other_root = make_root(now, "untrusted root")
        other = make_issuing(other_root, now, "untrusted issuing")
        return Chain(other, other.pem + other_root.pem)
    if kind == "incomplete_chain":
        return Chain(make_issuing(root, now, "withheld issuing"), b"")
    if kind == "expired_intermediate":
        expired = make_issuing(root, now, "expired issuing", not_after=now - DAY)
        return Chain(expired, expired.pem)
    if kind == "name_constraint":
        constrained = make_issuing(root, now, "constrained issuing", constraints=_CONSTRAINTS)
        return Chain(constrained, constrained.pem)
    return Chain(issuing, issuing.pem)
