"""What pyOpenSSL's connections lack to stand in for ``ssl``'s: the names, and the errors, of its objects."""

import ssl
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from certs import records

_READ: Final = 65536


def words(error: Exception) -> str:
    """Give what OpenSSL says went wrong, in its own words."""
    found = error.args[0] if error.args else ""
    if isinstance(found, list):
        found = found[0][2] if found else ""
    return str(found)


def as_ssl(error: SSL.Error) -> ssl.SSLError:
    """Say what went wrong the way ``ssl`` does."""
    return ssl_error(words(error))


def ssl_error(found: str) -> ssl.SSLError:
    """Make the error of ``ssl`` with these words."""
    told = ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL] {found}")
    told.reason = found.upper().replace(" ", "_")
    return told


class Side:
    """What ``ssl.SSLObject`` is once the handshake is over."""

    session_reused = False  # there is nothing that could be

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def read(self, size: int = _READ) -> bytes:
        """Decrypt one record; b"": close_notify has come.  Raises ssl.SSLWantReadError, ssl.SSLError."""
        try:
            return self._connection.recv(size)
        except SSL.WantReadError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more is needed") from None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise as_ssl(error) from None

    def write(self, data: bytes) -> int:
        """Encrypt; raises ssl.SSLError."""
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise as_ssl(error) from None
        return len(data)

    def unwrap(self) -> None:
        """Announce the end; the peer's own announcement is not waited for."""
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            raise as_ssl(error) from None

    def selected_alpn_protocol(self) -> str | None:
        """Give what ALPN has chosen."""
        return self._connection.get_alpn_proto_negotiated().decode() or None

    def version(self) -> str:
        """Give the version that is spoken, such as TLSv1.3."""
        return self._connection.get_protocol_version_name()

    def cipher(self) -> tuple[str, str, int] | None:
        """Give the cipher: name, version, bits."""
        name = self._connection.get_cipher_name()
        if name is None:
            return None
        return name, self._connection.get_cipher_version() or "", self._connection.get_cipher_bits() or 0

    def getpeercert(self, binary_form: bool = False) -> bytes | dict[str, Any] | None:
        """Give the client's certificate as DER, or its subject and names the way ``ssl`` gives them."""
        shown = self._connection.get_peer_certificate(as_cryptography=True)
        if shown is None:
            return None
        return shown.public_bytes(Encoding.DER) if binary_form else _decoded(shown)


def _decoded(shown: x509.Certificate) -> dict[str, Any]:
    """Write subject and alternative names as ``ssl.SSLSocket.getpeercert`` does."""
    subject = tuple(tuple((part.oid._name, part.value) for part in group) for group in shown.subject.rdns)
    names: list[tuple[str, str]] = []
    try:
        told = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        told = x509.SubjectAlternativeName([])
    for name in told:
        if type(name) in _NAMES:
            names.append((_NAMES[type(name)], str(name.value)))
    return {"subject": subject, "subjectAltName": tuple(names)}


_NAMES: Final[dict[type[x509.GeneralName], str]] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP Address",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "URI",
}


class Incoming:
    """What ``ssl.MemoryBIO`` is for the bytes that came."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        """Take bytes from the peer."""
        return self._connection.bio_write(data)

    @property
    def pending(self) -> int:
        """Whether there may be more to read: OpenSSL is asked until it says no."""
        return 1


class Outgoing:
    """What ``ssl.MemoryBIO`` is for the bytes to send."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._held = b""
        self.damage = False  # the next record of content is to fail authentication

    def _fetch(self) -> None:
        while True:
            try:
                self._held += self._connection.bio_read(_READ)
            except SSL.WantReadError:
                return

    @property
    def pending(self) -> int:
        """Count the bytes to send."""
        self._fetch()
        return len(self._held)

    def read(self) -> bytes:
        """Take them."""
        self._fetch()
        data, self._held = self._held, b""
        return self._damaged(data) if self.damage and data else data

    def put(self, data: bytes) -> None:
        """Add a record that was sealed by hand."""
        self._held += data

    def drop(self) -> None:
        """Forget what was to be sent."""
        self._fetch()
        self._held = b""

    def _damaged(self, data: bytes) -> bytes:
        """Flip the last bit of the first record of content: part of its tag, or of what stands behind it."""
        found = records.split(data)
        for number, written in enumerate(found):
            if written[0] == records.APPLICATION_DATA:
                found[number] = written[:-1] + bytes((written[-1] ^ 1,))
                self.damage = False
                break
        return b"".join(found)
