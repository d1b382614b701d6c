"""abort: the proxy answers instead of the upstream."""

from typing import ClassVar

from rules.actions import Action, Answer
from rules.answers import ANSWER_FIELDS, build_answer
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import phase_field
from rules.phases import REQUEST_HEAD, RESPONSE_HEAD
from rules.records import Record, Values


class AbortFault(Fault):
    """The peer sees this answer, whole and well-formed.

    At request_head the upstream never sees the request; at response_head it did its work, and its answer
    is replaced.
    """

    KIND: ClassVar[str] = "abort"
    PARAMS: ClassVar[Record[Values]] = Record(
        {**ANSWER_FIELDS, "at": phase_field((REQUEST_HEAD, RESPONSE_HEAD), REQUEST_HEAD)},
        short="status",
        human="an HTTP status such as 503, or a mapping such as {status: 503}",
    )

    def __init__(self, phase: int, answer: Answer, needs_grpc: bool) -> None:
        super().__init__(phase)
        self.answer: Answer = answer
        self.ends_exchange = True
        self.of_requests = True
        self.needs_grpc = needs_grpc

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        return AbortFault(values["at"], build_answer(values), values["status"] is None)

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Answer."""
        return self.answer
