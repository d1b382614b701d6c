"""Counts that are exact, not about right: 20,000 requests over 40 connections at once, with one worker.

``first``, ``max_active``, ``limit`` and the window of a breaker, each on paths of its own, all at the same
time; the client and the upstream count for themselves, in this process.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path

import uvloop

from tests.support.proxy import Proxy, rule

KINDS = ("first", "active", "limit", "rate", "breaker")
CONNECTIONS = 40
REQUESTS = int(os.environ.get("MISRULE_EXACT_REQUESTS", "20000"))  # in all
FIRST, ACTIVE, AT_ONCE, TOKENS, CALLS = 1234, 5, 7, 2345, 3000

RULES = [
    rule("first", {"abort": 418}, match={"path": "/first"}, sample={"first": FIRST, "percent": 60}),
    rule("active", {"stall": {}}, match={"path": "/active"}, sample={"max_active": ACTIVE}),
    rule("limit", {"limit": {"requests": AT_ONCE, "over": 503}}, match={"path": "/limit"}),
    rule("rate", {"limit": {"rate": "1/h", "burst": TOKENS}}, match={"path": "/rate"}),
    rule(
        "breaker",
        {"breaker": {"profile": "hystrix", "window": {"time": "1h"}, "min_calls": CALLS, "open_for": "24h"}},
        match={"path": "/breaker"},
    ),
]


class Shop:
    """An upstream that counts what is under way, and how much of that there was at most."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                kind = head.split(b" ", 2)[1].decode().strip("/")
                self.served[kind] += 1
                self.now[kind] += 1
                self.most[kind] = max(self.most[kind], self.now[kind])
                await asyncio.sleep(0.001 if kind == "limit" else 0)
                self.now[kind] -= 1
                status = b"500 Failed" if kind == "breaker" else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it is gone

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)


class Load:
    """The clients: each asks one request after the other, of all kinds in turn."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.left = REQUESTS
        self.seen: Counter[tuple[str, int]] = Counter()
        self.stuck: set[asyncio.Task[None]] = set()

    async def client(self, number: int) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        turn = number
        while self.left > 0:
            self.left -= 1
            kind = KINDS[turn % len(KINDS)]
            turn += 1
            writer.write(b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % kind.encode())
            if kind == "active":
                this = asyncio.current_task()
                assert this is not None
                self.stuck.add(this)
            head = await reader.readuntil(b"\r\n\r\n")
            if kind == "active":
                self.stuck.discard(this)
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if length:
                await reader.readexactly(length)
            self.seen[kind, int(head[9:12])] += 1
        writer.close()
        await writer.wait_closed()


async def _play(shop: Shop, folder: Path) -> tuple[Proxy, Load]:
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = await asyncio.to_thread(Proxy, folder, f"127.0.0.1:{port}")
    try:
        await asyncio.to_thread(proxy.put, *RULES)
        load = Load(proxy.address)
        tasks = [asyncio.create_task(load.client(number)) for number in range(CONNECTIONS)]
        async with asyncio.timeout(100):
            # One of those that pass may just be asking, too.
            while len(load.stuck) > ACTIVE or any(not t.done() and t not in load.stuck for t in tasks):
                await asyncio.sleep(0.05)
        assert len(load.stuck) == ACTIVE, "so many wait, no more and no less"
        await asyncio.to_thread(proxy.admin, "DELETE", "/v1/rules/active")
        await asyncio.gather(*tasks)
    except BaseException:
        proxy.stop()
        raise
    server.close()
    await shop.close()
    await server.wait_closed()
    return proxy, load


def test_counts_are_exact(tmp_path: Path) -> None:
    shop = Shop()
    proxy, load = uvloop.run(_play(shop, tmp_path))
    try:
        _check(proxy, shop, load)
    finally:
        proxy.stop()


def _check(proxy: Proxy, shop: Shop, load: Load) -> None:
    seen = load.seen
    assert sum(seen.values()) == REQUESTS
    asked = {kind: sum(count for (name, _), count in seen.items() if name == kind) for kind in KINDS}
    assert {status for _, status in seen} == {200, 418, 429, 500, 503}

    assert seen["first", 418] == FIRST == proxy.injections(rule="first")
    assert shop.served["first"] == asked["first"] - FIRST

    assert seen["active", 200] == asked["active"] == shop.served["active"]

    assert shop.most["limit"] == AT_ONCE, "never more at once, and as many"
    assert seen["limit", 200] == shop.served["limit"]
    assert seen["limit", 503] == asked["limit"] - shop.served["limit"]
    assert _said(proxy, "limit") == (shop.served["limit"], seen["limit", 503])

    assert seen["rate", 200] == TOKENS == shop.served["rate"]
    assert seen["rate", 429] == asked["rate"] - TOKENS

    (shown,) = proxy.admin("GET", "/v1/breakers")["breakers"]
    (key,) = shown["keys"]
    assert (shown["admitted"], shown["refused"]) == (seen["breaker", 500], seen["breaker", 503])
    assert shop.served["breaker"] == seen["breaker", 500]
    assert CALLS <= seen["breaker", 500] < CALLS + CONNECTIONS, "those who were under way when it opened"
    assert (key["state"], key["active"]) == ("open", 0)
    for name in ("limit", "rate"):
        assert proxy.metric("misrule_limits", rule=name, of="requests") == 0


def _said(proxy: Proxy, name: str) -> tuple[float, float]:
    asked = proxy.rule(name)["counts"]["faults"][0]["limit"]["asked"]
    return asked["admitted"], asked["requests"]
