"""What stands in the way of one direction's content: a row of filters, each for one fault.

A row stands in one direction of one exchange (or tunnel), between the phase of that body and the side that it
goes to.
"""

from mypy_extensions import mypyc_attr

from proxy.exchange import BY_FAULT, Exchange, Shaping
from proxy.performer import Ending
from proxy.wire.body import BodyReader
from rules.actions import EndCall
from rules.plan import Chosen
from rules.snapshot import Plan


@mypyc_attr(allow_interpreted_subclasses=True)
class Sink:
    """Where the content of one direction goes."""

    to_client: bool = False  # else to the upstream

    def pass_on(self, ex: Exchange, data: bytes) -> None:
        """Send content on its way."""
        raise NotImplementedError

    def hold(self, ex: Exchange) -> None:
        """Take no more content from where it comes."""
        raise NotImplementedError

    def release(self, ex: Exchange) -> None:
        """Undo ``hold``, without reading yet."""
        raise NotImplementedError

    def read_on(self, ex: Exchange) -> None:
        """Read on, unless something else holds."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class RequestSink(Sink):
    """The way of a request: what holds it holds the client's side."""

    def hold(self, ex: Exchange) -> None:
        ex.body_held += 1
        ex.client.pause(BY_FAULT)

    def release(self, ex: Exchange) -> None:
        ex.body_held -= 1

    def read_on(self, ex: Exchange) -> None:
        ex.client.resume(BY_FAULT)
        ex.client.go_on_reading()


@mypyc_attr(allow_interpreted_subclasses=True)
class AnswerSink(Sink):
    """The way of an answer: what holds it holds the upstream's side."""

    to_client = True

    def hold(self, ex: Exchange) -> None:
        ex.response_held += 1
        if ex.upstream is not None:
            ex.upstream.pause(BY_FAULT)

    def release(self, ex: Exchange) -> None:
        ex.response_held -= 1

    def read_on(self, ex: Exchange) -> None:
        if ex.upstream is not None:
            ex.upstream.resume(BY_FAULT)
        if ex.upstream is not None:
            ex.upstream.go_on_reading()


class CallEnding(Ending):
    """How a call ends by a fault; the path knows."""

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        """End the call towards its client with this status."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Row(Shaping):
    """One filter: content in by ``feed``, and on to what stands behind it."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: Ending,
        behind: Shaping | None,
    ) -> None:
        self.ex: Exchange = ex
        self.plan: Plan = plan
        self.chosen: Chosen = chosen
        self.sink: Sink = sink
        self.ending: Ending = ending
        self.behind: Shaping | None = behind
        self.proven: bool = False
        self.off: bool = False  # what comes passes: the rule does not want it any more

    def send(self, data: bytes) -> None:
        """Give content to what stands behind."""
        behind = self.behind
        if behind is not None:
            behind.feed(data)
        else:
            self.sink.pass_on(self.ex, data)

    def close(self, reader: BodyReader) -> None:
        if self.behind is not None:
            self.behind.close(reader)

    def closing(self) -> EndCall | None:
        return None if self.behind is None else self.behind.closing()

    def keeps_length(self) -> bool:
        return self.behind is None or self.behind.keeps_length()

    def withdrawn(self) -> bool:
        """Tell whether the rule went away, or all faults were stopped, since this was planned."""
        if self.off:
            return True
        live = self.ex.worker.live
        return live.stopped or not live.snapshot.in_force(self.chosen.rule.name)

    def let_go(self) -> None:
        """Pass on all that is held back."""

    def acts(self) -> None:
        """Count the injection, before the first time."""
        self.plan.acted(self.chosen)
        self.ex.client.faulted()

    def prove(self) -> None:
        """Leave proof, once."""
        if not self.proven:
            self.proven = True
            self.ending.injected(self.ex, self.plan, self.chosen)
