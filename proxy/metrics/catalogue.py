"""Every metric and every label in one table each: the exposition, the docs and the tests read these.

Labels stay bounded: what a client or an upstream can choose (paths, hosts, header values) is never one, but
for the names of gRPC services and methods, of which a listener has so many and no more.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from proxy.metrics.calls import BAD_STATUS, MOST_CALLS
from rules.http_params import GRPC_CODES

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"

RULE_SERIES: Final = 1000  # rules with series of their own; the rest is summed up as OTHER
OTHER: Final = "_other"  # no rule can have this name, and no gRPC service

LABELS: Final[dict[str, str]] = {
    "listener": "name of a listener in the configuration",
    "upstream": 'name of an upstream in the configuration, "" where none was chosen',
    "address": "an address of an upstream, as configured",
    "outcome": "what became of a health check, see proxy/health/outcome.py; or of a look-up",
    "code": "a status of the HTTP registry; its class (2xx) for any other; none without an answer",
    "service": f"service of a gRPC call; {OTHER} beyond the first {MOST_CALLS} methods of a listener",
    "method": f"method of a gRPC call, {OTHER} with the service",
    "grpc_status": "name of the status; none without one, invalid where it is no status of gRPC's",
    "kind": "kind of failure, see proxy/errors.py",
    "injected": "true: a fault has shown this failure of an upstream that is well; else false",
    "rule": f"name of a rule in force; {OTHER} for those beyond the first {RULE_SERIES}",
    "fault": "kind of fault, see rules/faults",
    "phase": "phase of the exchange, see rules/phases.py",
    "reason": "why a message was left alone, see rules/message_actions.py",
    "state": "state of a breaker: closed, half_open or open",
    "verdict": "admitted or refused; of limits: admitted, connections, requests or rate",
    "of": "connections, requests or waiting",
    "layer": "file or admin",
    "resumed": "true or false",
    "result": "success or failure; of a review: injected, left, refused or failed",
    "version": "version of the program",
    "python": "version of Python",
    "build": "compiled or interpreted",
}

KNOWN_CODES: Final = frozenset({status.value for status in HTTPStatus} | {499})


@dataclass(frozen=True)
class Metric:
    """One metric: its name without the ``_total`` of counters, its type, what it means, its labels."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()


_ROUTE: Final = ("listener", "upstream")

REQUESTS: Final = Metric(
    "misrule_requests", COUNTER, "Exchanges that ended, by the status that the client got.", (*_ROUTE, "code")
)
REQUESTS_ACTIVE: Final = Metric("misrule_requests_active", GAUGE, "Exchanges under way.", _ROUTE)
DURATION: Final = Metric(
    "misrule_request_duration_seconds",
    HISTOGRAM,
    "From the first byte of the request to the last of the answer.",
    _ROUTE,
)
DURATION_OWN: Final = Metric(
    "misrule_request_duration_without_injection_seconds",
    HISTOGRAM,
    "The same with the time that faults injected taken out.",
    _ROUTE,
)
CALLS: Final = Metric(
    "misrule_grpc_calls",
    COUNTER,
    "gRPC calls that ended, by the status that the client got.",
    ("listener", "service", "method", "grpc_status"),
)
BYTES_IN: Final = Metric("misrule_received_bytes", COUNTER, "Bytes of request bodies.", _ROUTE)
BYTES_OUT: Final = Metric("misrule_sent_bytes", COUNTER, "Bytes of response bodies.", _ROUTE)

CONNECTIONS: Final = Metric("misrule_connections", COUNTER, "Client connections accepted.", ("listener",))
CONNECTIONS_OPEN: Final = Metric("misrule_connections_open", GAUGE, "Client connections open.", ("listener",))
CONNECTIONS_REFUSED: Final = Metric(
    "misrule_connections_refused", COUNTER, "Client connections closed at once for a limit.", ("listener",)
)
CONNECTIONS_UPGRADED: Final = Metric(
    "misrule_connections_upgraded",
    COUNTER,
    "Client connections, or streams of HTTP/2, that became tunnels.",
    ("listener",),
)
TLS_HANDSHAKES: Final = Metric(
    "misrule_tls_handshakes",
    COUNTER,
    "Handshakes with clients that were completed, in full or by resuming a session.",
    ("listener", "resumed"),
)
UPSTREAM_OPENED: Final = Metric(
    "misrule_upstream_connections", COUNTER, "Upstream connections opened.", ("upstream",)
)
UPSTREAM_OPEN: Final = Metric(
    "misrule_upstream_connections_open", GAUGE, "Upstream connections open.", ("upstream",)
)
UPSTREAM_IDLE: Final = Metric(
    "misrule_upstream_connections_idle", GAUGE, "Upstream connections idle in the pool.", ("upstream",)
)
UPSTREAM_REUSED: Final = Metric(
    "misrule_upstream_connections_reused", COUNTER, "Exchanges on a pooled connection.", ("upstream",)
)
UPSTREAM_RETRIES: Final = Metric("misrule_upstream_retries", COUNTER, "Requests sent again.", ("upstream",))
UPSTREAM_QUEUED: Final = Metric(
    "misrule_upstream_queued", GAUGE, "Exchanges that wait for a connection.", ("upstream",)
)
CLIENT_FAILURES: Final = Metric(
    "misrule_client_failures",
    COUNTER,
    "Limits, time-outs and bad framing before an upstream was chosen, by kind; never an injected fault.",
    ("listener", "kind"),
)
UPSTREAM_FAILURES: Final = Metric(
    "misrule_upstream_failures",
    COUNTER,
    "Exchanges that failed once an upstream was chosen, by kind, really or because a fault said so.",
    ("upstream", "kind", "injected"),
)
HEALTHY: Final = Metric(
    "misrule_upstream_healthy",
    GAUGE,
    "1 while health checks find an address well, or have not found out yet; else 0.",
    ("upstream", "address"),
)
HEALTH_CHECKS: Final = Metric(
    "misrule_upstream_health_checks",
    COUNTER,
    "Health checks of an address, by outcome.",
    ("upstream", "address", "outcome"),
)

LOOKUPS: Final = Metric(
    "misrule_upstream_lookups",
    COUNTER,
    "Look-ups of upstreams' names: found, stale (an expired answer was used), or the kind of failure.",
    ("outcome",),
)
QUERIES: Final = Metric(
    "misrule_dns_queries",
    COUNTER,
    "Questions to the DNS listener: the answer's code; silence, dropped, malformed.",
    ("outcome",),
)

MATCHES: Final = Metric("misrule_rule_matches", COUNTER, "Exchanges that a rule matched.", ("rule",))
KEYLESS: Final = Metric(
    "misrule_rule_keyless", COUNTER, "Matches without the sticky key: they never fire.", ("rule",)
)
RULE_ACTIVE: Final = Metric("misrule_rule_active", GAUGE, "Exchanges under way that a rule hit.", ("rule",))
INJECTIONS: Final = Metric("misrule_injections", COUNTER, "Faults that acted.", ("rule", "fault", "phase"))
SHADOW_INJECTIONS: Final = Metric(
    "misrule_shadow_injections",
    COUNTER,
    "Faults of rules in mode shadow that would have acted.",
    ("rule", "fault", "phase"),
)
SKIPPED: Final = Metric(
    "misrule_faults_skipped",
    COUNTER,
    "Messages that a fault was chosen for and could not act on: they passed as they came.",
    ("rule", "fault", "reason"),
)
BREAKERS: Final = Metric(
    "misrule_breakers", GAUGE, "Keys of the breakers of a rule, by state.", ("rule", "state")
)
BREAKER_TRANSITIONS: Final = Metric(
    "misrule_breaker_transitions",
    COUNTER,
    "Transitions of the breakers of a rule, by the new state.",
    ("rule", "state"),
)
BREAKER_CALLS: Final = Metric(
    "misrule_breaker_calls",
    COUNTER,
    "Exchanges that the breakers of a rule were asked about; of rules in mode shadow too.",
    ("rule", "verdict"),
)
LIMITS: Final = Metric(
    "misrule_limits",
    GAUGE,
    "What is under way within the limits of a rule: connections, requests, and those who wait.",
    ("rule", "of"),
)
LIMIT_ASKED: Final = Metric(
    "misrule_limit_asked",
    COUNTER,
    "What the limits of a rule said: admitted, or which one stood in the way; of rules in mode shadow too.",
    ("rule", "verdict"),
)
HELD: Final = Metric("misrule_exchanges_held", GAUGE, "Exchanges that a fault delays or stalls now.")
STOPPED: Final = Metric("misrule_faults_stopped", GAUGE, "1 while the red button is pressed.")

RULES: Final = Metric("misrule_rules", GAUGE, "Enabled rules in force.")
RULES_VERSION: Final = Metric("misrule_rules_version", GAUGE, "Version of the rule set in force.")
RELOADS: Final = Metric(
    "misrule_rules_reloads",
    COUNTER,
    "Attempts to change the rules, by layer and result.",
    ("layer", "result"),
)
LAST_RELOAD: Final = Metric(
    "misrule_rules_last_reload_success", GAUGE, "1 when the rule files are in force as they are, else 0."
)
LAST_RELOAD_TIME: Final = Metric(
    "misrule_rules_last_reload_success_timestamp_seconds", GAUGE, "When the rule files last came into force."
)
STATE_FAILURES: Final = Metric(
    "misrule_state_write_failures", COUNTER, "Versions of the rules that could not be written to state_dir."
)

ADMIN_FAILURES: Final = Metric(
    "misrule_admin_authentication_failures", COUNTER, "Calls to the admin endpoint without a right token."
)
ADMIN_REFUSED: Final = Metric(
    "misrule_admin_refused", COUNTER, "Calls to the admin endpoint refused by Host or Origin."
)
EVENTS_DROPPED: Final = Metric(
    "misrule_events_dropped", COUNTER, "Events that readers of /v1/events were too slow for."
)
LOG_DROPPED: Final = Metric(
    "misrule_log_lines_dropped", COUNTER, "Log lines dropped as the output stood still or was gone."
)
INTERNAL_ERRORS: Final = Metric("misrule_internal_errors", COUNTER, "Errors of our own making.")
BUILD: Final = Metric("misrule_build_info", GAUGE, "Always 1; what runs.", ("version", "python", "build"))
START_TIME: Final = Metric("misrule_start_time_seconds", GAUGE, "When the proxy started, as unix time.")

REVIEWS: Final = Metric(
    "misrule_injector_reviews", COUNTER, "Admission reviews that were answered, by result.", ("result",)
)
REVIEW_WARNINGS: Final = Metric(
    "misrule_injector_warnings", COUNTER, "Warnings to those who made pods: annotations that cannot be."
)
INJECTOR_CERTIFICATES: Final = Metric(
    "misrule_injector_certificates", COUNTER, "Certificates for itself that this injector has made."
)
INJECTOR_CERTIFICATE_END: Final = Metric(
    "misrule_injector_certificate_expiry_timestamp_seconds",
    GAUGE,
    "When the certificate that is shown expires, as unix time; 0: there is none yet.",
)

# What `misrule injector` shows; all others are the proxy's.
OF_INJECTOR: Final[tuple[Metric, ...]] = (
    REVIEWS,
    REVIEW_WARNINGS,
    INJECTOR_CERTIFICATES,
    INJECTOR_CERTIFICATE_END,
)

METRICS: Final[tuple[Metric, ...]] = (
    REQUESTS,
    REQUESTS_ACTIVE,
    DURATION,
    DURATION_OWN,
    CALLS,
    BYTES_IN,
    BYTES_OUT,
    CONNECTIONS,
    CONNECTIONS_OPEN,
    CONNECTIONS_REFUSED,
    CONNECTIONS_UPGRADED,
    TLS_HANDSHAKES,
    UPSTREAM_OPENED,
    UPSTREAM_OPEN,
    UPSTREAM_IDLE,
    UPSTREAM_REUSED,
    UPSTREAM_RETRIES,
    UPSTREAM_QUEUED,
    CLIENT_FAILURES,
    UPSTREAM_FAILURES,
    HEALTHY,
    HEALTH_CHECKS,
    LOOKUPS,
    QUERIES,
    MATCHES,
    KEYLESS,
    RULE_ACTIVE,
    INJECTIONS,
    SHADOW_INJECTIONS,
    SKIPPED,
    BREAKERS,
    BREAKER_TRANSITIONS,
    BREAKER_CALLS,
    LIMITS,
    LIMIT_ASKED,
    HELD,
    STOPPED,
    RULES,
    RULES_VERSION,
    RELOADS,
    LAST_RELOAD,
    LAST_RELOAD_TIME,
    STATE_FAILURES,
    ADMIN_FAILURES,
    ADMIN_REFUSED,
    EVENTS_DROPPED,
    LOG_DROPPED,
    INTERNAL_ERRORS,
    BUILD,
    START_TIME,
)


def code_label(status: int) -> str:
    """Give the label of a status: an upstream may answer with any number, so others count by class."""
    if status in KNOWN_CODES:
        return str(status)
    return f"{status // 100}xx" if 100 <= status <= 999 else "none"


def grpc_status_label(place: int, size: int) -> str:
    """Give the label of a place in CallCells.statuses, which has ``size`` of them."""
    if place < len(GRPC_CODES):
        return GRPC_CODES[place]
    return "invalid" if place - size == BAD_STATUS else "none"
