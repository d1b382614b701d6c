"""tls: clients say of the faults of a handshake what they say of servers that are really so."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import tls_real
from tests.support.need import need
from tests.support.pki import Pair, Pki, the_pki
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.tls_clients import CLIENTS, Outcome, Target, ask, python_ssl, s_client
from tests.support.tls_real import Played, SServer
from tests.support.wait import eventually

NAME = "a.sick.example"
Real = Callable[[Pair], Played | SServer]


@pytest.fixture(scope="module")
def pki() -> Pki:
    return the_pki()


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> Pair:
    """The certificate of all servers here, for names under one domain."""
    return pki.leaf("*.sick.example")


@pytest.fixture(scope="module")
def _front(leaf: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    shop = Scripted()
    tls = {"mode": "terminate", "certificate": str(leaf.chain), "key": str(leaf.key)}
    made = Proxy(tmp_path_factory.mktemp("tls"), shop.address, listener={"tls": tls})
    yield made
    made.stop()
    shop.close()


@pytest.fixture
def front(_front: Proxy) -> Iterator[Proxy]:
    """A proxy whose listener ends TLS."""
    _front.calm()
    yield _front
    _front.calm()


def target(of: Proxy | Played | SServer, name: str = NAME) -> Target:
    """Say where a server is, and the name that it is asked for."""
    return Target(int(of.address.rpartition(":")[2]) if isinstance(of, Proxy) else of.port, name)


def _s_server(*options: str) -> Real:
    return lambda pair: SServer(pair, *options)


def _played(play: tls_real.Play) -> Real:
    return lambda pair: Played(pair, play)


_H2 = ("-alpn", "h2,http/1.1")
_RESET, _CLOSE = tls_real.reset, tls_real.close

# A fault, and a server that really does it.
REAL: dict[str, tuple[dict[str, Any], Real]] = {
    "alert": (
        {"handshake": {"alert": "handshake_failure"}},
        _s_server("-tls1_2", "-cipher", "AES128-SHA"),
    ),
    "alert-name": (
        {"handshake": {"alert": "unrecognized_name"}},
        lambda pair: SServer(
            pair, "-servername", "b", "-servername_fatal", "-cert2", str(pair.chain), "-key2", str(pair.key)
        ),
    ),
    "alert-finished": (
        {"handshake": {"alert": "certificate_required"}, "at": "finished"},
        _s_server("-Verify", "1", *_H2),
    ),
    "rejected": ({"client_certificate": "reject"}, _s_server("-Verify", "1", *_H2)),
    "rejected-12": (
        {"client_certificate": "reject", "max_version": 1.2},
        _s_server("-Verify", "1", "-tls1_2"),
    ),
    "reset-hello": ({"handshake": "reset"}, _played(tls_real.at_client_hello(_RESET))),
    "reset-server": (
        {"handshake": "reset", "at": "server_hello"},
        _played(tls_real.at_server_hello(_RESET)),
    ),
    "close-hello": ({"handshake": "close"}, _played(tls_real.at_client_hello(_CLOSE))),
    "close-server": (
        {"handshake": "close", "at": "server_hello"},
        _played(tls_real.at_server_hello(_CLOSE)),
    ),
    "close-finished": (
        {"handshake": "close", "at": "finished"},
        _played(tls_real.at_finished(_CLOSE)),
    ),
    "ciphers": ({"ciphers": "AES128-SHA"}, _s_server("-tls1_2", "-cipher", "AES128-SHA")),
    "alpn": ({"alpn": "x"}, _s_server("-alpn", "x")),
    "no-alpn": ({"alpn": "none"}, _s_server()),
}


@pytest.fixture(scope="module")
def peers(leaf: Pair) -> Iterator[dict[str, Played | SServer]]:
    """The servers that really are so."""
    running = {case: real(leaf) for case, (_, real) in REAL.items()}
    yield running
    for peer in running.values():
        peer.stop()


# Without a request of its own this one would wait where all is well; Java's takes seconds for each name.
_SILENT = "s_client"
_WELL = ("alpn", "no-alpn")


def told(client: str, targets: list[Target], ca: Path) -> list[str]:
    """Ask, and give what each said, without the port."""
    if client == _SILENT:
        said = [s_client(one, ca, 20.0, "-ign_eof") for one in targets]
    else:
        said = ask(client, targets, ca)
    return [re.sub(r":\d+ ?$", "", one.code) for one in said]


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "java"])
def test_a_client_says_what_it_says_of_a_server_that_is_so(
    front: Proxy, pki: Pki, peers: dict[str, Played | SServer], client: str
) -> None:
    """All at once: each trouble has a name of its own, and its rule looks at that."""
    cases = [case for case in REAL if not (client == _SILENT and case in _WELL)]
    names = {case: f"{case}.sick.example" for case in cases}
    front.put(*(rule(case, {"tls": REAL[case][0]}, match={"sni": names[case]}) for case in cases))
    real = told(client, [target(peers[case], names[case]) for case in cases], pki.root.chain)
    ours = told(client, [target(front, names[case]) for case in cases], pki.root.chain)
    assert dict(zip(cases, ours, strict=True)) == dict(zip(cases, real, strict=True))
    for case, said in zip(cases, ours, strict=True):
        assert said or case in (*_WELL, "close-finished"), case
        assert front.injections(rule=case, fault="tls", phase="tls") >= 1


STALLS = {"client_hello": tls_real.at_client_hello, "server_hello": tls_real.at_server_hello}


@pytest.mark.parametrize("place", STALLS)
def test_a_stall_is_seen_as_a_server_that_says_nothing(
    front: Proxy, pki: Pki, leaf: Pair, place: str
) -> None:
    front.put(rule("stuck", {"tls": {"handshake": "stall", "at": place}}))
    peer = Played(leaf, STALLS[place](tls_real.hold))
    real, ours = ask("ssl", [target(peer), target(front)], pki.root.chain, 0.5)
    peer.stop()
    assert ours == real
    assert ours.kind == "timeout"


def test_an_old_version_only(front: Proxy, pki: Pki, leaf: Pair) -> None:
    front.put(rule("old", {"tls": {"max_version": 1.1}}))
    peer = SServer(leaf, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    real, ours = ask("node", [target(peer), target(front)], pki.root.chain)
    peer.stop()
    assert ours == real
    assert "protocol" in ours.words


# Numbers and names as OpenSSL prints them.
ALERTS = {
    "unexpected_message": (10, "sslv3 alert unexpected message"),
    "bad_certificate": (42, "sslv3 alert bad certificate"),
    "certificate_revoked": (44, "sslv3 alert certificate revoked"),
    "unknown_ca": (48, "tlsv1 alert unknown ca"),
    "access_denied": (49, "tlsv1 alert access denied"),
}


@pytest.mark.parametrize("place", ["client_hello", "server_hello", "finished"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_alerts_at_each_place(front: Proxy, pki: Pki, place: str, version: str) -> None:
    """Each by a name of its own."""
    rules = [
        rule(
            alert,
            {"tls": {"handshake": {"alert": alert}, "at": place}},
            match={"sni": f"{alert.replace('_', '-')}.sick.example"},
        )
        for alert in ALERTS
    ]
    front.put(*rules)
    for alert, (number, words) in ALERTS.items():
        where = target(front, f"{alert.replace('_', '-')}.sick.example")
        said = s_client(where, pki.root.chain, 20.0, version, "-ign_eof").words
        assert words in said
        assert f"SSL alert number {number}" in said


def session(front: Proxy, pki: Pki, *options: str) -> str:
    """Go through a handshake and a request with openssl's client, and give all that it prints."""
    command = [
        need("openssl"), "s_client", "-connect", front.address, "-servername", NAME,
        "-CAfile", str(pki.root.chain), "-ign_eof", *options,
    ]  # fmt: skip
    request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=20, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def python(front: Proxy, pki: Pki, name: str = NAME) -> Outcome:
    return python_ssl(target(front, name), pki.root.chain, 10.0)


def test_a_change_holds_for_the_next_handshake(front: Proxy, pki: Pki) -> None:
    cut = {"tls": {"handshake": {"alert": "unknown_ca"}}}
    assert python(front, pki).ok
    front.put(rule("gone", cut))
    assert "unknown ca" in python(front, pki).words
    front.put(rule("gone", cut, match={"sni": "b.sick.example"}))
    assert python(front, pki).ok


def test_a_client_of_http_2(front: Proxy, pki: Pki) -> None:
    def version() -> str:
        with httpx.Client(http2=True, verify=pki.client(), trust_env=False, timeout=20.0) as client:
            named = {"host": NAME}
            got = client.get(f"https://{front.address}/", headers=named, extensions={"sni_hostname": NAME})
            return got.http_version

    assert version() == "HTTP/2"
    front.put(rule("gone", {"tls": {"handshake": {"alert": "unknown_ca"}}}))
    with pytest.raises(httpx.ConnectError, match=r"(?i)unknown.ca"):
        version()
    assert front.injections(rule="gone", fault="tls") == 1
    front.put(rule("old", {"tls": {"alpn": "http/1.1"}}))
    assert version() == "HTTP/1.1"


def test_proof_where_a_handshake_succeeds(front: Proxy, pki: Pki) -> None:
    front.put(rule("slow", {"tls": {"handshake": {"delay": "150ms"}, "at": "finished", "max_version": 1.2}}))
    answer = session(front, pki)
    assert "TLSv1.2" in answer
    (line,) = re.findall(r"x-misrule: (.*?)\r?\n", answer)
    found = re.fullmatch(r"rule=slow; fault=tls; ms=(\d+); version=\d+", line.strip())
    assert found is not None
    assert int(found[1]) >= 150
    record = eventually(lambda: front.records(event="injection", rule="slow"), what="the log line")[-1]
    assert (record["fault"], record["phase"]) == ("tls", "tls")
    assert record["ms"] >= 150
    assert front.injections(rule="slow", fault="tls", phase="tls") == 1


def test_a_failed_handshake_under_a_fault_is_no_real_failure(front: Proxy, pki: Pki) -> None:
    before = front.failures("tls_alert")
    front.put(rule("expired", {"tls": "expired"}))
    assert python(front, pki).kind in ("expired", "unknown_issuer", "untrusted")
    record = eventually(lambda: front.records(event="handshake_failed", kind="tls_alert"), what="its line")[
        -1
    ]
    assert (record["injected"], record["sni"]) == (True, NAME)
    assert front.failures("tls_alert") == before
