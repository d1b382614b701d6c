"""WebSockets where one side, or both, speak HTTP/2 (RFC 8441)."""

import pytest

from tests.support.h2_stage import Http2Stage, Peer
from tests.support.tunnels import ACCEPT, CONNECT, KINDS, UPGRADE, PlainEnd, StreamEnd, Tunnelled

WAYS = ["request_body", "response_body"]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_way = pytest.mark.parametrize("way", WAYS)


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


def state(tunnel: Tunnelled, name: str = "r") -> list[int]:
    return tunnel.stage.snapshot.by_name[name].state.injected


# --- the handshake


@each_kind
async def test_the_heads(kind: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    asked, told = tunnel.asked, tunnel.told
    assert (asked["origin"], asked["sec-websocket-version"], asked["sec-websocket-protocol"]) == (
        "http://o",
        "13",
        "chat",
    )
    assert asked["via"] == ("1.1 misrule" if kind.startswith("h1") else "2 misrule")
    if tunnel.upstream_kind == "h2":
        pseudo = {name: value for name, value in asked.items() if name.startswith(":")}
        assert pseudo == dict(CONNECT[:5])
        assert not {"sec-websocket-key", "upgrade", "connection"} & set(asked)
    else:
        assert asked[""] == "GET /chat?room=1 HTTP/1.1"
        assert (asked["upgrade"], asked["connection"]) == ("websocket", "upgrade")
        assert len(asked["sec-websocket-key"]) == 24
    assert told["sec-websocket-protocol"] == "chat"
    if tunnel.client_kind == "h1":
        assert (told["sec-websocket-accept"], told["upgrade"], told["connection"]) == (
            ACCEPT,
            "websocket",
            "upgrade",
        )
    else:
        assert not {"sec-websocket-accept", "upgrade", "connection"} & set(told)
    (entry,) = [
        view for view in (c.describe() for c in tunnel.stage.worker.connections) if view["side"] == "client"
    ]
    assert (entry if kind == "h1-h2" else entry["streams"][0])["state"] == "tunnel"
    assert tunnel.stage.listener.cells.upgraded == 1


async def test_the_keys_differ() -> None:
    keys = set()
    for _ in range(3):
        tunnel = await Tunnelled("h2-h1").opened()
        keys.add(tunnel.asked["sec-websocket-key"])
    assert len(keys) == 3


@each_kind
@pytest.mark.parametrize("status", [401, 404, 503, 302])
async def test_a_refusal_passes_with_its_body(kind: str, status: int) -> None:
    tunnel = Tunnelled(kind)
    tunnel.ask()
    await tunnel.asked_for()
    tunnel.answer(("x-why", "so"), status=status, body=b"not you")
    assert tunnel.hear() == b"not you"
    assert (tunnel.told[":status"], tunnel.told["x-why"]) == (str(status), "so")
    assert tunnel.stage.listener.cells.upgraded == 0
    if isinstance(tunnel.client, StreamEnd):
        assert tunnel.client.ended()
        assert tunnel.client.peer.reset(tunnel.client.sid) == 0, "its half is not wanted any more"
    (access,) = tunnel.stage.logged("access")
    assert (access["status"], access["outcome"]) == (status, "ok")
    if isinstance(tunnel.upstream, StreamEnd):
        assert tunnel.upstream.peer.sync().reset(tunnel.upstream.sid) == 8
    assert tunnel.stage.worker.cells.route("web", "app").active == 0


async def test_a_client_of_http_1_may_ask_again_after_a_refusal() -> None:
    tunnel = Tunnelled("h1-h2")
    for status in (403, 404):
        if status == 403:
            tunnel.ask()
        else:
            tunnel.client.gives(UPGRADE)
        await tunnel.asked_for()
        tunnel.answer(status=status, body=b"no")
        tunnel.hear()
        assert tunnel.told[":status"] == str(status)


async def test_yes_without_a_switch_means_no_in_http_2() -> None:
    """200 to an Upgrade is an answer like any other; as the answer to CONNECT it would open a tunnel."""
    tunnel = Tunnelled("h2-h1")
    tunnel.ask()
    await tunnel.asked_for()
    tunnel.answer(status=200, body=b"hello")
    tunnel.hear()
    assert tunnel.told[":status"] == "502"


@pytest.mark.parametrize("wrong", ["none", "other", "twice", "protocol"])
async def test_a_101_that_does_not_answer_our_key_is_502(wrong: str) -> None:
    tunnel = Tunnelled("h2-h1")
    tunnel.ask()
    await tunnel.asked_for()
    assert isinstance(tunnel.upstream, PlainEnd)
    accept = b"sec-websocket-accept: " + ACCEPT.encode() + b"\r\n"
    head = b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    if wrong == "protocol":
        head = head.replace(b"websocket", b"chat")
    tunnel.upstream.gives(head + {"none": b"", "twice": accept * 2}.get(wrong, accept) + b"\r\n")
    tunnel.hear()
    assert tunnel.told[":status"] == "502"
    assert tunnel.stage.logged("upstream_protocol")[0]["kind"] == "bad_websocket_accept"
    assert tunnel.upstream.transport.closing


@pytest.mark.parametrize("client", ["h1", "h2"])
async def test_an_upstream_that_does_not_offer_it(client: str) -> None:
    tunnel = Tunnelled(f"{client}-h2", offered=False)
    tunnel.ask()
    assert isinstance(tunnel.stage, Http2Stage)
    server = await tunnel.stage.server()
    assert server.requests() == []
    tunnel.hear()
    assert tunnel.told[":status"] == "502"
    assert tunnel.told["proxy-status"] == "misrule; error=http_upgrade_failed"
    assert tunnel.stage.logged("access")[0]["outcome"] == "upgrade_not_offered"


@pytest.mark.parametrize("how", ["never", "gone", "client gone"])
async def test_an_upstream_that_does_not_say_whether_it_offers_it(how: str) -> None:
    tunnel = Tunnelled("h2-h2")
    tunnel.ask()
    transport = await tunnel.stage.connected()
    assert tunnel.stage.worker.cells.route("web", "app").active == 1
    if how == "never":
        tunnel.stage.sweep(5.5)
        tunnel.hear()
        assert (tunnel.told[":status"], tunnel.told["proxy-status"]) == (
            "504",
            "misrule; error=connection_timeout",
        )
    elif how == "gone":
        transport.lost()
        tunnel.hear()
        assert tunnel.told[":status"] == "502"
    else:
        tunnel.client.aborts()
        server = Peer(transport, False, True, True)
        assert server.requests() == []
    assert tunnel.stage.worker.cells.route("web", "app").active == 0


@pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZSBub25jZ!==", "two"])
async def test_a_client_without_a_proper_key_is_refused(key: str) -> None:
    """HTTP/2 has no key: without one nothing can be answered that the client would believe."""
    tunnel = Tunnelled("h1-h2")
    client = tunnel.stage.client()
    line = f"sec-websocket-key: {key}\r\n".encode() if key else b""
    if key == "two":
        line = b"sec-websocket-key: " + ACCEPT[:24].encode() + b"\r\n"
        line *= 2
    client.gives(UPGRADE[: UPGRADE.index(b"sec-websocket-key")] + line + b"\r\n")
    assert isinstance(tunnel.stage, Http2Stage)
    assert (await tunnel.stage.server()).requests() == []
    assert client.taken().startswith(b"HTTP/1.1 400 ")


async def test_other_upgrades_are_ignored_on_the_way_to_http_2() -> None:
    """RFC 9110, section 7.8: they may be."""
    stage = Http2Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
    server = await stage.server()
    server.head(server.requests()[0], [(":status", "204")], end=True)
    assert client.taken().startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "CONNECT"), (":authority", "a:443")],
        [*CONNECT[:1], (":protocol", "connect-udp"), *CONNECT[2:]],
    ],
    ids=["plain", "udp"],
)
async def test_any_other_connect_is_refused(fields: list[tuple[str, str]]) -> None:
    tunnel = Tunnelled("h2-h1")
    peer = Peer(tunnel.stage.client(), True)
    sid = peer.h2.get_next_available_stream_id()
    peer.head(sid, fields)
    assert peer.fields(sid)[":status"] == "501"
    assert peer.body(sid).startswith(b"misrule: CONNECT is ")
    assert peer.reset(sid) == 0
    assert not tunnel.stage.loop.upstreams
    assert not peer.goaways()


# --- bytes


@each_kind
async def test_bytes_pass_both_ways_and_are_counted(kind: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    tunnel.client.gives(b"abc")
    tunnel.upstream.gives(b"defgh")
    assert (tunnel.upstream.taken(), tunnel.client.taken()) == (b"abc", b"defgh")
    tunnel.client.ends()
    tunnel.upstream.ends()
    (access,) = tunnel.stage.logged("access")
    assert (access["bytes_in"], access["bytes_out"], access["outcome"]) == (3, 5, "ok")
    assert access["method"] == ("GET" if kind == "h1-h2" else "CONNECT")
    assert access["status"] == (101 if kind == "h1-h2" else 200)


@each_kind
async def test_bytes_that_come_before_or_with_the_answer_are_not_lost(kind: str) -> None:
    tunnel = Tunnelled(kind)
    tunnel.ask()
    tunnel.client.gives(b"early")
    await tunnel.asked_for()
    assert tunnel.upstream.taken() == b""
    if isinstance(tunnel.upstream, StreamEnd):
        h2 = tunnel.upstream.peer.h2
        h2.send_headers(tunnel.upstream.sid, [(":status", "200")])
        h2.send_data(tunnel.upstream.sid, b"hello")
        tunnel.upstream.peer.sync()
    else:
        tunnel.answer(body=b"hello")
    assert tunnel.upstream.taken() == b"early"
    assert tunnel.hear() == b"hello"


@each_kind
@each_way
async def test_the_end_of_one_way_leaves_the_other_open(kind: str, way: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    source, sink = tunnel.ends_of(way)
    source.gives(b"last")
    source.ends()
    assert (sink.taken(), sink.ended(), source.ended()) == (b"last", True, False)
    sink.gives(b"still here")
    assert source.taken() == b"still here"
    sink.ends()
    assert (source.ended(), source.aborted(), sink.aborted()) == (True, False, False)
    assert tunnel.stage.worker.cells.route("web", "app").active == 0
    assert tunnel.stage.logged("access")[0]["outcome"] == "ok"
    if isinstance(tunnel.client, StreamEnd):
        assert (tunnel.client.peer.reset(tunnel.client.sid), tunnel.client.peer.goaways()) == (None, [])


@each_kind
@each_way
async def test_a_reset_passes(kind: str, way: str) -> None:
    """RFC 8441, section 5: a TCP RST is RST_STREAM with CANCEL, and the other way round."""
    tunnel = await Tunnelled(kind).opened()
    source, sink = tunnel.ends_of(way)
    source.aborts()
    tunnel.stage.timers.advance(0.1)
    assert sink.aborted()
    assert tunnel.stage.worker.cells.route("web", "app").active == 0
    for end in (source, sink):
        if isinstance(end, StreamEnd):
            assert not end.peer.goaways(), "the connection goes on"


async def test_a_client_that_closes_its_stream_without_an_error() -> None:
    tunnel = await Tunnelled("h2-h1").opened()
    assert isinstance(tunnel.client, StreamEnd)
    assert isinstance(tunnel.upstream, PlainEnd)
    tunnel.client.gives(b"all")
    tunnel.client.peer.h2.reset_stream(tunnel.client.sid, 0)
    tunnel.client.peer.sync()
    assert tunnel.upstream.taken() == b"all"
    assert (tunnel.upstream.transport.closing, tunnel.upstream.aborted()) == (True, False)


@pytest.mark.parametrize("kind", ["h1-h2", "h2-h2"])
async def test_an_upstream_that_ends_and_then_wants_no_more(kind: str) -> None:
    """END_STREAM, then RST_STREAM with NO_ERROR: what Node's server does when it closes a stream."""
    tunnel = await Tunnelled(kind).opened()
    assert isinstance(tunnel.upstream, StreamEnd)
    tunnel.upstream.peer.h2.send_data(tunnel.upstream.sid, b"bye", end_stream=True)
    tunnel.upstream.peer.h2.reset_stream(tunnel.upstream.sid, 0)
    tunnel.upstream.peer.sync()
    assert (tunnel.client.taken(), tunnel.client.ended(), tunnel.client.aborted()) == (b"bye", True, False)
    assert tunnel.stage.worker.cells.route("web", "app").active == 0


@each_kind
@each_way
async def test_a_connection_that_breaks_ends_its_tunnels(kind: str, way: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    source, sink = tunnel.ends_of(way)
    if isinstance(source, StreamEnd):
        source.peer.transport.lost(ConnectionResetError())
    else:
        source.aborts()
    tunnel.stage.timers.advance(0.1)
    assert sink.aborted()


@each_kind
@each_way
async def test_a_slow_reader_holds_back_the_other_side(kind: str, way: str) -> None:
    """No more than the windows and one buffer lie about; all of it arrives when the reader has caught up."""
    tunnel = await Tunnelled(kind).opened()
    source, sink = tunnel.ends_of(way)
    if isinstance(sink, StreamEnd):
        sink.peer.credit = False
    elif isinstance(sink, PlainEnd):
        sink.transport.protocol.pause_writing()
    piece = bytes(range(256)) * 64
    sent = 0
    for _ in range(100):
        if isinstance(source, StreamEnd):
            if source.peer.h2.local_flow_control_window(source.sid) < len(piece):
                break
        elif isinstance(source, PlainEnd) and source.transport.paused:
            break
        source.gives(piece)
        sent += 1
    assert 4 < sent < 60
    got = sink.taken()
    if isinstance(sink, StreamEnd):
        assert len(got) <= 65_535
        sink.peer.credit = True
        sink.peer.h2.acknowledge_received_data(len(got), sink.sid)
    elif isinstance(sink, PlainEnd):
        sink.transport.protocol.resume_writing()
    got += sink.taken()
    assert got == piece * sent
    source.taken()
    source.gives(b"more")
    source.ends()
    assert sink.taken().endswith(b"more")
    assert sink.ended()


@each_kind
async def test_a_tunnel_in_which_nobody_speaks_ends(kind: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    for _ in range(3):
        tunnel.stage.sweep(200)
        tunnel.upstream.gives(b"x")
    assert not tunnel.client.aborted()
    tunnel.stage.sweep(302)
    tunnel.stage.timers.advance(0.1)
    assert tunnel.client.aborted()
    if isinstance(tunnel.client, PlainEnd):
        tunnel.client.transport.lost()
    assert tunnel.stage.worker.cells.route("web", "app").active == 0


async def test_trailers_in_a_tunnel_end_it() -> None:
    """RFC 9113, section 8.5: frames other than DATA are a stream error."""
    tunnel = await Tunnelled("h2-h1").opened()
    assert isinstance(tunnel.client, StreamEnd)
    tunnel.client.peer.head(tunnel.client.sid, [("a", "b")], end=True)
    assert tunnel.client.peer.reset(tunnel.client.sid) == 1


# --- faults


@each_kind
@each_way
@pytest.mark.parametrize("fault", ["reset", "close", "stall"])
async def test_exactly_so_many_bytes_pass(kind: str, way: str, fault: str) -> None:
    tunnel = await Tunnelled(kind, rule(f"{fault}: {{at: {way}, after_bytes: 4B}}")).opened()
    source, sink = tunnel.ends_of(way)
    source.gives(b"012")
    source.gives(b"3456")
    assert sink.taken() == b"0123"
    assert state(tunnel) == [1]
    tunnel.stage.timers.advance(0.1)
    assert tunnel.client.aborted() == (fault == "reset")
    if isinstance(tunnel.client, StreamEnd):
        assert bool(tunnel.client.peer.goaways()) == (fault == "close")
    elif fault == "close":
        assert tunnel.client.ended()


@each_kind
@each_way
async def test_a_delay_holds_one_direction_only(kind: str, way: str) -> None:
    tunnel = await Tunnelled(kind, rule(f"delay: {{fixed: 1s, at: {way}}}")).opened()
    source, sink = tunnel.ends_of(way)
    source.gives(b"ab")
    source.gives(b"cd")
    source.ends()
    sink.gives(b"other")
    assert (sink.taken(), source.taken(), sink.ended()) == (b"", b"other", False)
    tunnel.stage.timers.advance(1)
    assert (sink.taken(), sink.ended()) == (b"abcd", True)


@each_kind
@pytest.mark.parametrize("phase", ["request_head", "response_head"])
async def test_faults_of_the_handshake(kind: str, phase: str) -> None:
    tunnel = Tunnelled(
        kind, rule("abort: 503") if phase == "request_head" else rule(f"abort: {{at: {phase}, status: 503}}")
    )
    tunnel.ask()
    if phase == "response_head":
        await tunnel.asked_for()
        tunnel.answer()
    tunnel.hear()
    assert tunnel.told[":status"] == "503"
    if isinstance(tunnel.client, StreamEnd):
        assert tunnel.client.peer.reset(tunnel.client.sid) == 0


@each_kind
@pytest.mark.parametrize(("protocol", "matches"), [("websocket", True), ("grpc", False)])
async def test_the_protocol_is_matched(kind: str, protocol: str, matches: bool) -> None:
    own = rule("abort: 503", more=f"match: {{protocol: [{protocol}], path: /chat}},")
    tunnel = Tunnelled(kind, own)
    tunnel.ask()
    if matches:
        tunnel.hear()
        assert tunnel.told[":status"] == "503"
    else:
        await tunnel.asked_for()
        assert tunnel.asked["origin"] == "http://o"


@each_kind
@each_way
async def test_a_rule_that_comes_acts_from_then_on(kind: str, way: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    source, sink = tunnel.ends_of(way)
    source.gives(b"0123")
    tunnel.stage.change_rules(rule(f"reset: {{at: {way}, after_bytes: 3B}}"))
    source.gives(b"456789")
    assert sink.taken() == b"0123456"
    tunnel.stage.timers.advance(0.1)
    assert tunnel.client.aborted()


@each_kind
async def test_open_stalls_both_directions_at_once(kind: str) -> None:
    tunnel = await Tunnelled(kind).opened()
    tunnel.stage.change_rules(rule("stall: {for: 2s, on: open}"))
    tunnel.client.gives(b"up")
    tunnel.upstream.gives(b"down")
    assert (tunnel.upstream.taken(), tunnel.client.taken()) == (b"", b"")
    tunnel.stage.timers.advance(2)
    assert (tunnel.upstream.taken(), tunnel.client.taken()) == (b"up", b"down")


@each_kind
@each_way
async def test_what_a_rule_holds_goes_on_when_the_rule_goes(kind: str, way: str) -> None:
    tunnel = await Tunnelled(kind, rule(f"stall: {{at: {way}}}")).opened()
    source, sink = tunnel.ends_of(way)
    source.gives(b"x")
    assert sink.taken() == b""
    tunnel.stage.change_rules("")
    source.gives(b"y")
    assert sink.taken() == b"xy"
