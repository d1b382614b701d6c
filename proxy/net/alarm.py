"""A wait that ends when it shall: a timer of the kernel, which the loop watches as it watches sockets.

The loops' own timers have steps of a millisecond, since epoll_wait(2) takes no less.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import mypyc_attr

# linux/timerfd.h; Python has functions of its own for these only from 3.13 on.
_CLOCK_MONOTONIC: Final = 1
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_ITIMERSPEC: Final = struct.Struct("4l")  # interval, then value, each in seconds and nanoseconds
_NANO: Final = 1_000_000_000


@mypyc_attr(allow_interpreted_subclasses=True)
class Alarm:
    """Something that rings once after so many seconds; setting it anew forgets what it was set to."""

    def start(self, ring: Callable[[], None]) -> None:
        """Say what is to be called; once, before the first ``set``."""
        raise NotImplementedError

    def set(self, seconds: float) -> None:
        """Ring so many seconds from now (0: at the loop's next turn)."""
        raise NotImplementedError

    def clear(self) -> None:
        """Ring no more until it is set again."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it holds; it is not used any more."""


class KernelAlarm(Alarm):
    """A timerfd on a loop (timerfd_create(2)); raises AttributeError or OSError where there is none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # PyDLL keeps the interpreter's lock: given back in the middle of an exchange, a thread would take it.
        library = ctypes.PyDLL(None, use_errno=True)
        self._set_time: Any = library.timerfd_settime
        self._set_time.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._loop: asyncio.AbstractEventLoop = loop
        self._fd: int = library.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def start(self, ring: Callable[[], None]) -> None:
        self._loop.add_reader(self._fd, ring)

    def set(self, seconds: float) -> None:
        left = max(int(seconds * _NANO) + 1, 1)  # 0 would stop it
        # It also takes back that the timer has rung, so that nobody needs to read from it.
        self._set_time(self._fd, 0, _ITIMERSPEC.pack(0, 0, left // _NANO, left % _NANO), None)

    def clear(self) -> None:
        self._set_time(self._fd, 0, _ITIMERSPEC.pack(0, 0, 0, 0), None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def alarm_on(loop: asyncio.AbstractEventLoop) -> Alarm | None:
    """Make an alarm; None where the system has no such timers, or no descriptor is left."""
    try:
        return KernelAlarm(loop)
    except (AttributeError, OSError):
        return None
