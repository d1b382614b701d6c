"""stall: bytes stop, the connection stays open."""

from typing import ClassVar

from rules.actions import (
    FOREVER,
    THEN_ABORT,
    THEN_CLOSE,
    THEN_CONTINUE,
    THEN_RESET,
    Action,
    Answer,
    Hold,
)
from rules.answers import ANSWER_FIELDS, build_answer
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import connection_fields, phase_of, settle
from rules.params import BadValue, Choice, Duration, words
from rules.phases import CONNECT, NAMES, REQUEST_BODY, REQUEST_HEAD, RESOLVE, RESPONSE_HEAD
from rules.records import Field, Record, Values, at

# Where an answer can still be given: later its head has left, earlier nobody has asked.
_ANSWERABLE = (REQUEST_HEAD, REQUEST_BODY, RESOLVE, CONNECT, RESPONSE_HEAD)

_FIELDS = connection_fields()
_FIELDS["for"] = Field(Duration(low=0.001), None, "so long; without it, until the client gives up")
_FIELDS["until"] = Field(words("client_gives_up"), None, "the end of a stall without a time")
_FIELDS["then"] = Field(
    Choice(
        {"continue": THEN_CONTINUE, "reset": THEN_RESET, "close": THEN_CLOSE, "abort": THEN_ABORT},
    ),
    None,
    "what follows a stall that ran out: continue, unless given",
)
_FIELDS["abort"] = Field(
    Record(ANSWER_FIELDS, short="status", human="an answer such as 504 or {status: 504}"),
    None,
    "what `then: abort` answers: 504 with no body, unless given",
)


class StallFault(Fault):
    """The peer waits: for a time or until it gives up; a client that went away is noticed all the same."""

    KIND: ClassVar[str] = "stall"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS, short="for", human="a duration such as 30s, or a mapping such as {for: 30s, then: reset}"
    )

    def __init__(self, phase: int, hold: Hold) -> None:
        super().__init__(phase)
        self.hold: Hold = hold
        # One that waits for the client's patience ends with the exchange: nothing comes after.
        self.ends_exchange = hold.then != THEN_CONTINUE or hold.seconds == FOREVER

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        phase = phase_of(values)
        answer = _answer(values, phase)
        seconds = values["for"]
        if seconds is None:
            if values["then"] is not None:
                raise at(("then",), "then: needs for: with a time, else nothing comes after the stall")
            fault = StallFault(phase, Hold(FOREVER, THEN_CONTINUE))
        else:
            if values["until"] is not None:
                raise at(("until",), "expected either for: or until:, got both")
            then = THEN_CONTINUE if values["then"] is None else values["then"]
            fault = StallFault(phase, Hold(seconds, then, answer))
        if answer is not None:
            fault.needs_grpc = answer.grpc_status >= 0 and values["abort"]["status"] is None
        settle(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Hold."""
        return self.hold


def _answer(values: Values, phase: int) -> Answer | None:
    """Give what ``then: abort`` answers, None for the other ends."""
    written: Values | None = values["abort"]
    if values["then"] != THEN_ABORT:
        if written is not None:
            raise at(("abort",), "an answer needs then: abort")
        return None
    if phase not in _ANSWERABLE:
        raise at(("then",), f"at {NAMES[phase]} no answer can be given: use then: reset or then: close")
    if written is None:
        return Answer(504, [], b"")
    try:
        return build_answer(written, 504)
    except BadValue as bad:
        raise BadValue([trouble.under("abort") for trouble in bad.troubles]) from None
