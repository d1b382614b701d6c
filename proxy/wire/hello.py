"""The first message of a TLS client, read before anything is decided (RFC 8446, section 4.1.2).

Record layer and handshake are read as far as the ClientHello goes, whatever the pieces that it comes in:
``feed`` keeps every byte, so that all of it can be given to OpenSSL afterwards.  Nothing is verified that
OpenSSL verifies later; here only what would make reading go wrong is refused.
"""

from typing import Final

from proxy.wire.errors import ProtocolError

LIMIT: Final = 65536  # bytes of the message; real ones have 200 to 2,000, with post-quantum keys

# RFC 8446, section 6: the alerts that a bad ClientHello is answered with.
UNEXPECTED_MESSAGE: Final = 10
RECORD_OVERFLOW: Final = 22
DECODE_ERROR: Final = 50
PROTOCOL_VERSION: Final = 70
UNRECOGNIZED_NAME: Final = 112
INTERNAL_ERROR: Final = 80

HANDSHAKE: Final = 22  # the first byte of everything that a TLS client sends first
_CLIENT_HELLO: Final = 1
_LARGEST_RECORD: Final = 16384
# Records of one byte would make five of header for each: nobody does that, and it would multiply LIMIT.
_MOST_BYTES: Final = 2 * LIMIT

# The random of a ServerHello that is a HelloRetryRequest (RFC 8446, section 4.1.3).
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SESSION_TICKET: Final = 35  # RFC 5077
_PRE_SHARED_KEY: Final = 41
_SUPPORTED_VERSIONS: Final = 43

TLS12: Final = 0x0303
TLS13: Final = 0x0304


class HelloError(ProtocolError):
    """What came is no ClientHello; ``alert`` is the number of the alert that says so."""

    def __init__(self, alert: int, text: str) -> None:
        super().__init__(400, "tls_bad_hello", text)
        self.alert: int = alert


def alert_record(alert: int) -> bytes:
    """Write an alert as it is sent before keys are agreed on; close_notify and user_canceled are warnings."""
    return bytes([21, 3, 3, 0, 2, 1 if alert in (0, 90) else 2, alert])


def greets(flight: bytes) -> bool:
    """Tell whether a server's flight begins with a ServerHello, and not with a HelloRetryRequest."""
    return flight[0] == HANDSHAKE and flight[5:6] == b"\2" and flight[11:43] != _RETRY


class ClientHello:
    """What a ClientHello says, as far as anybody asks; lists keep the client's order, GREASE included."""

    def __init__(self) -> None:
        self.server_name: bytes = b""  # as it came; b"": none
        self.alpn: list[bytes] = []
        self.versions: list[int] = []  # 0x0304 is TLS 1.3
        self.ciphers: list[int] = []
        self.resumes: bool = False  # it offers a session: an id, a ticket, or a key of TLS 1.3

    def offers(self, version: int) -> bool:
        """Tell whether the client can speak this version."""
        return version in self.versions


class HelloReader:
    """Takes the bytes of a connection until the ClientHello is complete."""

    def __init__(self) -> None:
        self.received: bytes = b""  # every byte that came
        self.hello: ClientHello | None = None
        self._at: int = 0  # the record that is read next begins here
        self._message: bytes = b""  # of the handshake, without the records

    def feed(self, data: bytes) -> bool:
        """Take what came; True: the ClientHello is there.  Raises HelloError."""
        self.received += data
        if self.hello is not None:
            return True
        while self._record():
            if self._complete():
                return True
        if len(self.received) > _MOST_BYTES:
            raise HelloError(RECORD_OVERFLOW, "a ClientHello in too many records")
        return False

    def _record(self) -> bool:
        """Take one record; False: it is not here as a whole."""
        received = self.received
        at = self._at
        here = len(received) - at
        if here >= 1 and received[at] != HANDSHAKE:
            raise _no_handshake(received, at)
        if here >= 2 and received[at + 1] != 3:
            raise HelloError(PROTOCOL_VERSION, f"a record of version {received[at + 1]}.x, which is not TLS")
        if here < 5:
            return False
        length = _u16(received, at + 3)
        if length == 0:
            raise HelloError(DECODE_ERROR, "an empty handshake record")
        if length > _LARGEST_RECORD:
            raise HelloError(RECORD_OVERFLOW, f"a record of {length} bytes: at most 16384 are allowed")
        if here < 5 + length:
            return False
        self._message += received[at + 5 : at + 5 + length]
        self._at = at + 5 + length
        return True

    def _complete(self) -> bool:
        """Read the message if all of it is here."""
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise HelloError(
                UNEXPECTED_MESSAGE, f"a handshake begins with message {message[0]}, not a ClientHello"
            )
        if len(message) < 4:
            return False
        length = (message[1] << 16) + _u16(message, 2)
        if length > LIMIT:
            raise HelloError(DECODE_ERROR, f"a ClientHello of {length} bytes: at most {LIMIT}")
        if len(message) < 4 + length:
            return False
        self.hello = read_hello(message[4 : 4 + length])
        return True


def _no_handshake(received: bytes, at: int) -> HelloError:
    """Say what came instead of a handshake."""
    if at == 0 and (received[0] & 0x80 or 0x41 <= received[0] <= 0x5A):
        what = "SSL 2" if received[0] & 0x80 else "clear text"
        return HelloError(UNEXPECTED_MESSAGE, f"{what} on a port that speaks TLS")
    return HelloError(
        UNEXPECTED_MESSAGE, f"a record of type {received[at]} before the end of the ClientHello"
    )


def _u16(data: bytes, at: int) -> int:
    return (data[at] << 8) + data[at + 1]


def _vector(data: bytes, at: int, width: int, what: str) -> bytes:
    """Give the vector whose length stands at ``at`` in ``width`` bytes."""
    if at + width > len(data):
        raise HelloError(DECODE_ERROR, f"the ClientHello ends within {what}")
    length = data[at] if width == 1 else _u16(data, at)
    if at + width + length > len(data):
        raise HelloError(DECODE_ERROR, f"the ClientHello ends within {what}")
    return data[at + width : at + width + length]


def _numbers(data: bytes, what: str) -> list[int]:
    """Read a list of numbers of two bytes."""
    if len(data) % 2:
        raise HelloError(DECODE_ERROR, f"{what} of an odd length")
    return [_u16(data, at) for at in range(0, len(data), 2)]


def read_hello(body: bytes) -> ClientHello:
    """Read the message behind its header of four bytes.  Raises HelloError."""
    hello = ClientHello()
    if len(body) < 34:
        raise HelloError(DECODE_ERROR, "the ClientHello ends within its random bytes")
    legacy = _u16(body, 0)
    session = _vector(body, 34, 1, "the session id")
    at = 35 + len(session)
    ciphers = _vector(body, at, 2, "the cipher suites")
    hello.ciphers = _numbers(ciphers, "cipher suites")
    at += 2 + len(ciphers)
    at += 1 + len(_vector(body, at, 1, "the compression methods"))
    if at < len(body):  # a ClientHello without extensions ends here
        extensions = _vector(body, at, 2, "the extensions")
        if at + 2 + len(extensions) != len(body):
            raise HelloError(DECODE_ERROR, "bytes behind the extensions")
        _read_extensions(hello, extensions)
    if not hello.versions:
        hello.versions = [version for version in range(TLS12, 0x02FF, -1) if version <= legacy]
        # In TLS 1.3 the id is there for the looks of it only (RFC 8446, appendix D.4).
        hello.resumes = hello.resumes or len(session) > 0
    return hello


def _read_extensions(hello: ClientHello, extensions: bytes) -> None:
    at = 0
    while at < len(extensions):
        if at + 4 > len(extensions):
            raise HelloError(DECODE_ERROR, "the ClientHello ends within an extension")
        kind = _u16(extensions, at)
        data = _vector(extensions, at + 2, 2, f"extension {kind}")
        at += 4 + len(data)
        if kind == _SERVER_NAME:
            hello.server_name = _server_name(data)
        elif kind == _ALPN:
            hello.alpn = _protocols(data)
        elif kind == _SUPPORTED_VERSIONS:
            hello.versions = _numbers(_vector(data, 0, 1, "the versions"), "versions")
        elif kind == _PRE_SHARED_KEY or (kind == _SESSION_TICKET and len(data) > 0):
            hello.resumes = True


def _server_name(data: bytes) -> bytes:
    """Give the first host name of the extension (RFC 6066, section 3: there is but one)."""
    names = _vector(data, 0, 2, "the server name")
    at = 0
    while at < len(names):
        name = _vector(names, at + 1, 2, "the server name")
        if names[at] == 0:
            if not name or 0 in name:
                raise HelloError(DECODE_ERROR, "a server name that is empty or has a zero byte")
            return name
        at += 3 + len(name)
    return b""


def _protocols(data: bytes) -> list[bytes]:
    names = _vector(data, 0, 2, "the protocols (ALPN)")
    found: list[bytes] = []
    at = 0
    while at < len(names):
        name = _vector(names, at, 1, "the protocols (ALPN)")
        if not name:
            raise HelloError(DECODE_ERROR, "an empty protocol name (ALPN)")
        found.append(name)
        at += 1 + len(name)
    return found
