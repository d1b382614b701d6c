"""The field ``per:`` of faults that keep a state."""

from rules.http_params import TOKEN
from rules.params import ALONE, Context, Param, Schema, Text


class Per(Param[str]):
    """What the key of the state is: rule, upstream, route, source, or header:NAME."""

    human = "rule, upstream, route, source or header:NAME"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read it; the name of a header in lower case."""
        if value in ("rule", "upstream", "route", "source"):
            return str(value)
        if isinstance(value, str) and value.startswith("header:"):
            return Text(self.human, f"header:{TOKEN}", high=256).parse(value).lower()
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": f"^(rule|upstream|route|source|header:{TOKEN})$",
            "maxLength": 256,
        }
