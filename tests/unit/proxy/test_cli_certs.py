"""``misrule certs``: the authority, certificates for files, a look at servers, bundles."""

import json
import stat
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.flavour import KINDS, Flavour
from certs.mint import mint
from tests.support import openssl
from tests.support.openssl import verify
from tests.support.tls_servers import serving
from tests.unit.proxy.test_cli import run

HOST = "shop.example"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "ca")


def test_ca_makes_an_authority_once_and_shows_it(directory: str) -> None:
    code, out, err = run("certs", "ca", "--dir", directory)
    assert (code, err) == (0, "")
    assert out.startswith(f"a new authority is in {directory}\n")
    assert "CN=Misrule root " in out
    code, again, _ = run("certs", "ca", "--dir", directory)
    assert code == 0
    assert again == out.partition("\n")[2]


def test_ca_exports_and_rotates(directory: str, tmp_path: Path) -> None:
    file = tmp_path / "root.pem"
    _, shown, _ = run("certs", "ca", "--dir", directory, "--export", "-")
    assert shown.encode() == Authority.load(Path(directory)).root_pem
    code, _, _ = run("certs", "ca", "--dir", directory, "--rotate", "--export", str(file))
    assert code == 0
    assert file.read_bytes() == Authority.load(Path(directory)).root_pem != shown.encode()


def test_a_damaged_authority_can_be_rotated(directory: str) -> None:
    run("certs", "ca", "--dir", directory)
    (Path(directory) / "authority.pem").write_text("x")
    code, _, err = run("certs", "ca", "--dir", directory)
    assert code == 1
    assert err == f"misrule: {directory}/authority.pem is damaged: Unable to load PEM file\n"
    assert run("certs", "ca", "--dir", directory, "--rotate")[0] == 0
    assert run("certs", "ca", "--dir", directory)[0] == 0


def test_ca_speaks_to_machines(directory: str) -> None:
    found = json.loads(run("certs", "ca", "--dir", directory, "--json")[1])
    assert found["made"] is True
    assert found["root"]["subject"].startswith("CN=Misrule root")
    assert found["issuing"]["issuer"] == found["root"]["subject"]


def test_the_directory_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    run("certs", "ca")
    assert (tmp_path / "data" / "misrule" / "certs" / "authority.pem").exists()
    monkeypatch.setenv("MISRULE_CERTS_DIR", str(tmp_path / "other"))
    run("certs", "ca")
    assert (tmp_path / "other" / "authority.pem").exists()


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_mint_writes_what_a_server_needs(kind: str, directory: str, tmp_path: Path) -> None:
    words = ["--flavour", kind] if kind else []
    words += ["--expires-in", "1h"] if kind == "expires_in" else []
    code, out, err = run("certs", "mint", HOST, "--dir", directory, "--out", str(tmp_path / "o"), *words)
    assert (code, err) == (0, "")
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "o").iterdir()}
    expected = {f"{HOST}.pem": 0o644, f"{HOST}-key.pem": 0o600}
    if kind == "revoked":
        expected |= {f"{HOST}.ocsp": 0o644, f"{HOST}.crl": 0o644}
    assert files == expected
    assert f"{tmp_path}/o/{HOST}-key.pem" in out
    chain = (tmp_path / "o" / f"{HOST}.pem").read_bytes()
    judged = verify(tmp_path, chain, Authority.load(Path(directory)).root_pem, HOST)
    assert (judged == openssl.SOUND) == (kind in ("", "expires_in", "revoked", "no_san"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no name"], "'no name' is neither a host name (also *.example.com) nor an IP address"),
        ([HOST, "--flavour", "expires_in"], "--flavour expires_in needs --expires-in"),
        ([HOST, "--flavour", "expires_in", "--expires-in", "5"], "--expires-in: expected a duration"),
        ([HOST, "--expires-in", "5s"], "--expires-in belongs to --flavour expires_in"),
        ([HOST, "--flavour", "stale"], "'stale' is not one of"),
    ],
)
def test_mint_says_what_is_wrong(words: list[str], said: str, directory: str, tmp_path: Path) -> None:
    code, out, err = run("certs", "mint", *words, "--dir", directory, "--out", str(tmp_path))
    assert code in (1, 2)
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_names_of_files_are_harmless(directory: str, tmp_path: Path) -> None:
    for name in ("*.shop.example", "::1", "spiffe://shop/../pay"):
        out = run("certs", "mint", name, "--client", "--dir", directory, "--out", str(tmp_path / "o"))[1]
        assert str(tmp_path / "o") in out
    names = {path.name for path in (tmp_path / "o").iterdir() if "-key" not in path.name}
    assert names == {"_.shop.example.pem", "--1.pem", "spiffe-shop-..-pay.pem"}


def test_check_tells_a_sound_server(directory: str, tmp_path: Path) -> None:
    leaf = mint(Authority.open(Path(directory)), HOST)
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path, ("http/1.1",)) as server:
        address = f"127.0.0.1:{server.port}"
        code, out, err = run("certs", "check", address, "--servername", HOST, "--dir", directory)
    assert (code, err) == (0, "")
    assert out.startswith(f"{address} asked for {HOST}: TLSv1.3, TLS_AES_256_GCM_SHA384\n")
    assert "ALPN: http/1.1; stapled OCSP response: none" in out
    assert out.endswith("nothing is wrong\n")


def test_check_tells_what_is_wrong(directory: str, tmp_path: Path) -> None:
    leaf = mint(Authority.open(Path(directory)), HOST, Flavour("expired"))
    words = ["--servername", HOST, "--dir", directory]
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path) as server:
        address = f"127.0.0.1:{server.port}"
        code, out, _ = run("certs", "check", address, *words)
        plain = json.loads(run("certs", "check", address, *words, "--json")[1])
    assert code == 1
    assert "wrong: the certificate expired 1 day ago, on " in out
    assert "OpenSSL: error 10 at 0, certificate has expired" in out
    assert [(wrong["error"], wrong["depth"]) for wrong in plain["wrong"]] == [(10, 0)]
    assert plain["chain"][0]["names"] == [HOST]
    assert plain["chain"][0]["days_left"] == -1.0


def test_check_takes_other_roots_and_lists(directory: str, tmp_path: Path) -> None:
    authority = Authority.create(None)
    leaf = mint(authority, HOST, Flavour("revoked"))
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    (tmp_path / "list.crl").write_bytes(authority.crl())
    words = ["--servername", HOST, "--dir", directory, "--ca", str(tmp_path / "root.pem")]
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path) as server:
        address = f"127.0.0.1:{server.port}"
        assert run("certs", "check", address, *words)[0] == 0
        code, out, _ = run("certs", "check", address, *words, "--crl", str(tmp_path / "list.crl"))
    assert code == 1
    assert "the certificate was revoked by its issuer" in out


@pytest.mark.parametrize("address", ["shop.example", ":443", "shop.example:https", "shop.example:0"])
def test_check_wants_an_address(address: str) -> None:
    code, _, err = run("certs", "check", address)
    assert (code, err) == (2, f"misrule: {address!r} is not HOST:PORT\n")


def test_trust_writes_and_explains(directory: str, tmp_path: Path) -> None:
    code, out, _ = run("certs", "trust", "--dir", directory, "--only", "--out", str(tmp_path / "t"))
    assert code == 0
    bundle = (tmp_path / "t" / "misrule-bundle.pem").read_bytes()
    assert bundle == Authority.load(Path(directory)).root_pem
    for words in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "update-ca-certificates"):
        assert words in out
    assert f"all of them: . {tmp_path}/t/misrule-trust.env" in out
