"""Each flavour has its one defect, by the judgement of the openssl command line."""

import re
import time
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.errors import CertError
from certs.flavour import KINDS, SOUND, Flavour
from certs.mint import LIFE, KeyType, Leaf, mint
from tests.support import openssl
from tests.support.openssl import Verdict, made_by_openssl, shown, split, verify

HOST = "shop.example"
DAY = 86_400

# What a client that looks at everything but revocation says; no_san is judged with and without the old habit.
ERRORS = {
    "": openssl.SOUND,
    "expired": Verdict(10, 0, "certificate has expired"),
    "not_yet_valid": Verdict(9, 0, "certificate is not yet valid"),
    "expires_in": openssl.SOUND,
    "wrong_host": Verdict(62, 0, "hostname mismatch"),
    "self_signed": Verdict(18, 0, "self-signed certificate"),
    "untrusted_root": Verdict(19, 2, "self-signed certificate in certificate chain"),
    "incomplete_chain": Verdict(20, 0, "unable to get local issuer certificate"),
    "expired_intermediate": Verdict(10, 1, "certificate has expired"),
    "revoked": openssl.SOUND,
    "weak_key": Verdict(66, 0, "EE certificate key too weak"),
    "sha1": Verdict(68, 0, "CA signature digest algorithm too weak"),
    "no_san": openssl.SOUND,
    "wrong_eku": Verdict(26, 0, "unsuitable certificate purpose"),
    "name_constraint": Verdict(47, 0, "permitted subtree violation"),
}


def flavour(kind: str) -> Flavour:
    return Flavour(kind, 3600.0 if kind == "expires_in" else 0.0)


def crl_file(authority: Authority, folder: Path) -> Path:
    made_by_openssl("crl", "-inform", "DER", "-out", folder / "crl.pem", data=authority.crl())
    return folder / "crl.pem"


def test_every_kind_is_judged() -> None:
    assert set(ERRORS) == {"", *KINDS}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind or "sound")
@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_openssl_finds_the_defect(kind: str, key: KeyType, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour(kind), key)
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, HOST) == ERRORS[kind]


# How a client that overlooks one defect is told to do so.
OVERLOOK: dict[str, openssl.Arguments] = {
    "expired": ["-no_check_time"],
    "not_yet_valid": ["-no_check_time"],
    "expired_intermediate": ["-no_check_time"],
    "weak_key": ["-auth_level", "1"],  # 80 bits
    "sha1": ["-auth_level", "0"],
    "wrong_eku": ["-purpose", "sslclient"],
}


@pytest.mark.parametrize("kind", OVERLOOK)
def test_there_is_no_other_defect(kind: str, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour(kind))
    found = verify(tmp_path, leaf.chain_pem, authority.root_pem, HOST, *OVERLOOK[kind])
    assert found == openssl.SOUND


def test_a_wrong_host_is_right_for_another(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour("wrong_host"))
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, "wrong-host.invalid") == openssl.SOUND
    other = mint(authority, "wrong-host.invalid", flavour("wrong_host"))
    assert verify(tmp_path, other.chain_pem, authority.root_pem, "wrong-host.invalid").error == 62


@pytest.mark.parametrize("kind", ["self_signed", "untrusted_root"])
def test_what_is_not_trusted_is_sound_where_it_is(kind: str, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour(kind))
    top = split(leaf.chain_pem)[-1]
    strict = () if kind == "untrusted_root" else ("-partial_chain",)
    assert verify(tmp_path, leaf.chain_pem, top, HOST, *strict) == openssl.SOUND


def test_an_incomplete_chain_lacks_only_its_intermediate(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour("incomplete_chain"))
    missing = authority.chain("incomplete_chain", time.time()).issuer.pem
    assert len(split(leaf.chain_pem)) == 1
    assert verify(tmp_path, leaf.chain_pem + missing, authority.root_pem, HOST) == openssl.SOUND
    sound = split(mint(authority, HOST).chain_pem)[1]
    assert verify(tmp_path, leaf.chain_pem + sound, authority.root_pem, HOST).error == 20


def test_a_name_constraint_permits_others(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, "permitted.invalid", flavour("name_constraint"))
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, "permitted.invalid") == openssl.SOUND


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "10.0.0.7"])
def test_a_name_constraint_binds_addresses(name: str, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, name, flavour("name_constraint"))
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, name).error == 47


def test_revoked_is_said_by_the_list(authority: Authority, tmp_path: Path) -> None:
    leaf, sound = mint(authority, HOST, flavour("revoked")), mint(authority, HOST)
    more: openssl.Arguments = ["-crl_check", "-CRLfile", crl_file(authority, tmp_path)]
    found = verify(tmp_path, leaf.chain_pem, authority.root_pem, HOST, *more)
    assert found == Verdict(23, 0, "certificate revoked")
    assert verify(tmp_path, sound.chain_pem, authority.root_pem, HOST, *more) == openssl.SOUND


def test_revoked_is_said_by_the_stapled_response(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, flavour("revoked"))
    (tmp_path / "response").write_bytes(leaf.ocsp)
    (tmp_path / "leaf.pem").write_bytes(split(leaf.chain_pem)[0])
    (tmp_path / "issuer.pem").write_bytes(split(leaf.chain_pem)[1])
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    files: openssl.Arguments = ["-issuer", tmp_path / "issuer.pem", "-cert", tmp_path / "leaf.pem"]
    trust: openssl.Arguments = ["-CAfile", tmp_path / "root.pem", "-verify_other", tmp_path / "issuer.pem"]
    done = openssl.openssl("ocsp", "-respin", tmp_path / "response", *files, *trust)
    said = (done.stdout + done.stderr).decode()
    assert "Response verify OK" in said
    assert "leaf.pem: revoked" in said
    assert "Reason: keyCompromise" in said


def test_only_revoked_staples(authority: Authority) -> None:
    assert [kind for kind in ERRORS if mint(authority, HOST, flavour(kind)).ocsp] == ["revoked"]


def test_no_san_has_only_its_common_name(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL itself falls back on the common name; RFC 9525 and most clients do not."""
    leaf = mint(authority, HOST, flavour("no_san"))
    assert "Subject Alternative Name" not in shown(leaf.chain_pem)
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, HOST) == openssl.SOUND
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, "other.example").error == 62


def test_sha1_signs_the_leaf_alone(authority: Authority) -> None:
    texts = [shown(pem) for pem in split(mint(authority, HOST, flavour("sha1")).chain_pem)]
    algorithms = [re.findall(r"Signature Algorithm: (\S+)", text) for text in texts]
    assert algorithms == [["ecdsa-with-SHA1"] * 2, ["ecdsa-with-SHA256"] * 2]


def test_weak_key_has_1024_bits(authority: Authority) -> None:
    assert "Public-Key: (1024 bit)" in shown(mint(authority, HOST, flavour("weak_key")).chain_pem)


def dates(leaf: Leaf) -> tuple[float, float]:
    return leaf.not_before, leaf.not_after


def test_expires_in_ends_when_asked_and_is_renewed_early(authority: Authority) -> None:
    now = float(int(time.time()))
    leaf = mint(authority, HOST, Flavour("expires_in", 3600.0), now=now)
    assert leaf.not_after == now + 3600
    assert leaf.renew_at == now + 360


@pytest.mark.parametrize("seconds", [0.001, 0.4, 1.0])
def test_a_short_expires_in_is_valid_when_it_is_shown(seconds: float, authority: Authority) -> None:
    """Certificates know whole seconds: it ends at the next one, and is not renewed at once."""
    now = int(time.time()) + 0.75
    leaf = mint(authority, HOST, Flavour("expires_in", seconds), now=now)
    assert now + seconds <= leaf.not_after < now + seconds + 1
    assert leaf.renew_at >= now + 0.5


def test_a_sound_leaf_has_its_life(authority: Authority) -> None:
    now = float(int(time.time()))
    leaf = mint(authority, HOST, now=now)
    assert dates(leaf) == (now - DAY, now + LIFE)
    assert now + 60 * DAY < leaf.not_after - 60 * DAY  # what is left when it is renewed
    assert leaf.renew_at < leaf.not_after - 60 * DAY
    assert leaf.not_after - leaf.not_before < 200 * DAY


def test_expired_and_not_yet_valid_stay_so_until_they_are_renewed(authority: Authority) -> None:
    now = time.time()
    assert mint(authority, HOST, flavour("expired"), now=now).not_after < now
    later = mint(authority, HOST, flavour("not_yet_valid"), now=now)
    assert now < later.renew_at < later.not_before


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("*.shop.example", "pay.shop.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("a_b.shop.example.", "a_b.shop.example"),
        (".".join(["very-long-label-number-one"] * 5), ".".join(["very-long-label-number-one"] * 5)),
    ],
)
@pytest.mark.parametrize("kind", ["", "no_san"])
def test_names(name: str, asked: str, kind: str, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, name, flavour(kind))
    if kind == "no_san":  # OpenSSL looks for addresses in subjectAltName only
        assert "Subject Alternative Name" not in shown(leaf.chain_pem)
        return
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, asked) == openssl.SOUND


def test_a_wildcard_is_for_one_label(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, "*.shop.example")
    for other in ("shop.example", "a.b.shop.example"):
        assert verify(tmp_path, leaf.chain_pem, authority.root_pem, other).error == 62


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "*",
        "*.com",
        "a.*.example",
        "sp ace.example",
        "x" * 64,
        "1.2.3",
        "fe80::1%eth0",
        "a\0b",
    ],
)
def test_what_is_no_name_is_refused(name: str, authority: Authority) -> None:
    with pytest.raises(CertError, match="is neither a host name"):
        mint(authority, name)


def test_a_client_certificate_is_for_clients(authority: Authority, tmp_path: Path) -> None:
    for name in ("payments", "spiffe://shop.example/payments"):
        leaf = mint(authority, name, usage="client")
        found = verify(tmp_path, leaf.chain_pem, authority.root_pem, "", "-purpose", "sslclient")
        assert found == openssl.SOUND
        assert verify(tmp_path, leaf.chain_pem, authority.root_pem).error == 26


def test_leaves_say_where_revocation_is_told(tmp_path: Path) -> None:
    authority = Authority.create(None)
    assert "URI:" not in shown(mint(authority, HOST).chain_pem)
    authority.crl_url, authority.ocsp_url = "http://127.0.0.1:9/crl", "http://127.0.0.1:9/ocsp"
    leaf = mint(authority, HOST)
    text = shown(leaf.chain_pem)
    assert "URI:http://127.0.0.1:9/crl" in text
    assert "OCSP - URI:http://127.0.0.1:9/ocsp" in text
    assert leaf.crl_url == authority.crl_url
    assert verify(tmp_path, leaf.chain_pem, authority.root_pem, HOST) == openssl.SOUND


def test_serial_numbers_and_keys_differ(authority: Authority) -> None:
    leaves = [mint(authority, HOST, SOUND) for _ in range(20)]
    assert len({leaf.serial for leaf in leaves}) == len({leaf.key_pem for leaf in leaves}) == 20


@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_how_long_minting_takes(
    key: KeyType, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.perf_counter()
    for number in range(50):
        mint(authority, f"n{number}.example", key=key)
    each = (time.perf_counter() - begun) / 50
    with capsys.disabled():
        print(f"\na leaf with {key} takes {each * 1e3:.2f} ms")
