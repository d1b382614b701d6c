"""Flow control end to end: who is slow holds up nobody else, and the proxy does not grow."""

import hashlib
import time

import pytest

from tests.support.h2_peer import INITIAL_WINDOW, MAX_STREAMS, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause

_BIG = 32 * 1_048_576
_GROWTH = 4 * 1024  # KiB
_WINDOW = 64_511  # of what a client lets come first, its last KiB may be left


def big(upstream: Peer, asked: Heard) -> None:
    """Answer ``/big`` with very much, and all else with little."""
    if asked.path == "/big":
        upstream.head(asked.sid, [(":status", "200")])
        upstream.push(asked.sid, bytes(_BIG), end=True)
    else:
        upstream.answer(asked, 200, body=b"ok")


def test_slow_reader_on_one_stream(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Its upstream is held up; other streams of both connections go on; all of it comes in the end."""
    h2_shop.play = big
    slow: set[int] = set()
    peer.credit = lambda sid: sid not in slow
    peer.fetch("/")
    before = h2_proxy.process.memory()
    asked = peer.ask("/big")
    slow.add(asked.sid)
    peer.until(lambda: asked.length > _WINDOW)
    for _ in range(20):
        begun = time.monotonic()
        assert peer.fetch("/other").body == b"ok"
        assert time.monotonic() - begun < 5.0
    grown = h2_proxy.process.memory() - before
    print(f"RSS grew by {grown} KiB while 32 MiB waited")
    assert grown < _GROWTH
    slow.clear()
    peer.widen(asked.sid, 65_535)
    peer.wait(asked)
    assert (asked.length, asked.sha256) == (_BIG, hashlib.sha256(bytes(_BIG)).hexdigest())
    assert h2_proxy.process.memory() - before < _GROWTH


def test_slow_upstream_stream(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """An upstream that does not read an upload holds up this upload only."""
    slow: set[int] = set()

    def on_head(upstream: Peer, asked: Heard) -> None:
        if asked.path == "/hash":
            slow.add(asked.sid)

    peer.fetch("/")
    for upstream in h2_shop.peers:
        upstream.credit = lambda sid: sid not in slow
    h2_shop.on_head = on_head
    before = h2_proxy.process.memory()
    asked = peer.ask("/hash", method="POST", body=bytes(_BIG))
    eventually(lambda: any(heard.length for heard in h2_shop.requests if heard.path == "/hash"))
    for _ in range(20):
        assert peer.fetch("/other", method="POST", body=filling(20_000)).body == b"ok"
    assert not asked.headers
    (heard,) = [one for one in h2_shop.requests if one.path == "/hash"]
    assert heard.length <= 2 * 65_535
    grown = h2_proxy.process.memory() - before
    print(f"RSS grew by {grown} KiB while 32 MiB waited")
    assert grown < _GROWTH
    h2_shop.on_head = None

    def go_on(upstream: Peer) -> None:
        slow.clear()
        upstream.widen(heard.sid, heard.length)

    h2_shop.tell(go_on, heard)
    wanted = f"{_BIG} {hashlib.sha256(bytes(_BIG)).hexdigest()}"
    assert peer.wait(asked).body.decode() == wanted


def test_client_that_reads_nothing_at_all(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """Its socket is full, whatever windows it gave: what waits is bounded, and others are served."""
    h2_shop.play = big
    with Peer.to(h2_proxy.address) as other:
        other.fetch("/")
        before = h2_proxy.process.memory()
        with Peer.to(h2_proxy.address, {INITIAL_WINDOW: 2**30}) as peer:
            peer.widen(0, 2**30)
            asked = [peer.ask("/big") for _ in range(5)]
            pause(0.7)  # nothing is read meanwhile
            for _ in range(5):
                assert other.fetch("/").body == b"ok"
            grown = h2_proxy.process.memory() - before
            print(f"RSS grew by {grown} KiB while 160 MiB waited")
            assert grown < 4 * _GROWTH
            assert not asked[0].length


def test_slow_reader_of_a_http1_upstream(proxy: Proxy, shop: Scripted) -> None:
    with Peer.to(proxy.address) as peer:
        peer.fetch("/")
        before = proxy.process.memory()
        slow: set[int] = set()
        peer.credit = lambda sid: sid not in slow
        asked = peer.ask(f"/bytes/{_BIG}")
        slow.add(asked.sid)
        peer.until(lambda: asked.length > _WINDOW)
        for _ in range(5):
            assert peer.fetch("/").body == b"ok"
        grown = proxy.process.memory() - before
        print(f"RSS grew by {grown} KiB while 32 MiB waited")
        assert grown < _GROWTH
        slow.clear()
        peer.widen(asked.sid, 65_535)
        assert peer.wait(asked).length == _BIG


def test_thousand_streams(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """A thousand requests under way on one connection: RSS at most 30 MiB above idle."""
    h2_shop.play = lambda upstream, asked: None
    with Peer.to(h2_proxy.address) as peer:
        peer.until(lambda: MAX_STREAMS in peer.settings)
        assert peer.settings[MAX_STREAMS] >= 1000
        h2_shop.play = big
        peer.fetch("/")
        h2_shop.play = lambda upstream, asked: None
        h2_shop.requests.clear()
        before = h2_proxy.process.memory()
        asked = [peer.ask(f"/item/{number}", ("x-number", str(number))) for number in range(1000)]
        peer.settle()
        eventually(lambda: len(h2_shop.requests) == 1000, 10.0, "a thousand requests at the upstream")
        grown = h2_proxy.process.memory() - before
        print(f"RSS grew by {grown} KiB with 1,000 streams open")
        assert grown < 30 * 1024
        heard = list(h2_shop.requests)

        for one in heard:
            h2_shop.tell(lambda upstream, one=one: upstream.answer(one, 200, body=one.path.encode()), one)  # type: ignore[misc]
        peer.wait(*asked)
        assert [one.body.decode() for one in asked] == [f"/item/{number}" for number in range(1000)]
        assert h2_proxy.metric("misrule_requests_active") == 0


def test_more_streams_than_allowed(proxy: Proxy, shop: Scripted) -> None:
    """Those beyond the limit are refused, which their client may send again; the others are served."""
    with Peer.to(proxy.address) as peer:
        peer.until(lambda: MAX_STREAMS in peer.settings)
        most = peer.settings[MAX_STREAMS]
        held = [peer.ask("/", method="POST", end=False) for _ in range(most)]
        over = peer.wait(peer.ask("/"))
        assert over.reset == 7
        for one in held:
            peer.push(one.sid, b"x", end=True)
        peer.wait(*held)
        assert {one.status for one in held} == {200}
        assert peer.fetch("/").status == 200


@pytest.mark.slow
def test_nothing_is_left_of_many_cancelled_streams(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    """Clients that come, ask much and go away in the middle leave no memory behind."""
    h2_shop.play = big

    def visit() -> None:
        with Peer.to(h2_proxy.address) as peer:
            asked = [peer.ask("/big") for _ in range(20)]
            peer.until(lambda: all(one.length for one in asked))

    for _ in range(10):
        visit()
    before = h2_proxy.process.memory()
    for _ in range(40):
        visit()
    grown = h2_proxy.process.memory() - before
    print(f"RSS grew by {grown} KiB over 800 streams cut short")
    assert grown < _GROWTH
