"""What comes of TLS with an upstream that is not well, without asking it: for faults on that side."""

import ssl
from typing import Final

from proxy import errors
from proxy.errors import Failure
from rules.actions import CUT_ALERT, CUT_PAUSE, ShapeHandshake

# By what ``proxy.net.identity`` makes of the verdict of OpenSSL.
_CERTIFICATES: Final[dict[str, Failure]] = {
    "expired": errors.UPSTREAM_CERTIFICATE_EXPIRED,
    "expired_intermediate": errors.UPSTREAM_CERTIFICATE_EXPIRED,
    "not_yet_valid": errors.UPSTREAM_CERTIFICATE_NOT_YET_VALID,
    "wrong_host": errors.UPSTREAM_CERTIFICATE_NAME,
    "self_signed": errors.UPSTREAM_CERTIFICATE_SELF_SIGNED,
    "untrusted_root": errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    "incomplete_chain": errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    "weak_key": errors.UPSTREAM_CERTIFICATE,
    "sha1": errors.UPSTREAM_CERTIFICATE,
    "wrong_eku": errors.UPSTREAM_CERTIFICATE,
    "name_constraint": errors.UPSTREAM_CERTIFICATE,
}


def pause_of(shape: ShapeHandshake, patience: float) -> float:
    """Say how many seconds the handshake takes; ``patience`` of them, and no answer ever comes."""
    cut = shape.cut
    if cut is None or cut.how != CUT_PAUSE:
        return 0.0
    return patience if cut.seconds < 0.0 else min(cut.seconds, patience)


def failure_of(shape: ShapeHandshake, context: ssl.SSLContext, patience: float) -> Failure | None:
    """Say how such a handshake with this context fails; None: not at all."""
    cut = shape.cut
    if cut is not None:
        if cut.how == CUT_ALERT:
            return errors.UPSTREAM_TLS_ALERT
        if cut.how != CUT_PAUSE:
            return errors.UPSTREAM_RESET  # FIN in the middle is no other end than RST
        if pause_of(shape, patience) >= patience:
            return errors.CONNECT_TIMEOUT
    if shape.max_version:
        return errors.UPSTREAM_TLS_ALERT  # protocol_version: we do not speak so old a one
    if shape.certificate:
        failure = _certificate(shape.certificate, context)
        if failure is not None:
            return failure
    return errors.UPSTREAM_TLS_ALERT if shape.reject_client_certificate else None


def _certificate(flavour: str, context: ssl.SSLContext) -> Failure | None:
    """Say what is found wrong with a certificate; what is not looked at is found by nobody."""
    if context.verify_mode == ssl.CERT_NONE:
        return None
    if flavour == "revoked":
        looked = context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
        return errors.UPSTREAM_CERTIFICATE_REVOKED if looked else None
    if flavour == "no_san":
        return None if context.hostname_checks_common_name else errors.UPSTREAM_CERTIFICATE_NAME
    return _CERTIFICATES.get(flavour)
