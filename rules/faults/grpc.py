"""grpc: a call that goes wrong in the middle, as gRPC peers know it."""

from typing import ClassVar, Final

from rules.actions import (
    DROP,
    GARBLE,
    HOLD_BACK,
    REPEAT,
    Action,
    EndCall,
    Nothing,
    Reset,
    ShapeMessages,
    WaitForDeadline,
)
from rules.answers import percent_encode
from rules.draw import Dice
from rules.facts import GRPC, HTTP2, Facts
from rules.fault import Fault
from rules.grpc_params import MOST_MESSAGES, EndStatus, SignedDuration, Which
from rules.http_params import Http2Code
from rules.params import BadValue, Choice, Duration, Integer, Text
from rules.phases import REQUEST_BODY, REQUEST_HEAD, RESPONSE_BODY
from rules.records import Field, Record, Values, at, exactly_one

_NOTHING: Final = Nothing()


_TROUBLES: Final = {"drop_message": DROP, "duplicate_message": REPEAT, "corrupt_length_prefix": GARBLE}
_KINDS: Final = ("end", *_TROUBLES, "delay_message", "delay_to_deadline")


class GrpcFault(Fault):
    """The peers of a call see its end behind so many messages, another end, other messages, or a delay."""

    KIND: ClassVar[str] = "grpc"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "after_messages": Field(
                Integer(0, MOST_MESSAGES), None, "the call ends behind so many messages, exactly"
            ),
            "direction": Field(
                Choice({"request": REQUEST_BODY, "response": RESPONSE_BODY}),
                None,
                "whose messages are counted and acted on: response, unless given",
            ),
            "status": Field(
                EndStatus(), None, "what the call ends with, behind so many messages or at its end"
            ),
            "message": Field(Text(high=1024), None, "the text beside the status"),
            "reset": Field(
                Http2Code(), None, "with after_messages: RST_STREAM with this code, and no status"
            ),
            "drop_message": Field(Which(), None, "this message is left out"),
            "duplicate_message": Field(Which(), None, "this message comes twice, if it has at most 1 MiB"),
            "delay_message": Field(
                Record(
                    {
                        "message": Field(Which(), "each", "which one"),
                        "delay": Field(Duration(low=0.001), doc="for so long"),
                    },
                    short="delay",
                    human="a duration such as 100ms, or a mapping such as {message: 2, delay: 100ms}",
                ),
                None,
                "this message is held back, with all behind it",
            ),
            "corrupt_length_prefix": Field(
                Which(), None, "the length before this message is wrong: 2 GiB more"
            ),
            "delay_to_deadline": Field(
                SignedDuration(),
                None,
                "the request waits until so long after (-: before) the caller's deadline",
            ),
        },
        human="a mapping such as {after_messages: 3, status: UNAVAILABLE}",
    )

    def __init__(self, phase: int, action: Action) -> None:
        super().__init__(phase)
        self.of_requests = True
        self.protocols = HTTP2 | GRPC  # a rule for http2 is one for calls, too
        self.action: Action = action
        self.shapes = phase != REQUEST_HEAD
        self.of_end = isinstance(action, EndCall) and action.after < 0

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        ends = [values[name] for name in ("after_messages", "status", "message", "reset")]
        end = True if any(value is not None for value in ends) else None
        try:
            kind = exactly_one({**values, "end": end}, _KINDS)
        except BadValue:
            raise BadValue(
                f"expected one trouble: after_messages or status, or one of {', '.join(_KINDS[1:])}"
            ) from None
        phase: int = values["direction"] or RESPONSE_BODY
        if kind == "end":
            return GrpcFault(phase, _end(values))
        if kind == "delay_to_deadline":
            if values["direction"] is not None:
                raise at(("direction",), "the request as a whole waits for the deadline: leave direction out")
            return GrpcFault(REQUEST_HEAD, WaitForDeadline(values[kind]))
        if kind == "delay_message":
            held: Values = values[kind]
            return GrpcFault(phase, ShapeMessages(HOLD_BACK, held["message"], held["delay"]))
        return GrpcFault(phase, ShapeMessages(_TROUBLES[kind], values[kind]))

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Do it to a call, and nothing to anything else."""
        return self.action if facts.protocols & GRPC else _NOTHING


def _end(values: Values) -> EndCall:
    """Make the end of a call; raises BadValue where its fields contradict each other."""
    after: int | None = values["after_messages"]
    status: bytes | None = values["status"]
    code: int | None = values["reset"]
    if status is None and code is None:
        raise BadValue("expected a status (or a reset) that the call ends with")
    if status is not None and code is not None:
        raise at(("reset",), "expected either a status or a reset, got both")
    if after is None and code is not None:
        raise at(("reset",), "a reset needs after_messages: the fault reset ends a stream at other places")
    if after is None and values["direction"] is not None:
        raise at(("direction",), "without after_messages there is nothing to count: leave direction out")
    if values["message"] is not None and not status:
        raise at(("message",), "a message needs a status beside it")
    text = percent_encode(values["message"] or "")
    return EndCall(-1 if after is None else after, status or b"", text, None if code is None else Reset(code))
