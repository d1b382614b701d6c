"""What stands in the way of a message's content, and what faults on whole messages leave on an exchange."""

from typing import Final

from mypy_extensions import mypyc_attr

from proxy.wire.body import BodyReader
from proxy.wire.h1_head import Head
from rules.actions import EndCall

# What has become of an action on a whole message.
DONE: Final = 0
WAITS: Final = 1  # for the message: it is asked for again then
LATER: Final = 2  # nothing yet, but something may come
LEFT_ALONE: Final = 3


@mypyc_attr(allow_interpreted_subclasses=True)
class Shaping:
    """What stands in the way of one direction's content and changes it; the first of a row of them."""

    def feed(self, data: bytes) -> None:
        """Content has come."""
        raise NotImplementedError

    def close(self, reader: BodyReader) -> None:
        """The content is complete; ``reader`` has the trailers, which may be changed."""
        raise NotImplementedError

    def keeps_length(self) -> bool:
        """Whether content-length stays true: as many bytes pass as came."""
        raise NotImplementedError

    def closing(self) -> EndCall | None:
        """Give the end that a call is to have instead of its own, None where it keeps that."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Whole:
    """A body that is read ahead: ``pull`` until it is ``decided`` what becomes of it, then ``body`` has it.

    Where there was more than could be waited for, ``body`` has the begin, and the rest follows.
    """

    def __init__(self, body: BodyReader) -> None:
        self.decided: bool = False
        self.complete: bool = False
        self.marked: bool = False  # faults that wait for a place in it were told
        self.body: BodyReader = body

    def pull(self, reader: BodyReader) -> bool:
        """Take in what has come; False: nothing more for now."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Wait no more: the exchange is over."""
        raise NotImplementedError


class Altered:
    """What faults on whole messages leave, from the first of them on.  Defaults stand in the class."""

    came: Head | None = None  # the request's head as it came, where it goes on as another one
    request: Whole | None = None
    response: Whole | None = None
    slow_request: Shaping | None = None  # by which the head passes
    slow_response: Shaping | None = None
    copy: bool = False  # the exchange is one more of another, and no client's own
