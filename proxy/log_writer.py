"""The thread that writes lines out, so that nothing waits for who reads them.

Nothing here may slow or stop the traffic.  Lines are put on a bounded pile, and written a moment later: at
once, the thread would take the interpreter's lock in the middle of the exchange that a line tells of.
When the reader of our output stands still, the pile fills and further lines are dropped and counted; when it
went away, the lines are dropped and counted too, and every later batch tries anew.
"""

import asyncio
import atexit
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

PENDING_BYTES: Final = 4 << 20  # what may wait for the writing thread
PAUSE: Final = 0.01  # seconds that a batch gathers lines: at most 100 wake-ups a second, whatever the load


class Stream(Protocol):
    """Where lines go: a file on a descriptor, or anything that takes text."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def fileno(self) -> int:
        """Name the descriptor; raises OSError where there is none."""


class Writer:
    """The bounded pile of lines and the thread that writes it out."""

    def __init__(self, stream: Stream, note: Callable[[int], bytes], bound: int = PENDING_BYTES) -> None:
        """``note`` makes the line that says how many lines were dropped, once there is room again."""
        self._note = note
        self.dropped = 0  # lines that were not written
        self._write: Callable[[bytes], None] = _sink(stream)
        self._bound = bound
        self._lock = threading.Lock()
        self._done = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._lines: list[bytes] = []
        self._pending = 0  # bytes in _lines
        self._writing = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let this loop's timer wake the writing thread from now on, for lines of the calling thread."""
        self._loop = loop
        self._loop_thread = threading.get_ident()

    def put(self, line: bytes) -> None:
        """Add one line (with its line end).  Never waits; drops and counts what does not fit."""
        with self._lock:
            if self._closed or self._pending + len(line) > self._bound:
                self.dropped += 1
                return
            self._lines.append(line)
            self._pending += len(line)
            if len(self._lines) > 1:
                return
            if self._thread is None:
                self._start()
        loop = self.running()
        if loop is None:
            self._wake.set()
        else:
            loop.call_later(PAUSE, self._wake.set)

    def is_at_home(self) -> bool:
        """Tell whether the calling thread is the loop's."""
        return threading.get_ident() == self._loop_thread

    def running(self) -> asyncio.AbstractEventLoop | None:
        """Give the loop, where it is the calling thread's and is not closed."""
        loop = self._loop
        return None if loop is None or not self.is_at_home() or loop.is_closed() else loop

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all is written, at most so many seconds; True when it is."""
        self._wake.set()
        with self._done:
            return self._done.wait_for(lambda: not self._lines and not self._writing, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write out what waits, at most so many seconds long, and take no more."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout)
        atexit.unregister(self.close)

    def _start(self) -> None:
        # A daemon: output that stands still must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        reported = 0
        while True:
            self._wake.wait()
            with self._lock:
                self._wake.clear()
                lines, self._lines, self._pending = self._lines, [], 0
                missed = self.dropped
                self._writing = True
            if missed > reported:
                lines.insert(0, self._note(missed - reported))
            written = self._batch(lines)
            with self._done:
                if written:
                    reported = missed
                else:
                    self.dropped += len(lines) - (missed > reported)
                self._writing = False
                self._done.notify_all()
                if self._closed and not self._lines:
                    return
            if not self._closed and self._loop is None:
                time.sleep(PAUSE)

    def _batch(self, lines: list[bytes]) -> bool:
        """Write lines; False when the output is gone (closed pipe, full disk, ...)."""
        if not lines:
            return True
        try:
            self._write(b"".join(lines))
        except (OSError, ValueError):  # ValueError: a Python file object that was closed
            return False
        return True


def _sink(stream: Stream) -> Callable[[bytes], None]:
    """Give the function that writes bytes to this stream, past Python's own buffers where it can."""
    try:
        stream.fileno()
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return lambda data: _write_text(stream, data)
    # The stream is asked each time, and so kept alive: its descriptor must not become another file's.
    return lambda data: _write_all(stream.fileno(), data)


def _write_text(stream: Stream, data: bytes) -> None:
    stream.write(data.decode("utf-8"))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody who shares the descriptor made it non-blocking
            waiter = select.poll()
            waiter.register(descriptor, select.POLLOUT)
            waiter.poll(1000)
