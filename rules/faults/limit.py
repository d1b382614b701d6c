"""limit: so many at once, or in a time, and no more."""

from typing import ClassVar, Final

from rules.actions import Action, Answer, Nothing
from rules.draw import Dice
from rules.facts import TCP, Facts
from rules.fault import Fault
from rules.fault_fields import settle_on
from rules.keys import KeyPlace
from rules.limit_params import LIMIT_FIELDS, REFUSE, WAIT, read_limit, read_over, read_over_tcp
from rules.limits import LimitFigures
from rules.phases import REQUEST_HEAD
from rules.records import Record, Values
from rules.way_actions import Admit

_NOTHING: Final = Nothing()


class LimitFault(Fault):
    """Who is over it waits for a place, or is turned away; the state is kept with the rule's."""

    KIND: ClassVar[str] = "limit"
    PARAMS: ClassVar[Record[Values]] = Record(
        LIMIT_FIELDS,
        short="rate",
        human="a rate such as 50/s, or a mapping such as {requests: 100, over: 503}",
    )

    def __init__(self, figures: LimitFigures, over: list[Action], over_tcp: Action, per: str) -> None:
        super().__init__(REQUEST_HEAD)
        self.limit = figures
        self.own: LimitFigures = figures
        self.over: list[Action] = over
        self.over_tcp: list[Action] = [over_tcp] * len(over)
        self.key: KeyPlace = KeyPlace(per)
        self.header = self.key.header

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        figures = read_limit(values)
        made = LimitFault(figures, read_over(values), read_over_tcp(values), values["per"])
        settle_on(made, values)
        written = values["response"]
        if written is not None:
            answer = made.over[-1]
            assert isinstance(answer, Answer)
            made.needs_grpc = answer.grpc_status >= 0 and written["status"] is None
        told = values["over"] not in (None, WAIT, REFUSE) or written is not None
        made.of_requests = told or (figures.connections < 0 and not figures.rate_count)
        return made

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Ask for a place."""
        key = self.key.find(facts)
        if key is None:
            return _NOTHING
        if facts.protocols & TCP:
            if self.own.connections < 0 and not self.own.rate_count:
                return _NOTHING
            return Admit(self.own, key, self.over_tcp, False)
        return Admit(self.own, key, self.over, True)
