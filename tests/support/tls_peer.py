"""The other side of a TLS connection in memory: OpenSSL at the end of a fake transport."""

import ssl

from tests.support.fakes import FakeTransport


class TlsPeer:
    """Speaks TLS over a ``FakeTransport`` that the proxy writes to and a protocol of the proxy reads from."""

    def __init__(self, transport: FakeTransport, context: ssl.SSLContext, name: str | None = None) -> None:
        self.transport = transport
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.side = context.wrap_bio(
            self.incoming, self.outgoing, server_side=name is None, server_hostname=name
        )
        self.shaken = False
        self.got = b""
        self.ended = False  # close_notify has come

    def say(self) -> None:
        """Send what OpenSSL wants to send."""
        data = self.outgoing.read()
        if data:
            self.transport.gives(data)

    def hear(self) -> None:
        """Take what was written, and answer where the protocol asks for it."""
        self.incoming.write(self.transport.taken())
        try:
            if not self.shaken:
                self.side.do_handshake()
                self.shaken = True
            while not self.ended:
                data = self.side.read(65536)
                self.got += data
                self.ended = not data
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLWantReadError:
            pass

    def shake(self) -> None:
        """Go through the handshake."""
        for _ in range(4):
            self.hear()
            self.say()
        self.hear()

    def sends(self, data: bytes) -> None:
        """Send content."""
        self.side.write(data)
        self.say()

    def goodbye(self) -> bytes:
        """Give close_notify, encrypted."""
        try:
            self.side.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()

    def takes(self) -> bytes:
        """Give the content that has come since the last look."""
        self.hear()
        data, self.got = self.got, b""
        return data
