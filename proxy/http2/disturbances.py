"""What rules do to a client's HTTP/2 connection as a whole, for as long as they are in force.

The codec's switches are always derived from the list of what is in force, so several rules can come and go
in any order.  What a rule does to one stream ends with its exchange.
"""

from proxy.http2.link import Link
from proxy.wire.h2 import H2Connection
from proxy.wire.h2_streams import Stream
from proxy.worker import Releasable, Worker
from rules.actions import WITHHOLD_CONNECTION, WITHHOLD_STREAM, Disturb
from rules.compiled import CompiledRule


class Disturbances:
    """Those of one connection."""

    def __init__(self, worker: Worker, link: Link) -> None:
        self.worker: Worker = worker
        self.codec: H2Connection = link.codec
        self.link: Link = link
        self.items: list[Disturbance] = []
        self.max_streams: int = link.codec.settings.max_streams  # as the client was told last
        self.initial_window: int = link.codec.settings.initial_window

    def add(self, action: Disturb, rule: CompiledRule, stream: Stream) -> None:
        """Put one in force; what this rule does to the connection already is not done twice."""
        of_stream = action.withhold == WITHHOLD_STREAM
        for item in self.items:
            if item.rule is rule and item.action is action and not of_stream:
                return
        item = Disturbance(self, action, rule, stream if of_stream else None)
        self.items.append(item)
        self.worker.waiting[item] = None
        self.settle()
        if of_stream:
            self.codec.withhold(stream, True)

    def remove(self, item: "Disturbance") -> None:
        """Take one out of force."""
        if item not in self.items:
            return
        self.items.remove(item)
        self.worker.waiting.pop(item, None)
        stream = item.stream
        if stream is not None and not any_of(self.items, stream):
            self.codec.withhold(stream, False)
        self.settle()

    def forget(self, stream: Stream) -> None:
        """The exchange of a stream is over."""
        for item in list(self.items):
            if item.stream is stream:
                self.remove(item)

    def clear(self) -> None:
        """The connection is gone."""
        for item in self.items:
            self.worker.waiting.pop(item, None)
        self.items = []

    def settle(self) -> None:
        """Set the codec's switches to what is in force; of two rules that disagree the later one counts."""
        codec = self.codec
        streams = codec.settings.max_streams
        window = codec.settings.initial_window
        withheld = False
        codec.padding = 0
        codec.frame_size = 0
        codec.ignore_ping = False
        for item in self.items:
            action = item.action
            if action.max_streams >= 0:
                streams = min(action.max_streams, codec.settings.max_streams)
            if action.initial_window >= 0:
                window = action.initial_window
            if action.padding:
                codec.padding = action.padding
            if action.frame_size:
                codec.frame_size = action.frame_size
            codec.ignore_ping = codec.ignore_ping or action.ignore_ping
            withheld = withheld or action.withhold == WITHHOLD_CONNECTION
        codec.settings_change(
            window if window != self.initial_window else -1, streams if streams != self.max_streams else -1
        )
        self.max_streams = streams
        self.initial_window = window
        if withheld != codec.withheld:
            codec.withhold(None, withheld)
        self.link.mark()


class Disturbance(Releasable):
    """One of them."""

    def __init__(
        self, all_of_it: Disturbances, action: Disturb, rule: CompiledRule, stream: Stream | None
    ) -> None:
        self.all_of_it: Disturbances = all_of_it
        self.action: Disturb = action
        self.rule: CompiledRule = rule
        self.stream: Stream | None = stream

    def rule_now(self) -> CompiledRule | None:
        return self.rule

    def let_go(self) -> None:
        self.all_of_it.remove(self)

    def cancel(self) -> None:
        self.all_of_it.remove(self)


def any_of(items: list[Disturbance], stream: Stream) -> bool:
    """Tell whether something is in force on a stream."""
    for item in items:
        if item.stream is stream:
            return True
    return False
