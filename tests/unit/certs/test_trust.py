"""Bundles that clients read: judged by the programs that read them."""

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from certs import trust
from certs.authority import Authority
from tests.support.need import need
from tests.support.openssl import made_by_openssl


@pytest.fixture
def public() -> bytes:
    return trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes()


def test_the_bundle_has_the_public_roots_too(public: bytes, authority: Authority, tmp_path: Path) -> None:
    trust.export(authority.root_pem, tmp_path / "new", public)
    for name, count in ((trust.ROOT, 1), (trust.BUNDLE, 3)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(tmp_path / "new" / name)
        assert context.cert_store_stats()["x509_ca"] == count


def test_java_reads_the_truststore(public: bytes, authority: Authority, tmp_path: Path) -> None:
    trust.export(authority.root_pem, tmp_path, public)
    command = [need("keytool"), "-list", "-keystore", str(tmp_path / trust.TRUSTSTORE)]
    done = subprocess.run(
        [*command, "-storepass", trust.PASSWORD], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("trustedCertEntry") == 3


def test_openssl_reads_the_truststore(public: bytes, authority: Authority, tmp_path: Path) -> None:
    trust.export(authority.root_pem, tmp_path, public + public)  # twice the same is once
    path = tmp_path / trust.TRUSTSTORE
    shown = made_by_openssl("pkcs12", "-in", path, "-nokeys", "-passin", f"pass:{trust.PASSWORD}")
    assert len(x509.load_pem_x509_certificates(shown)) == 3


def test_a_shell_reads_the_variables(authority: Authority, tmp_path: Path) -> None:
    directory = tmp_path / "with a space"
    variables = trust.export(authority.root_pem, directory, b"")
    script = f". '{directory / trust.ENVIRONMENT}'; for n in {' '.join(variables)}; do printenv $n; done"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(variables.values())
    assert set(variables) == {*trust.REPLACING, *trust.ADDING, "JAVA_TOOL_OPTIONS"}


def test_public_roots_that_are_refused_are_left_out(authority: Authority) -> None:
    """Old roots break today's rules (a serial number of 0); they are no reason to fail."""
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert trust.truststore(broken + authority.root_pem)


def test_a_system_without_roots_has_none(tmp_path: Path) -> None:
    assert trust.system_roots([str(tmp_path / "none")]) == b""
    (tmp_path / "some").write_bytes(b"x")
    assert trust.system_roots([str(tmp_path / "none"), str(tmp_path / "some")]) == b"x"
