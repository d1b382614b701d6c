"""The defects that a certificate can be given: each exactly one, on a chain that is otherwise sound."""

from dataclasses import dataclass
from typing import Final

from certs.errors import CertError

KINDS: Final = (
    "expired",
    "not_yet_valid",
    "expires_in",
    "wrong_host",
    "self_signed",
    "untrusted_root",
    "incomplete_chain",
    "expired_intermediate",
    "revoked",
    "weak_key",
    "sha1",
    "no_san",
    "wrong_eku",
    "name_constraint",
)

# What OpenSSL loads only at security level 0 (SSL_CTX_set_security_level(3)).
WEAK: Final = frozenset({"weak_key", "sha1"})


@dataclass(frozen=True, slots=True)
class Flavour:
    """What is wrong with a certificate; ``kind`` "" is a sound one.

    ``expires_in`` is in seconds and belongs to the kind of that name.  Raises CertError for an unknown
    kind and for seconds that the kind does not take.
    """

    kind: str = ""
    expires_in: float = 0.0

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise CertError(f'there is no certificate flavour "{self.kind}"; there are {", ".join(KINDS)}')
        if self.kind == "expires_in" and not self.expires_in > 0:
            raise CertError(f"expires_in takes a time of more than 0 seconds, not {self.expires_in:g}")
        if self.kind != "expires_in" and self.expires_in:
            raise CertError(
                f"only the flavour expires_in takes seconds, not {self.kind or 'a sound certificate'}"
            )

    @property
    def weak(self) -> bool:
        """Whether a server shows it only at OpenSSL's security level 0."""
        return self.kind in WEAK


SOUND: Final = Flavour()
