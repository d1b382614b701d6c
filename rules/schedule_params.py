"""The ``schedule`` part of a rule: when it acts."""

from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from rules.cron import NeverComes, Ticks
from rules.model import Schedule
from rules.params import ALONE, DAY, BadValue, Context, Duration, Param, Schema, Text, nearest, show
from rules.records import Field, Record, Values, at

_LONGEST: Final = 366 * DAY


class Cron(Param[str]):
    """A cron expression of five fields, as Debian's cron reads them."""

    human = 'five fields (minute, hour, day of month, month, day of week) such as "*/15 9-17 * * 1-5"'

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read an expression; one that never comes (31 February) is a mistake."""
        text = Text(self.human, high=256).parse(value)
        if len(text.split()) != 5:
            raise BadValue(f"expected {self.human}, got {show(text)}")
        try:
            Ticks(text, "UTC").after(0.0)
        except NeverComes:
            raise BadValue(f"{show(text)} never comes") from None
        except ValueError as error:
            raise BadValue(f"expected {self.human}, got {show(text)}: {error}") from None
        return text

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": r"^\s*\S+(\s+\S+){4}\s*$", "maxLength": 256}


class TimeZone(Param[str]):
    """A time zone of the IANA database, by its name."""

    human = "a time zone such as Europe/Berlin or UTC"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a name that is known here."""
        text = Text(self.human, low=1, high=64).parse(value)
        try:
            ZoneInfo(text)
        except (KeyError, OSError, ValueError):  # not there, a directory, no name at all
            raise self._unknown(text) from None
        return text

    def _unknown(self, text: str) -> BadValue:
        lower = {name.lower(): name for name in available_timezones()}
        near = lower.get(nearest(text, list(lower)), "")
        return BadValue(
            f"expected {self.human}, got {show(text)}" + (f'; did you mean "{near}"?' if near else "")
        )

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "minLength": 1, "maxLength": 64}


def _make_schedule(values: Values) -> Schedule:
    """Make it of its fields; raises BadValue where they contradict each other."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise BadValue("expected at least one of start_after, duration, ramp and cron")
    made = Schedule(**given)
    if made.cron and not made.duration:
        raise at(("cron",), "a window that opens at each tick needs a duration: how long it stays open")
    if "timezone" in given and not made.cron:
        raise at(("timezone",), "a timezone is for cron, and there is none")
    if made.duration and made.ramp > made.duration:
        raise at(("ramp",), "the ramp is longer than the duration: it would never be climbed to its end")
    return made


SCHEDULE: Final[Record[Schedule]] = Record(
    {
        "start_after": Field(
            Duration(low=0.001, high=_LONGEST), None, "so long from when it came into force"
        ),
        "duration": Field(
            Duration(low=0.001, high=_LONGEST), None, "then it ends; with cron: of each window"
        ),
        "ramp": Field(
            Duration(low=0.001, high=_LONGEST), None, "the percentage climbs from 0 over this time"
        ),
        "cron": Field(Cron(), None, "a window opens at each tick"),
        "timezone": Field(TimeZone(), None, "of cron; UTC unless given"),
    },
    make=_make_schedule,
    human="a mapping such as {start_after: 30s, duration: 10m, ramp: 5m}",
)
