"""The certificates of a server that renews them itself, together with the roots that its clients trust.

A generation is a root, a leaf under it and the leaf's key; the keys of root and intermediate are thrown away
as soon as the leaf is signed, so that whoever reads a generation can pretend to be this server and no other.

At two thirds of a leaf's life another generation is made.  Its root is in the bundle at once, but it is
shown only from ``begin`` on, when all clients have the bundle and all replicas the leaf; and the old root
stays in the bundle until the old leaf expires.  So no client ever meets a certificate that it cannot verify,
as long as it learns of a bundle within ``settling``.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from certs.authority import Authority
from certs.errors import CertError
from certs.issuer import DAY
from certs.mint import mint

LIFE: Final = 90 * DAY
SHORTEST: Final = 1.0  # seconds
_RENEWED: Final = 2 / 3  # of a life
_SETTLING: Final = 0.1  # of a life ...
_SETTLED: Final = 600.0  # ... but so many seconds at most
_MOST: Final = 4  # generations that are kept, should the clock jump

_TEXTS: Final = ("name", "root", "chain", "key")
_TIMES: Final = ("made", "begin", "renew", "end")


class Generation:
    """One root with its leaf: PEM, and seconds of the epoch."""

    __slots__ = (*_TEXTS, *_TIMES)

    def __init__(
        self, name: str, root: str, chain: str, key: str, made: float, begin: float, renew: float, end: float
    ) -> None:
        self.name = name
        self.root = root
        self.chain = chain
        self.key = key
        self.made = made
        self.begin = begin
        self.renew = renew
        self.end = end


def settling(life: float) -> float:
    """Give the seconds in which a new bundle has come to all clients."""
    return min(_SETTLED, life * _SETTLING)


def make(name: str, now: float, life: float = LIFE, begin: float = 0.0) -> Generation:
    """Make a generation for a host name that is shown from ``begin`` on.  Raises CertError."""
    if life < SHORTEST:
        raise CertError(f"a certificate lives for {SHORTEST:g} s at least, not {life:g}")
    authority = Authority.create(None)
    leaf = mint(authority, name, now=now, life=life)
    return Generation(
        leaf.name,
        authority.root_pem.decode("ascii"),
        leaf.chain_pem.decode("ascii"),
        leaf.key_pem.decode("ascii"),
        now,
        begin or now,
        now + life * _RENEWED,
        leaf.not_after,
    )


def advance(
    generations: Sequence[Generation], name: str, now: float, life: float = LIFE
) -> list[Generation] | None:
    """Give the generations as they should be now, oldest first; None where they are so already."""
    kept = [one for one in generations if one.end > now and one.name == name][-_MOST:]
    if not kept:
        return [make(name, now, life)]
    if kept[-1].renew <= now:
        return [*kept, make(name, now, life, now + settling(life))]
    return kept if len(kept) < len(generations) else None


def serving(generations: Sequence[Generation], now: float) -> Generation:
    """Give the one that is shown now: the newest that has begun, or the oldest where none has."""
    return next((one for one in reversed(generations) if one.begin <= now), generations[0])


def bundle(generations: Sequence[Generation]) -> str:
    """Give what clients are to trust: the root of each generation."""
    return "".join(one.root for one in generations)


def dump(generations: Sequence[Generation]) -> str:
    """Write generations, with their keys."""
    return json.dumps([{key: getattr(one, key) for key in Generation.__slots__} for one in generations])


def load(text: str) -> list[Generation]:
    """Read what ``dump`` wrote.  Raises CertError."""
    try:
        found: Any = json.loads(text)
        return [
            Generation(
                *(_of(one, key, str) for key in _TEXTS),
                *(float(_of(one, key, (int, float))) for key in _TIMES),
            )
            for one in found
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CertError(f"these are no generations of certificates: {error!r}") from None


def _of(record: Any, key: str, kind: Any) -> Any:
    value = record[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {type(value).__name__}")
    return value
