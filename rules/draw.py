"""Seeded, counter-based draws: the same seed and the same order give the same verdicts.

Every number comes from a keyed hash (BLAKE2b, RFC 7693) of what it is drawn for.  There is
no generator to share or to advance: a verdict depends on nothing but the seed, the rule's name,
the fault's place and the ordinal or sticky key, in every process alike.
"""

from hashlib import blake2b
from typing import Final

from mypy_extensions import mypyc_attr

MILLION: Final = 1_000_000
LONGEST_KEY: Final = 64  # of BLAKE2b, in bytes
BLOCK: Final = 32  # bytes hashed at once for a stream of dice: four numbers
WORD: Final = 8


@mypyc_attr(allow_interpreted_subclasses=True)
class Dice:
    """The dice of one fault in one exchange.

    ``uniform`` gives the next number of a stream that only this fault (its rule's name and
    seed, its place in the rule, and the ordinal or sticky key of the exchange) determines.
    ``memory`` outlives the exchange: it belongs to the fault as long as its rule's state is kept.
    """

    def __init__(self, memory: list[float]) -> None:
        self.memory: list[float] = memory

    def uniform(self) -> float:
        """Draw a float strictly between 0 and 1."""
        raise NotImplementedError


class HashDice(Dice):
    """Dice whose stream is the hash of a message and a counter."""

    __slots__ = ("_at", "_block", "_blocks", "_key", "_message")

    def __init__(self, key: bytes, message: bytes, memory: list[float]) -> None:
        super().__init__(memory)
        self._key: bytes = key
        self._message: bytes = message
        self._block: bytes = b""
        self._blocks: int = 0
        self._at: int = 0

    def uniform(self) -> float:
        """Draw a float strictly between 0 and 1, from 52 bits of the stream."""
        if self._at == len(self._block):
            message = self._message + b"/%d" % self._blocks
            self._block = blake2b(message, digest_size=BLOCK, key=self._key).digest()
            self._blocks += 1
            self._at = 0
        word = int.from_bytes(self._block[self._at : self._at + WORD], "big")
        self._at += WORD
        # 52 bits and a half: both ends stay out of reach, and every value is exact in a double.
        return ((word >> 12) + 0.5) * 2.0**-52


class Draws:
    """The draws of one drawer: a rule as a whole (number -1) or one of its faults (its place)."""

    __slots__ = ("_dice", "_key", "_verdict")

    def __init__(self, seed: str, rule: str, number: int) -> None:
        key = seed.encode()
        if len(key) > LONGEST_KEY:
            key = blake2b(key).digest()
        self._key: bytes = key
        # Rule names hold no NUL, so that no two drawers share a message.
        who = b"%b\0%d\0" % (rule.encode(), number)
        self._verdict: bytes = b"verdict\0" + who
        self._dice: bytes = b"dice\0" + who

    def millionth(self, unit: bytes) -> int:
        """Draw the number, 0 to 999,999, that a percentage in millionths must exceed for ``unit`` to be hit.

        One number per unit whatever the percentage: raising it keeps all that were hit.
        """
        digest = blake2b(self._verdict + unit, digest_size=WORD, key=self._key).digest()
        return (int.from_bytes(digest, "big") * MILLION) >> 64

    def dice(self, unit: bytes, memory: list[float]) -> HashDice:
        """Give the dice with which the fault decides about ``unit``."""
        return HashDice(self._key, self._dice + unit, memory)
