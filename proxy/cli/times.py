"""Times on the command line, written as in rules: 500ms, 30s, 1h."""

from typing import Any

import click


class Time(click.ParamType[float]):
    """A time with its unit; read as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a time; a number is one that was read already."""
        if isinstance(value, float):
            return value
        from rules.params import BadValue, Duration

        try:
            return Duration().parse(value)
        except BadValue as bad:
            self.fail(str(bad), param, ctx)


TIME = Time()
