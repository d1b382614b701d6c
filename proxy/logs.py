"""Log lines: events, injections and access lines, one JSON object (or text) per line.

A line is made on the event loop (about 3 µs), ``proxy.log_writer`` writes it out.  Lines of injections and
exchanges are made in the loop's next turn: what they tell of is on its way to its reader by then.

Bytes that came over the wire are written as latin-1: one code point for each byte, so that
``value.encode("latin-1")`` gives exactly what was on the wire, UTF-8 or not.  Everything is JSON-escaped,
so no value can end a line or forge one.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any, Final

import msgspec

from proxy.events import Events
from proxy.log_writer import Stream, Writer
from rules import phases
from rules.params import printable

LEVELS: Final[dict[str, int]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
FORMATS: Final = ("json", "text")
ACCESS: Final = ("all", "injected", "none")

BARE: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,;[]{}<>*!?&#~"
)

_encode = msgspec.json.Encoder().encode


class Log:
    """What the rest of the proxy calls.

    ``format`` is json or text, ``level`` bounds the events, and ``access`` says which exchanges leave
    lines: ``all``, ``injected`` (those that a fault or a shadow decision touched; the default) or ``none``.
    ``wants_access``: every exchange wants an access line.  ``wants_injected``: injections want their line,
    and exchanges with injections an access line.  Test these before gathering the values.
    """

    def __init__(
        self,
        format: str = "json",
        level: str = "info",
        access: str = "injected",
        stream: Stream | None = None,
        events: Events | None = None,
    ) -> None:
        if format not in FORMATS or level not in LEVELS or access not in ACCESS:
            raise ValueError(f"unknown log setting: {format!r}, {level!r} or {access!r}")
        self.events = events if events is not None else Events()
        self.wants_access = access == "all"
        self.wants_injected = access != "none"
        self._lines_injected = access != "none"  # wants_injected is also true while somebody reads events
        self._level = LEVELS[level]
        self._json = format == "json"
        self._stamps = Stamps()
        self._writer = Writer(stream if stream is not None else sys.stderr, self._dropped_note)
        self._later: list[dict[str, Any]] = []  # lines that the next turn of the loop makes
        self.events.changed.append(self._events_changed)

    @property
    def dropped(self) -> int:
        """Lines that were dropped since the start."""
        return self._writer.dropped

    def event(self, level: str, name: str, /, **fields: Any) -> None:
        """Log an event.  ``message``, if given, is what people read first; bytes become latin-1."""
        if LEVELS[level] < self._level and not self.events.wanted:
            return
        self._catch_up()
        record: dict[str, Any] = {"time": self._stamps.text(time.time()), "level": level, "event": name}
        for key, value in fields.items():
            record[key] = value.decode("latin-1") if isinstance(value, bytes) else value
        if LEVELS[level] >= self._level:
            self._put(record)
        if self.events.wanted:
            self.events.publish(name, record)

    def audit(self, name: str, /, **fields: Any) -> None:
        """Log a change that somebody made: whatever the level, it leaves its line."""
        self._always("audit", name, fields)

    def asked(self, name: str, /, **fields: Any) -> None:
        """Log what somebody asked to be told: whatever the level, it leaves its line."""
        self._always("info", name, fields)

    def _always(self, level: str, name: str, fields: dict[str, Any]) -> None:
        self._catch_up()
        record: dict[str, Any] = {"time": self._stamps.text(time.time()), "level": level, "event": name}
        record.update(fields)
        self._put(record)
        if self.events.wanted:
            self.events.publish(name, record)

    def injection(
        self,
        rule: str,
        fault: str,
        phase: int,
        version: int,
        listener: str,
        upstream: str,
        client: str,
        request_id: bytes,
        ms: float,
        shadow: bool = False,
    ) -> None:
        """Log one injection (``shadow``: what would have been one).  ``ms`` is the time it added."""
        record: dict[str, Any] = {
            "time": self._stamps.text(time.time()),
            "level": "info",
            "event": "shadow" if shadow else "injection",
            "rule": rule,
            "fault": fault,
            "phase": phases.NAMES[phase],
            "version": version,
            "listener": listener,
            "upstream": upstream,
            "client": client,
            "request_id": request_id.decode("latin-1"),
            "ms": round(ms, 3),
            "shadow": shadow,
        }
        self._put_soon(record)

    def access(
        self,
        started: float,
        listener: str,
        client: str,
        method: bytes,
        host: bytes,
        path: bytes,
        status: int,
        upstream: str,
        bytes_in: int,
        bytes_out: int,
        ms: float,
        ms_own: float,
        outcome: str,
        request_id: bytes,
        injected: list[str],
        dialled: str = "",
    ) -> None:
        """Log one exchange.

        ``started`` is unix time; ``path`` comes without the query (queries carry secrets); ``ms`` is the
        whole duration and ``ms_own`` the same less what was injected; ``status`` is 0 when no
        answer was sent; ``injected`` names what acted, each as ``rule/fault``; ``dialled`` is the
        address that a captured client was on its way to.
        Writes nothing with ``access: none``.
        """
        if self._lines_injected:
            self._put_soon(
                {
                    "time": self._stamps.text(started),
                    "event": "access",
                    "listener": listener,
                    "client": client,
                    "method": method.decode("latin-1"),
                    "host": host.decode("latin-1"),
                    "path": path.decode("latin-1"),
                    "status": status,
                    **_where(upstream, dialled),
                    "bytes_in": bytes_in,
                    "bytes_out": bytes_out,
                    "ms": round(ms, 3),
                    "ms_own": round(ms_own, 3),
                    "outcome": outcome,
                    "request_id": request_id.decode("latin-1"),
                    "injected": injected,
                }
            )

    def attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop runs in this thread: its lines are made, and written, a moment later from now on."""
        self._writer.attend(loop)

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all lines are out, at most so many seconds; True when they are."""
        self._make_lines()
        return self._writer.flush(timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write out what waits, at most so many seconds long; later lines are dropped."""
        with contextlib.suppress(ValueError):
            self.events.changed.remove(self._events_changed)
        self._make_lines()
        self._writer.close(timeout)

    def _dropped_note(self, lines: int) -> bytes:
        return self._line(
            {
                "time": timestamp(time.time()),
                "level": "warning",
                "event": "log_lines_dropped",
                "lines": lines,
            }
        )

    def _events_changed(self) -> None:
        self.wants_injected = self._lines_injected or self.events.wanted

    def _put_soon(self, record: dict[str, Any]) -> None:
        loop = self._writer.running()
        if loop is None:
            self._catch_up()
            self._tell(record)
            return
        if not self._later:
            loop.call_soon(self._make_lines)
        self._later.append(record)

    def _catch_up(self) -> None:
        """Keep lines in order: those that the loop's next turn would make come before another."""
        if self._later and self._writer.is_at_home():
            self._make_lines()

    def _make_lines(self) -> None:
        later = self._later
        if later:
            self._later = []
            for record in later:
                self._tell(record)

    def _tell(self, record: dict[str, Any]) -> None:
        if self._lines_injected:
            self._put(record)
        if self.events.wanted and record["event"] != "access":
            self.events.publish(record["event"], record)

    def _put(self, record: dict[str, Any]) -> None:
        self._writer.put(self._line(record))

    def _line(self, record: dict[str, Any]) -> bytes:
        return as_json(record) if self._json else as_text(record)


def as_json(record: dict[str, Any]) -> bytes:
    """Write a record as one line of JSON; never raises."""
    try:
        return _encode(record) + b"\n"
    except (TypeError, ValueError, RecursionError):  # lone surrogates, values of no JSON type
        return json.dumps(record, default=repr, skipkeys=True).encode("ascii") + b"\n"


def as_text(record: dict[str, Any]) -> bytes:
    """Write a record as ``time level event: message key=value ...``; values are quoted where needed."""
    parts = [str(record.get("time", "")), str(record.get("level", "info")), str(record.get("event", ""))]
    if "message" in record:
        parts[2] += ":"
        parts.append(printable(str(record["message"])))
    parts.extend(
        f"{key}={_text_value(value)}"
        for key, value in record.items()
        if key not in ("time", "level", "event", "message")
    )
    return (" ".join(parts) + "\n").encode("utf-8", "backslashreplace")


def _text_value(value: object) -> str:
    if isinstance(value, str):
        return value if value and BARE.issuperset(value) else json.dumps(value)
    return as_json({"": value})[4:-2].decode("utf-8").strip()


class Stamps:
    """RFC 3339 times in UTC with milliseconds; the second's text is kept, most lines share it."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, moment: float) -> str:
        """Write a unix time."""
        second = int(moment)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{int((moment - second) * 1000):03d}Z"


def timestamp(moment: float) -> str:
    """Write a unix time as RFC 3339 in UTC with milliseconds."""
    return Stamps().text(moment)


def _where(upstream: str, dialled: str) -> dict[str, str]:
    return {"upstream": upstream, "dialled": dialled} if dialled else {"upstream": upstream}
