"""What went wrong with TLS, told apart; and who a client is by its certificate."""

import ssl
from typing import Any

import pytest

from proxy import errors
from proxy.errors import Failure
from proxy.net.identity import client_certificate, client_failure, told_of, upstream_failure, words
from rules.facts import ClientCertificate


def refused(code: int, message: str = "") -> ssl.SSLCertVerificationError:
    made = ssl.SSLCertVerificationError(1, "certificate verify failed")
    made.verify_code, made.verify_message = code, message
    return made


def failed(reason: str) -> ssl.SSLError:
    made = ssl.SSLError(1, f"[SSL: {reason}]")
    made.reason = reason
    return made


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (refused(10), errors.UPSTREAM_CERTIFICATE_EXPIRED),
        (refused(9), errors.UPSTREAM_CERTIFICATE_NOT_YET_VALID),
        (refused(62), errors.UPSTREAM_CERTIFICATE_NAME),
        (refused(64), errors.UPSTREAM_CERTIFICATE_NAME),
        (refused(18), errors.UPSTREAM_CERTIFICATE_SELF_SIGNED),
        (refused(19), errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA),
        (refused(20), errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA),
        (refused(23), errors.UPSTREAM_CERTIFICATE_REVOKED),
        (refused(26), errors.UPSTREAM_CERTIFICATE),
        (failed("TLSV13_ALERT_CERTIFICATE_REQUIRED"), errors.UPSTREAM_TLS_ALERT),
        (failed("WRONG_VERSION_NUMBER"), errors.UPSTREAM_TLS_PROTOCOL),
        (ssl.SSLError(1, "no reason at all"), errors.UPSTREAM_TLS_PROTOCOL),
    ],
)
def test_what_was_wrong_with_an_upstream(error: ssl.SSLError, failure: Failure) -> None:
    assert upstream_failure(error) is failure


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused(19), "tls_client_certificate"),
        (failed("PEER_DID_NOT_RETURN_A_CERTIFICATE"), "tls_client_certificate"),
        (failed("TLSV1_ALERT_UNKNOWN_CA"), "tls_alert"),
        (failed("NO_SHARED_CIPHER"), "tls_no_match"),
        (failed("UNSUPPORTED_PROTOCOL"), "tls_no_match"),
        (failed("BAD_RECORD_TYPE"), "tls_protocol"),
    ],
)
def test_what_was_wrong_with_a_client(error: ssl.SSLError, kind: str) -> None:
    assert client_failure(error) == kind
    assert kind in errors.HANDSHAKES


def test_words() -> None:
    assert words(failed("TLSV1_ALERT_UNKNOWN_CA")) == "tlsv1 alert unknown ca"
    assert words(refused(62, "Hostname mismatch")) == "Hostname mismatch"


class Side:
    """What ``ssl.SSLObject`` says of a peer."""

    def __init__(self, shown: dict[str, Any] | None) -> None:
        self.shown = shown

    def getpeercert(self, binary_form: bool = False) -> Any:
        return b"der" if binary_form and self.shown is not None else self.shown


def test_a_client_is_who_its_certificate_says() -> None:
    subject = ((("countryName", "DE"),), (("organizationName", 'A, "B"'),), (("commonName", "shop"),))
    names = (("DNS", "shop.example"), ("URI", "spiffe://a/b"), ("email", "a@b"))
    side: Any = Side({"subject": subject, "subjectAltName": names})
    found = client_certificate(side)
    assert found is not None
    assert found.subject == rb"CN=shop,O=A\, \"B\",C=DE"
    assert found.names == [b"shop.example", b"spiffe://a/b", b"a@b"]
    assert len(found.fingerprint) == 64
    none: Any = Side(None)
    assert client_certificate(none) is None


def test_what_upstreams_are_told() -> None:
    found = ClientCertificate(b'CN="a"', [b"a.example", b"spiffe://a/b", b"a@b", b"a;b", b"c,d"], b"ff")
    assert told_of(found) == rb'Hash=ff;Subject="CN=\"a\"";DNS=a.example;URI=spiffe://a/b'
    assert told_of(None) == b""
