"""The ticks of a cron expression, as unix times: fields, days and summer time as Debian's cron has them."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

NEVER: Final = 0.0


class NeverComes(Exception):
    """There is no such day."""


class Ticks:
    """When an expression of five fields comes, in a time zone.

    What the clock skips in spring comes as soon as it has been skipped, what it repeats in autumn comes once;
    where minute or hour begin with a star, elapsed time counts.
    """

    def __init__(self, text: str, timezone: str) -> None:
        self._text = text
        self._zone = ZoneInfo(timezone)

    def after(self, moment: float) -> float:
        """Give the first tick after a moment; raises NeverComes, or ValueError for a bad expression."""
        return self._find(moment, False)

    def last(self, moment: float) -> float:
        """Give the last tick up to a moment, itself included; NeverComes if there is none."""
        return self._find(moment, True)

    def _find(self, moment: float, before: bool) -> float:
        begin = datetime.fromtimestamp(moment, self._zone)
        if before and begin.microsecond == 0:
            begin = begin.replace(microsecond=1)  # so that a tick at that very second is found
        try:
            return next(CronSim(self._text, begin, reverse=before)).timestamp()
        except CronSimError as error:
            raise ValueError(str(error).lower()) from None
        except StopIteration:
            raise NeverComes from None
