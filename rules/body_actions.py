"""What a fault may ask of the proxy for the bytes of a body: the rest of the list in ``rules.actions``."""

from rules.actions import Action


class Throttle(Action):
    """Let a body pass at ``rate`` bytes in a second; ``burst`` bytes may run ahead after a pause.

    ``shared``: all exchanges of the rule have the rate together, in each direction.
    """

    __slots__ = ("burst", "rate", "shared")

    def __init__(self, rate: float, burst: float = 0.0, shared: bool = False) -> None:
        self.rate: float = rate
        self.burst: float = burst
        self.shared: bool = shared


class Drip(Action):
    """Let a body pass ``size`` bytes at a time, one piece ``every`` so many seconds."""

    __slots__ = ("every", "size")

    def __init__(self, size: int, every: float) -> None:
        self.size: int = size
        self.every: float = every


class Lose(Action):
    """Let a body pass as over a network that loses a ``share`` (0 to 1) of its TCP segments.

    A lost one, and all behind it, waits ``rto`` seconds, then ``backoff`` times as long for each time that it
    is lost again.  ``correlation`` ties each loss to the one before.
    """

    __slots__ = ("backoff", "correlation", "rto", "share")

    def __init__(self, share: float, correlation: float, rto: float, backoff: float) -> None:
        self.share: float = share
        self.correlation: float = correlation
        self.rto: float = rto
        self.backoff: float = backoff


class Flip(Action):
    """Flip bits in the content of a body: one in a ``share`` (0 to 1) of its bytes, or ``flips`` in all.

    Framing stays as it is: that of HTTP, the prefixes of gRPC's messages, the heads of WebSocket frames.
    """

    __slots__ = ("flips", "share")

    def __init__(self, share: float, flips: int) -> None:
        self.share: float = share
        self.flips: int = flips  # 0: by share
