"""One connection's transport: gathered writes, reasons to pause, ends as asked."""

import socket
from typing import Any

import pytest

from proxy.exchange import BY_BUFFER, BY_END, BY_PEER
from proxy.net.pipe import Cork, Pipe
from tests.support.fakes import FakeTimers, FakeTransport


class Transport(FakeTransport):
    """Counts writes; says how much is unsent."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.unsent = 0
        self.socket: Any = None

    def write(self, data: bytes) -> None:
        self.writes.append("write")
        super().write(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.writes.append("writelines")
        self.written.extend(pieces)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else super().get_extra_info(name)


def made() -> tuple[Pipe, Transport, Cork, FakeTimers]:
    cork, timers, transport = Cork(), FakeTimers(), Transport()
    pipe = Pipe(cork, timers)
    pipe.attach(transport)  # type: ignore[arg-type]
    return pipe, transport, cork, timers


# --- writing


def test_without_the_cork_each_piece_leaves_at_once() -> None:
    pipe, transport, _, _ = made()
    pipe.send(b"a")
    pipe.send(b"b")
    assert transport.written == [b"a", b"b"]


def test_with_the_cork_in_pieces_leave_together_when_it_is_pulled() -> None:
    pipe, transport, cork, _ = made()
    cork.closed = True
    for piece in (b"head", b"er", b"body"):
        pipe.send(piece)
    assert transport.written == []
    cork.flush()
    assert (transport.written, transport.writes) == ([b"headerbody"], ["write"])
    pipe.send(b"x")
    assert transport.written[-1] == b"x"
    cork.flush()
    assert len(transport.written) == 2


def test_one_piece_is_not_copied_and_large_ones_are_not_joined() -> None:
    pipe, transport, cork, _ = made()
    piece = bytes(1000)
    cork.closed = True
    pipe.send(piece)
    cork.flush()
    assert transport.written[0] is piece
    cork.closed = True
    large = bytes(65536)
    pipe.send(piece)
    pipe.send(large)
    cork.flush()
    assert (transport.writes, transport.written[1:]) == (["write", "writelines"], [piece, large])


def test_each_of_several_pipes_writes_what_is_its_own() -> None:
    cork = Cork()
    transports = [Transport() for _ in range(3)]
    pipes = [Pipe(cork, FakeTimers()) for _ in transports]
    cork.closed = True
    for number, (pipe, transport) in enumerate(zip(pipes, transports, strict=True)):
        pipe.attach(transport)  # type: ignore[arg-type]
        pipe.send(b"%d" % number)
        pipe.send(b"!")
    cork.flush()
    assert [transport.written for transport in transports] == [[b"0!"], [b"1!"], [b"2!"]]


def test_after_the_connection_nothing_is_sent() -> None:
    pipe, transport, cork, _ = made()
    cork.closed = True
    pipe.send(b"lost")
    pipe.detach()
    cork.flush()
    pipe.send(b"late")
    pipe.pause(BY_PEER)
    pipe.resume(BY_PEER)
    pipe.finish()
    pipe.close()
    pipe.reset(True)
    assert (transport.written, transport.closing, pipe.peer_gone()) == ([], False, False)


# --- reading


def test_reading_stops_at_the_first_reason_and_goes_on_without_the_last() -> None:
    pipe, transport, _, _ = made()
    pipe.pause(BY_PEER)
    pipe.pause(BY_BUFFER)  # the transport would not take a second pause
    pipe.pause(BY_PEER)
    pipe.resume(BY_PEER)
    assert transport.paused
    pipe.resume(BY_END)  # not a reason that held
    assert transport.paused
    pipe.resume(BY_BUFFER)
    pipe.resume(BY_BUFFER)
    assert (transport.paused, pipe.reasons) == (False, 0)


def test_all_reasons_can_be_taken_away_at_once() -> None:
    pipe, transport, _, _ = made()
    pipe.pause(BY_PEER)
    pipe.pause(BY_BUFFER)
    pipe.resume(~0)
    assert (transport.paused, pipe.reasons) == (False, 0)


def test_a_transport_that_is_closing_is_left_alone() -> None:
    pipe, transport, _, _ = made()
    pipe.close()
    pipe.pause(BY_PEER)
    pipe.resume(BY_PEER)
    assert (transport.paused, transport.closing) == (False, True)


# --- ends


def test_fin_and_close_come_after_what_was_gathered() -> None:
    for end in ("finish", "close"):
        pipe, transport, cork, _ = made()
        cork.closed = True
        pipe.send(b"last")
        getattr(pipe, end)()
        assert transport.written == [b"last"]
        assert (transport.ended, transport.closing) == (end == "finish", end == "close")


def test_a_reset_is_at_once_where_nothing_is_under_way() -> None:
    pipe, transport, _, timers = made()
    pipe.reset(False)
    assert (transport.aborted, timers.armed) == (True, 0)


def test_a_reset_waits_until_all_was_acknowledged() -> None:
    pipe, transport, _, timers = made()
    transport.unsent = 10
    pipe.reset(False)
    timers.advance(1)
    assert (transport.aborted, transport.closing) == (False, False)
    transport.unsent = 0
    timers.advance(0.002)
    assert (transport.aborted, timers.armed) == (True, 0)


def test_a_reset_gives_time_to_read_what_just_arrived() -> None:
    pipe, transport, _, timers = made()
    transport.unsent = 10
    pipe.reset(True)
    timers.advance(0.5)
    transport.unsent = 0
    timers.advance(0.014)
    assert (transport.aborted, transport.closing) == (False, False)
    timers.advance(0.004)
    assert (transport.aborted, transport.closing) == (True, True)


def test_a_reset_does_not_wait_for_ever() -> None:
    pipe, transport, _, timers = made()
    transport.unsent = 10
    pipe.reset(True)
    timers.advance(4.9)
    assert (transport.aborted, transport.closing) == (False, False)
    timers.advance(0.2)
    assert (transport.aborted, transport.closing) == (True, True)


def test_what_waits_to_be_reset_is_not_closed_and_sends_no_more() -> None:
    pipe, transport, cork, timers = made()
    cork.closed = True
    pipe.send(b"before")
    transport.unsent = 6
    pipe.reset(True)
    pipe.reset(False)
    pipe.send(b"after")
    pipe.close()
    pipe.finish()
    cork.flush()
    assert (transport.written, transport.closing, transport.ended) == ([b"before"], False, False)
    transport.unsent = 0
    timers.advance(0.1)
    assert transport.aborted


def test_a_connection_that_is_gone_before_its_reset_needs_none() -> None:
    pipe, transport, _, timers = made()
    pipe.reset(True)
    pipe.detach()
    timers.advance(10)
    assert (transport.aborted, timers.armed) == (False, 0)


class Silent:
    """A socket whose peer has sent FIN."""

    family = socket.AF_INET

    def __init__(self, state: int) -> None:
        self.state = state

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return bytes([self.state])


@pytest.mark.parametrize(("state", "gone"), [(1, False), (8, True), (7, True), (4, False)])
def test_a_peer_is_asked_after_only_while_nobody_reads(state: int, gone: bool) -> None:
    pipe, transport, _, _ = made()
    transport.socket = Silent(state)
    assert not pipe.peer_gone()  # the loop itself notices
    pipe.pause(BY_BUFFER)
    assert pipe.peer_gone() == gone
