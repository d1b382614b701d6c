"""The options that do not change while the proxy runs: each once, with its meaning and default.

Everything else is made from these types: the reader (``proxy.config.read``), the JSON Schema
(``misrule schema config``) and ``GET /v1/config``.  ``option()`` adds what the type cannot say: how
the value is written in a file (a key of ``proxy.config.kinds.KINDS``) and what it means.  Times are
seconds, sizes are bytes.  A key that only a later version knows stands in the ``LATER`` of its section.
"""

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from rules.model import Text


def option(kind: str, doc: str) -> Meta:
    """Describe one option: how it is written, and what it is for."""
    return Meta(description=doc, extra={"kind": kind})


def section(of: type[Struct], doc: str) -> Meta:
    """Describe a section: a mapping of further options."""
    return Meta(description=doc, extra={"kind": "section", "of": of})


def sections(of: type[Struct], doc: str) -> Meta:
    """Describe a list of sections."""
    return Meta(description=doc, extra={"kind": "sections", "of": of})


def named(of: type[Struct], doc: str) -> Meta:
    """Describe sections by name."""
    return Meta(description=doc, extra={"kind": "named", "of": of})


class Limits(Struct, frozen=True):
    """What a client may ask of a listener before it is refused."""

    head_size: Annotated[int, option("head_size", "Largest head of a message; larger: 431 (414)")] = 65536
    headers: Annotated[int, option("small", "Most header fields of a message; more: 431")] = 100
    connections: Annotated[int, option("count", "Most connections open at once; more are closed")] = 10_000
    drain: Annotated[
        int,
        option("size", "Most bytes of a request body that are read and thrown away after an early answer"),
    ] = 16 * 1024 * 1024
    streams: Annotated[int, option("count", "Most exchanges at once on one connection of HTTP/2")] = 100


# Captured clients of these wait for their server's first word, so there is nothing to find out by waiting:
# FTP, SSH, SMTP, POP3, IMAP, submission, MySQL.
SERVER_FIRST: Final = tuple((port, port) for port in (21, 22, 25, 110, 143, 587, 3306))


class ListenerTimeouts(Struct, frozen=True):
    """How long a listener waits for its clients."""

    head: Annotated[float, option("duration", "From the first byte of a head to its last; then 408")] = 10.0
    handshake: Annotated[float, option("duration", "Until a TLS handshake is complete; then closed")] = 10.0
    idle: Annotated[float, option("duration", "A connection on which nothing moves; then it is closed")] = (
        300.0
    )
    drain: Annotated[
        float, option("duration", "How long a request body is still read after an early answer")
    ] = 30.0
    keepalive: Annotated[
        float | None,
        option("probing", "After such a silence the kernel asks whether the client is there; absent: never"),
    ] = None
    sniff: Annotated[
        float,
        option("duration", "Until a captured client has shown what it speaks; then it is passed on unread"),
    ] = 1.0


class RouteMatch(Struct, frozen=True):
    """Which requests a route takes: every given part must hold, an absent part holds for all."""

    host: Annotated[Text | None, option("host_text", "The host, lower-case and without port")] = None
    path: Annotated[Text | None, option("path_text", "The path as it came, without the query")] = None
    headers: Annotated[
        tuple[tuple[str, Text], ...], option("header_texts", "Header fields by name; any value may match")
    ] = ()
    port: Annotated[
        tuple[tuple[int, int], ...], option("ports", "The port that a captured client has dialled")
    ] = ()
    destination: Annotated[
        tuple[str, ...], option("networks", "The address that a captured client has dialled")
    ] = ()

    @property
    def catches_all(self) -> bool:
        """Whether every request matches."""
        return self == RouteMatch()


class RouteConfig(Struct, frozen=True):
    """Where requests go; the first route that matches wins.

    In a file either ``upstream: name`` or ``upstreams: [{upstream: name, weight: 95}, …]``.
    """

    targets: Annotated[
        tuple[tuple[str, int], ...],
        option("targets", "Upstreams with their weights; an exchange goes to one of them by chance"),
    ]
    match: Annotated[RouteMatch, section(RouteMatch, "Which requests; absent: all")] = RouteMatch()


class ListenerTls(Struct, frozen=True):
    """How clients of a listener speak TLS, and as whom it shows itself."""

    mode: Annotated[
        str,
        option(
            "tls_mode",
            "terminate, passthrough (unread, by the name asked for), auto (TLS or clear text) or none",
        ),
    ] = "terminate"
    certificate: Annotated[
        str, option("file", "Certificate with the chain behind it (PEM); absent: minted for each name")
    ] = ""
    key: Annotated[str, option("file", "Its key (PEM); absent: it is in the same file")] = ""
    client_auth: Annotated[
        str, option("client_auth", "Whether clients show a certificate: none, optional or required")
    ] = "none"
    client_ca: Annotated[
        str, option("file", "Authorities that may have signed the certificates of clients (PEM)")
    ] = ""
    forward_client_certificate: Annotated[
        bool, option("bool", "Tell upstreams of a client's certificate in x-forwarded-client-cert")
    ] = False
    min_version: Annotated[str, option("tls_version", "The oldest version spoken: 1.2 or 1.3")] = "1.2"


class ListenerConfig(Struct, frozen=True):
    """One address where clients connect."""

    name: Annotated[str, option("name", "The name in rules, metrics and logs")]
    address: Annotated[str, option("listen", 'host:port, "[::1]:port" (quoted), :port or unix:/path')]
    routes: Annotated[
        list[RouteConfig],
        sections(RouteConfig, "Where requests go, first match first; capture: redirect needs none"),
    ] = []
    protocol: Annotated[
        str,
        option(
            "listener_protocol",
            "auto or http (either, found out by looking), http1 or http2 (only that), tcp (anything, unread)",
        ),
    ] = "auto"
    capture: Annotated[
        str,
        option(
            "capture",
            "redirect: clients were on their way to other addresses, their upstreams; or none",
        ),
    ] = "none"
    opaque_ports: Annotated[
        tuple[tuple[int, int], ...],
        option("ports", "Of captured clients: those that dial these ports are passed on unread at once"),
    ] = SERVER_FIRST
    trusted_hops: Annotated[
        int, option("hops", "So many proxies in front are believed in x-forwarded-* headers")
    ] = 0
    limits: Annotated[Limits, section(Limits, "What clients may ask")] = Limits()
    timeouts: Annotated[ListenerTimeouts, section(ListenerTimeouts, "How long clients are waited for")] = (
        ListenerTimeouts()
    )
    tls: Annotated[ListenerTls, section(ListenerTls, "TLS with clients; absent: clear text")] = ListenerTls(
        mode="none"
    )


class UpstreamTimeouts(Struct, frozen=True):
    """How long an upstream is waited for; time that a fault injects does not count."""

    connect: Annotated[float, option("duration", "Until a connection stands; then 504")] = 5.0
    response_head: Annotated[
        float, option("duration", "From the request to the end of the answer's head; then 504")
    ] = 60.0
    idle: Annotated[
        float, option("duration", "A request or an answer in which nothing moves, or an idle connection")
    ] = 300.0
    keepalive: Annotated[
        float | None,
        option(
            "probing",
            "After such a silence the kernel asks whether it is still there; absent: never",
        ),
    ] = None


class PoolConfig(Struct, frozen=True):
    """How many connections to an upstream are kept."""

    max_connections: Annotated[int, option("count", "Most connections to this upstream")] = 1024
    max_idle: Annotated[int, option("small", "Most idle connections kept to this upstream")] = 64


class RetryConfig(Struct, frozen=True):
    """When a request is sent again."""

    reused_connection: Annotated[
        bool,
        option("bool", "Once more where a kept connection died before a byte of the answer (always safe)"),
    ] = True
    attempts: Annotated[int, option("hops", "So many more times where the connection could not be made")] = 0


class HealthCheck(Struct, frozen=True):
    """How the addresses of an upstream are checked: exactly one of ``http``, ``grpc`` and ``tcp``."""

    http: Annotated[str | None, option("target", "GET this path, in the protocol of the upstream")] = None
    grpc: Annotated[
        str | None, option("service", 'Ask grpc.health.v1.Health for this service; "": the whole server')
    ] = None
    tcp: Annotated[bool, option("bool", "Only connect")] = False
    host: Annotated[str, option("authority", "The host header (:authority); absent: the address")] = ""
    expect: Annotated[
        tuple[tuple[int, int], ...], option("statuses", "Statuses that pass, of http; absent: 200-299")
    ] = ((200, 299),)
    interval: Annotated[float, option("interval", "From the start of a check to that of the next")] = 10.0
    timeout: Annotated[float, option("duration", "For connecting and the answer together")] = 1.0
    healthy_after: Annotated[int, option("streak", "So many passes in a row make it healthy again")] = 2
    unhealthy_after: Annotated[int, option("streak", "So many failures in a row make it unhealthy")] = 3
    when_all_unhealthy: Annotated[
        str, option("when_all_unhealthy", "use_all (as if all were healthy) or fail (503)")
    ] = "use_all"


class UpstreamTls(Struct, frozen=True):
    """How an upstream is spoken to over TLS."""

    verify: Annotated[bool, option("bool", "Whether its certificate must be valid, and for its name")] = True
    ca: Annotated[str, option("file", "Authorities that are trusted (PEM), in the place of the system's")] = (
        ""
    )
    crl: Annotated[str, option("file", "Lists of revoked certificates; each issuer's must be there")] = ""
    server_name: Annotated[
        str, option("server_name", "The name that it is asked for and verified by; absent: its host")
    ] = ""
    certificate: Annotated[str, option("file", "What we show when asked, with its chain (PEM)")] = ""
    key: Annotated[str, option("file", "Its key (PEM); absent: it is in the same file")] = ""


class UpstreamConfig(Struct, frozen=True, rename={"addresses": "address"}):
    """A service that requests are sent to, at one or several addresses."""

    name: str
    addresses: Annotated[
        list[str],
        option(
            "addresses",
            "host:port or unix:/path, or a list of them, or of {address, weight}; or original_dst: where "
            "captured clients have dialled",
        ),
    ]
    weights: list[int] = []  # one for each of `addresses`
    protocol: Annotated[
        str, option("upstream_protocol", "auto (http1, but h2c for gRPC calls), http1, http2 or tcp")
    ] = "auto"
    balance: Annotated[str, option("balance", "round_robin, least_requests or random")] = "round_robin"
    timeouts: Annotated[UpstreamTimeouts, section(UpstreamTimeouts, "How long it is waited for")] = (
        UpstreamTimeouts()
    )
    pool: Annotated[PoolConfig, section(PoolConfig, "Connections kept open")] = PoolConfig()
    retry: Annotated[RetryConfig, section(RetryConfig, "When a request is sent again")] = RetryConfig()
    health: Annotated[
        HealthCheck | None, section(HealthCheck, "How its addresses are checked; absent: not at all")
    ] = None
    tls: Annotated[UpstreamTls | None, section(UpstreamTls, "TLS to it; absent: clear text")] = None


class AdminConfig(Struct, frozen=True):
    """The endpoint that shows and changes rules while the proxy runs."""

    LATER: ClassVar[dict[str, str]] = {"tls": "TLS comes later"}

    address: Annotated[str, option("listen", "Where it listens; other than loopback needs token_file")] = (
        "127.0.0.1:9905"
    )
    token_file: Annotated[
        str, option("file", "A file with the bearer token that callers must send; read again when it changes")
    ] = ""
    hosts: Annotated[
        list[str], option("hosts", "Further names that callers may use in the host header (DNS rebinding)")
    ] = []


class HealthConfig(Struct, frozen=True):
    """A listener of its own for /healthz, /readyz and /metrics only: for a kubelet or Prometheus."""

    address: Annotated[str, option("listen", "Where it listens")] = "0.0.0.0:9906"


class CertsConfig(Struct, frozen=True):
    """Where the local authority lives that mints certificates."""

    dir: Annotated[str, option("file", "Its folder; absent: in memory, a new one at each start")] = ""
    url: Annotated[
        str, option("http_url", "Where clients reach the health listener; leaves then name their CRL there")
    ] = ""


class DnsConfig(Struct, frozen=True):
    """Names: who is asked, and where applications may ask us."""

    listen: Annotated[
        str, option("inet_listen", "Where look-ups of applications are taken, UDP and TCP; absent: nowhere")
    ] = ""
    resolvers: Annotated[
        tuple[str, ...],
        option("resolvers", "Who looks names up: system (those of /etc/resolv.conf) or addresses"),
    ] = ("system",)


class LogConfig(Struct, frozen=True):
    """What is written to standard error."""

    format: Annotated[str, option("log_format", "json or text")] = "json"
    level: Annotated[str, option("level", "debug, info, warning or error")] = "info"
    access: Annotated[
        str, option("access", "Which exchanges leave a line: all, injected (those with a fault) or none")
    ] = "injected"


class DrainConfig(Struct, frozen=True):
    """How the proxy stops: it takes nothing new, and waits for what is under way."""

    grace: Annotated[float, option("duration", "So long at most for what is under way; then it is cut")] = (
        10.0
    )


class Config(Struct, frozen=True):
    """All of it."""

    LATER: ClassVar[dict[str, str]] = {
        "tracing": "tracing comes later",
        "experiments": "experiments come later",
    }

    listeners: Annotated[list[ListenerConfig], sections(ListenerConfig, "Where clients connect")]
    upstreams: Annotated[
        dict[str, UpstreamConfig],
        named(UpstreamConfig, "Where requests go, by name; absent: only where captured clients have dialled"),
    ] = {}
    rules: Annotated[
        list[str],
        option("paths", "Files or directories with rules, or preset:NAME, in order; relative to this file"),
    ] = []
    admin: Annotated[AdminConfig | None, section(AdminConfig, "The admin endpoint; absent: none")] = None
    health: Annotated[HealthConfig | None, section(HealthConfig, "A listener for probes; absent: none")] = (
        None
    )
    certs: Annotated[CertsConfig, section(CertsConfig, "The authority that mints")] = CertsConfig()
    dns: Annotated[DnsConfig, section(DnsConfig, "Look-ups of names")] = DnsConfig()
    workers: Annotated[int, option("workers", "Processes; only 1 in this version")] = 1
    state_dir: Annotated[
        str, option("file", "Where versions of the rules outlive a restart; absent: in memory alone")
    ] = ""
    log: Annotated[LogConfig, section(LogConfig, "Logging")] = LogConfig()
    drain: Annotated[DrainConfig, section(DrainConfig, "How it stops")] = DrainConfig()
