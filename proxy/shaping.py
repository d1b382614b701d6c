"""Does to the messages of a gRPC call what faults have decided, as they pass, byte by byte.

A shaping stands in one direction of one exchange, between the phase of that body and the side that it goes
to; several stand behind each other.  It holds no message: a piece that came is passed on, but for what waits
while a message is held back (the path reads no more meanwhile), and a copy of one that is to come twice.
"""

from typing import Final

from proxy.corruption import FlippingRow
from proxy.exchange import Exchange, Shaping
from proxy.gates import DripGate, Gate, LossGate, RateGate
from proxy.pacing import PacedRow
from proxy.performer import Ending, Performance, Then
from proxy.row import CallEnding, Row, Sink
from proxy.wire.body import BodyReader
from proxy.wire.grpc import PREFIX, Messages
from rules.actions import DROP, GARBLE, HOLD_BACK, REPEAT, Action, EndCall, ShapeMessages
from rules.body_actions import Drip, Flip, Lose, Throttle
from rules.fault import CLIENT
from rules.plan import Chosen
from rules.snapshot import Plan

# A message of more bytes is not sent twice: its copy would have to be held.
MOST_COPIED: Final = 1 << 20


def attach(
    ex: Exchange,
    plan: Plan,
    faults: list[Chosen] | None,
    sink: Sink,
    ending: CallEnding,
    behind: Shaping | None = None,
    length: int = -1,
) -> Shaping | None:
    """Put a shaping in place for each of the faults that asks for it, before ``behind``; gives the first.

    ``length``: how many bytes will come, -1 where nobody knows.
    """
    facts = ex.facts
    first = behind
    if faults is None or facts is None:
        return first
    for chosen in reversed(faults):
        fault = chosen.fault
        if not fault.shapes or chosen.cancelled or (chosen.acted and not fault.both):
            continue
        action = fault.decide(facts, chosen.dice)
        if isinstance(action, ShapeMessages):
            first = _OfMessages(ex, plan, chosen, sink, ending, first, action)
        elif isinstance(action, EndCall):
            first = _Ending(ex, plan, chosen, sink, ending, first, action)
        elif isinstance(action, Flip):
            first = FlippingRow(ex, plan, chosen, sink, ending, first, action, length, facts)
        else:
            gate = _gate(action, chosen, sink)
            if gate is None:
                chosen.cancel()
            else:
                first = PacedRow(ex, plan, chosen, sink, ending, first, gate)
    return first


def _gate(action: Action, chosen: Chosen, sink: Sink) -> Gate | None:
    """Make the gate of an action that paces, None for the others."""
    if isinstance(action, Throttle):
        bucket = chosen.dice.memory if action.shared else []
        return RateGate(action, bucket, 0 if sink.to_client else 1)
    if isinstance(action, Drip):
        return DripGate(action)
    if isinstance(action, Lose):
        return LossGate(action, chosen.dice)
    return None


class _OfCall(Row):
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
        super().__init__(ex, plan, chosen, sink, ending, behind)
        self.end: CallEnding = ending
        self.messages: Messages = Messages()
        self.data: bytes = b""  # came and was not looked at yet,
        self.at: int = 0  # from here on
        self.held: bool = False

    def keeps_length(self) -> bool:
        return False

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


class _OfMessages(_OfCall):
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


class _Ending(_OfCall):
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
            self.end.reset(self.ex, reset, CLIENT)
        else:
            self.end.end_call(self.ex, self.action)

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
