"""The states of an HTTP/2 stream (RFC 9113, section 5.1), and what a frame means in each.

RFC 9113 draws one machine with seven states.  Here the two directions are kept apart, since a proxy passes
them on apart: what we may still send is ``send_ended``; what the peer may still send is one of these:

    state        the peer                                        left by
    IDLE         has not used this id                            HEADERS
    HEAD         owes the response head (client role)            a head that is not 1xx
    BODY         may send DATA, and trailers                     END_STREAM
    ENDED        has ended its half                              our END_STREAM, a reset
    CLOSED       and we have ended ours, or it reset the stream  never
    RESET        was told by our RST_STREAM that it is over      never; forgotten after a while

"reserved" is missing because pushes are refused, "half-closed (local)" because that is ``send_ended``.

    frame           IDLE        HEAD      BODY      ENDED           CLOSED       RESET
    DATA            idle        early     accept    ended           closed       ignore
    HEADERS         accept(1)   accept    accept(2) ended           closed       ignore
    RST_STREAM      idle        accept    accept    accept          ignore       ignore
    WINDOW_UPDATE   idle        accept    accept    accept          ignore       ignore

    idle     connection error PROTOCOL_ERROR       ended    stream error STREAM_CLOSED
    early    stream error PROTOCOL_ERROR           closed   connection error STREAM_CLOSED
    (1) in the server role, on an odd id above all that were used; else as idle
    (2) they must be trailers: END_STREAM, no pseudo-headers

PRIORITY is allowed and ignored in all states.  Frames in RESET are tolerated because they may have been on
their way; ids that were skipped are never used, and HEADERS on one is a connection error PROTOCOL_ERROR.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import Block

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
ENDED: Final = 3
CLOSED: Final = 4
RESET: Final = 5
STATES: Final = ("idle", "head", "body", "ended", "closed", "reset")

# Frames, by their place in the table.
ON_DATA: Final = 0
ON_HEADERS: Final = 1
ON_RST_STREAM: Final = 2
ON_WINDOW_UPDATE: Final = 3

# Verdicts.
ACCEPT: Final = 0
IGNORE: Final = 1
IDLE_ERROR: Final = 2
EARLY_ERROR: Final = 3
ENDED_ERROR: Final = 4
CLOSED_ERROR: Final = 5

# The table above: state * 4 + frame.
VERDICTS: Final[bytes] = bytes(
    (
        *(IDLE_ERROR, ACCEPT, IDLE_ERROR, IDLE_ERROR),  # IDLE
        *(EARLY_ERROR, ACCEPT, ACCEPT, ACCEPT),  # HEAD
        *(ACCEPT, ACCEPT, ACCEPT, ACCEPT),  # BODY
        *(ENDED_ERROR, ENDED_ERROR, ACCEPT, ACCEPT),  # ENDED
        *(CLOSED_ERROR, CLOSED_ERROR, IGNORE, IGNORE),  # CLOSED
        *(IGNORE, IGNORE, IGNORE, IGNORE),  # RESET
    )
)

# Of Stream.expected: any number of content bytes may come,
UNKNOWN: Final = -1
TUNNEL: Final = -2  # whatever content-length says (CONNECT)

_KEPT: Final = 1000  # streams that we reset and still tolerate frames on,
_TOLERANCE: Final = 30.0  # for so many seconds
_GAPS: Final = 64  # ranges of ids that were skipped


class Stream:
    """One stream of one connection.

    ``owner`` is the proxy's: what the stream belongs to.  ``faulted`` is set by the proxy when a rule delays,
    stalls or otherwise changes the exchange: a client that gives up then is no attacker.  ``withheld``: set
    by withhold().
    """

    __slots__ = (
        "closed",
        "expected",
        "faulted",
        "opened_at",
        "owner",
        "passed",
        "queue",
        "queue_at",
        "queue_ends",
        "queue_extra",
        "queue_trailers",
        "queued",
        "received",
        "recv_ended",
        "recv_window",
        "send_ended",
        "send_window",
        "sid",
        "state",
        "told",
        "uncredited",
        "withheld",
    )

    def __init__(self, sid: i64, send_window: i64, recv_window: i64, now: float) -> None:
        self.sid: i64 = sid  # 0 until the head of a stream of our own is sent
        self.state: i64 = HEAD  # of what the peer sends
        self.send_window: i64 = send_window
        self.recv_window: i64 = recv_window
        self.uncredited: i64 = 0  # bytes passed on that the peer was not told of yet
        self.opened_at: float = now
        self.owner: object | None = None
        self.recv_ended: bool = False
        self.send_ended: bool = False
        self.closed: bool = False  # both halves ended, or either side reset it
        self.faulted: bool = False
        self.withheld: bool = False
        self.expected: i64 = UNKNOWN  # content bytes that the peer announced
        self.received: i64 = 0  # content bytes so far
        # what the windows do not allow to be sent yet
        self.queue: deque[bytes] | None = None
        self.queue_at: i64 = 0  # bytes of its first piece that are gone
        self.queued: i64 = 0  # bytes in all
        self.queue_ends: bool = False
        self.queue_trailers: Block | None = None
        self.queue_extra: bytes = b""
        self.passed: i64 = 0  # bytes gone that the owner was not told of yet
        self.told: bool = True  # nothing new to tell


class Past:
    """What is known of streams that are no more, bounded: those that we reset, and ids that were skipped."""

    def __init__(self) -> None:
        self._resets: dict[int, float] = {}
        self._gaps: list[tuple[int, int]] = []

    def add_reset(self, sid: i64, now: float) -> None:
        """Note that we reset a stream: the peer may not know it yet."""
        if len(self._resets) >= _KEPT:
            del self._resets[next(iter(self._resets))]
        self._resets[sid] = now

    def state_of(self, sid: i64, now: float) -> i64:
        """Say whether a stream that is no more is in RESET or CLOSED."""
        since = self._resets.get(sid)
        if since is None:
            return CLOSED
        if now - since <= _TOLERANCE:
            return RESET
        del self._resets[sid]
        return CLOSED

    def add_gap(self, first: i64, last: i64) -> None:
        """Note that the ids from ``first`` to ``last`` were skipped."""
        if len(self._gaps) < _GAPS:
            self._gaps.append((first, last))

    def skipped(self, sid: i64) -> bool:
        """Whether an id was skipped."""
        for first, last in self._gaps:
            if first <= sid <= last:
                return True
        return False
