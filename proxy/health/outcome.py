"""What one check may see.  The kinds are labels of the metrics, the text is for people."""

from dataclasses import dataclass
from typing import Final

PASSED: Final = "passed"
FAILED: Final = "failed"  # it answered, but not that it is well
TIMEOUT: Final = "timeout"  # no connection, or no whole answer, in time
UNREACHABLE: Final = "unreachable"  # no connection, or one that ended before the answer
UNIMPLEMENTED: Final = "unimplemented"  # a gRPC server without the health service: taken as well

LONGEST_TEXT: Final = 200  # characters: an upstream may have chosen the words

KINDS: Final = (PASSED, FAILED, TIMEOUT, UNREACHABLE, UNIMPLEMENTED)


@dataclass(frozen=True)
class Outcome:
    """What a check saw."""

    kind: str
    text: str

    @property
    def well(self) -> bool:
        """Whether it speaks for the address."""
        return self.kind in (PASSED, UNIMPLEMENTED)
