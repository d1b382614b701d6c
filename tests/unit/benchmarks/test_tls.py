"""The parts of the loads over TLS: what openssl says of handshakes, minting, the tables."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from benchmarks.load import certificate, client, handshakes, mint, procs, report, results, rulesets, workloads
from benchmarks.load.handshakes import Handshakes, HandshakesFailed
from benchmarks.load.mint import FRESH, KNOWN, NOBODY, MintFailed, Seen
from benchmarks.load.results import MintRow, Round, Row
from benchmarks.load.subjects import INTERPRETED, misrule, nginx
from rules.parse import parse_rules
from tests.support.need import need

OUTPUT = """\
Collecting connection statistics for 1 seconds
{each}

3 connections in 0.30s; 10.00 connections/user sec, bytes read 0
3 connections in 2 real seconds, 0 bytes read per connection
"""
EVERYWHERE = frozenset(os.sched_getaffinity(0))


def test_handshakes_are_counted_where_all_were_full() -> None:
    assert handshakes.parse(OUTPUT.format(each="***")) == 3


@pytest.mark.parametrize("each", ["**r", "*r*", "rrr"])
def test_a_resumed_session_is_no_handshake(each: str) -> None:
    with pytest.raises(HandshakesFailed, match="were resumed"):
        handshakes.parse(OUTPUT.format(each=each))


def test_a_client_that_counted_nothing_is_shown() -> None:
    with pytest.raises(HandshakesFailed, match="Connection refused"):
        handshakes.parse("Collecting connection statistics for 1 seconds\nconnect: Connection refused")


@contextmanager
def server(place: Path, *options: str) -> Iterator[int]:
    """Run ``openssl s_server`` with the certificate of the peers."""
    openssl = need("openssl")
    shown = str(certificate.make(place))
    port = procs.free_port()
    command = [openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", shown, "-quiet", *options]
    log = place / "log"
    with procs.running(command, EVERYWHERE, log, place) as pid:
        procs.wait_until(lambda: listens(port), pid, log)
        yield port


def listens(port: int) -> bool:
    try:
        client.connect(port).close()
    except OSError:
        return False
    return True


def test_a_real_run_counts_full_handshakes_of_the_kind_that_was_agreed_on(tmp_path: Path) -> None:
    with server(tmp_path) as port:
        shot = handshakes.fire(Handshakes(2), port, 1, EVERYWHERE)
    assert shot.requests > 2
    assert shot.seconds >= 1
    assert shot.rate < shot.requests


@pytest.mark.parametrize("options", [["-tls1_2"], ["-groups", "P-256"]])
def test_a_server_that_agrees_on_something_else_is_not_measured(options: list[str], tmp_path: Path) -> None:
    with server(tmp_path, *options) as port, pytest.raises(HandshakesFailed, match="s_client does not say"):
        handshakes.fire(Handshakes(1), port, 1, EVERYWHERE)


def test_who_speaks_an_older_version_proves_nothing(tmp_path: Path) -> None:
    for options, fine in (["-tls1_2", "-www"], False), (["-www"], True):
        place = tmp_path / options[0]
        place.mkdir()
        with server(place, *options) as port:
            assert client.answers(port, "/", client.ask_over_tls) is fine


def test_nginx_speaks_the_version_of_the_others(tmp_path: Path) -> None:
    assert "ssl_protocols TLSv1.3;" in nginx.config(tmp_path, 8080, 8081, rulesets.TWENTY, "x.pem")


@asynccontextmanager
async def names_of_clients(place: Path) -> AsyncIterator[tuple[int, list[str | None]]]:
    """Shake hands with whoever comes; the names that they ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.make(place))
    names: list[str | None] = []
    context.sni_callback = lambda _side, name, _context: names.append(name)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with made:
        yield made.sockets[0].getsockname()[1], names


@pytest.mark.parametrize(("fresh", "different"), [(True, 10), (False, 1)])
async def test_the_others_ask_for_fresh_names_or_for_one(fresh: bool, different: int, tmp_path: Path) -> None:
    need("openssl")
    async with names_of_clients(tmp_path) as (port, names):
        begun = asyncio.get_running_loop().time()
        took, failed = await mint.arrive(port, "ecdsa.example", 10 / mint.RATE, fresh=fresh)
        elapsed = asyncio.get_running_loop().time() - begun
    assert (len(took), failed) == (10, 0)
    assert len(set(names)) == different
    assert all(name is not None and name.endswith(".ecdsa.example") for name in names)
    assert elapsed >= 9 / mint.RATE


async def test_handshakes_that_fail_are_counted() -> None:
    took, failed = await mint.arrive(procs.free_port(), "ecdsa.example", 2 / mint.RATE, fresh=True)
    assert (took, failed) == ([], 2)


def test_too_few_handshakes_are_not_called_minting() -> None:
    with pytest.raises(MintFailed, match=r"49 handshakes in 2 s .* 7 failed"):
        mint.row("misrule", "RSA", FRESH, Seen([0.001], [0.001] * 49, 7, 2.0))
    assert mint.row("misrule", "RSA", KNOWN, Seen([0.001], [0.003] * 50, 7, 2.0)).rate == 25.0


def test_only_names_for_rsa_are_shown_rsa() -> None:
    *others, last = parse_rules(misrule.document(rulesets.RSA_NAMES).encode(), "rules.json")
    assert last.name == "rsa"
    assert len(others) == 20
    assert [domain == rulesets.RSA_NAMES.rsa_below for domain in mint.KINDS.values()] == [False, True]


def test_the_tables() -> None:
    result = results.begin(1, 3)
    assert report.mint_table(result) == ""
    result.mints = [
        mint.row("misrule", "ECDSA", NOBODY, Seen([0.001, 0.002, 0.004])),
        MintRow("misrule", "ECDSA", FRESH, 9, 100.0, 200.0, 300.0, 1500, 49.8, 400.0, 2),
    ]
    lines = [" ".join(line.split()) for line in report.mint_table(result).splitlines()]
    assert lines[-2] == "misrule ECDSA none 3 2,000 4,000 4,000 - - - -"
    assert lines[-1] == "misrule ECDSA fresh 9 100 200 300 1,500 50 400 2"
    name = workloads.TLS_HANDSHAKES.name
    result.rows = [Row(name, INTERPRETED, "", [Round(900.0, 0.0, 0.0, 400.0, 2**25, 0.0, 0, 0.0)])]
    text = report.workload_table(result, workloads.TLS_HANDSHAKES)
    assert "handshakes/s" in text
    assert "CPU µs/handshake" in text
    assert text.splitlines()[-1].split()[2:6] == ["900", "-", "-", "400.0"]
