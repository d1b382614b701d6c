"""Certificates of the user: what is wrong with them is said, and changes are seen."""

import os
from pathlib import Path

import pytest
import trustme

from certs.authority import Authority
from certs.errors import CertError
from certs.files import look, read_crl, read_identity, read_trusted
from certs.mint import mint
from tests.support.openssl import made_by_openssl


@pytest.fixture
def pair(tmp_path: Path, authority: Authority) -> tuple[Path, Path]:
    return put(tmp_path, authority, "shop.example")


def put(folder: Path, authority: Authority, name: str) -> tuple[Path, Path]:
    leaf = mint(authority, name)
    (folder / "tls.crt").write_bytes(leaf.chain_pem)
    (folder / "tls.key").write_bytes(leaf.key_pem)
    return folder / "tls.crt", folder / "tls.key"


def test_an_identity_is_read(pair: tuple[Path, Path]) -> None:
    identity = read_identity(*pair)
    assert identity.names == ("shop.example",)
    assert identity.not_before < identity.not_after
    assert identity.chain_pem == pair[0].read_bytes()
    assert identity.key_pem == pair[1].read_bytes()


def test_one_file_may_hold_both_among_other_text(pair: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"# ours\n" + pair[1].read_bytes() + b"subject=/CN=x\n" + pair[0].read_bytes())
    assert read_identity(both).names == ("shop.example",)


@pytest.mark.parametrize("form", [["ec"], ["rsa", "-traditional"], ["rsa"]])
def test_every_form_of_key_is_read(form: list[str], tmp_path: Path) -> None:
    """SEC 1, PKCS #1 and PKCS #8, as other makers write them."""
    path = tmp_path / "pair.pem"
    if form == ["ec"]:
        key = made_by_openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")
        assert b"BEGIN EC PRIVATE KEY" in key
    else:
        key = made_by_openssl("genrsa", *form[1:], "2048")
    (tmp_path / "key.pem").write_bytes(key)
    certificate = made_by_openssl("req", "-x509", "-key", tmp_path / "key.pem", "-subj", "/CN=old.example")
    path.write_bytes(certificate + key)
    assert read_identity(path).names == ("old.example",)


def test_the_certificates_of_trustme_are_read(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("a.example", "127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    assert read_identity(tmp_path / "both.pem").names == ("a.example", "127.0.0.1")


def test_what_is_wrong_is_told(pair: tuple[Path, Path], tmp_path: Path, authority: Authority) -> None:
    certificate, key = pair
    other = tmp_path / "other.key"
    other.write_bytes(mint(authority, "other.example").key_pem)
    locked = tmp_path / "locked.key"
    locked.write_bytes(made_by_openssl("pkcs8", "-topk8", "-passout", "pass:x", data=key.read_bytes()))
    broken = tmp_path / "broken.crt"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    bad_key = tmp_path / "broken.key"
    bad_key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root_pem)
    for paths, words in (
        ((tmp_path / "none.crt", key), r"cannot read .*none\.crt: no such file"),
        ((key, key), r"tls\.key: there is no certificate in it"),
        ((certificate, certificate), r"tls\.crt: there must be one private key in it .*not 0"),
        ((certificate, other), r"other\.key: this key does not belong to the certificate in .*tls\.crt"),
        ((certificate, locked), r"locked\.key: the private key is encrypted"),
        ((broken, key), r"broken\.crt: certificate 1 cannot be read"),
        ((certificate, bad_key), r"broken\.key: the private key cannot be read"),
    ):
        with pytest.raises(CertError, match=words):
            read_identity(*paths)


def test_the_order_of_a_chain_is_checked(pair: tuple[Path, Path], authority: Authority) -> None:
    certificate, key = pair
    leaf, rest = certificate.read_bytes().split(b"-----END CERTIFICATE-----\n", 1)
    certificate.write_bytes(rest + leaf + b"-----END CERTIFICATE-----\n")
    with pytest.raises(CertError, match="it belongs to certificate 2, which must come first"):
        read_identity(certificate, key)
    certificate.write_bytes(leaf + b"-----END CERTIFICATE-----\n" + authority.root_pem)
    with pytest.raises(
        CertError, match=r"certificate 1 \(CN=shop\.example\) is signed by CN=Misrule issuing"
    ):
        read_identity(certificate, key)


def test_a_change_is_seen(pair: tuple[Path, Path], authority: Authority) -> None:
    before = look(*pair)
    assert look(*pair) == before
    put(pair[0].parent, authority, "new.example")
    assert look(*pair) != before
    pair[0].unlink()
    assert look(*pair)[0] == (0, 0, 0, 0)


def test_links_that_are_swapped_are_seen(tmp_path: Path, authority: Authority) -> None:
    """As Kubernetes puts a new secret in place: tls.crt leads over ..data, which is renamed."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name, authority, f"{name}.example")
    (tmp_path / "data").symlink_to("one")
    for file in ("tls.crt", "tls.key"):
        (tmp_path / file).symlink_to(Path("data") / file)
    paths = (tmp_path / "tls.crt", tmp_path / "tls.key")
    before = look(*paths)
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", tmp_path / "data")
    assert look(*paths) != before
    assert read_identity(*paths).names == ("two.example",)


def test_trusted_certificates_are_read(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"# two\n" + authority.root_pem + Authority.create(None).root_pem)
    assert read_trusted(path).count(b"BEGIN") == 2
    path.write_bytes(b"")
    with pytest.raises(CertError, match="there is no certificate in it"):
        read_trusted(path)
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CertError, match="certificate 1 cannot be read"):
        read_trusted(path)


def test_revocation_lists_are_read(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "crl"
    path.write_bytes(authority.crl())
    pem = read_crl(path)
    path.write_bytes(pem * 2)
    assert read_crl(path) == pem * 2
    path.write_bytes(b"nonsense")
    with pytest.raises(CertError, match="it is no list of revoked certificates"):
        read_crl(path)
