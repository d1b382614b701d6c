"""Does to the messages of a gRPC call what faults have decided, as they pass, byte by byte.

A shaping stands in one direction of one exchange, between the phase of that body and the side that it goes
to; several stand behind each other.  It holds no message: a piece that came is passed on, but for what waits
while a message is held back (the path reads no more meanwhile), and a copy of one that is to come twice.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from proxy.exchange import Exchange, Shaping
from proxy.performer import Ending, Performance, Then
from proxy.wire.body import BodyReader
from proxy.wire.grpc import PREFIX, Messages
from rules.actions import DROP, GARBLE, HOLD_BACK, REPEAT, EndCall, ShapeMessages
from rules.fault import CLIENT
from rules.plan import Chosen
from rules.snapshot import Plan

# A message of more bytes is not sent twice: its copy would have to be held.
MOST_COPIED: Final = 1 << 20


@mypyc_attr(allow_interpreted_subclasses=True)
class Sink:
    """Where the content of one direction goes."""

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


class CallEnding(Ending):
    """How a call ends by a fault; the path knows."""

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        """End the call towards its client with this status."""
        raise NotImplementedError


def attach(
    ex: Exchange, plan: Plan, faults: list[Chosen] | None, sink: Sink, ending: CallEnding
) -> Shaping | None:
    """Put a shaping in place for each of the faults that asks for it; gives the first."""
    facts = ex.facts
    first: Shaping | None = None
    if faults is None or facts is None:
        return None
    for chosen in reversed(faults):
        if not chosen.fault.shapes or not chosen.pending:
            continue
        action = chosen.fault.decide(facts, chosen.dice)
        if isinstance(action, ShapeMessages):
            first = _OfMessages(ex, plan, chosen, sink, ending, first, action)
        elif isinstance(action, EndCall):
            first = _Ending(ex, plan, chosen, sink, ending, first, action)
        else:
            chosen.cancel()
    return first


class _Row(Shaping):
    """What both sorts share: content in, message by message, and on to what stands behind."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: CallEnding,
        behind: Shaping | None,
    ) -> None:
        self.ex: Exchange = ex
        self.plan: Plan = plan
        self.chosen: Chosen = chosen
        self.sink: Sink = sink
        self.ending: CallEnding = ending
        self.behind: Shaping | None = behind
        self.messages: Messages = Messages()
        self.data: bytes = b""  # came and was not looked at yet,
        self.at: int = 0  # from here on
        self.held: bool = False
        self.proven: bool = False

    def feed(self, data: bytes) -> None:
        self.data = self.data[self.at :] + data if self.at < len(self.data) else data
        self.at = 0
        self.pump()

    def pump(self) -> None:
        """Pass on what has come, as far as the fault lets it."""
        messages = self.messages
        while self.at < len(self.data) and not self.held and not self.ex.over:
            if messages.between and not self.begins(messages.begun + 1):
                return
            start = self.at
            self.at = messages.follow(self.data, start)
            self.part(self.data[start : self.at])
            if messages.between:
                self.ended(messages.ended)

    def begins(self, number: int) -> bool:
        """Decide on a message that begins; False: it does not, yet or at all."""
        raise NotImplementedError

    def part(self, piece: bytes) -> None:
        """Pass on a part of a message."""
        raise NotImplementedError

    def ended(self, number: int) -> None:
        """Do what follows a message."""
        raise NotImplementedError

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

    def withdrawn(self) -> bool:
        """Tell whether the rule went away, or all faults were stopped, since this was planned."""
        live = self.ex.worker.live
        return live.stopped or not live.snapshot.in_force(self.chosen.rule.name)

    def acts(self) -> None:
        """Count the injection, before the first time."""
        self.plan.acted(self.chosen)
        self.ex.client.faulted()

    def prove(self) -> None:
        """Leave proof, once."""
        if not self.proven:
            self.proven = True
            self.ending.injected(self.ex, self.plan, self.chosen)


class _OfMessages(_Row):
    """One message, or each, is dropped, repeated, held back or given a wrong length."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: CallEnding,
        behind: Shaping | None,
        action: ShapeMessages,
    ) -> None:
        super().__init__(ex, plan, chosen, sink, ending, behind)
        self.what: int = action.what
        self.message: int = action.message
        self.seconds: float = action.seconds
        self.concerned: bool = False  # the message under way is one that the fault is about
        self.waited: int = 0  # this message was held back already
        self.copy: list[bytes] | None = None

    def begins(self, number: int) -> bool:
        self.concerned = (self.message == 0 or self.message == number) and not self.withdrawn()
        if not self.concerned:
            return True
        if self.what == HOLD_BACK:
            if self.waited == number:
                return True
            self.waited = number
            self._hold_back()
            return False
        if self.what == REPEAT:
            self.copy = []
        else:
            self.acts()
            self.prove()
        return True

    def _hold_back(self) -> None:
        self.acts()
        self.held = True
        self.sink.hold(self.ex)
        wait = Performance(self.ex, self.plan, [], _Resume(self), _Report(self))
        wait.hold(self.chosen, self.seconds)

    def resume(self) -> None:
        """The time has passed, or the rule went away."""
        self.held = False
        self.sink.release(self.ex)
        self.pump()
        self.sink.read_on(self.ex)

    def part(self, piece: bytes) -> None:
        if self.concerned:
            if self.what == DROP:
                return
            if self.what == GARBLE:
                piece = self._garbled(piece)
            copy = self.copy
            if copy is not None:
                copy.append(piece)
                if self.messages.at >= PREFIX and self.messages.length > MOST_COPIED:
                    self.copy = None
        self.send(piece)

    def _garbled(self, piece: bytes) -> bytes:
        """Flip the highest bit of the length, which is in the second byte of the message."""
        place = 1 - (self.messages.at - len(piece))
        if not 0 <= place < len(piece):
            return piece
        return piece[:place] + bytes((piece[place] ^ 0x80,)) + piece[place + 1 :]

    def ended(self, number: int) -> None:
        copy = self.copy
        self.copy = None
        if copy is not None:
            self.acts()
            self.prove()
            self.send(b"".join(copy))


class _Ending(_Row):
    """The call ends behind so many messages, or where it ends by itself but otherwise."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: CallEnding,
        behind: Shaping | None,
        action: EndCall,
    ) -> None:
        super().__init__(ex, plan, chosen, sink, ending, behind)
        self.action: EndCall = action

    def begins(self, number: int) -> bool:
        if self.action.after == 0 and not self.withdrawn():
            self._end()
            return False
        return True

    def part(self, piece: bytes) -> None:
        self.send(piece)

    def ended(self, number: int) -> None:
        if number == self.action.after and not self.withdrawn():
            self._end()

    def _end(self) -> None:
        self.acts()
        self.prove()
        reset = self.action.reset
        if reset is not None:
            self.ending.reset(self.ex, reset, CLIENT)
        else:
            self.ending.end_call(self.ex, self.action)

    def close(self, reader: BodyReader) -> None:
        super().close(reader)
        end = self.closing()
        if end is self.action:
            reader.change_status(end.status, end.message)

    def closing(self) -> EndCall | None:
        if self.action.after >= 0 or self.withdrawn():
            return super().closing()
        self.acts()
        self.prove()
        return self.action


class _Resume(Then):
    """A message was held back long enough."""

    def __init__(self, shaping: _OfMessages) -> None:
        self.shaping: _OfMessages = shaping

    def carry_on(self, ex: Exchange) -> None:
        self.shaping.resume()


class _Report(Ending):
    """What is told when a message was held back: proof once, however many there are."""

    def __init__(self, shaping: _OfMessages) -> None:
        self.shaping: _OfMessages = shaping

    def injected(self, ex: Exchange, plan: Plan, chosen: Chosen) -> None:
        self.shaping.prove()
