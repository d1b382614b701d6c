"""Faults on HTTP/2: what real clients see, on which streams, and what the rest of a connection keeps."""

import re
import time

import pytest

from tests.support.clients import CLOSED, HTTP2_CLIENTS, RESET, TIMEOUT, Call, ask
from tests.support.h2_peer import CANCEL, NO_ERROR, REFUSED_STREAM, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import filling
from tests.support.wait import eventually
from tests.support.wire import FIN
from tests.support.wire import RESET as RST

_HELD: dict[str, Rule] = {"delay": {"delay": "20s"}, "stall": {"stall": {}}}


def silent(upstream: Peer, asked: Heard) -> None:
    """Answer nothing."""


# As clients see them


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_abort(h2_proxy: Proxy, h2_shop: ScriptedH2, client: str) -> None:
    h2_proxy.put(rule("end", {"abort": {"status": 503, "body": {"text": "no"}, "headers": {"x-own": "1"}}}))
    seen = ask(client, Call(h2_proxy.url, http2=True))
    assert (seen.status, seen.body, seen.trouble) == (503, b"no", "")
    assert seen.all("x-own") == ["1"]
    assert seen.all("x-misrule") == [f"rule=end; fault=abort; ms=0; version={h2_proxy.version}"]
    assert h2_shop.requests == []


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_delay(h2_proxy: Proxy, client: str) -> None:
    h2_proxy.put(rule("slow", {"delay": "200ms"}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/100", http2=True))
    assert (seen.status, seen.body) == (200, filling(100))
    assert 0.2 <= seen.seconds < 5.0


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
@pytest.mark.parametrize("fault", ["reset", "close"])
def test_end_before_the_answer(h2_proxy: Proxy, client: str, fault: str) -> None:
    h2_proxy.put(rule("end", {fault: {}}))
    seen = ask(client, Call(h2_proxy.url, http2=True, timeout=5.0))
    assert seen.status == 0
    assert seen.trouble not in ("", TIMEOUT), seen.native


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
@pytest.mark.parametrize("fault", ["reset", "close"])
def test_end_in_the_answer(h2_proxy: Proxy, client: str, fault: str) -> None:
    """Exactly so many bytes, and then it never looks whole."""
    h2_proxy.put(rule("end", {fault: {"after_bytes": "1000B"}}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/5000", http2=True, timeout=5.0))
    assert (seen.status, seen.body) == (200, filling(1000))
    assert seen.trouble not in ("", TIMEOUT), seen.native


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_reset_of_the_connection(h2_proxy: Proxy, client: str) -> None:
    h2_proxy.put(rule("end", {"reset": {"scope": "connection"}}))
    seen = ask(client, Call(h2_proxy.url, http2=True, timeout=5.0))
    assert seen.status == 0
    assert seen.trouble in (RESET, CLOSED), seen.native


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
@pytest.mark.parametrize("phase", ["request_head", "response_head"])
def test_stall(h2_proxy: Proxy, client: str, phase: str) -> None:
    h2_proxy.put(rule("hole", {"stall": {"at": phase}}))
    seen = ask(client, Call(h2_proxy.url, http2=True, timeout=0.5))
    assert (seen.status, seen.trouble) == (0, TIMEOUT)


# On the wire


@pytest.mark.parametrize("code", ["CANCEL", "REFUSED_STREAM", "NO_ERROR"])
def test_reset_ends_one_stream(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, code: str) -> None:
    h2_proxy.put(rule("end", {"reset": {"code": code}}, match={"path": "/hit"}))
    stays = peer.ask("/bytes/70000")
    hit = peer.ask("/hit")
    peer.wait(stays, hit)
    codes = {"CANCEL": CANCEL, "REFUSED_STREAM": REFUSED_STREAM, "NO_ERROR": NO_ERROR}
    assert (hit.status, hit.reset) == (0, codes[code])
    assert stays.body == filling(70_000)
    assert [asked.path for asked in h2_shop.requests] == ["/bytes/70000"]


@pytest.mark.parametrize("after", [1, 1_000, 65_536, 299_999])
def test_reset_after_bytes(h2_proxy: Proxy, peer: Peer, after: int) -> None:
    """Also more than the client's first window."""
    h2_proxy.put(rule("end", {"reset": {"after_bytes": f"{after}B"}}))
    got = peer.fetch("/bytes/300000")
    assert (got.status, got.body, got.ended, got.reset) == (200, filling(after), False, CANCEL)


@pytest.mark.parametrize("side", ["client", "upstream", "both"])
@pytest.mark.parametrize("after", [1, 1_000, 60_000, 200_000])
def test_reset_in_the_upload(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, after: int, side: str) -> None:
    """The upstream gets exactly so much and then CANCEL, also where that is more than its window."""
    fault = {"at": "request_body", "after_bytes": f"{after}B", "side": side}
    h2_proxy.put(rule("end", {"reset": fault}))
    got = peer.fetch("/", method="POST", body=filling(400_000))
    assert got.status == (502 if side == "upstream" else 0)
    if side != "upstream":
        assert got.reset == CANCEL
    eventually(lambda: bool(h2_shop.requests) and h2_shop.last.reset is not None)
    assert (h2_shop.last.body, h2_shop.last.reset) == (filling(after), CANCEL)


def test_reset_at_the_upstream(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """The upstream sees RST_STREAM, the client what a broken upstream gives."""
    h2_proxy.put(rule("end", {"reset": {"side": "upstream", "at": "response_head"}}))
    got = peer.fetch("/")
    assert got.status == 502
    eventually(lambda: bool(h2_shop.requests) and h2_shop.last.reset == CANCEL)


@pytest.mark.parametrize("on", ["next", "new"])
def test_close_ends_the_connection(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, on: str) -> None:
    """GOAWAY, and then FIN; on ``new`` connections only, where the rule says so."""
    assert peer.fetch("/").body == b"ok"
    fault: Rule = {"close": {"on": on}}
    h2_proxy.put(rule("end", fault))
    if on == "new":
        assert peer.fetch("/").body == b"ok"
    with Peer.to(h2_proxy.address) as other:
        hit = (peer if on == "next" else other).ask("/")
        ended = peer if on == "next" else other
        assert ended.rest(3.0) == FIN
        assert (hit.status, hit.ended) == (0, False)
        assert ended.goaways[-1].last_stream_id < hit.sid


def test_abort_while_the_request_is_still_coming(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """The whole answer, then RST_STREAM with NO_ERROR; no 100, and the connection goes on."""
    h2_proxy.put(rule("end", {"abort": {"status": 413, "body": {"text": "too much"}}}, match={"path": "/up"}))
    asked = peer.ask("/up", ("expect", "100-continue"), method="POST", end=False)
    peer.until(lambda: asked.reset is not None)
    assert (asked.status, asked.body, asked.ended, asked.reset) == (413, b"too much", True, NO_ERROR)
    assert not asked.interim
    assert peer.fetch("/").body == b"ok"


# A thousand at once


def test_stalled_streams_leave_others_alone(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_proxy.put(rule("hole", {"stall": {}}, match={"path": {"prefix": "/hole"}}))
    held = [peer.ask(f"/hole/{number}") for number in range(50)]
    begun = time.monotonic()
    for _ in range(20):
        assert peer.fetch("/").body == b"ok"
    assert time.monotonic() - begun < 10.0
    assert not any(one.headers for one in held)
    for one in held:
        peer.reset(one.sid)
    peer.settle()
    eventually(lambda: h2_proxy.metric("misrule_requests_active") == 0)
    assert h2_proxy.failures("rapid_reset") == 0


@pytest.mark.parametrize("fault", list(_HELD))
def test_release(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, fault: str) -> None:
    """What a rule holds goes on within 100 ms once it is gone."""
    h2_proxy.put(rule("held", _HELD[fault]))
    asked = [peer.ask(f"/bytes/{number}") for number in range(20)]
    assert peer.quiet(0.2)
    h2_proxy.put()
    begun = time.monotonic()
    peer.wait(*asked)
    assert time.monotonic() - begun < 5.0, "nothing waits for the fault's own end"
    assert [one.length for one in asked] == list(range(20))


# on: open


_OPEN: Rule = {"on": "open"}


@pytest.mark.parametrize(
    ("fault", "code"),
    [({"reset": _OPEN}, CANCEL), ({"reset": {**_OPEN, "code": "REFUSED_STREAM"}}, REFUSED_STREAM)],
)
def test_open_streams_are_reset_at_once(
    h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer, fault: Rule, code: int
) -> None:
    """Each that matches, and no other; then the rule is for new connections."""
    h2_shop.play = silent
    hit = [peer.ask(f"/hit/{number}") for number in range(3)]
    stays = peer.ask("/stays")
    eventually(lambda: len(h2_shop.requests) == 4)
    h2_proxy.put(rule("cut", fault, match={"path": {"prefix": "/hit"}}))
    peer.until(lambda: all(one.reset is not None for one in hit))
    assert {one.reset for one in hit} == {code}
    assert stays.reset is None
    assert h2_proxy.injections(rule="cut") == 3
    eventually(lambda: sum(asked.reset == CANCEL for asked in h2_shop.requests) == 3)
    h2_shop.forget()
    assert peer.fetch("/hit/later").body == b"ok"
    with Peer.to(h2_proxy.address) as other:
        assert other.fetch("/hit/new").reset == code


def test_open_answer_is_cut_in_the_middle(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, [(":status", "200")])
        upstream.push(asked.sid, filling(1_000))

    h2_shop.play = play
    asked = peer.ask("/")
    peer.until(lambda: asked.length == 1_000)
    h2_proxy.put(rule("cut", {"reset": _OPEN}))
    peer.until(lambda: asked.reset is not None)
    assert (asked.ended, asked.reset) == (False, CANCEL)


def test_open_connection_is_closed(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_shop.play = silent
    asked = peer.ask("/")
    eventually(lambda: h2_shop.requests)
    h2_proxy.put(rule("cut", {"close": _OPEN}))
    assert peer.rest(2.0) == FIN
    assert (asked.status, asked.ended) == (0, False)
    assert peer.goaways


@pytest.mark.parametrize(("fault", "how"), [("close", FIN), ("reset", RST)])
def test_idle_connection_ends_at_once(h2_proxy: Proxy, peer: Peer, fault: str, how: str) -> None:
    assert peer.fetch("/").body == b"ok"
    h2_proxy.put(rule("cut", {fault: {**_OPEN, "at": "accept"}}))
    assert peer.rest(2.0) == how
    assert bool(peer.goaways) == (fault == "close")
    assert h2_proxy.injections(rule="cut") == 1


def test_idle_connection_is_stalled(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """Nothing is read from it, until the rule goes."""
    assert peer.fetch("/").body == b"ok"
    h2_shop.requests.clear()
    h2_proxy.put(rule("hole", {"stall": {**_OPEN, "at": "accept"}}))
    asked = peer.ask("/hash", method="POST", body=filling(60_000))
    assert peer.quiet(0.3)
    assert h2_shop.requests == []
    h2_proxy.put()
    assert re.match(rb"60000 ", peer.wait(asked).body)


def test_open_stream_is_stalled(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    h2_shop.play = silent
    asked = peer.ask("/bytes/5")
    eventually(lambda: h2_shop.requests)
    begun = time.monotonic()
    h2_proxy.put(rule("hole", {"stall": {**_OPEN, "for": "300ms", "then": "continue"}}))
    heard = h2_shop.last
    h2_shop.tell(lambda upstream: upstream.answer(heard, 200, body=b"later"), heard)
    assert peer.wait(asked).body == b"later"
    assert time.monotonic() - begun >= 0.3


def test_sampled_open_streams(h2_proxy: Proxy, h2_shop: ScriptedH2, peer: Peer) -> None:
    """One draw for each."""
    h2_shop.play = silent
    asked = [peer.ask("/") for _ in range(40)]
    eventually(lambda: len(h2_shop.requests) == 40)
    h2_proxy.put(rule("cut", {"reset": _OPEN}, sample={"every": 4}))
    peer.until(lambda: sum(one.reset is not None for one in asked) == 10)
    assert peer.quiet(0.1)
    assert sum(one.reset is not None for one in asked) == 10
