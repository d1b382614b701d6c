"""The ``sample`` part of a rule or of a fault: which of the matches fire."""

import re
from typing import Final

from rules.http_params import TOKEN
from rules.model import Sample
from rules.params import ALONE, BadValue, Context, Integer, Param, Percent, Schema, show
from rules.records import Field, Record, Values

_STICKY: Final = re.compile(rf"(header|cookie):({TOKEN})|query:([^\s&=#]{{1,256}})|source|path|sni|name")


class Sticky(Param[str]):
    """What the same verdict sticks to: header:NAME, cookie:NAME, query:NAME, source, path, sni or name."""

    human = "header:NAME, cookie:NAME, query:NAME, source, path, sni or name"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a sticky key; header names come out in lower case."""
        if not isinstance(value, str) or len(value) > 300:
            raise self.wrong(value)
        found = _STICKY.fullmatch(value)
        if found is None:
            if value in ("header", "cookie", "query"):
                raise BadValue(f"expected {self.human}, got {show(value)} without a name")
            raise self.wrong(value)
        return value.lower() if found[1] == "header" else value

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": rf"^((header|cookie):{TOKEN}|query:[^\s&=#]{{1,256}}|source|path|sni|name)$",
            "maxLength": 300,
        }


def _make_sample(values: Values) -> Sample:
    return Sample(**{key: value for key, value in values.items() if value is not None})


_COUNT: Final = Integer(0, 1_000_000_000)

SAMPLE: Final = Record(
    {
        "percent": Field(Percent(), 100, "so many in a hundred fire, to 0.0001"),
        "sticky": Field(Sticky(), None, "the same key gets the same verdict"),
        "every": Field(Integer(1, 1_000_000_000), None, "each so-manieth match"),
        "first": Field(_COUNT, None, "at most so many firings in all"),
        "max_active": Field(_COUNT, None, "at most so many under way at once"),
        "seed": Field(Integer(0, (1 << 63) - 1), 0, "other seeds, other verdicts"),
    },
    make=_make_sample,
)
