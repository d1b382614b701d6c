"""A resolver that answers over UDP and TCP on one port as a test says, and counts what it was asked."""

import socket
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# What a zone may say of a name besides its records.
NXDOMAIN = "nxdomain"
SERVFAIL = "servfail"
REFUSED = "refused"
NODATA = "nodata"
SILENCE = "silence"
TRUNCATED = "truncated"  # over UDP; over TCP the records

Zone = dict[str, "str | dict[str, list[str]]"]


class Resolver:
    """Serves ``zone``: a name leads to records by type, or to one of the words above; others do not exist.

    ``down``: it says nothing at all.  ``asked`` has (name, type, transport) of each question.
    """

    def __init__(self, zone: Zone, ttl: int = 60, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = zone
        self.ttl = ttl
        self.down = False
        self.asked: list[tuple[str, str, str]] = []
        self.shape: Callable[[dns.message.Message], None] | None = None  # the last word on an answer
        self._stream, self._packets = _servers(host, port)
        self.port = self._stream.server_address[1]
        self._servers = (self._stream, self._packets)
        for server in self._servers:
            server.resolver = self
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, name: str) -> int:
        """How often anything of this name was asked for."""
        return sum(asked == name for asked, _, _ in self.asked)

    def __enter__(self) -> "Resolver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, packet: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(packet)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        held = self.zone.get(name, NXDOMAIN)
        if self.down or held == SILENCE:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if isinstance(held, str):
            self._special(held, response)
        elif TRUNCATED in held and transport == "udp":
            response.flags |= dns.flags.TC
        elif held.get(kind):
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *held[kind]))
        if self.shape is not None:
            self.shape(response)
        try:
            return response.to_wire()
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _special(self, word: str, response: dns.message.Message) -> None:
        codes = {
            NXDOMAIN: dns.rcode.NXDOMAIN,
            SERVFAIL: dns.rcode.SERVFAIL,
            REFUSED: dns.rcode.REFUSED,
            NODATA: dns.rcode.NOERROR,
        }
        response.set_rcode(codes[word])


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    resolver: Resolver


class _Packets(socketserver.ThreadingUDPServer):
    daemon_threads = True
    resolver: Resolver


def _servers(host: str, port: int) -> tuple[_Server, _Packets]:
    """Listen for TCP and UDP on one port; of port 0 one that is free for both."""
    while True:
        stream = _Server((host, port), _Stream)
        try:
            return stream, _Packets((host, stream.server_address[1]), _Packet)
        except OSError:
            stream.server_close()
            if port:
                raise


class _Packet(socketserver.BaseRequestHandler):
    server: _Packets

    def handle(self) -> None:
        packet, sock = self.request
        answer = self.server.resolver.answer(packet, "udp")
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _Stream(socketserver.StreamRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        while len(size := self.rfile.read(2)) == 2:
            answer = self.server.resolver.answer(self.rfile.read(int.from_bytes(size, "big")), "tcp")
            if answer is not None:
                self.request.sendall(len(answer).to_bytes(2, "big") + answer)
