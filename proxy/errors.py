"""Failures of real life, as values: what the client is told, what logs and metrics call it.

A failure is never an injected fault: those carry the name of their rule and count elsewhere.
Each row holds the HTTP status, the gRPC status and the RFC 9209 ``proxy-status`` error token
(section 2.3) that belong together.
"""

from typing import Final


class Failure:
    """One kind of trouble: ``kind`` is the label in logs and metrics, ``text`` the body of the answer."""

    __slots__ = ("grpc_status", "kind", "status", "text", "token")

    def __init__(self, kind: str, status: int, token: str, text: str, grpc_status: int) -> None:
        self.kind: str = kind
        self.status: int = status
        self.token: str = token
        self.text: str = text
        self.grpc_status: int = grpc_status


# gRPC status numbers, https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_CANCELLED: Final = 1
_DEADLINE_EXCEEDED: Final = 4
_UNIMPLEMENTED: Final = 12
_INTERNAL: Final = 13
_UNAVAILABLE: Final = 14

BAD_REQUEST: Final = Failure("bad_request", 400, "http_request_error", "bad request", _INTERNAL)
HEAD_TIMEOUT: Final = Failure(
    "head_timeout", 408, "http_request_error", "the request head did not arrive in time", _DEADLINE_EXCEEDED
)
BODY_TIMEOUT: Final = Failure(
    "body_timeout", 408, "http_request_error", "the request body stopped arriving", _DEADLINE_EXCEEDED
)
NO_ROUTE: Final = Failure("no_route", 404, "destination_not_found", "no route matches", _UNIMPLEMENTED)
TOO_MANY_CONNECTIONS: Final = Failure(
    "too_many_connections", 503, "connection_limit_reached", "too many connections", _UNAVAILABLE
)
CONNECT_REFUSED: Final = Failure(
    "connect_refused", 502, "connection_refused", "upstream refused the connection", _UNAVAILABLE
)
CONNECT_TIMEOUT: Final = Failure(
    "connect_timeout", 504, "connection_timeout", "connecting to upstream timed out", _UNAVAILABLE
)
CONNECT_UNREACHABLE: Final = Failure(
    "connect_unreachable", 502, "destination_ip_unroutable", "upstream is unreachable", _UNAVAILABLE
)
CAPTURE_LOOP: Final = Failure(
    "capture_loop",
    502,
    "proxy_loop_detected",
    "this proxy's own connection was redirected to it: its user is not exempt",
    _UNAVAILABLE,
)
NO_HEALTHY_UPSTREAM: Final = Failure(
    "no_healthy_upstream", 503, "destination_unavailable", "no healthy upstream", _UNAVAILABLE
)
DNS_ERROR: Final = Failure("dns_error", 502, "dns_error", "upstream's name does not resolve", _UNAVAILABLE)
DNS_NXDOMAIN: Final = Failure(
    "dns_nxdomain", 502, "dns_error", "upstream's name does not exist", _UNAVAILABLE
)
DNS_NODATA: Final = Failure("dns_nodata", 502, "dns_error", "upstream's name has no address", _UNAVAILABLE)
DNS_SERVFAIL: Final = Failure(
    "dns_servfail", 502, "dns_error", "the resolver failed at upstream's name", _UNAVAILABLE
)
DNS_REFUSED: Final = Failure(
    "dns_refused", 502, "dns_error", "the resolver refused to look up upstream's name", _UNAVAILABLE
)
DNS_TIMEOUT: Final = Failure(
    "dns_timeout", 504, "dns_timeout", "looking up upstream's name timed out", _UNAVAILABLE
)
POOL_EXHAUSTED: Final = Failure(
    "pool_exhausted", 503, "connection_limit_reached", "no upstream connection became free", _UNAVAILABLE
)
UPSTREAM_RESET: Final = Failure(
    "upstream_reset", 502, "connection_terminated", "upstream reset the connection", _UNAVAILABLE
)
UPSTREAM_REFUSED: Final = Failure(
    "upstream_refused", 503, "destination_unavailable", "upstream refused to do anything", _UNAVAILABLE
)
UPSTREAM_CLOSED: Final = Failure(
    "upstream_closed", 502, "connection_terminated", "upstream closed without an answer", _UNAVAILABLE
)
UPSTREAM_PROTOCOL: Final = Failure(
    "upstream_protocol", 502, "http_protocol_error", "upstream sent an invalid answer", _INTERNAL
)
UPSTREAM_HEAD_TOO_LARGE: Final = Failure(
    "upstream_head_too_large",
    502,
    "http_response_header_section_size",
    "upstream sent too large a head",
    _INTERNAL,
)
UPGRADE_NOT_OFFERED: Final = Failure(
    "upgrade_not_offered",
    502,
    "http_upgrade_failed",
    "upstream takes no websocket over http/2 connections",
    _UNAVAILABLE,
)
RESPONSE_TIMEOUT: Final = Failure(
    "response_timeout", 504, "http_response_timeout", "upstream did not answer in time", _DEADLINE_EXCEEDED
)

# RFC 9209, sections 2.3.10 to 2.3.12: TLS to the upstream.
UPSTREAM_CERTIFICATE_EXPIRED: Final = Failure(
    "upstream_certificate_expired",
    502,
    "tls_certificate_error",
    "upstream's certificate has expired",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE_NOT_YET_VALID: Final = Failure(
    "upstream_certificate_not_yet_valid",
    502,
    "tls_certificate_error",
    "upstream's certificate is not valid yet",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE_NAME: Final = Failure(
    "upstream_certificate_name",
    502,
    "tls_certificate_error",
    "upstream's certificate is for another name",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE_UNKNOWN_CA: Final = Failure(
    "upstream_certificate_unknown_ca",
    502,
    "tls_certificate_error",
    "upstream's certificate was signed by nobody we trust",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE_SELF_SIGNED: Final = Failure(
    "upstream_certificate_self_signed",
    502,
    "tls_certificate_error",
    "upstream's certificate is signed by itself",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE_REVOKED: Final = Failure(
    "upstream_certificate_revoked",
    502,
    "tls_certificate_error",
    "upstream's certificate was revoked",
    _UNAVAILABLE,
)
UPSTREAM_CERTIFICATE: Final = Failure(
    "upstream_certificate",
    502,
    "tls_certificate_error",
    "upstream's certificate cannot be trusted",
    _UNAVAILABLE,
)
UPSTREAM_TLS_ALERT: Final = Failure(
    "upstream_tls_alert", 502, "tls_alert_received", "upstream refused us by a TLS alert", _UNAVAILABLE
)
UPSTREAM_TLS_PROTOCOL: Final = Failure(
    "upstream_tls_protocol", 502, "tls_protocol_error", "the TLS handshake with upstream failed", _UNAVAILABLE
)
INTERNAL: Final = Failure("internal", 500, "proxy_internal_error", "internal error", _INTERNAL)

# These end an exchange without an answer of our own: the connection is gone or the head was sent.
CLIENT_CLOSED: Final = Failure("client_closed", 499, "", "the client went away", _CANCELLED)
UPSTREAM_TRUNCATED: Final = Failure(
    "upstream_truncated", 502, "http_response_incomplete", "upstream ended in the middle", _INTERNAL
)
UPSTREAM_IDLE: Final = Failure(
    "upstream_idle", 504, "http_response_timeout", "upstream stopped sending", _DEADLINE_EXCEEDED
)
UPSTREAM_NOT_READING: Final = Failure(
    "upstream_not_reading",
    504,
    "http_response_timeout",
    "upstream stopped reading the request",
    _DEADLINE_EXCEEDED,
)
CLIENT_IDLE: Final = Failure("client_idle", 499, "", "the client stopped reading", _CANCELLED)
TUNNEL_IDLE: Final = Failure("tunnel_idle", 499, "", "nothing moved for too long", _CANCELLED)
SHUTDOWN: Final = Failure("shutdown", 503, "proxy_internal_error", "shutting down", _UNAVAILABLE)


def refused_request(kind: str, status: int, text: str) -> Failure:
    """Make the failure of a request that is the client's own fault; ``kind`` is the codec's."""
    return Failure(kind, status, "http_request_error", text, _INTERNAL)


ALL: Final[tuple[Failure, ...]] = (
    BAD_REQUEST,
    HEAD_TIMEOUT,
    BODY_TIMEOUT,
    NO_ROUTE,
    TOO_MANY_CONNECTIONS,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    CONNECT_UNREACHABLE,
    CAPTURE_LOOP,
    NO_HEALTHY_UPSTREAM,
    DNS_ERROR,
    DNS_NXDOMAIN,
    DNS_NODATA,
    DNS_SERVFAIL,
    DNS_REFUSED,
    DNS_TIMEOUT,
    POOL_EXHAUSTED,
    UPSTREAM_RESET,
    UPSTREAM_REFUSED,
    UPSTREAM_CLOSED,
    UPSTREAM_PROTOCOL,
    UPSTREAM_HEAD_TOO_LARGE,
    UPGRADE_NOT_OFFERED,
    RESPONSE_TIMEOUT,
    UPSTREAM_CERTIFICATE_EXPIRED,
    UPSTREAM_CERTIFICATE_NOT_YET_VALID,
    UPSTREAM_CERTIFICATE_NAME,
    UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    UPSTREAM_CERTIFICATE_SELF_SIGNED,
    UPSTREAM_CERTIFICATE_REVOKED,
    UPSTREAM_CERTIFICATE,
    UPSTREAM_TLS_ALERT,
    UPSTREAM_TLS_PROTOCOL,
    INTERNAL,
    CLIENT_CLOSED,
    UPSTREAM_TRUNCATED,
    UPSTREAM_IDLE,
    UPSTREAM_NOT_READING,
    CLIENT_IDLE,
    TUNNEL_IDLE,
    SHUTDOWN,
)

# Why a name could not be looked up: the one argument of the socket.gaierror that says so (proxy.net.names).
LOOKUPS: Final[dict[str, Failure]] = {
    failure.kind: failure for failure in (DNS_NXDOMAIN, DNS_NODATA, DNS_SERVFAIL, DNS_REFUSED, DNS_TIMEOUT)
}

# Handshakes with clients that came to nothing: nobody asked for anything yet, so there is no answer.
TLS_BAD_HELLO: Final = "tls_bad_hello"
TLS_TIMEOUT: Final = "tls_timeout"
TLS_CLOSED: Final = "tls_closed"
TLS_ALERT: Final = "tls_alert"
TLS_NO_MATCH: Final = "tls_no_match"
TLS_CLIENT_CERTIFICATE: Final = "tls_client_certificate"
TLS_NO_CERTIFICATE: Final = "tls_no_certificate"
TLS_PROTOCOL: Final = "tls_protocol"

HANDSHAKES: Final[dict[str, str]] = {
    TLS_BAD_HELLO: "what came is no ClientHello",
    TLS_TIMEOUT: "the handshake was not complete in time",
    TLS_CLOSED: "the client went away in the middle",
    TLS_ALERT: "the client refused us by an alert, such as unknown_ca",
    TLS_NO_MATCH: "no version or cipher that both sides have",
    TLS_CLIENT_CERTIFICATE: "the client's certificate is missing, or not one that we trust",
    TLS_NO_CERTIFICATE: "we have no certificate for the name that the client asked for",
    TLS_PROTOCOL: "the client broke the protocol",
}

# Connections that a capturing listener refuses before anything of them is read.
NOT_REDIRECTED: Final = "not_redirected"
OWN_ADDRESS: Final = "own_address"

CAPTURES: Final[dict[str, str]] = {
    NOT_REDIRECTED: "made to the listener itself: it would be its own upstream",
    OWN_ADDRESS: "dialled was another port on which this proxy itself listens",
}

TIMEOUTS: Final = frozenset(
    {CONNECT_TIMEOUT.kind, RESPONSE_TIMEOUT.kind, UPSTREAM_IDLE.kind, UPSTREAM_NOT_READING.kind}
)


def of_upstream(failure: Failure) -> bool:
    """Whether a failure says something about the upstream: 4xx are the client's own, or of its going away."""
    return failure.status >= 500 and failure is not SHUTDOWN
