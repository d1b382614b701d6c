"""What the kernel is asked, with sockets of its own that nobody connects to."""

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.net import sockets


class Transport:
    """Holds a socket, as a loop's transport does."""

    def __init__(self, sock: Any, buffered: int = 0) -> None:
        self.sock = sock
        self.buffered = buffered
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return self.sock if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    listening = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listening.getsockname())
    other, _ = listening.accept()
    yield one, other
    for sock in (one, other, listening):
        sock.close()


def of(sock: Any, buffered: int = 0) -> Any:
    return Transport(sock, buffered)


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("192.0.2.7", 4242), "192.0.2.7"),
        (("2001:db8::1", 4242, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 4242, 0, 2), "fe80::1"),
        (("::ffff:192.0.2.7", 4242, 0, 0), "192.0.2.7"),
        (("::ffff:c000:207", 1, 0, 0), "::ffff:c000:207"),
        ("", ""),
        ("/run/socket", ""),
        (b"", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_the_name_of_a_peer_is_its_address(peer: Any, name: str) -> None:
    assert sockets.name_of(peer) == name


def test_a_reset_lingers_for_no_time_and_aborts(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = of(pair[0])
    sockets.reset(transport)
    linger = pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert (struct.unpack("ii", linger), transport.aborted) == ((1, 0), True)
    pair[0].close()
    with pytest.raises(ConnectionResetError):
        pair[1].recv(1)


@pytest.mark.parametrize("closed", [True, False])
def test_a_reset_of_what_is_closed_already_is_no_error(closed: bool) -> None:
    sock = socket.socket() if closed else None
    if sock is not None:
        sock.close()
    transport = of(sock)
    sockets.reset(transport)
    assert transport.aborted


def test_unsent_is_ours_and_the_kernels(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    assert sockets.unsent(of(one)) == 0
    assert sockets.unsent(of(one, 5)) == 5
    one.setblocking(False)
    sent = 0
    try:
        while True:
            sent += one.send(bytes(65536))
    except BlockingIOError:
        pass
    held = sockets.unsent(of(one, 5))
    if sys.platform == "linux":
        assert 5 < held <= sent + 5
    other.close()


def test_unsent_of_what_cannot_be_asked(tmp_path: Any) -> None:
    assert sockets.unsent(of(None, 7)) == 7
    unix = socket.socket(socket.AF_UNIX)
    assert sockets.unsent(of(unix, 7)) == 7
    unix.close()
    closed = socket.socket()
    closed.close()
    assert sockets.unsent(of(closed, 7)) == 0


@pytest.mark.parametrize("how", ["open", "half", "closed", "reset"])
def test_a_peer_that_left_is_noticed_without_reading(
    pair: tuple[socket.socket, socket.socket], how: str
) -> None:
    one, other = pair
    other.send(b"unread")
    if how == "half":
        other.shutdown(socket.SHUT_WR)
    elif how == "closed":
        other.close()
    elif how == "reset":
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
    assert sockets.peer_gone(of(one)) == (how != "open" and sys.platform == "linux")


def test_a_peer_that_cannot_be_asked_after() -> None:
    assert not sockets.peer_gone(of(None))
    unix = socket.socket(socket.AF_UNIX)
    assert not sockets.peer_gone(of(unix))
    unix.close()
    closed = socket.socket()
    closed.close()
    assert sockets.peer_gone(of(closed)) == (sys.platform == "linux")


def test_silent_peers_are_asked_whether_they_are_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sockets.keep_alive(listening, 90.0)
        with socket.create_connection(listening.getsockname()):
            taken, _ = listening.accept()
            with taken:  # what is accepted inherits it
                assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
                found = [taken.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
                assert found == [90, 30, 3]


def test_all_addresses_of_both_versions_are_bound() -> None:
    with sockets.bind_both(0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        for host in ("127.0.0.1", "::1") if bound.family == socket.AF_INET6 else ("127.0.0.1",):
            with socket.create_connection((host, port), 5.0):
                accepted, peer = bound.accept()
                assert sockets.name_of(peer) == host
                # Nobody has redirected it: there is no such thing, or it is its own address.
                assert sockets.original_destination(accepted) in (None, (host, port))
                accepted.close()


def test_only_connections_of_ip_can_have_been_redirected() -> None:
    one, other = socket.socketpair()
    assert sockets.original_destination(one) is None
    assert sockets.original_destination(None) is None
    one.close()
    other.close()


def test_our_own_addresses_are_known() -> None:
    assert sockets.is_ours("127.0.0.1")
    assert not sockets.is_ours("192.0.2.1")  # RFC 5737: of documentation
    assert not sockets.is_ours("2001:db8::1")  # RFC 3849


def test_addresses_are_written_as_in_a_configuration() -> None:
    assert sockets.address_text("192.0.2.1", 80) == "192.0.2.1:80"
    assert sockets.address_text("2001:db8::1", 80) == "[2001:db8::1]:80"
