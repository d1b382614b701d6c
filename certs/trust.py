"""What clients need to trust the local authority: bundles in the forms that languages and systems read."""

import contextlib
import shlex
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from certs import storage

ROOT: Final = "misrule-root.pem"
BUNDLE: Final = "misrule-bundle.pem"
TRUSTSTORE: Final = "misrule-truststore.p12"
ENVIRONMENT: Final = "misrule-trust.env"
PASSWORD: Final = "changeit"  # Java's default; a truststore has no secrets

# Where systems keep the public roots: Debian and Alpine, Fedora, openSUSE, macOS and the BSDs.
SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

# Who reads which variable.  Those of the first kind replace the system's roots, hence the bundle.
REPLACING: Final = {
    "SSL_CERT_FILE": "Go, Python's ssl, httpx, Ruby, OpenSSL's own programs",
    "REQUESTS_CA_BUNDLE": "Python's requests",
    "CURL_CA_BUNDLE": "curl",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "gRPC for C++, Python, Ruby, PHP and Node",
    "AWS_CA_BUNDLE": "the AWS SDKs",
}
ADDING: Final = {"NODE_EXTRA_CA_CERTS": "Node"}

INSTRUCTIONS: Final = (
    (
        "Debian, Ubuntu, Alpine",
        "cp {root} /usr/local/share/ca-certificates/misrule.crt && update-ca-certificates",
    ),
    ("Fedora, RHEL", "cp {root} /etc/pki/ca-trust/source/anchors/misrule.pem && update-ca-trust"),
    ("macOS", "security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {root}"),
    ("Windows", "certutil -addstore -f ROOT {root}"),
    ("Firefox, Chrome on Linux", "certutil -A -d sql:$HOME/.pki/nssdb -t C,, -n misrule -i {root}"),
)


def system_roots(bundles: Sequence[str] = SYSTEM_BUNDLES) -> bytes:
    """Give the public roots of this system (PEM); b"" where it has none."""
    for path in bundles:
        try:
            return Path(path).read_bytes()
        except OSError:
            continue
    return b""


def truststore(pem: bytes) -> bytes:
    """Give a truststore for Java 8u301 and newer (PKCS #12, password "changeit")."""
    found = {c.fingerprint(hashes.SHA256()): c for c in _readable(pem)}
    entries = [
        pkcs12.PKCS12Certificate(c, f"{c.subject.rfc4514_string()[:60]} {mark.hex()[:8]}".lower().encode())
        for mark, c in found.items()
    ]
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD.encode()))


def _readable(pem: bytes) -> Iterator[x509.Certificate]:
    """Read certificates, without those that the library refuses: old public roots break today's rules."""
    for block in storage.pem_blocks(pem, b"CERTIFICATE"):
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")
            yield x509.load_pem_x509_certificate(block)


def export(root_pem: bytes, directory: Path, public: bytes) -> dict[str, str]:
    """Write all forms to a directory: root, bundle, truststore, and a file of variables to source.

    ``public``: roots (PEM) that clients are to trust besides.  Gives the variables.  Raises CertError.
    """
    directory = directory.absolute()
    storage.make_directory(directory, storage.PUBLIC_DIRECTORY)
    bundle = root_pem if not public else public.rstrip() + b"\n" + root_pem
    variables = dict.fromkeys(REPLACING, str(directory / BUNDLE))
    variables |= dict.fromkeys(ADDING, str(directory / ROOT))
    java = (
        f"-Djavax.net.ssl.trustStore={directory / TRUSTSTORE} -Djavax.net.ssl.trustStorePassword={PASSWORD}"
    )
    variables["JAVA_TOOL_OPTIONS"] = java
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    for name, data in (
        (ROOT, root_pem),
        (BUNDLE, bundle),
        (TRUSTSTORE, truststore(bundle)),
        (ENVIRONMENT, "".join(lines).encode()),
    ):
        storage.write(directory / name, data, storage.PUBLIC)
    return variables
