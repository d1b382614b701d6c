"""Flavour by client: what each says to our certificate, to an independent one, and in the docs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.flavour import KINDS, Flavour
from certs.mint import mint
from tests.house import ROOT
from tests.support.bad_certificates import Maker
from tests.support.openssl import made_by_openssl
from tests.support.process import free_port
from tests.support.tls_clients import CLIENTS, OK, TIMEOUT, Outcome, Target, ask, curl, s_client
from tests.support.tls_servers import breaking, serving, stapling

HOST = "shop.example"
FLAVOURS = ("", *KINDS)
PAGE = ROOT / "docs" / "certificates.md"
COLUMNS = {"s_client": 1, "curl": 1, "ssl": 1, "httpx": 1, "node": 2, "grpcio": 3, "java": 4, "go": 5}


@contextmanager
def nobody() -> Iterator[int]:
    """Give a port on which nobody listens."""
    yield free_port()


# What servers do that is no certificate; alerts by RFC 8446, 6.
TROUBLES: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "refused": nobody,
    "closed": breaking,
    "reset": partial(breaking, reset=True),
    "handshake_failure": partial(breaking, b"\x15\x03\x03\0\x02\x02\x28"),
    "unrecognized_name": partial(breaking, b"\x15\x03\x03\0\x02\x02\x70"),
    "certificate_revoked": partial(breaking, b"\x15\x03\x03\0\x02\x02\x2c"),
}


class Stage:
    """A server for each flavour, twice: with our certificate and with an independent one."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.authority = Authority.create(None)
        self.maker = Maker(folder, HOST)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(self.authority.root_pem + self.maker.root_pem)
        self.targets: dict[tuple[str, str], Target] = {}
        for kind in FLAVOURS:
            leaf = mint(self.authority, HOST, Flavour(kind, 3600.0 if kind == "expires_in" else 0.0))
            made = self.maker.make(kind)
            for who, shown in (("ours", leaf), ("theirs", made)):
                tls = serving(shown.chain_pem, shown.key_pem, folder, ("h2", "http/1.1"))
                self.targets[who, kind] = Target(running.enter_context(tls).port, HOST)
        for trouble, server in TROUBLES.items():
            self.targets["trouble", trouble] = Target(running.enter_context(server()), HOST)
        self._said: dict[str, dict[tuple[str, str], Outcome]] = {}

    def said(self, client: str) -> dict[tuple[str, str], Outcome]:
        """Give what a client says to each target; asked once, as some take seconds to start."""
        if client not in self._said:
            outcomes = ask(client, list(self.targets.values()), self.roots)
            self._said[client] = dict(zip(self.targets, outcomes, strict=True))
        return self._said[client]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as running:
        yield Stage(tmp_path_factory.mktemp("certificates"), running)


def table() -> dict[str, list[str]]:
    """Read the table of the docs: the cells of each flavour."""
    _, _, section = PAGE.read_text().partition("## What clients say")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row for row in rows}


def meaning(cell: str) -> str:
    """Put what the docs say into the clients' vocabulary."""
    return "" if cell == "accepts" else Outcome(cell, cell).kind


def test_the_docs_have_every_flavour_and_client() -> None:
    assert list(table()) == list(KINDS)
    assert set(COLUMNS) == set(CLIENTS)
    assert [cell for row in table().values() for cell in row[1:] if meaning(cell) == "other"] == []


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_says_the_same_as_to_an_independent_certificate(client: str, stage: Stage) -> None:
    found = stage.said(client)
    ours = {kind: found["ours", kind] for kind in FLAVOURS}
    assert ours[""] == OK
    assert {kind: one.code for kind, one in ours.items()} == {
        kind: found["theirs", kind].code for kind in FLAVOURS
    }
    documented = {kind: meaning(row[COLUMNS[client]]) for kind, row in table().items()}
    assert {kind: ours[kind].kind for kind in KINDS} == documented


@pytest.mark.parametrize("who", ["ours", "theirs"])
def test_clients_that_look_see_the_revocation(who: str, stage: Stage, tmp_path: Path) -> None:
    crl = tmp_path / "crl.pem"
    if who == "ours":
        leaf = mint(stage.authority, HOST, Flavour("revoked"))
        chain, key, ocsp = leaf.chain_pem, leaf.key_pem, leaf.ocsp
        crl.write_bytes(made_by_openssl("crl", "-inform", "DER", data=stage.authority.crl()))
    else:
        made = stage.maker.make("revoked")
        chain, key, ocsp = made.chain_pem, made.key_pem, made.ocsp
        crl.write_bytes(stage.maker.crl())
    with stapling(chain, key, ocsp, tmp_path) as port:
        target = Target(port, HOST)
        said = s_client(target, stage.roots, TIMEOUT, "-crl_check", "-CRL", str(crl))
        assert said.code == "23 certificate revoked"
        said = curl(target, stage.roots, TIMEOUT, "--cert-status")
        assert said.code == "(91) SSL certificate revocation reason: keyCompromise (1)"
        said = curl(target, stage.roots, TIMEOUT, "--crlfile", str(crl))
        assert said.code == "(60) SSL certificate problem: certificate revoked"


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_tells_trouble_that_is_no_certificate(client: str, stage: Stage) -> None:
    """The vocabulary for faults of the handshake."""
    found = stage.said(client)
    assert {trouble: found["trouble", trouble].kind for trouble in TROUBLES} == {
        "refused": "refused",
        "closed": "closed",
        "reset": "reset",
        "handshake_failure": "alert",
        "unrecognized_name": "alert",
        "certificate_revoked": "alert",
    }
