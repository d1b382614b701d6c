"""Parameters that only gRPC has: which message, how a call ends, a time by its deadline."""

from typing import Final

from rules.http_params import GRPC_CODES, GrpcStatus
from rules.params import ALONE, BadValue, Context, Duration, Param, Schema, show

MOST_MESSAGES: Final = 1_000_000_000
GARBLED: Final = b"fourteen"  # a status is a number


class Which(Param[int]):
    """The number of a message, from 1, or each of them; read as the number, 0 for each."""

    human = f"the number of a message from 1 to {MOST_MESSAGES}, or each"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a number, or the word."""
        if value == "each":
            return 0
        if type(value) is int and 1 <= value <= MOST_MESSAGES:
            return value
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [{"enum": ["each"]}, {"type": "integer", "minimum": 1, "maximum": MOST_MESSAGES}]}


class EndStatus(Param[bytes]):
    """How a call ends: a status, or none, or one that cannot be read; read as it is sent, b"" for none."""

    human = "a gRPC status such as UNAVAILABLE, missing or garbled"

    def parse(self, value: object, context: Context = ALONE) -> bytes:
        """Read a status, or one of the words."""
        if value == "missing":
            return b""
        if value == "garbled":
            return GARBLED
        try:
            return b"%d" % GrpcStatus().parse(value)
        except BadValue as bad:
            if isinstance(value, str) and "did you mean" in str(bad):
                raise
            raise BadValue(f"expected {self.human}, got {show(value)}") from None

    def schema(self) -> Schema:
        """Describe it."""
        names = ["missing", "garbled", *GRPC_CODES]
        return {"anyOf": [{"enum": names}, {"type": "integer", "minimum": 0, "maximum": len(GRPC_CODES) - 1}]}


class SignedDuration(Param[float]):
    """A time before (``-50ms``) or after a moment; read as seconds."""

    human = "a duration such as -50ms or 100ms"

    def parse(self, value: object, context: Context = ALONE) -> float:
        """Read a duration with its sign as seconds."""
        if isinstance(value, str) and value.startswith("-"):
            return -Duration().parse(value[1:], context)
        return Duration().parse(value, context)

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h)$",
            "description": self.human,
        }
