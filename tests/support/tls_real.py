"""Servers that really do what the faults of TLS pretend, out of OpenSSL's own hands."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.need import need
from tests.support.pki import Pair
from tests.support.process import Process

Play = Callable[[socket.socket, bytes, Pair], None]
End = Callable[[socket.socket], None]


class SServer:
    """``openssl s_server`` with these options."""

    def __init__(self, pair: Pair, *options: str) -> None:
        self._process = Process(
            [need("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", str(pair.chain),
             "-key", str(pair.key), "-www", *options]
        )  # fmt: skip
        self.port = int(self._process.wait_line(r"ACCEPT .*:(\d+)")[1])

    def stop(self) -> None:
        """End it."""
        self._process.stop()


class Played:
    """A server that reads the ClientHello of each connection and hands both to a function."""

    def __init__(self, pair: Pair, play: Play) -> None:
        self._pair, self._play = pair, play
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError), client:
            client.settimeout(10)
            self._play(client, client.recv(65536), self._pair)

    def stop(self) -> None:
        """Accept no more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def reset(client: socket.socket) -> None:
    """End by RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def close(client: socket.socket) -> None:
    """End by FIN; what the client still says is read, so that no RST follows."""
    client.shutdown(socket.SHUT_WR)
    hold(client)


def hold(client: socket.socket) -> None:
    """Say nothing until the client gives up."""
    with suppress(OSError):
        while client.recv(65536):
            pass


def at_client_hello(end: End) -> Play:
    """End before anything was said."""
    return lambda client, hello, pair: end(client)


def at_server_hello(end: End) -> Play:
    """Let OpenSSL answer, send its first record, and end."""

    def play(client: socket.socket, hello: bytes, pair: Pair) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = pair.server().wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(hello)
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
        flight = outgoing.read()
        client.sendall(flight[: 5 + int.from_bytes(flight[3:5])])
        end(client)

    return play


def at_finished(end: End) -> Play:
    """Go through the whole handshake, and end."""

    def play(client: socket.socket, hello: bytes, pair: Pair) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = pair.server("h2", "http/1.1")
        context.num_tickets = 0
        side = context.wrap_bio(incoming, outgoing, server_side=True)
        while hello:
            incoming.write(hello)
            try:
                side.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                hello = client.recv(65536)
        client.sendall(outgoing.read())
        end(client)

    return play
