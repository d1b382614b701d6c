"""Certificates with a defect, switched on by rule: what real clients say to the proxy that shows them."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.flavour import KINDS
from tests.e2e.test_tls_clients import COLUMNS, meaning, table
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted
from tests.support.tls_clients import CLIENTS, TIMEOUT, Target, ask, curl, s_client
from tests.support.wait import eventually


def name_of(kind: str) -> str:
    """Give the name under which a flavour is shown."""
    return f"{kind.replace('_', '-') or 'sound'}.example"


def flavoured(kind: str, **more: str) -> Rule:
    asked = {"expires_in": "1h"} if kind == "expires_in" else kind
    return rule(kind, {"tls": {"certificate": asked, **more}}, match={"sni": name_of(kind)})


@pytest.fixture(scope="module")
def _front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    shop = Scripted()
    folder = tmp_path_factory.mktemp("flavours")
    made = Proxy(
        folder,
        config={
            "listeners": [
                {
                    "name": "web",
                    "address": "127.0.0.1:0",
                    "timeouts": {"drain": "1s"},
                    "tls": {"mode": "terminate"},
                    "routes": [{"upstream": "shop"}],
                }
            ],
            "upstreams": {"shop": {"address": shop.address}},
            "certs": {"dir": str(folder / "certs")},
        },
    )
    yield made
    made.stop()
    shop.close()


@pytest.fixture
def front(_front: Proxy) -> Iterator[Proxy]:
    """A proxy whose certificates are minted by its own authority."""
    _front.calm()
    yield _front
    _front.calm()


def root(front: Proxy) -> Path:
    return front.config.parent / "certs" / "root.pem"


def target(front: Proxy, kind: str) -> Target:
    return Target(int(front.address.rpartition(":")[2]), name_of(kind))


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_says_what_the_docs_say(front: Proxy, client: str) -> None:
    # The upstream speaks no HTTP/2: calls that come through are answered here.
    answered = rule("calls", {"abort": {"grpc_status": "UNIMPLEMENTED"}}, match={"protocol": "grpc"})
    front.put(answered, *(flavoured(kind) for kind in KINDS))
    said = ask(client, [target(front, kind) for kind in ("", *KINDS)], root(front))
    assert said[0].ok, said[0]
    documented = {kind: meaning(row[COLUMNS[client]]) for kind, row in table().items()}
    assert {kind: one.kind for kind, one in zip(KINDS, said[1:], strict=True)} == documented
    for kind in KINDS:
        assert front.injections(rule=kind, fault="tls", phase="tls") >= 1


def test_the_version_makes_no_difference(front: Proxy) -> None:
    front.put(*(flavoured(kind) for kind in KINDS))
    for kind, row in table().items():
        said = s_client(target(front, kind), root(front), TIMEOUT, "-tls1_2")
        assert said.kind == meaning(row[COLUMNS["s_client"]]), kind


def test_a_revoked_certificate_is_so_by_what_is_stapled_to_it(front: Proxy) -> None:
    front.put(flavoured("revoked"))
    said = curl(target(front, "revoked"), root(front), TIMEOUT, "--cert-status")
    assert said.code == "(91) SSL certificate revocation reason: keyCompromise (1)"


def connected(front: Proxy, kind: str) -> ssl.SSLSocket:
    """Open a connection under a flavour's name, and have one request answered."""
    context = ssl.create_default_context(cafile=str(root(front)))
    host, _, port = front.address.rpartition(":")
    raw = socket.create_connection((host, int(port)), 10)
    side = context.wrap_socket(raw, server_hostname=name_of(kind), suppress_ragged_eofs=False)
    side.sendall(b"GET /bytes/2 HTTP/1.1\r\nhost: a\r\n\r\n")
    seen = b""
    while not seen.endswith(b"\r\n\r\n" + seen[-2:]) or b"\r\n\r\n" not in seen:
        seen += side.recv(65536)
    return side


@pytest.mark.parametrize("on", ["open", "next", "new"])
def test_what_is_open_under_the_name(front: Proxy, on: str) -> None:
    """With ``open`` it is closed, in order; other names are left alone, and so is all with the others."""
    with connected(front, "expired") as sick, connected(front, "") as well:
        front.put(flavoured("expired", on=on))
        assert front.injections(rule="expired") == (on == "open")
        if on == "open":
            assert sick.recv(1) == b""
        else:
            sick.sendall(b"GET /bytes/2 HTTP/1.1\r\nhost: a\r\n\r\n")
            assert sick.recv(9) == b"HTTP/1.1 "
        well.sendall(b"GET /bytes/2 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert well.recv(9) == b"HTTP/1.1 "
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
            connected(front, "expired")
        injected = 1 + (on == "open")
        eventually(lambda: front.injections(rule="expired") == injected, what="the second injection")


def test_the_sample_sticks_to_the_name(front: Proxy) -> None:
    """The same names are hit each time, in capitals too."""
    front.put(rule("some", {"tls": "self_signed"}, sample={"percent": 50, "sticky": "sni"}))
    names = [f"n{number}.example" for number in range(12)]
    port = int(front.address.rpartition(":")[2])
    first = ask("ssl", [Target(port, name) for name in names], root(front))
    again = ask("ssl", [Target(port, name.upper()) for name in names], root(front))
    assert [one.ok for one in first] == [one.ok for one in again]
    assert {one.ok for one in first} == {True, False}
    assert {one.kind for one in first if not one.ok} == {"self_signed"}
