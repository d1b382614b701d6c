"""What the local authority says to those who ask over HTTP: its CRL, OCSP answers, its root.

Without I/O: whoever has a server hands in method, path and body.  Leaves tell clients to ask there when
``Authority.crl_url`` and ``ocsp_url`` say where that server is (``urls``).
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from certs.authority import Authority
from certs.errors import CertError

CRL: Final = "/crl"
OCSP: Final = "/ocsp"
ROOT: Final = "/root.pem"
LONGEST: Final = 4096  # bytes of a request; those of clients have about 100

_MALFORMED: Final = bytes.fromhex("30030a0101")  # OCSPResponse: malformedRequest (RFC 6960, 4.2.1)


@dataclass(frozen=True)
class Response:
    """What to answer."""

    status: int
    content_type: str
    body: bytes
    allow: str = ""  # with 405


def urls(base: str) -> tuple[str, str]:
    """Give ``crl_url`` and ``ocsp_url`` of a server at ``http://host:port`` (plain: RFC 5280, 8)."""
    base = base.rstrip("/")
    return base + CRL, base + OCSP


def respond(authority: Authority, method: str, path: str, body: bytes = b"") -> Response | None:
    """Answer a request; None for paths that are not ours.

    OCSP takes POST, and GET with the request in the path (RFC 6960, appendix A.1).
    """
    path = path.partition("?")[0]
    if path in (CRL, ROOT):
        if method not in ("GET", "HEAD"):
            return Response(405, "text/plain", b"", "GET, HEAD")
        if path == ROOT:
            return Response(200, "application/x-pem-file", authority.root_pem)
        return Response(200, "application/pkix-crl", authority.crl())
    if path == OCSP:
        if method != "POST":
            return Response(405, "text/plain", b"", "POST")
        return _ocsp(authority, body)
    if path.startswith(f"{OCSP}/"):
        if method != "GET":
            return Response(405, "text/plain", b"", "GET")
        try:
            asked = base64.b64decode(unquote(path.removeprefix(f"{OCSP}/")), validate=True)
        except (binascii.Error, ValueError):
            asked = b""
        return _ocsp(authority, asked)
    return None


def _ocsp(authority: Authority, asked: bytes) -> Response:
    answer = _MALFORMED
    if len(asked) <= LONGEST:
        try:
            answer = authority.ocsp(asked)
        except CertError:
            pass
    return Response(200, "application/ocsp-response", answer)
