"""The fields of a limit, and what those get who are over it."""

import base64
import binascii
import re
from typing import Any, Final

from rules.actions import Action, Answer, Reset
from rules.answers import ANSWER_FIELDS, build_answer
from rules.fault_fields import on_field
from rules.key_params import Per
from rules.limits import NO_CONNECTION, NO_REQUEST, NO_TOKEN, VERDICTS, LimitFigures
from rules.params import ALONE, BadValue, Context, Duration, Integer, Param, Schema, Text, show
from rules.records import Field, OneOf, Record, Values, at, exactly_one
from rules.way_actions import Say

WAIT: Final = "wait"
REFUSE: Final = "refuse"
LONGEST_WAIT: Final = 10_000  # who waits, where nothing is said about it

_REFUSED_STREAM: Final = 7  # the request was not processed (RFC 9113, section 7)
_RESOURCE_EXHAUSTED: Final = 8
_UNAVAILABLE: Final = 14
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|m|h)")
_UNITS: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


class RequestRate(Param[tuple[int, int]]):
    """So many in a time; read as the number and the microseconds."""

    human = "a rate such as 50/s, 100/m or 1000/h"

    def parse(self, value: object, context: Context = ALONE) -> tuple[int, int]:
        """Read a rate."""
        if type(value) is int or type(value) is float:
            raise BadValue(
                f"expected {self.human}, got {show(value)}; a bare number has no unit: use /s, /m or /h"
            )
        found = _RATE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.wrong(value)
        return int(found[1]), _UNITS[found[2]]

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": "^[1-9][0-9]{0,8}/(s|m|h)$"}


class Over(Param[str]):
    """What those get who are over the limit."""

    human = "429, 503, wait or refuse"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read it; the statuses are numbers."""
        if value in (WAIT, REFUSE) or (type(value) is int and value in (429, 503)):
            return str(value)
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"enum": [429, 503, WAIT, REFUSE]}


class Base64(Param[bytes]):
    """Bytes, written in base64 (RFC 4648, section 4)."""

    human = "bytes in base64"

    def parse(self, value: object, context: Context = ALONE) -> bytes:
        """Read them."""
        try:
            return base64.b64decode(Text(self.human, high=4096).parse(value), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(value) from None

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "contentEncoding": "base64", "maxLength": 4096}


# What servers say that have no connection left, before they close: PostgreSQL 16 (ErrorResponse, SQLSTATE
# 53300), MySQL 8 (ERR packet in place of the handshake, ER_CON_COUNT_ERROR), Redis 7.
_POSTGRES_FIELDS: Final = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
SAYINGS: Final[dict[str, bytes]] = {
    "postgres": b"E" + (len(_POSTGRES_FIELDS) + 4).to_bytes(4, "big") + _POSTGRES_FIELDS,
    "mysql": b"\x17\x00\x00\x00\xff\x10\x04Too many connections",
    "redis": b"-ERR max number of clients reached\r\n",
}


class Saying(Param[Say]):
    """What a server is known to say, by its name."""

    human = "postgres, mysql or redis"

    def parse(self, value: object, context: Context = ALONE) -> Say:
        """Give its words."""
        if isinstance(value, str) and value in SAYINGS:
            return Say(SAYINGS[value], value == "postgres")
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"enum": list(SAYINGS)}


def _make_say(values: Values) -> Say:
    given: Any = values[exactly_one(values, ("text", "base64"))]
    return Say(given.encode() if isinstance(given, str) else bytes(given))


_REPLY: Final = OneOf(
    "postgres, mysql or redis, or a mapping with text or base64",
    Saying(),
    Record(
        {
            "text": Field(Text("text", high=4096), None, "as UTF-8"),
            "base64": Field(Base64(), None, "any bytes"),
        },
        make=_make_say,
    ),
)
_COUNT: Final = Integer(0, 1_000_000)

LIMIT_FIELDS: Final[dict[str, Field]] = {
    "connections": Field(_COUNT, None, "so many connections of clients at once"),
    "requests": Field(_COUNT, None, "so many requests at once"),
    "rate": Field(RequestRate(), None, "so many in a time, as a bucket of tokens that fills steadily"),
    "burst": Field(
        Integer(1, 1_000_000_000), None, "so many tokens has a full bucket; else the number of rate"
    ),
    "queue": Field(Integer(0, 100_000), None, "so many wait, first come, first served"),
    "queue_timeout": Field(Duration(low=0.001), None, "so long at most; unless given, for ever"),
    "over": Field(Over(), None, "what those get who are over it: 429 by rate, else 503; of TCP refuse"),
    "response": Field(
        Record(ANSWER_FIELDS, short="status", human="an answer such as 429 or {status: 429}"),
        None,
        "what they get instead, with over: 429, 503 or wait",
    ),
    "reply": Field(_REPLY, None, "tcp: what they are told before FIN, instead of RST"),
    "per": Field(
        Per(), "rule", "one limit for the rule, or one for each upstream, route, source or header value"
    ),
    "on": on_field(),
}


def read_limit(values: Values) -> LimitFigures:
    """Make the figures; raises BadValue where fields contradict each other."""
    if all(values[name] is None for name in ("connections", "requests", "rate")):
        raise BadValue("expected at least one of connections, requests and rate")
    made = LimitFigures()
    made.connections = -1 if values["connections"] is None else values["connections"]
    made.requests = -1 if values["requests"] is None else values["requests"]
    if values["rate"] is not None:
        made.rate_count, made.rate_unit = values["rate"]
        made.burst = values["burst"] or made.rate_count
    elif values["burst"] is not None:
        raise at(("burst",), "a burst is for rate, and there is none")
    made.queue = values["queue"] or 0
    if values["over"] == WAIT and values["queue"] is None:
        made.queue = LONGEST_WAIT
    if values["queue_timeout"] is not None:
        if not made.queue:
            raise at(("queue_timeout",), "nobody waits: give a queue, or over: wait")
        made.timeout = values["queue_timeout"]
    elif values["over"] == WAIT and values["queue"] == 0:
        raise at(("queue",), "over: wait needs room for those who wait")
    return made


def read_over(values: Values) -> list[Action]:
    """Make what those get whose requests are over it, by verdict (the first, admitted, is never used)."""
    over = values["over"]
    written: Values | None = values["response"]
    if over == REFUSE:
        if written is not None:
            raise at(("response",), "over: refuse gives no response")
        return [Reset(_REFUSED_STREAM)] * len(VERDICTS)
    statuses = {NO_CONNECTION: 503, NO_REQUEST: 503, NO_TOKEN: 429}
    words = {
        NO_CONNECTION: "no connection is free",
        NO_REQUEST: "too many requests at once",
        NO_TOKEN: "too many requests",
    }
    made: list[Action] = [Answer(503, [], b"")] * len(VERDICTS)
    for verdict, status in statuses.items():
        status = int(over) if over in ("429", "503") else status
        try:
            made[verdict] = (
                _said(status, words[verdict]) if written is None else build_answer(written, status)
            )
        except BadValue as bad:
            raise BadValue([trouble.under("response") for trouble in bad.troubles]) from None
    return made


def _said(status: int, text: str) -> Answer:
    code = _RESOURCE_EXHAUSTED if status == 429 else _UNAVAILABLE
    return Answer(
        status, [(b"content-type", b"text/plain; charset=utf-8")], f"{text}\n".encode(), code, text.encode()
    )


def read_over_tcp(values: Values) -> Action:
    """Make what connections get that are passed on unread."""
    reply: Say | None = values["reply"]
    return Reset() if reply is None else reply
