"""What a conformance case talks through: a socket, or a server without one."""

import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from tests.support.h2_server import Echo


class Quiet(Exception):
    """Nothing came for so long that nothing will come."""


class Channel(Protocol):
    """One connection to the server under test."""

    def send(self, data: bytes) -> None:
        """Send; a connection that the other side has closed swallows it."""

    def receive(self) -> bytes:
        """Give what came, b"" when the connection is closed; raises Quiet."""

    def close(self) -> None:
        """Let go of it."""


Connect = Callable[[], Channel]


class EchoChannel:
    """Straight into a server without sockets, ``step`` bytes at a time (0: as they come)."""

    def __init__(self, step: int = 0) -> None:
        self._echo = Echo()
        self._step = step
        self._coming = self._echo.take()

    def send(self, data: bytes) -> None:
        step = self._step or len(data) or 1
        for at in range(0, len(data), step):
            self._coming += self._echo.receive(data[at : at + step])

    def receive(self) -> bytes:
        coming, self._coming = self._coming, b""
        if not coming and not self._echo.closed:
            raise Quiet
        return coming

    def close(self) -> None:
        self._echo.closed = True


class SocketChannel:
    """Over TCP; ``patience`` is how many seconds of silence mean that nothing will come."""

    def __init__(self, host: str, port: int, patience: float = 1.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            raise Quiet from None
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self._socket.close()


class TlsChannel(SocketChannel):
    """The same over TLS, with HTTP/2 by ALPN; whose certificate it is does not matter here."""

    def __init__(self, host: str, port: int, patience: float = 1.0) -> None:
        super().__init__(host, port, patience)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self._tls = context.wrap_socket(self._socket, server_hostname="localhost")
        assert self._tls.selected_alpn_protocol() == "h2"

    def send(self, data: bytes) -> None:
        try:
            self._tls.sendall(data)
        except OSError:  # ssl's errors are of this kind
            pass

    def receive(self) -> bytes:
        try:
            return self._tls.recv(65536)
        except TimeoutError:
            raise Quiet from None
        except OSError:
            return b""

    def close(self) -> None:
        self._tls.close()
