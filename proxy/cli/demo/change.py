"""The rules change while clients keep sending: what they saw, and how long it took."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.cli.demo.stage import Interrupted, Stage
from proxy.cli.demo.story import EDITED, NEW, OLD

CALLERS: Final = 4
STEADY: Final = 100  # answers before the change, and so many after it
PATIENCE: Final = 5.0  # seconds; a file's change is in force within one
PAUSE: Final = 0.002  # between two requests of one client


@dataclass
class Change:
    """What all clients together saw."""

    answers: Counter[str] = field(default_factory=Counter)  # what was seen -> how often
    first_new: float = 0.0  # seconds from the replacement of the file to the first answer by the new rules
    last_old: float = 0.0  # ... to the last answer by the old ones
    wrong: str = ""


class Caller(threading.Thread):
    """One client that keeps sending; ``seen`` has what each answer was, and when it came."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="caller", daemon=True)
        self.seen: list[tuple[str, float]] = []
        self.done = threading.Event()
        self._client = stage.client()

    def run(self) -> None:
        """Send until told otherwise."""
        while not self.done.wait(PAUSE):
            saw = self._client.request("GET", "/orders")
            self.seen.append((saw.trouble or str(saw.status), time.perf_counter()))
        self._client.close()


def change_under_way(stage: Stage) -> Change:
    """Let clients send, replace the rules file in the middle, and see what they see."""
    callers = [Caller(stage) for _ in range(CALLERS)]
    try:
        for caller in callers:
            caller.start()
        _wait(stage, lambda: _count(callers, OLD) >= STEADY, f"{STEADY} answers by the old rules")
        moment = stage.write(EDITED)
        _wait(stage, lambda: _count(callers, NEW) >= STEADY, f"{STEADY} answers by the new rules")
    except TimeoutError as error:
        return Change(wrong=str(error))
    finally:
        for caller in callers:
            caller.done.set()
        for caller in callers:
            caller.join()
    return judge([caller.seen for caller in callers], moment)


def _count(callers: list[Caller], what: str) -> int:
    return sum(answer == what for caller in callers for answer, _ in caller.seen)


def _wait(stage: Stage, done: Callable[[], bool], what: str) -> None:
    """Wait for clients to have seen something; raises TimeoutError, or Interrupted."""
    deadline = time.perf_counter() + PATIENCE
    while not done():
        if stage.stopping.wait(PAUSE):
            raise Interrupted
        if time.perf_counter() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s for {what}")


def judge(callers: list[list[tuple[str, float]]], moment: float) -> Change:
    """Sum up what clients saw; each must have seen the old rules, then the new ones, and nothing else."""
    change = Change(Counter(answer for seen in callers for answer, _ in seen))
    change.first_new = min(when for seen in callers for answer, when in seen if answer == NEW) - moment
    change.last_old = max(when for seen in callers for answer, when in seen if answer == OLD) - moment
    strange = {answer: count for answer, count in change.answers.items() if answer not in (OLD, NEW)}
    if strange:
        change.wrong = f"clients saw {strange} beside {OLD} and {NEW}"
    elif any(_goes_back([answer for answer, _ in seen]) for seen in callers):
        change.wrong = "a client saw the old rules after the new ones"
    return change


def _goes_back(answers: list[str]) -> bool:
    return NEW in answers and OLD in answers[answers.index(NEW) :]
