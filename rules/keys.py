"""What the key of a state is that a rule keeps: one for the rule, or one for each value of something."""

from hashlib import blake2b
from typing import Final

from rules.facts import Facts

LONGEST_KEY: Final = 128  # bytes of a header's value; of longer ones the rest is hashed


class KeyPlace:
    """Where the key stands: ``rule``, ``upstream``, ``route``, ``source`` or ``header:NAME``."""

    __slots__ = ("header", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.header: bytes = b""  # the request header that it is, lower-case
        if text.startswith("header:"):
            self.header = text.removeprefix("header:").encode()

    def find(self, facts: Facts) -> bytes | None:
        """Find the key; None where there is none, since the header is absent or empty."""
        if self.header:
            found = facts.headers.get(self.header)
            if not found or not found[0]:
                return None
            key = found[0]
            if len(key) > LONGEST_KEY:  # what clients send is not kept whole
                key = key[:LONGEST_KEY] + b"#" + blake2b(key, digest_size=16).hexdigest().encode()
            return key
        if self.text == "upstream":
            return facts.upstream.encode()
        if self.text == "route":
            return f"{facts.listener}/{facts.upstream}".encode()
        if self.text == "source":
            return facts.source.encode()
        return b""
