"""Waiting for what happens in another process or thread, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_STEP = 0.005


def eventually(ask: Callable[[], T], seconds: float = 15.0, what: str = "") -> T:
    """Ask again and again until the answer is true; return it.  Fails the test after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or ask} (last answer: {answer!r})")
        time.sleep(_STEP)


def pause(seconds: float) -> None:
    """Let real time pass: for peers that are slow on purpose, and for showing that nothing happens."""
    time.sleep(seconds)


def once_within(seconds: float, attempt: Callable[[], float]) -> None:
    """Attempt it until it takes no longer than so many seconds, as it says itself.

    Twenty times at most: a busy machine makes one attempt slow, a product that is too slow makes all.
    """
    took: list[float] = []
    while not took or (min(took) > seconds and len(took) < 20):
        took.append(attempt())
    assert min(took) <= seconds, took
