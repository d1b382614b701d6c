"""dns: a look-up that fails, comes late, or says something else."""

from typing import ClassVar, Final

from rules.actions import Action, ShapeLookup
from rules.dns_params import AddressOf, TimeToLive
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.params import BadValue, Choice, Duration
from rules.phases import RESOLVE
from rules.records import Field, ListOf, Record, Values, at

_FAILURES: Final = ("nxdomain", "servfail", "refused", "nodata", "timeout")
_TRUNCATED: Final = "truncated"
_PARTIAL: Final = "partial"
_ANSWERS: Final[dict[str, str]] = {word: word for word in (*_FAILURES, _TRUNCATED, _PARTIAL)}


class DnsFault(Fault):
    """Whoever looks a name up meets this: the proxy for its upstream, and clients of the DNS listener."""

    KIND: ClassVar[str] = "dns"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "answer": Field(Choice(_ANSWERS), None, "how the look-up ends, or what becomes of its answer"),
            "address": Field(
                ListOf(AddressOf(), single=True, low=1), None, "these addresses instead of the right ones"
            ),
            "ttl": Field(TimeToLive(), None, "seconds that the answer may be kept; DNS listener only"),
            "delay": Field(Duration(), None, "so long until there is an answer"),
        },
        short="answer",
        human="nxdomain, servfail, refused, nodata, timeout, truncated, partial, or a mapping such as "
        "{address: [192.0.2.1]}",
    )

    def __init__(self, shape: ShapeLookup) -> None:
        super().__init__(RESOLVE)
        self.shape: ShapeLookup = shape
        self.of_lookups = True
        self.ends_exchange = shape.failure != ""

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        answer: str | None = values["answer"]
        if all(value is None for value in values.values()):
            raise BadValue("expected at least one of answer, address, ttl and delay")
        if answer in _FAILURES:
            for name in ("address", "ttl"):
                if values[name] is not None:
                    raise at((name,), f"a look-up that ends with {answer} has no answer to change")
        if answer == _PARTIAL and values["address"] is not None:
            raise at(("address",), "these addresses are all there are: leave out partial")
        shape = ShapeLookup(
            answer if answer in _FAILURES else "",
            list(values["address"] or ()),
            -1 if values["ttl"] is None else values["ttl"],
            answer == _PARTIAL,
            answer == _TRUNCATED,
            values["delay"] or 0.0,
        )
        return DnsFault(shape)

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Shape the look-up."""
        return self.shape
