"""The table of cases; the modules beside this one fill it."""

from collections.abc import Callable

from tests.conformance.peer import Peer

Run = Callable[[Peer], None]


class Case:
    """One case: ``number`` is h2spec's (group/section/place), ``name`` its description."""

    def __init__(self, number: str, name: str, run: Run, handshake: bool) -> None:
        self.number, self.name, self.run, self.handshake = number, name, run, handshake


CASES: list[Case] = []


def case(number: str, name: str, handshake: bool = True) -> Callable[[Run], Run]:
    """Put a function into the table; ``handshake``: the prefaces are exchanged before it."""

    def add(run: Run) -> Run:
        CASES.append(Case(number, name, run, handshake))
        return run

    return add
