"""What a rule may look at."""

from typing import Final

from mypy_extensions import mypyc_attr

HTTP1: Final = 1
HTTP2: Final = 2
GRPC: Final = 4
WEBSOCKET: Final = 8
TCP: Final = 16

PROTOCOLS: Final[dict[str, int]] = {
    "http1": HTTP1,
    "http2": HTTP2,
    "grpc": GRPC,
    "websocket": WEBSOCKET,
    "tcp": TCP,
}


# What is asked for to find where a host is.
ADDRESS_TYPES: Final[list[bytes]] = [b"A", b"AAAA"]


class ClientCertificate:
    """Who a client is by the certificate that it showed, and whose signature was verified."""

    __slots__ = ("fingerprint", "names", "subject")

    def __init__(self, subject: bytes, names: list[bytes], fingerprint: bytes) -> None:
        self.subject: bytes = subject  # as RFC 4514 writes it: CN=shop,O=Acme
        self.names: list[bytes] = names  # subject alternative names: DNS, URI, IP and e-mail
        self.fingerprint: bytes = fingerprint  # SHA-256 of the DER, in lower-case hexadecimal


@mypyc_attr(allow_interpreted_subclasses=True)
class Facts:
    """The facts of one exchange (or of one connection, where nothing was read yet).

    Text stays bytes, as it came on the wire; header names are lower-case.  ``protocols``
    is a set of bits: a gRPC call over HTTP/2 carries ``HTTP2 | GRPC``, a WebSocket
    handshake over HTTP/1.1 ``HTTP1 | WEBSOCKET``.  ``headers`` holds at least the names that the
    snapshot asked for.  The ``response_*`` facts are filled when the answer's head is there:
    until then ``response_status`` is 0.
    """

    __slots__ = (
        "client_certificate",
        "grpc_status",
        "headers",
        "host",
        "listener",
        "method",
        "name_types",
        "names",
        "path",
        "protocols",
        "query",
        "response_headers",
        "response_status",
        "sni",
        "source",
        "tls",
        "upstream",
    )

    def __init__(self, listener: str, source: str, protocols: int = 0) -> None:
        self.listener: str = listener
        self.source: str = source  # the client's IP address as text, "" where there is none (unix socket)
        self.protocols: int = protocols
        self.tls: bool = False  # the client speaks TLS: its ClientHello has come
        self.sni: bytes | None = None  # as it came; None: the client named none
        self.client_certificate: ClientCertificate | None = None
        self.upstream: str = ""  # the name of the upstream that the route chose
        self.names: list[bytes] = []  # that are looked up: hosts of the upstream; lower-case, no last dot
        self.name_types: list[bytes] = ADDRESS_TYPES  # the types of records that are asked for
        self.method: bytes = b""
        self.host: bytes = b""  # lower-case, without port
        self.path: bytes = b""  # as it came, without the query
        self.query: bytes = b""  # as it came, without "?"
        self.headers: dict[bytes, list[bytes]] = {}
        self.response_status: int = 0
        self.response_headers: dict[bytes, list[bytes]] = {}
        self.grpc_status: int = -1  # the answer's grpc-status where known, else -1
