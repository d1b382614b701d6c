"""The head as the upstream gets it: who asked, by which way, and whom to believe."""

import re

import pytest

from proxy import forwarding
from proxy.wire.h1 import REQUEST, H1Reader
from proxy.wire.h1_head import Head, Names
from proxy.worker import REWRITTEN
from tests.support.fakes import Stage

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"


async def passed_on(request: bytes, trusted_hops: int = 0, source: str = "192.0.2.7") -> list[str]:
    """Send a request through; the lines that the upstream got."""
    stage = Stage(trusted_hops=trusted_hops)
    client = stage.client(source)
    client.gives(request)
    return (await stage.connected()).taken().decode("latin-1").split("\r\n")


def values(lines: list[str], name: str) -> list[str]:
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(name + ": ")]


async def test_a_plain_request_gets_all_lines_once() -> None:
    lines = await passed_on(b"GET / HTTP/1.1\r\nHost: Shop.example:8080\r\nAccept: */*\r\n\r\n")
    assert lines[:3] == ["GET / HTTP/1.1", "Host: Shop.example:8080", "Accept: */*"]
    assert values(lines, "via") == ["1.1 misrule"]
    assert values(lines, "x-forwarded-for") == ["192.0.2.7"]
    assert values(lines, "x-forwarded-proto") == ["http"]
    assert values(lines, "x-forwarded-host") == ["Shop.example:8080"]
    assert [bool(re.fullmatch(UUID, one)) for one in values(lines, "x-request-id")] == [True]


@pytest.mark.parametrize(
    ("came", "trusted_hops", "chain", "proto", "host"),
    [
        (b"x-forwarded-for: 1.1.1.1\r\n", 0, "1.1.1.1, 192.0.2.7", "http", "a"),
        (
            b"X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n",
            0,
            "1.1.1.1, 2.2.2.2, 192.0.2.7",
            "http",
            "a",
        ),
        (b"x-forwarded-proto: https\r\n", 0, "192.0.2.7", "http", "a"),
        (b"x-forwarded-proto: https\r\n", 1, "192.0.2.7", "https", "a"),
        (b"x-forwarded-host: b\r\n", 0, "192.0.2.7", "http", "a"),
        (b"x-forwarded-host: b\r\n", 1, "192.0.2.7", "http", "b"),
        (b"x-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\n", 2, "1.1.1.1, 192.0.2.7", "https", "a"),
    ],
)
async def test_what_came_is_continued_and_believed_only_from_those_we_trust(
    came: bytes, trusted_hops: int, chain: str, proto: str, host: str
) -> None:
    lines = await passed_on(b"GET / HTTP/1.1\r\nhost: a\r\n" + came + b"\r\n", trusted_hops)
    assert values(lines, "x-forwarded-for") == [chain]
    assert values(lines, "x-forwarded-proto") == [proto]
    assert values(lines, "x-forwarded-host") == [host]
    assert values(lines, "via") == ["1.1 misrule"]


async def test_a_request_id_that_came_is_kept_and_logged() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\n\r\n")
    upstream = await stage.connected()
    assert upstream.taken().count(b"x-request-id: mine\r\n") == 1
    upstream.gives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert stage.logged("access")[0]["request_id"] == "mine"


async def test_request_ids_are_never_the_same() -> None:
    stage = Stage()
    client = stage.client()
    ids = []
    for _ in range(3):
        client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        upstream = await stage.connected()
        ids += values(upstream.taken().decode().split("\r\n"), "x-request-id")
        upstream.gives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert len(set(ids)) == 3


@pytest.mark.parametrize("rules", ["", "  - {name: r, faults: [delay: 0ms]}"])
async def test_proof_never_goes_upstream(rules: str) -> None:
    stage = Stage(rules)
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nX-Misrule: rule=forged\r\n\r\n")
    assert b"misrule:" not in (await stage.connected()).taken().lower()


async def test_via_is_added_to_what_came() -> None:
    lines = await passed_on(b"GET / HTTP/1.1\r\nhost: a\r\nvia: 1.1 other\r\n\r\n")
    assert values(lines, "via") == ["1.1 other", "1.1 misrule"]


async def test_a_client_of_a_unix_socket_has_no_address() -> None:
    lines = await passed_on(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", source="")
    assert values(lines, "x-forwarded-for") == []
    assert values(lines, "via") == ["1.1 misrule"]


async def test_hop_by_hop_fields_do_not_pass_and_an_upgrade_does() -> None:
    lines = await passed_on(
        b"GET / HTTP/1.1\r\nhost: a\r\nkeep-alive: 5\r\nte: trailers\r\nx-hop: 1\r\n"
        b"connection: upgrade, x-hop\r\nupgrade: websocket\r\n\r\n"
    )
    assert values(lines, "keep-alive") == values(lines, "x-hop") == []
    assert (values(lines, "connection"), values(lines, "upgrade")) == (["upgrade"], ["websocket"])


async def test_a_request_of_http10_without_a_host_gets_the_upstreams() -> None:
    lines = await passed_on(b"GET / HTTP/1.0\r\n\r\n")
    assert lines[0] == "GET / HTTP/1.1"
    assert values(lines, "host") == ["10.0.0.1:80"]


def read(request: bytes) -> Head:
    reader = H1Reader(REQUEST, 65536, 100)
    reader.names = Names(frozenset(), REWRITTEN)
    reader.feed(request)
    reader.next()
    return reader.head


@pytest.mark.parametrize(
    ("chain", "trusted_hops", "source"),
    [
        ("", 0, "peer"),
        ("", 2, "peer"),
        ("1.1.1.1", 0, "peer"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("1.1.1.1, 2.2.2.2", 1, "2.2.2.2"),
        ("1.1.1.1,2.2.2.2 ", 2, "1.1.1.1"),
        ("1.1.1.1, 2.2.2.2", 9, "1.1.1.1"),
        ("1.1.1.1\r\nx-forwarded-for: 3.3.3.3", 1, "3.3.3.3"),
    ],
)
def test_the_true_source_is_as_many_hops_back_as_we_trust(chain: str, trusted_hops: int, source: str) -> None:
    line = f"x-forwarded-for: {chain}\r\n" if chain else ""
    head = read(f"GET / HTTP/1.1\r\nhost: a\r\n{line}\r\n".encode())
    assert forwarding.true_source("peer", head, trusted_hops) == source
