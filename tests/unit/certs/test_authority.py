"""The authority on disk: modes, whole files, rotation, revocations."""

import multiprocessing
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from certs import authority as module
from certs import storage
from certs.authority import Authority
from certs.errors import CertError
from certs.flavour import Flavour
from certs.mint import mint
from tests.support import openssl
from tests.support.openssl import made_by_openssl, shown, split, verify

HOST = "shop.example"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_keys_are_for_their_owner_only(umask: int, directory: Path) -> None:
    before = os.umask(umask)
    try:
        authority = Authority.create(directory)
        authority.revoke(7)
    finally:
        os.umask(before)
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == {
        "authority.pem": 0o600,
        "root.pem": 0o644,
        "revoked": 0o600,
    }
    assert (directory / "root.pem").read_bytes() == authority.root_pem
    assert b"PRIVATE" not in (directory / "root.pem").read_bytes()


def test_no_byte_of_a_key_is_readable_while_it_is_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment of the rename the new file stands beside the old one with its final mode, synced."""
    seen: list[tuple[int, bool]] = []
    synced: list[int] = []
    rename, sync = os.replace, os.fsync

    def watch_sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def watch(source: Path, target: Path) -> None:
        seen.append((mode(source), source.stat().st_ino in synced))
        rename(source, target)

    monkeypatch.setattr(os, "replace", watch)
    monkeypatch.setattr(os, "fsync", watch_sync)
    Authority.create(directory)
    assert seen == [(0o600, True), (0o644, True)]
    assert directory.stat().st_ino in synced


def test_a_loaded_authority_is_the_same(directory: Path, tmp_path: Path) -> None:
    made = Authority.create(directory)
    loaded = Authority.load(directory)
    assert loaded.root_pem == made.root_pem
    assert verify(tmp_path, mint(loaded, HOST).chain_pem, made.root_pem, HOST) == openssl.SOUND
    assert Authority.open(directory).root_pem == made.root_pem


def test_open_creates_what_is_not_there(directory: Path) -> None:
    assert Authority.open(directory / "deep").root_pem == Authority.load(directory / "deep").root_pem
    assert Authority.open(None).directory is None


def test_create_overwrites_nothing(directory: Path) -> None:
    before = Authority.create(directory).root_pem
    with pytest.raises(CertError, match=r"authority\.pem is there already"):
        Authority.create(directory)
    assert Authority.load(directory).root_pem == before


def test_load_says_what_is_missing(directory: Path) -> None:
    with pytest.raises(CertError, match=r"there is no authority in .*misrule certs ca --dir"):
        Authority.load(directory)


def test_root_and_intermediate_are_what_rfc_5280_wants(authority: Authority) -> None:
    root, issuing = shown(authority.root_pem), shown(authority.issuing.pem)
    assert "CA:TRUE, pathlen:1" in root
    assert "CA:TRUE, pathlen:0" in issuing
    for text in (root, issuing):
        assert "X509v3 Key Usage: critical" in text
        assert "Certificate Sign, CRL Sign" in text


@pytest.mark.parametrize("step", ["before the rename", "after the first file"])
def test_a_crash_leaves_the_old_authority_or_the_new_one(
    step: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.create(directory)
    old = authority.root_pem
    calls = []

    def crash(source: Path, target: Path) -> None:
        calls.append(target)
        if step == "before the rename" or len(calls) == 2:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(CertError, match=r"cannot write .*no space left on device"):
        authority.rotate()
    monkeypatch.undo()
    found = Authority.load(directory)
    assert authority.root_pem == old
    assert (found.root_pem == old) == (step == "before the rename")
    assert sorted(path.name for path in directory.iterdir()) == ["authority.pem", "root.pem"]


@pytest.mark.parametrize("cut", [0, 1, 700, 1000, -1])
def test_a_damaged_file_is_told(cut: int, directory: Path) -> None:
    Authority.create(directory)
    path = directory / "authority.pem"
    path.write_bytes(path.read_bytes().rstrip()[:cut])
    with pytest.raises(CertError, match=r"authority\.pem is damaged"):
        Authority.load(directory)


def test_keys_that_do_not_fit_are_told(directory: Path, tmp_path: Path) -> None:
    Authority.create(directory)
    other = Authority.create(tmp_path / "other")
    path = directory / "authority.pem"
    path.write_bytes(other.root_pem + path.read_bytes()[len(other.root_pem) :])
    with pytest.raises(CertError, match=r"a key does not belong to its certificate|is damaged"):
        Authority.load(directory)


def test_rotation_replaces_all(directory: Path, tmp_path: Path) -> None:
    authority = Authority.create(directory)
    old_root, old = authority.root_pem, mint(authority, HOST)
    authority.revoke(old.serial)
    authority.rotate()
    new = mint(authority, HOST)
    assert authority.root_pem != old_root
    assert verify(tmp_path, new.chain_pem, authority.root_pem, HOST) == openssl.SOUND
    assert verify(tmp_path, new.chain_pem, old_root, HOST).error == 20
    assert Authority.load(directory).root_pem == authority.root_pem
    assert Authority.load(directory).revoked() == {}


def test_a_rotation_by_another_process_is_seen(directory: Path, tmp_path: Path) -> None:
    running = Authority.create(directory)
    running.revoke(7)
    assert not running.reload()
    other = Authority.create(directory, replace=True)
    assert running.reload()
    assert not running.reload()
    assert running.root_pem == other.root_pem
    assert running.revoked() == {}
    assert verify(tmp_path, mint(running, HOST).chain_pem, other.root_pem, HOST) == openssl.SOUND


def test_its_own_rotation_is_no_news(directory: Path) -> None:
    running = Authority.create(directory)
    running.rotate()
    assert not running.reload()
    assert not Authority.create(None).reload()


def test_a_damaged_rotation_keeps_the_old_authority(directory: Path) -> None:
    running = Authority.create(directory)
    before = running.root_pem
    (directory / "authority.pem").write_text("half")
    with pytest.raises(CertError, match="is damaged"):
        running.reload()
    assert not running.reload()
    assert running.root_pem == before


def test_an_issuing_certificate_near_its_end_is_made_anew(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Authority.create(directory)
    monkeypatch.setattr(module, "RENEWED_BEFORE", 2000 * 86_400.0)
    renewed = Authority.open(directory)
    assert renewed.root_pem == first.root_pem
    assert renewed.issuing.pem != first.issuing.pem
    assert Authority.load(directory).issuing.pem == renewed.issuing.pem
    assert verify(tmp_path, mint(renewed, HOST).chain_pem, first.root_pem, HOST) == openssl.SOUND


def _open(directory: Path) -> bytes:
    return Authority.open(directory).root_pem


def test_processes_that_open_at_once_agree(directory: Path) -> None:
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        assert len(set(pool.map(_open, [directory] * 6))) == 1


def test_an_unusable_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CertError, match=r"cannot use .*file"):
        Authority.create(tmp_path / "file")


# ---- revocations ----------------------------------------------------------------------------------------


def test_revocations_are_remembered_and_shared(directory: Path) -> None:
    one, other = Authority.create(directory), Authority.load(directory)
    one.revoke(0x1234)
    other.revoke(0x5678)
    for authority in (one, other, Authority.load(directory)):
        assert set(authority.revoked()) == {0x1234, 0x5678}
    text = made_by_openssl("crl", "-inform", "DER", "-noout", "-text", data=one.crl()).decode()
    assert "Serial Number: 1234" in text
    assert "Serial Number: 5678" in text
    assert "Key Compromise" in text


def test_a_line_that_a_crash_cut_short_costs_only_itself(directory: Path) -> None:
    Authority.create(directory).revoke(0x1234)
    with (directory / "revoked").open("a") as file:
        file.write("5678 17")
    assert set(Authority.load(directory).revoked()) == {0x1234}


def test_what_may_be_forgotten_is(directory: Path) -> None:
    authority = Authority.create(directory)
    authority.revoke(1, forget=1000.0)
    authority.revoke(2)
    assert set(authority.revoked()) == {2}
    Authority.open(directory)
    assert len((directory / "revoked").read_text().splitlines()) == 1


def test_the_list_is_bounded(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REVOKED", 10)
    own = Authority.create(None)
    for serial in range(1, 31):
        own.revoke(serial)
    assert set(own.revoked()) == set(range(21, 31))


def test_a_directory_that_cannot_be_written_is_no_obstacle(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted secret: what is revoked is then remembered by this process alone."""
    authority = Authority.create(directory)

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(storage, "append", refuse)
    authority.revoke(7)
    assert set(authority.revoked()) == {7}


@pytest.mark.parametrize(("kind", "said"), [("", "good"), ("revoked", "revoked")])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_it_answers_ocsp_requests(
    kind: str, said: str, digest: str, authority: Authority, tmp_path: Path
) -> None:
    leaf, issuer = split(mint(authority, HOST, Flavour(kind)).chain_pem)
    (tmp_path / "leaf.pem").write_bytes(leaf)
    (tmp_path / "issuer.pem").write_bytes(issuer)
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    files: openssl.Arguments = [
        f"-{digest}",
        "-issuer",
        tmp_path / "issuer.pem",
        "-cert",
        tmp_path / "leaf.pem",
    ]
    made_by_openssl("ocsp", *files, "-no_nonce", "-reqout", tmp_path / "request")
    (tmp_path / "response").write_bytes(authority.ocsp((tmp_path / "request").read_bytes()))
    trust: openssl.Arguments = ["-CAfile", tmp_path / "root.pem", "-verify_other", tmp_path / "issuer.pem"]
    done = openssl.openssl("ocsp", "-respin", tmp_path / "response", *files, *trust)
    assert f"leaf.pem: {said}" in done.stdout.decode(), done.stderr.decode()
    assert "Response verify OK" in done.stderr.decode()


def test_it_answers_only_for_its_own(authority: Authority, tmp_path: Path) -> None:
    leaf, issuer = split(mint(Authority.create(None), HOST).chain_pem)
    (tmp_path / "leaf.pem").write_bytes(leaf)
    (tmp_path / "issuer.pem").write_bytes(issuer)
    files: openssl.Arguments = ["-issuer", tmp_path / "issuer.pem", "-cert", tmp_path / "leaf.pem"]
    made_by_openssl("ocsp", *files, "-no_nonce", "-reqout", tmp_path / "request")
    (tmp_path / "response").write_bytes(authority.ocsp((tmp_path / "request").read_bytes()))
    done = openssl.openssl("ocsp", "-respin", tmp_path / "response", *files)
    assert "unauthorized" in (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("request_", [b"", b"GET / HTTP/1.1", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_ocsp_request_is_told(request_: bytes, authority: Authority) -> None:
    with pytest.raises(CertError, match="not an OCSP request"):
        authority.ocsp(request_)
