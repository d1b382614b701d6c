"""TLS over any transport: the handshake flight by flight, and then a transport as connections know it.

OpenSSL works in memory here (``ssl.MemoryBIO``): what it wants to send is ours to send, later, in part or
not at all.  ``Handshake`` is driven by whoever has the raw transport; ``TlsTransport`` stands between that
transport, whose protocol it is, and a connection, whose transport it is.

Nothing of ours is buffered: what is written is encrypted at once and passed on, so the raw transport's
pressure is passed through as it is.
"""

import asyncio
import ssl
from typing import Any, Final

# The largest content of a record (RFC 8446, section 5.1): a read of this size leaves nothing in OpenSSL.
_RECORD: Final = 16384


class Handshake:
    """One side of a handshake, without I/O.  ``server_name`` is for the client's side."""

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_name: str | None = None) -> None:
        self.incoming: ssl.MemoryBIO = ssl.MemoryBIO()
        self.outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self.side: ssl.SSLObject = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_name
        )

    def step(self, data: bytes) -> bool:
        """Take what came and go on; True: complete.  Raises ssl.SSLError; ``flight`` then has the alert."""
        if data:
            self.incoming.write(data)
        try:
            self.side.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def flight(self) -> bytes:
        """Give what is to be sent now."""
        return self.outgoing.read()

    def protocol(self) -> str:
        """Give what ALPN has chosen, "" where nothing was."""
        return self.side.selected_alpn_protocol() or ""


class TlsTransport:
    """A transport over a raw one: what connections call, and what the raw one calls.

    An orderly end is close_notify (RFC 8446, section 6.1); FIN without it is one too, but
    ``get_extra_info("truncated")`` is then true: bytes may be missing that an attacker cut off.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, raw: Any, handshake: Any) -> None:
        """``handshake``: a ``Handshake``, or what has its names (``certs.shaped``), complete."""
        self.loop: asyncio.AbstractEventLoop = loop
        self.raw: Any = raw
        self.side: Any = handshake.side
        self.incoming: Any = handshake.incoming
        self.outgoing: Any = handshake.outgoing
        self.chosen: str = handshake.protocol()  # by ALPN, "": nothing
        self.protocol: Any = None
        self.trouble: Exception | None = None  # with which the connection ends
        self.closing: bool = False
        self.finished: bool = False  # nothing more is sent
        self.silent: bool = False  # our end is not announced
        self.paused: bool = False
        self.held: bytes = b""  # decrypted while reading was paused
        self.eof: bool = False  # the peer sends no more
        self.eof_told: bool = False
        self.truncated: bool = False

    # --- what the raw transport calls

    def data_received(self, data: bytes) -> None:
        """Decrypt what came and pass it on."""
        self.incoming.write(data)
        if not self.paused:
            self._deliver()

    def eof_received(self) -> bool:
        """FIN has come."""
        if not self.eof and not self.held:
            self._deliver()  # what a pause may have left
        if not self.eof:
            self.eof = True
            self.truncated = True
        self._tell_eof()
        return not self.closing

    def connection_lost(self, error: Exception | None) -> None:
        """The raw connection is gone."""
        self.closing = True
        if self.trouble is None:
            self.trouble = error
        protocol = self.protocol
        self.protocol = None  # the two know each other: no cycle is left
        if protocol is not None:
            protocol.connection_lost(self.trouble)

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        if self.protocol is not None:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self.protocol is not None:
            self.protocol.resume_writing()

    # --- in

    def start(self) -> None:
        """Deliver what came together with the end of the handshake."""
        if self.incoming.pending and not self.paused:
            self._deliver()

    def wait(self) -> None:
        """Hold what comes until ``open``: it is not known yet for whom it is."""
        self.paused = True

    def open(self, protocol: Any) -> None:
        """Begin to work for a connection."""
        self.protocol = protocol
        self.paused = False
        protocol.connection_made(self)
        if self.closing:
            self.protocol = None
            protocol.connection_lost(self.trouble)  # it came to its end while it waited
        else:
            self.loop.call_soon(self._wake)

    def _deliver(self) -> None:
        """Pass on all that can be decrypted, as one piece."""
        data = self.held
        if data:
            self.held = b""
            data += self._decrypt()
        else:
            data = self._decrypt()
        if data and self.protocol is not None and not self.closing:
            self.protocol.data_received(data)
        if self.outgoing.pending and not self.closing:
            self.raw.write(self.outgoing.read())  # the answer to a KeyUpdate
        if self.trouble is not None:
            self._break()
        elif self.eof:
            self._tell_eof()

    def _decrypt(self) -> bytes:
        """Read all records that are here.  One is the rule, and asking for more costs an exception."""
        incoming = self.incoming
        data = self._record()
        if not data or not incoming.pending:
            return data
        pieces = [data]
        while incoming.pending:
            data = self._record()
            if not data:
                break
            pieces.append(data)
        return b"".join(pieces)

    def _record(self) -> bytes:
        """Read one record; b"": it is not here as a whole, or there will be no more."""
        try:
            data: bytes = self.side.read(_RECORD)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:  # close_notify, once we have sent ours
            data = b""
        except ssl.SSLError as error:
            self.trouble = error
            return b""
        if not data:
            self.eof = True
        return data

    def _tell_eof(self) -> None:
        """Tell the connection once that its peer sends no more; it says whether it still wants to."""
        if self.eof_told or self.paused or self.protocol is None or self.closing:
            return
        self.eof_told = True
        if not self.protocol.eof_received():
            self.close()

    def _break(self) -> None:
        """The peer broke the protocol, or said so of us: OpenSSL's alert, if it has one, goes out."""
        self.finished = True
        if self.outgoing.pending:
            self.raw.write(self.outgoing.read())
        self.closing = True
        self.raw.close()

    def _wake(self) -> None:
        """Reading goes on after a pause."""
        if not self.paused and not self.closing:
            self._deliver()

    # --- what a connection calls

    def set_protocol(self, protocol: Any) -> None:
        """Give all that comes from now on to another protocol."""
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Answer for the TLS side, else what the raw transport answers."""
        if name == "ssl_object":
            return self.side
        if name == "truncated":
            return self.truncated
        found = self.raw.get_extra_info(name)
        return default if found is None else found

    def write(self, data: bytes) -> None:
        """Encrypt and send; after close_notify: nothing."""
        if self.finished or not data:
            return
        try:
            self.side.write(data)
        except ssl.SSLError as error:
            self.trouble = error
            self._break()
            return
        self.raw.write(self.outgoing.read())

    def writelines(self, pieces: list[bytes]) -> None:
        """Encrypt and send all of it: full records cost less than the copy."""
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        """Tell whether one direction can end before the other."""
        return bool(self.raw.can_write_eof())

    def write_eof(self) -> None:
        """End our direction: close_notify, then FIN; what the peer still sends is read."""
        if not self.finished:
            if self.incoming.pending:
                self.held += self._decrypt()  # SSL_shutdown would look for close_notify there
            self._say_goodbye()
        self.raw.write_eof()

    def _say_goodbye(self) -> None:
        self.finished = True
        if self.silent:
            return
        try:
            self.side.unwrap()
        except ssl.SSLError:  # the peer's close_notify is not here yet: it need not be waited for
            pass
        if self.outgoing.pending:
            self.raw.write(self.outgoing.read())

    def rescue(self, data: bytes) -> bytes:
        """Decrypt what was found on the socket after the raw transport had ended."""
        self.incoming.write(data)
        return self._decrypt()

    def forget_goodbye(self) -> None:
        """End without close_notify, whoever ends this connection."""
        self.silent = True

    def is_closing(self) -> bool:
        """Tell whether the connection ends or has ended."""
        return self.closing or bool(self.raw.is_closing())

    def close(self) -> None:
        """Send what was written and close_notify, then close."""
        if self.closing:
            return
        self.closing = True
        if not self.finished and not self.raw.is_closing():
            self._say_goodbye()
        self.raw.close()

    def abort(self) -> None:
        """Close at once; nothing more is sent."""
        self.closing = True
        self.finished = True
        self.raw.abort()

    def pause_reading(self) -> None:
        """Stop reading."""
        self.paused = True
        self.raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again; what was held comes at the loop's next turn."""
        self.paused = False
        self.raw.resume_reading()
        if self.held or self.incoming.pending or (self.eof and not self.eof_told):
            self.loop.call_soon(self._wake)

    def get_write_buffer_size(self) -> int:
        """Count the bytes that wait to be sent."""
        return int(self.raw.get_write_buffer_size())
