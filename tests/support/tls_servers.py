"""TLS servers with a certificate each, that share no code with the proxy: Python's ssl in threads.

A request over HTTP/1.1 is answered with 200, a gRPC call over HTTP/2 (if ALPN chose it) with UNIMPLEMENTED.
Where ``ssl`` cannot (a stapled response), ``openssl s_server`` can: ``stapling``.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.need import need
from tests.support.process import Process, free_port, listening

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
# Two frames as RFC 9113 (4.1) writes them: empty SETTINGS; HEADERS that end stream 1, without any table.
_SETTINGS = b"\0\0\0\x04\0" + b"\0\0\0\0"
_BLOCK = b"\x88" + b"".join(
    b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    for name, value in ((b"content-type", b"application/grpc"), (b"grpc-status", b"12"))
)
_UNIMPLEMENTED = len(_BLOCK).to_bytes(3, "big") + b"\x01\x05" + b"\0\0\0\x01" + _BLOCK


def context(chain_pem: bytes, key_pem: bytes, folder: Path, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Make a server's context that shows anything: OpenSSL's security level 0."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    path = folder / "server.pem"
    path.write_bytes(chain_pem + key_pem)
    made.load_cert_chain(path)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


class TlsServer:
    """Accepts on a port of 127.0.0.1 and answers each connection's first request."""

    def __init__(self, shown: ssl.SSLContext) -> None:
        self.context = shown
        self.names: list[str | None] = []  # the names that clients asked for
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        shown.sni_callback = self._note
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _note(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        with contextlib.suppress(OSError), sock, self.context.wrap_socket(sock, server_side=True) as tls:
            if tls.selected_alpn_protocol() == "h2":
                tls.sendall(_SETTINGS)
                if _read(tls, b"\0\x01\0\0\0\x01"):  # DATA that ends stream 1
                    tls.sendall(_UNIMPLEMENTED)
                    _read(tls, b"never")
            elif _read(tls, b"\r\n\r\n"):
                tls.sendall(ANSWER)
                tls.unwrap()

    def close(self) -> None:
        """Accept no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)


def _read(tls: ssl.SSLSocket, until: bytes) -> bool:
    """Read until something has come; False where the client ends before."""
    seen = b""
    while until not in seen:
        piece = tls.recv(65_536)
        if not piece:
            return False
        seen += piece
    return True


@contextmanager
def serving(
    chain_pem: bytes, key_pem: bytes, folder: Path, alpn: tuple[str, ...] = ()
) -> Iterator[TlsServer]:
    """Run a server with a certificate."""
    server = TlsServer(context(chain_pem, key_pem, folder, alpn))
    try:
        yield server
    finally:
        server.close()


@contextmanager
def stapling(chain_pem: bytes, key_pem: bytes, ocsp: bytes, folder: Path) -> Iterator[int]:
    """Run ``openssl s_server`` with a stapled response (DER); gives its port."""
    files = {"leaf.pem": chain_pem, "rest.pem": chain_pem.partition(b"-----END CERTIFICATE-----\n")[2]}
    files |= {"key.pem": key_pem, "response": ocsp}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    port = free_port()
    command = [need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(folder / "leaf.pem")]
    command += ["-cert_chain", str(folder / "rest.pem"), "-key", str(folder / "key.pem"), "-www"]
    command += ["-status_file", str(folder / "response")]
    process = Process(command)
    try:
        process.wait_for(lambda: listening(port))
        yield port
    finally:
        process.stop()


@contextmanager
def breaking(answer: bytes = b"", *, reset: bool = False) -> Iterator[int]:
    """Listen, read a ClientHello, send ``answer`` and end the connection, by RST if asked; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock:
                        sock.recv(65_536)
                        sock.sendall(answer)
                        if reset:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
