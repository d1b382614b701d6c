"""The contract of a fault: how to write a new one.

A fault is one file in ``rules/faults/``, one line in the table ``FAULTS`` of its
``__init__``, one test, one section of docs.  The class

* names itself (``KIND``) and its documented parameters (``PARAMS``),
* is built once, when the rule is read (``build``), from values of exact types,
* and decides, at each exchange that it was chosen for (``decide``), what the proxy shall do.

It is pure and immutable: no clock, no sockets, no global dice.  What varies from one
exchange to the next comes in: the facts, and dice that belong to this fault alone.
"""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from rules.actions import Action
from rules.breakers.figures import Figures
from rules.draw import Dice
from rules.facts import Facts
from rules.limits import LimitFigures
from rules.phases import END, RESPONSE_BODY, RESPONSE_HEAD
from rules.records import Record, Values

# side: which leg of the exchange a fault on a connection or a body acts on.
CLIENT: Final = 1
UPSTREAM: Final = 2
BOTH: Final = 3

# on: when a fault on a connection acts on what is open already.
ON_NEXT: Final = 0  # at the next exchange, on whatever connection (the default)
ON_NEW: Final = 1  # only on connections opened after the rule came into force
ON_OPEN: Final = 2  # at once on what is open, one draw each; then as ON_NEW


@mypyc_attr(allow_interpreted_subclasses=True)
class Fault:
    """What one entry under ``faults:`` says, ready to decide."""

    KIND: ClassVar[str] = ""
    PARAMS: ClassVar[Record[Values]] = Record({})

    def __init__(self, phase: int) -> None:
        self.phase: int = phase  # where it acts, see rules.phases
        self.after_bytes: int = 0  # so many content bytes of that phase's body pass first
        self.side: int = CLIENT
        self.on: int = ON_NEXT
        self.ends_exchange: bool = False  # True: nothing planned after it can act any more
        self.shapes: bool = False  # True: it acts on the messages of its body, from the first byte on
        self.of_lookups: bool = False  # True: it acts on what the DNS listener is asked, too
        self.both: bool = False  # it acts on both messages, each for itself: see second
        self.of_end: bool = False  # with shapes: it changes how the body ends, and nothing before
        self.figures: Figures | None = None  # of the breakers that it consults: they decide if it acts
        self.limit: LimitFigures | None = None  # by which it asks for a place: that decides if it acts
        self.header: bytes = b""  # a request header that it looks at, lower-case
        self.of_requests: bool = False  # True: it has nothing to say where no requests are read
        self.protocols: int = 0  # bits of rules.facts: it acts only where one of these is spoken; 0: anywhere
        self.needs_grpc: bool = False  # True: it has nothing to say to a caller that does not speak gRPC

    @property
    def at_end(self) -> bool:
        """Whether it can act where only the end of the answer is left to be sent."""
        if self.phase != RESPONSE_BODY:
            return self.phase == END
        return self.of_end if self.shapes else self.after_bytes == 0

    @property
    def second(self) -> int:
        """Where it acts on the answer, if it acts on the request at its own phase and on both."""
        return RESPONSE_BODY if self.shapes else RESPONSE_HEAD

    @classmethod
    def build(cls, values: Values) -> "Fault":
        """Make the fault of what ``PARAMS`` read; raises ``rules.params.BadValue`` where values disagree."""
        raise NotImplementedError

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Say what happens to this exchange."""
        raise NotImplementedError
