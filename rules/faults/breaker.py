"""breaker: what the caller of a circuit breaker sees."""

from typing import ClassVar, Final

from rules.actions import Action, Answer, Consult, Nothing
from rules.breaker_answers import read_answers
from rules.breaker_params import BREAKER_FIELDS, read_figures
from rules.breakers.figures import ADMISSION, Figures
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.keys import KeyPlace
from rules.phases import REQUEST_HEAD
from rules.records import Record, Values

_NOTHING: Final = Nothing()


class BreakerFault(Fault):
    """Exchanges pass and are counted while it is closed; while it is open they get its answer.

    The state is kept with the rule's, so that a change of figures keeps it.
    """

    KIND: ClassVar[str] = "breaker"
    PARAMS: ClassVar[Record[Values]] = Record(
        BREAKER_FIELDS,
        short="profile",
        human="a profile such as envoy, or a mapping such as {profile: hystrix, open_for: 1s}",
    )

    def __init__(self, figures: Figures, answers: list[Answer], per: str) -> None:
        super().__init__(REQUEST_HEAD)
        self.figures = figures
        self.own: Figures = figures
        self.answers: list[Answer] = answers
        self.key: KeyPlace = KeyPlace(per)
        self.header = self.key.header

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        figures = read_figures(values)
        return BreakerFault(figures, read_answers(values, figures), values["per"])

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Consult the breaker of the key; without the header that is the key there is none."""
        key = self.key.find(facts)
        if key is None:
            return _NOTHING
        draw = dice.uniform() if self.own.profile == ADMISSION else 1.0
        return Consult(self.own, key, self.answers, draw)
