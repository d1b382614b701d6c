"""http2: trouble that only HTTP/2 has, from a proxy that otherwise keeps to the protocol."""

from typing import ClassVar, Final

from rules.actions import (
    WITHHOLD_CONNECTION,
    WITHHOLD_NOTHING,
    WITHHOLD_STREAM,
    Action,
    Disturb,
    Nothing,
)
from rules.draw import Dice
from rules.facts import GRPC, HTTP2, WEBSOCKET, Facts
from rules.fault import Fault
from rules.fault_fields import GOAWAY, phase_field
from rules.params import BadValue, Bool, Choice, Integer
from rules.phases import END, REQUEST_HEAD, RESPONSE_BODY, RESPONSE_HEAD
from rules.records import Field, Record, Values, at

_NOTHING: Final = Nothing()
_TROUBLES: Final = (
    "goaway", "withhold_window_updates", "settings", "ping", "ignore_ping", "padding", "frame_size",
)  # fmt: skip

_SETTINGS: Final[Record[Values]] = Record(
    {
        "max_concurrent_streams": Field(Integer(0, 100), None, "so many requests at once on a connection"),
        "initial_window_size": Field(
            Integer(0, 262144), None, "so many bytes of a request's body before a WINDOW_UPDATE"
        ),
    },
    human="a mapping such as {max_concurrent_streams: 1}",
)


class Http2Fault(Fault):
    """The client's connection: it leaves, shuts windows, shrinks, answers no PING, pads or splits frames."""

    KIND: ClassVar[str] = "http2"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "goaway": Field(GOAWAY, None, "a GOAWAY; what is under way completes, then the connection ends"),
            "withhold_window_updates": Field(
                Choice({"stream": WITHHOLD_STREAM, "connection": WITHHOLD_CONNECTION}),
                None,
                "no WINDOW_UPDATE for this request, or for the whole connection",
            ),
            "settings": Field(_SETTINGS, None, "SETTINGS with smaller values, for the whole connection"),
            "ping": Field(Bool(), None, "true: a PING, which a good client answers"),
            "ignore_ping": Field(Bool(), None, "true: PING gets no answer on this connection"),
            "padding": Field(
                Integer(1, 255), None, "so many bytes of padding in each DATA frame of the connection"
            ),
            "frame_size": Field(
                Integer(1, 16384),
                None,
                "at most so many bytes of content in each DATA frame of the connection",
            ),
            "at": phase_field((REQUEST_HEAD, RESPONSE_HEAD, RESPONSE_BODY, END), REQUEST_HEAD),
        },
        human="a mapping such as {settings: {max_concurrent_streams: 1}}",
    )

    def __init__(self, phase: int, disturb: Disturb) -> None:
        super().__init__(phase)
        self.of_requests = True
        self.protocols = HTTP2 | GRPC | WEBSOCKET
        self.disturb: Disturb = disturb

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        for name in ("ping", "ignore_ping"):
            if values[name] is False:
                raise at((name,), f"expected true, or no {name}")
        if all(values[name] is None for name in _TROUBLES):
            raise BadValue(f"expected at least one of {', '.join(_TROUBLES)}")
        settings: Values = values["settings"] or {}
        if values["settings"] is not None and all(value is None for value in settings.values()):
            raise at(("settings",), f"expected at least one of {', '.join(settings)}")
        streams: int | None = settings.get("max_concurrent_streams")
        window: int | None = settings.get("initial_window_size")
        disturb = Disturb(
            values["goaway"],
            values["withhold_window_updates"] or WITHHOLD_NOTHING,
            -1 if streams is None else streams,
            -1 if window is None else window,
            values["ignore_ping"] or False,
            values["padding"] or 0,
            values["ping"] or False,
            values["frame_size"] or 0,
        )
        return Http2Fault(values["at"], disturb)

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Disturb a connection of HTTP/2, and no other."""
        return self.disturb if facts.protocols & HTTP2 else _NOTHING
