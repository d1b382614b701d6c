"""Every failure with what belongs together: HTTP status, RFC 9209 token, gRPC status."""

import re

import pytest

from proxy import errors
from proxy.errors import ALL, Failure
from proxy.path import end

# RFC 9209, section 2.3: the tokens that a proxy may use, and the status that each recommends (0: none)
TOKENS = {
    "dns_timeout": 504,
    "dns_error": 502,
    "destination_not_found": 500,
    "destination_unavailable": 503,
    "destination_ip_prohibited": 502,
    "destination_ip_unroutable": 502,
    "connection_refused": 502,
    "connection_terminated": 502,
    "connection_timeout": 504,
    "connection_read_timeout": 504,
    "connection_write_timeout": 504,
    "connection_limit_reached": 503,
    "tls_protocol_error": 502,
    "tls_certificate_error": 502,
    "tls_alert_received": 502,
    "http_request_error": 0,
    "http_response_incomplete": 502,
    "http_response_header_section_size": 502,
    "http_response_timeout": 504,
    "http_protocol_error": 502,
    "http_upgrade_failed": 502,
    "proxy_internal_error": 500,
    "proxy_loop_detected": 502,
}

WANTED = {
    "bad_request": (400, "http_request_error", 13),
    "head_timeout": (408, "http_request_error", 4),
    "body_timeout": (408, "http_request_error", 4),
    "no_route": (404, "destination_not_found", 12),
    "too_many_connections": (503, "connection_limit_reached", 14),
    "connect_refused": (502, "connection_refused", 14),
    "connect_timeout": (504, "connection_timeout", 14),
    "connect_unreachable": (502, "destination_ip_unroutable", 14),
    "capture_loop": (502, "proxy_loop_detected", 14),
    "no_healthy_upstream": (503, "destination_unavailable", 14),
    "dns_error": (502, "dns_error", 14),
    "dns_nxdomain": (502, "dns_error", 14),
    "dns_nodata": (502, "dns_error", 14),
    "dns_servfail": (502, "dns_error", 14),
    "dns_refused": (502, "dns_error", 14),
    "dns_timeout": (504, "dns_timeout", 14),
    "pool_exhausted": (503, "connection_limit_reached", 14),
    "upstream_reset": (502, "connection_terminated", 14),
    "upstream_refused": (503, "destination_unavailable", 14),
    "upstream_closed": (502, "connection_terminated", 14),
    "upstream_protocol": (502, "http_protocol_error", 13),
    "upstream_head_too_large": (502, "http_response_header_section_size", 13),
    "upgrade_not_offered": (502, "http_upgrade_failed", 14),
    "response_timeout": (504, "http_response_timeout", 4),
    "upstream_certificate_expired": (502, "tls_certificate_error", 14),
    "upstream_certificate_not_yet_valid": (502, "tls_certificate_error", 14),
    "upstream_certificate_name": (502, "tls_certificate_error", 14),
    "upstream_certificate_unknown_ca": (502, "tls_certificate_error", 14),
    "upstream_certificate_self_signed": (502, "tls_certificate_error", 14),
    "upstream_certificate_revoked": (502, "tls_certificate_error", 14),
    "upstream_certificate": (502, "tls_certificate_error", 14),
    "upstream_tls_alert": (502, "tls_alert_received", 14),
    "upstream_tls_protocol": (502, "tls_protocol_error", 14),
    "internal": (500, "proxy_internal_error", 13),
    "client_closed": (499, "", 1),
    "upstream_truncated": (502, "http_response_incomplete", 13),
    "upstream_idle": (504, "http_response_timeout", 4),
    "upstream_not_reading": (504, "http_response_timeout", 4),
    "client_idle": (499, "", 1),
    "tunnel_idle": (499, "", 1),
    "shutdown": (503, "proxy_internal_error", 14),
}

each = pytest.mark.parametrize("failure", ALL, ids=lambda failure: failure.kind)


def test_the_table_is_the_whole() -> None:
    assert {failure.kind: (failure.status, failure.token, failure.grpc_status) for failure in ALL} == WANTED


def test_all_failures_of_the_module_are_listed_once() -> None:
    there = [value for value in vars(errors).values() if isinstance(value, Failure)]
    assert sorted(failure.kind for failure in there) == sorted(failure.kind for failure in ALL)
    assert len({failure.kind for failure in ALL}) == len(ALL)


@each
def test_kinds_are_labels_and_texts_say_what_happened(failure: Failure) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*", failure.kind)
    assert re.fullmatch(r"[a-z][ -~]*[a-z]", failure.text)


@each
def test_tokens_are_those_of_the_rfc_and_fit_the_status(failure: Failure) -> None:
    if failure.status == 499:
        assert failure.token == ""  # nobody is told
        return
    recommended = TOKENS[failure.token]
    exceptions = {"no_route": 404, "shutdown": 503}
    assert failure.status == exceptions.get(failure.kind, recommended or failure.status)


@each
def test_the_answer_tells_it(failure: Failure) -> None:
    answer = end.answer_for(failure)
    assert answer.status == failure.status
    assert answer.body == f"misrule: {failure.text}\n".encode()
    assert end.proxy_status(failure) == f"misrule; error={failure.token}".encode()


def test_a_request_that_cannot_be_read_has_the_codecs_kind() -> None:
    failure = errors.refused_request("bad_host", 400, "no such host")
    assert (failure.kind, failure.status, failure.text) == ("bad_host", 400, "no such host")
    assert (failure.token, failure.grpc_status) == ("http_request_error", 13)
