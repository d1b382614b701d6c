"""What became of changes of the rules; whoever makes them counts here."""

from typing import Final

LAYERS: Final = ("file", "admin")
RESULTS: Final = ("success", "failure")


class Reloads:
    """Counts of attempts, and how the rule files stand.  Times are unix seconds."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, str], int] = {
            (layer, result): 0 for layer in LAYERS for result in RESULTS
        }
        self.last_good: bool = True  # the rule files are in force as they are
        self.last_good_time: float = 0.0  # 0: never
        self.unwritten: int = 0  # versions that could not be written to the state directory
        self.problems: list[str] = []  # why the rule files are not in force as they are

    def count(self, layer: str, good: bool) -> None:
        """Count one attempt."""
        self.results[layer, "success" if good else "failure"] += 1

    def files_good(self, now: float) -> None:
        """The rule files are in force."""
        self.last_good = True
        self.last_good_time = now
        self.problems = []

    def files_bad(self, problems: list[str]) -> None:
        """The rule files cannot come into force: the last good set stays."""
        self.last_good = False
        self.problems = problems
