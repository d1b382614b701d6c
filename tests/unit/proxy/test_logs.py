"""Log lines: exact, escaped, bounded, and never in the way."""

import contextlib
import fcntl
import io
import json
import os
import re
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.events import Events
from proxy.log_writer import Writer
from proxy.logs import ACCESS, Log, Stamps, as_json, as_text
from rules import phases

HOSTILE = 'a"b\\c\n{"event":"forged"}\r\x00\x1b[31m\u2028'


@pytest.fixture
def sink() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    try:
        yield reading, stream
    finally:
        with contextlib.suppress(OSError):
            os.close(reading)
        with contextlib.suppress(OSError):
            stream.close()


def lines(sink: io.StringIO, log: Log) -> list[dict[str, Any]]:
    assert log.flush(5)
    return [json.loads(line) for line in sink.getvalue().split("\n") if line]


def inject(log: Log, shadow: bool = False) -> None:
    log.injection(
        "slow", "delay", phases.REQUEST_HEAD, 7, "web", "payments", "10.0.0.1", b"r\xff1", 104.26789, shadow
    )


def access(log: Log, path: bytes = b"/x") -> None:
    log.access(
        1_700_000_000.25,
        "web",
        "10.0.0.1",
        b"GET",
        b"pay.example",
        path,
        200,
        "payments",
        10,
        2_000,
        105.5,
        1.2345,
        "ok",
        b"id",
        ["slow/delay"],
    )


def test_event_is_one_json_object(sink: io.StringIO) -> None:
    log = Log(stream=sink)
    log.event("warning", "reload_failed", source="rules.yaml", problems=["a", "b"], version=3)
    (line,) = lines(sink, log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "event": "reload_failed",
        "source": "rules.yaml",
        "problems": ["a", "b"],
        "version": 3,
    }


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level_bounds_events(sink: io.StringIO, level: str, seen: int) -> None:
    log = Log(level=level, stream=sink)
    for name in ("debug", "info", "warning", "error"):
        log.event(name, "x")
    assert len(lines(sink, log)) == seen


@pytest.mark.parametrize("setting", [{"format": "xml"}, {"level": "loud"}, {"access": "some"}])
def test_unknown_setting_is_refused(setting: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown log setting"):
        Log(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ACCESS)
def test_flags_follow_the_setting(sink: io.StringIO, mode: str) -> None:
    log = Log(access=mode, stream=sink)
    assert log.wants_access is (mode == "all")
    assert log.wants_injected is (mode != "none")
    inject(log)
    access(log)
    assert len(lines(sink, log)) == (0 if mode == "none" else 2)


@pytest.mark.parametrize("shadow", [False, True])
def test_injection_says_what_where_and_how_long(sink: io.StringIO, shadow: bool) -> None:
    log = Log(stream=sink)
    inject(log, shadow)
    (line,) = lines(sink, log)
    del line["time"]
    assert line == {
        "level": "info",
        "event": "shadow" if shadow else "injection",
        "rule": "slow",
        "fault": "delay",
        "phase": "request_head",
        "version": 7,
        "listener": "web",
        "upstream": "payments",
        "client": "10.0.0.1",
        "request_id": "r\xff1",
        "ms": 104.268,
        "shadow": shadow,
    }


def test_access_line_is_whole(sink: io.StringIO) -> None:
    log = Log(access="all", stream=sink)
    access(log)
    assert lines(sink, log) == [
        {
            "time": "2023-11-14T22:13:20.250Z",
            "event": "access",
            "listener": "web",
            "client": "10.0.0.1",
            "method": "GET",
            "host": "pay.example",
            "path": "/x",
            "status": 200,
            "upstream": "payments",
            "bytes_in": 10,
            "bytes_out": 2000,
            "ms": 105.5,
            "ms_own": 1.234,
            "outcome": "ok",
            "request_id": "id",
            "injected": ["slow/delay"],
        }
    ]


def test_every_byte_comes_back(sink: io.StringIO) -> None:
    log = Log(access="all", stream=sink)
    wire = bytes(range(256)) + "grüße".encode()
    access(log, wire)
    log.event("info", "bytes", value=wire)
    first, second = lines(sink, log)
    assert first["path"].encode("latin-1") == wire
    assert second["value"].encode("latin-1") == wire


@pytest.mark.parametrize("value", [HOSTILE, "\ud800 lone", {1, 2}, object(), {"k": [HOSTILE]}, float("nan")])
@pytest.mark.parametrize("make", [as_json, as_text])
def test_no_value_can_forge_or_break_a_line(make: Any, value: object) -> None:
    line = make({"time": "t", "level": "info", "event": "e", "message": str(value), "value": value})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert b"\x1b" not in line
    if make is as_json and not isinstance(value, float):
        json.loads(line)


def test_text_reads_well(sink: io.StringIO) -> None:
    log = Log(format="text", stream=sink)
    log.event(
        "info", "ready", message="misrule ready: listener web 127.0.0.1:8080", pid=7, why="two words", x=""
    )
    assert log.flush(5)
    stamp, rest = sink.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'info ready: misrule ready: listener web 127.0.0.1:8080 pid=7 why="two words" x=""\n'


def test_stamps_cross_seconds() -> None:
    stamps = Stamps()
    assert stamps.text(0.0) == "1970-01-01T00:00:00.000Z"
    assert stamps.text(0.9996) == "1970-01-01T00:00:00.999Z"
    assert stamps.text(1.001) == "1970-01-01T00:00:01.000Z"
    assert stamps.text(0.5) == "1970-01-01T00:00:00.500Z"


def test_full_pipe_drops_counts_and_says_so(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    log = Log(stream=stream)
    value = "x" * 1_000_000
    started = time.monotonic()
    for _ in range(12):  # 12 MB into a pipe of 64 KiB that nobody reads: 4 MiB wait, some are being written
        log.event("info", "big", value=value)
    assert time.monotonic() - started < 1
    assert 3 <= log.dropped <= 9
    dropped = log.dropped
    got = bytearray()
    while noted(got) < dropped:
        got += os.read(reading, 1 << 20)
        if got.endswith(b"\n"):
            log.event("info", "again")  # there is room now: what was lost is told before it
    assert noted(got) == dropped


def noted(got: bytearray) -> int:
    """Sum up the lines that were told to be lost."""
    whole = got[: got.rfind(b"\n") + 1].splitlines()
    return sum(json.loads(line)["lines"] for line in whole if b"log_lines_dropped" in line)


def test_closed_pipe_is_survived_and_counted(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    log = Log(stream=stream)
    os.close(os.dup(reading))
    os.dup2(os.open(os.devnull, os.O_RDONLY), reading)  # the pipe's reading end is gone
    for _ in range(3):
        log.event("info", "x")
        assert log.flush(5)
    assert log.dropped == 3


def test_non_blocking_descriptor_is_waited_for(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    flags = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(stream.fileno(), fcntl.F_SETFL, flags | os.O_NONBLOCK)
    log = Log(stream=stream)
    log.event("info", "big", value="y" * 300_000)
    got = bytearray()
    while b"\n" not in got:
        got += os.read(reading, 1 << 16)
    assert len(json.loads(got)["value"]) == 300_000
    assert log.dropped == 0


def test_close_writes_what_waits_and_takes_no_more(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        log = Log(stream=stream)
        for number in range(1000):
            log.event("info", "n", number=number)
        log.close(5)
        log.event("info", "late")
    numbers = [json.loads(line)["number"] for line in (tmp_path / "log").read_text().splitlines()]
    assert numbers == list(range(1000))
    assert log.dropped == 1


class Owned:
    """A stream that closes its descriptor when nobody holds it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def __del__(self) -> None:
        os.close(self.descriptor)

    def fileno(self) -> int:
        return self.descriptor

    def write(self, text: str) -> None:
        raise AssertionError(text)


def test_the_stream_is_kept_open(tmp_path: Path) -> None:
    log = Log(stream=Owned(tmp_path / "log"))
    log.event("info", "x")
    assert log.flush(5)
    assert log.dropped == 0
    assert (tmp_path / "log").read_text().count("\n") == 1


def test_closed_python_stream_is_survived(sink: io.StringIO) -> None:
    log = Log(stream=sink)
    sink.close()
    log.event("info", "x")
    assert log.flush(5)
    assert log.dropped == 1


def test_writer_starts_no_thread_before_the_first_line(sink: io.StringIO) -> None:
    writer = Writer(sink, lambda lines: b"%d" % lines)
    assert writer._thread is None
    writer.close()


class LaterLoop:
    """A loop whose timers the test lets run."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []
        self.next: list[Callable[[], None]] = []
        self.closed = False

    def call_soon(self, call: Callable[[], None]) -> None:
        self.next.append(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append(call)

    def is_closed(self) -> bool:
        return self.closed


def test_a_loop_has_its_lines_written_a_moment_later_and_together(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    loop = LaterLoop()
    log = Log(stream=stream)
    log.attend(loop)  # type: ignore[arg-type]
    for number in range(3):
        log.event("info", "n", number=number)
    assert select.select([reading], [], [], 0.05)[0] == []
    (call,) = loop.later
    call()
    assert select.select([reading], [], [], 5)[0] == [reading]
    assert os.read(reading, 1 << 16).count(b"\n") == 3
    log.event("info", "n", number=3)
    assert len(loop.later) == 2
    assert log.flush(5)  # who waits for it does not wait for the loop
    loop.closed = True
    log.event("info", "n", number=4)
    assert select.select([reading], [], [], 5)[0] == [reading]
    log.close()


def test_lines_of_exchanges_are_made_in_the_next_turn_and_stay_in_order(sink: io.StringIO) -> None:
    loop = LaterLoop()
    events = Events()
    log = Log(stream=sink, events=events)
    log.attend(loop)  # type: ignore[arg-type]
    events.subscribe()
    inject(log)
    access(log)
    assert (len(loop.next), events.published) == (1, 0)
    log.event("info", "one")
    assert events.published == 2
    inject(log, shadow=True)
    access(log)
    assert len(loop.next) == 2  # one turn for each pile
    for call in loop.next:
        call()
    access(log, b"/last")
    loop.closed = True
    inject(log)
    log.close()
    assert events.published == 4
    kinds = [json.loads(line)["event"] for line in sink.getvalue().splitlines()]
    assert kinds == ["injection", "access", "one", "shadow", "access", "access", "injection"]


def test_lines_of_other_threads_do_not_touch_the_loop(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    loop = LaterLoop()
    log = Log(stream=stream)
    log.attend(loop)  # type: ignore[arg-type]
    thread = threading.Thread(target=log.event, args=("info", "elsewhere"))
    thread.start()
    thread.join()
    assert select.select([reading], [], [], 5)[0] == [reading]
    assert loop.later == []
    log.close()


async def test_a_reader_of_events_gets_what_the_log_says(sink: io.StringIO) -> None:
    events = Events()
    log = Log(access="none", level="error", stream=sink, events=events)
    flags = [log.wants_injected]
    reader = events.subscribe()
    flags.append(log.wants_injected)
    inject(log)
    log.event("info", "reloaded", version=4)
    access(log)
    assert [(await reader.next())[1] for _ in range(2)] == ["injection", "reloaded"]
    events.unsubscribe(reader)
    assert [*flags, log.wants_injected] == [False, True, False]
    assert lines(sink, log) == []


def test_what_was_asked_for_is_told_whatever_the_level(sink: io.StringIO) -> None:
    log = Log(level="error", stream=sink)
    log.event("info", "ready")
    log.asked("dump", connections=2)
    log.audit("audit", who="local")
    assert log.flush(5)
    told = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [(line["level"], line["event"]) for line in told] == [("info", "dump"), ("audit", "audit")]
    log.close()
