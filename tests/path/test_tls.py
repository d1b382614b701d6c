"""Phase tls: the handshake, flight by flight, with OpenSSL as the client."""

import ssl
from typing import Any

import pytest

from certs.shaped import ShapedHandshake, Terms
from proxy.net.identity import IdentityError, Keeper
from proxy.net.tls import Handshake
from rules.actions import ShapeHandshake
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Peer
from tests.support.pki import the_pki
from tests.support.tls_peer import TlsPeer

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
ALERT = b"\x15\3\3\0\2\2"


class Certificates(Keeper):
    """Has a certificate for every name; makes those in ``slow`` only when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ShapeHandshake | None]] = []
        self.slow: set[str] = set()
        self.made = 0
        self.client_auth = ssl.CERT_NONE

    def handshake(self, name: str, shape: ShapeHandshake | None) -> Any:
        self.asked.append((name, shape))
        if name == "bad_name":
            raise IdentityError("bad_name is no name")
        if name in self.slow:
            return None
        if shape is None:
            return Handshake(self.context(), True)
        pair = the_pki().leaf("a.example", "a.example", "b.example")
        alpn: tuple[bytes, ...] = (b"h2", b"http/1.1")
        if shape.alpn is not None:
            alpn = (shape.alpn,) if shape.alpn else ()
        return ShapedHandshake(
            Terms(
                pair.chain.read_bytes(),
                pair.key.read_bytes(),
                alpn=alpn,
                max_version=shape.max_version,
                bad_record=shape.bad_record,
            )
        )

    def context(self) -> ssl.SSLContext:
        context = the_pki().leaf("a.example", "a.example", "b.example").server("h2", "http/1.1")
        if self.client_auth != ssl.CERT_NONE:
            context.verify_mode = self.client_auth
            context.load_verify_locations(the_pki().root.chain)
        return context

    async def prepare(self, name: str, shape: ShapeHandshake | None) -> None:
        self.made += 1
        self.slow.discard(name)
        if name == "none.example":
            raise IdentityError("none.example has none")


class Inner(FakeTransport):
    """What HTTP/2's own peer speaks to: the inside of a TLS peer."""

    def __init__(self, peer: TlsPeer) -> None:
        super().__init__()
        self.tls = peer

    def gives(self, data: bytes) -> None:
        self.tls.sends(data)

    def taken(self) -> bytes:
        return self.tls.takes()


class Scene:
    """A stage whose listener speaks TLS."""

    def __init__(self, rules: str = "", mode: str = "terminate", **options: Any) -> None:
        self.keeper = Certificates()
        self.stage = Stage(rules, tls=mode, keeper=self.keeper, **options)

    def connect(self, name: str = "a.example", *alpn: str, **limits: Any) -> TlsPeer:
        """A client connects, and says nothing yet."""
        context = the_pki().client(*alpn)
        for key, value in limits.items():
            setattr(context, key, value)
        return TlsPeer(self.stage.client(), context, name)

    def shaken(self, name: str = "a.example", *alpn: str) -> TlsPeer:
        """A client has gone through its handshake."""
        peer = self.connect(name, *alpn)
        peer.shake()
        assert peer.shaken
        return peer

    @property
    def failures(self) -> dict[str, int]:
        return self.stage.listener.cells.failures

    def nothing_left(self) -> None:
        assert self.stage.listener.cells.open == 0
        assert [one for one in self.stage.worker.connections if one.describe()["side"] == "client"] == []
        assert self.stage.worker.waiting == {}
        assert self.stage.worker.cells.internal_errors == 0


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


def injected(scene: Scene, name: str = "r") -> list[int]:
    return scene.stage.snapshot.by_name[name].state.injected


async def answered(scene: Scene, peer: TlsPeer) -> bytes:
    """Ask in HTTP/1.1, answer, and give what the client gets."""
    peer.sends(GET)
    upstream = await scene.stage.connected()
    assert b"x-forwarded-proto: https\r\n" in upstream.taken()
    upstream.gives(OK)
    return peer.takes()


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_http1_over_tls(alpn: tuple[str, ...]) -> None:
    scene = Scene()
    peer = scene.shaken("a.example", *alpn)
    assert peer.side.selected_alpn_protocol() == (alpn[0] if alpn else None)
    assert (await answered(scene, peer)).endswith(b"\r\n\r\nhi")
    assert scene.keeper.asked == [("a.example", None)]
    cells = scene.stage.listener.cells
    assert (cells.accepted, cells.open, cells.handshakes, cells.resumed) == (1, 1, 1, 0)
    peer.transport.ends()
    scene.nothing_left()


async def test_http2_by_alpn() -> None:
    scene = Scene()
    peer = scene.shaken("a.example", "h2", "http/1.1")
    assert peer.side.selected_alpn_protocol() == "h2"
    talk = Peer(Inner(peer), True)
    sid = talk.ask("/a")
    upstream = await scene.stage.connected()
    assert b"x-forwarded-proto: https\r\n" in upstream.taken()
    upstream.gives(OK)
    assert talk.sync().body(sid) == b"hi"
    peer.transport.ends()
    scene.nothing_left()


async def test_a_session_is_resumed() -> None:
    scene = Scene()
    context = the_pki().leaf("a.example").server()
    scene.keeper.context = lambda: context  # type: ignore[method-assign]
    client = the_pki().client()
    first = TlsPeer(scene.stage.client(), client, "a.example")
    first.shake()
    again = TlsPeer(scene.stage.client(), client, "a.example")
    again.side = client.wrap_bio(
        again.incoming, again.outgoing, server_hostname="a.example", session=first.side.session
    )
    again.shake()
    assert again.side.session_reused
    cells = scene.stage.listener.cells
    assert (cells.handshakes, cells.resumed) == (2, 1)


async def test_a_name_in_capitals_is_one_in_small_letters() -> None:
    scene = Scene()
    scene.shaken("A.Example")
    assert scene.keeper.asked == [("a.example", None)]


async def test_a_certificate_that_is_not_at_hand_is_waited_for() -> None:
    scene = Scene()
    scene.keeper.slow.add("a.example")
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert peer.transport.taken() == b""
    await scene.stage.turn()
    peer.shake()
    assert peer.shaken
    assert (scene.keeper.made, scene.stage.loop.tasks) == (1, 1)


async def test_a_client_that_goes_away_while_its_certificate_is_made() -> None:
    scene = Scene()
    scene.keeper.slow.add("a.example")
    peer = scene.connect()
    peer.hear()
    peer.say()
    peer.transport.ends()
    await scene.stage.turn()
    assert scene.failures == {"tls_closed": 1}
    scene.nothing_left()


@pytest.mark.parametrize("name", ["bad_name", "none.example"])
async def test_no_certificate_to_be_had(name: str) -> None:
    scene = Scene()
    scene.keeper.slow.add("none.example")
    peer = scene.connect(name)
    peer.hear()
    peer.say()
    await scene.stage.turn()
    assert peer.transport.taken() == ALERT + b"\x70"  # unrecognized_name
    assert peer.transport.ended
    assert scene.failures == {"tls_no_certificate": 1}
    peer.transport.lost()
    scene.nothing_left()


# --- what is no handshake


@pytest.mark.parametrize(("data", "alert"), [(GET, 10), (b"\x16\3\1\0\0", 50), (b"\x16\3\1\0\4\2\0\0\0", 10)])
async def test_junk_gets_an_alert(data: bytes, alert: int) -> None:
    scene = Scene()
    client = scene.stage.client()
    client.gives(data)
    assert client.taken() == ALERT + bytes([alert])
    assert client.ended
    assert scene.failures == {"tls_bad_hello": 1}
    (line,) = scene.stage.logged("handshake_failed")
    assert (line["kind"], line["client"], line["listener"]) == ("tls_bad_hello", "192.0.2.7", "web")
    client.lost()
    scene.nothing_left()


async def test_a_connection_without_a_byte_is_no_failure() -> None:
    scene = Scene()
    scene.stage.client().ends()
    assert scene.failures == {}
    scene.nothing_left()


async def test_a_handshake_has_its_time() -> None:
    scene = Scene()
    client = scene.stage.client()
    client.gives(b"\x16\3\1")
    scene.stage.sweep(9.9)
    early = client.ended
    scene.stage.sweep(1)
    assert (early, client.ended) == (False, True)
    assert scene.failures == {"tls_timeout": 1}
    client.lost()
    scene.nothing_left()


async def test_no_version_in_common() -> None:
    scene = Scene()
    scene.keeper.context = _only_13  # type: ignore[method-assign]
    peer = scene.connect(maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        peer.shake()
    assert scene.failures == {"tls_no_match": 1}
    assert peer.transport.ended


def _only_13() -> ssl.SSLContext:
    context = the_pki().leaf("a.example").server()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def test_a_client_that_does_not_trust_us_says_so() -> None:
    scene = Scene()
    peer = TlsPeer(scene.stage.client(), ssl.create_default_context(), "a.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        peer.shake()
    peer.say()
    assert scene.failures == {"tls_alert": 1}
    assert "unknown ca" in scene.stage.logged("handshake_failed")[0]["message"]


async def test_too_many_connections() -> None:
    scene = Scene(max_connections_in=0)
    client = scene.stage.client()
    assert client.ended
    assert scene.failures == {"too_many_connections": 1}
    client.lost()
    scene.nothing_left()


async def test_a_client_may_show_a_certificate() -> None:
    scene = Scene(
        rule("abort: 418", more="match: {client_certificate: {subject: CN=shopper, san: shopper}},"),
    )
    scene.keeper.client_auth = ssl.CERT_REQUIRED
    scene.stage.listener.tells_certificates = True
    pair = the_pki().leaf("shopper")
    context = the_pki().client()
    context.load_cert_chain(pair.chain, pair.key)
    peer = TlsPeer(scene.stage.client(), context, "a.example")
    peer.shake()
    peer.sends(GET)
    assert peer.takes().startswith(b"HTTP/1.1 418")
    scene.stage.change_rules("")
    peer.sends(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: Hash=forged\r\n\r\n")
    sent = (await scene.stage.connected()).taken()
    assert sent.count(b"x-forwarded-client-cert") == 1
    assert b';Subject="CN=shopper";DNS=shopper\r\n' in sent


async def test_a_client_without_the_certificate_that_it_must_show() -> None:
    scene = Scene()
    scene.keeper.client_auth = ssl.CERT_REQUIRED
    peer = scene.connect()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        peer.shake()
    assert scene.failures == {"tls_client_certificate": 1}


# --- auto


async def test_auto_takes_clear_text_too() -> None:
    scene = Scene(mode="auto")
    client = scene.stage.client()
    client.gives(GET)
    upstream = await scene.stage.connected()
    assert b"x-forwarded-proto: http\r\n" in upstream.taken()
    upstream.gives(OK)
    assert client.taken().endswith(b"hi")
    assert (await answered(scene, scene.shaken())).endswith(b"hi")
    assert scene.stage.listener.cells.open == 2
    client.ends()
    assert scene.stage.listener.cells.open == 1


# --- faults: any kind, at the ClientHello


async def test_a_delay_holds_back_the_answer() -> None:
    scene = Scene(rule("delay: {fixed: 2s, at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    scene.stage.sweep(1.9)
    assert peer.transport.taken() == b""
    scene.stage.timers.advance(0.2)
    peer.shake()
    assert peer.shaken
    got = await answered(scene, peer)
    assert b"x-misrule: rule=r; fault=delay; ms=2" in got
    assert injected(scene) == [1]
    assert [line["phase"] for line in scene.stage.logged("injection")] == ["tls"]


async def test_a_reset() -> None:
    scene = Scene(rule("reset: {at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert peer.transport.aborted
    assert peer.transport.taken() == b""
    peer.transport.lost()
    scene.nothing_left()
    assert injected(scene) == [1]
    assert scene.failures == {}


async def test_a_close() -> None:
    scene = Scene(rule("close: {at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert peer.transport.ended
    assert not peer.transport.aborted


async def test_a_stall_that_ends_in_a_reset() -> None:
    scene = Scene(rule("stall: {for: 30s, then: reset, at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    scene.stage.sweep(29)  # longer than a handshake may take: injected time is not the client's fault
    assert not peer.transport.closing
    scene.stage.timers.advance(2)
    assert peer.transport.aborted


async def test_a_stall_ends_with_its_rule() -> None:
    scene = Scene(rule("stall: {at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    scene.stage.change_rules("")
    peer.shake()
    assert peer.shaken


async def test_a_client_that_gives_up_a_stall() -> None:
    scene = Scene(rule("stall: {at: tls}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    peer.transport.ends()
    scene.nothing_left()


async def test_accept_comes_before() -> None:
    scene = Scene(rule("delay: {fixed: 1s, at: accept}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert scene.keeper.asked == []
    scene.stage.timers.advance(1)
    peer.shake()
    assert peer.shaken


async def test_only_the_name_that_is_meant() -> None:
    scene = Scene(rule("reset: {at: tls}", more="match: {sni: {suffix: .test}},"))
    scene.shaken("a.example")
    peer = scene.connect("a.test")
    peer.hear()
    peer.say()
    assert peer.transport.aborted


# --- faults of the kind tls


async def test_the_shape_goes_into_the_choice_of_the_context() -> None:
    rules = rule("tls: {certificate: expired, max_version: 1.2}", name="one")
    rules += rule("tls: {certificate: {expires_in: 1h}, alpn: none}", name="two")
    rules += rule("tls: wrong_host", name="three")
    scene = Scene(rules)
    peer = scene.shaken("a.example", "h2")
    ((_, shape),) = scene.keeper.asked
    assert shape is not None
    assert (shape.certificate, shape.max_version, shape.alpn) == ("expired", 0x0303, b"")
    assert (peer.side.version(), peer.side.selected_alpn_protocol()) == ("TLSv1.2", None)
    assert [injected(scene, name) for name in ("one", "two", "three")] == [[1], [1], [0]]


async def test_a_snapshot_of_the_client_hello() -> None:
    scene = Scene()
    before = scene.connect()
    scene.stage.change_rules(rule("tls: expired"))
    before.shake()
    assert [shape is not None and shape.certificate for _, shape in scene.keeper.asked] == ["expired"]


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_pause_behind_server_hello(newest: ssl.TLSVersion) -> None:
    scene = Scene(rule("tls: {handshake: {delay: 1s}, at: server_hello}"))
    peer = scene.connect(maximum_version=newest)
    peer.hear()
    peer.say()
    first = b"".join(peer.transport.written)
    assert first[5] == 2  # ServerHello
    assert len(first) == 5 + int.from_bytes(first[3:5], "big")
    peer.shake()
    assert not peer.shaken
    scene.stage.timers.advance(1)
    peer.shake()
    assert (await answered(scene, peer)).endswith(b"hi")
    assert injected(scene) == [1]


@pytest.mark.parametrize("place", ["client_hello", "server_hello", "finished"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_an_end_at_each_place(how: str, place: str) -> None:
    scene = Scene(rule(f"tls: {{handshake: {how}, at: {place}}}"))
    peer = scene.connect()
    peer.shake()
    assert peer.shaken is (place == "finished")
    assert peer.transport.aborted is (how == "reset")
    assert peer.transport.ended is (how == "close")
    peer.transport.lost()
    assert injected(scene) == [1]
    assert scene.failures == {}
    scene.nothing_left()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("place", ["client_hello", "server_hello", "finished"])
async def test_an_alert_at_each_place(place: str, newest: ssl.TLSVersion) -> None:
    scene = Scene(rule(f"tls: {{handshake: {{alert: handshake_failure}}, at: {place}}}"))
    peer = scene.connect(maximum_version=newest)
    with pytest.raises(ssl.SSLError, match="SSLV3_ALERT_HANDSHAKE_FAILURE"):
        peer.shake()
    assert peer.transport.ended
    assert injected(scene) == [1]


async def test_a_stall_when_all_is_said_holds_what_comes() -> None:
    scene = Scene(rule("tls: {handshake: {stall: 5s}, at: finished}"))
    peer = scene.connect()
    peer.shake()
    assert peer.shaken
    peer.sends(GET)
    scene.stage.sweep(4)
    assert scene.stage.loop.upstreams == []
    scene.stage.timers.advance(2)
    upstream = await scene.stage.connected()
    upstream.gives(OK)
    assert peer.takes().endswith(b"hi")


async def test_a_damaged_record() -> None:
    scene = Scene(rule("tls: {bad_record: true}"))
    peer = scene.shaken()
    peer.sends(GET)
    (await scene.stage.connected()).gives(OK)
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        peer.takes()


async def test_a_goodbye_that_is_left_out() -> None:
    scene = Scene(rule("close: {close_notify: false}"))
    peer = scene.shaken()
    peer.sends(GET)
    assert peer.takes() == b""
    assert not peer.ended
    assert peer.transport.ended


async def test_a_connection_that_is_open_under_the_name_is_closed() -> None:
    scene = Scene()
    peer, other = scene.shaken("a.example"), scene.shaken("b.example")
    scene.stage.change_rules(rule("tls: {certificate: expired, on: open}", more="match: {sni: a.example},"))
    peer.hear()
    assert peer.ended
    other.hear()
    assert not other.ended


# --- the end of a handshake, and its proof


async def test_an_end_is_read_to_and_no_rst_destroys_the_alert() -> None:
    scene = Scene(rule("tls: {handshake: {alert: unknown_ca}}"))
    peer = scene.connect()
    peer.say()
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        peer.shake()
    assert (peer.transport.ended, peer.transport.closing) == (True, False)
    peer.transport.gives(b"what the client had sent meanwhile")
    assert peer.transport.taken() == b""
    peer.transport.ends()
    assert peer.transport.closing
    scene.nothing_left()


async def test_a_client_that_does_not_end_is_left_after_a_time() -> None:
    scene = Scene(rule("tls: {handshake: close}"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert (peer.transport.ended, peer.transport.closing) == (True, False)
    scene.stage.sweep(scene.stage.listener.drain_timeout + 1)
    assert peer.transport.closing
    peer.transport.lost()
    scene.nothing_left()


async def test_a_shape_and_a_pause_are_proved_once() -> None:
    scene = Scene(rule("tls: {max_version: 1.2, handshake: {delay: 1s}, at: finished}"))
    peer = scene.connect()
    peer.shake()
    assert (peer.side.version(), injected(scene)) == ("TLSv1.2", [1])
    assert scene.stage.logged("injection") == []
    scene.stage.timers.advance(1)
    assert (await answered(scene, peer)).count(b"x-misrule: rule=r; fault=tls; ms=1000; ") == 1
    assert [line["ms"] for line in scene.stage.logged("injection")] == [1000]


async def test_a_shape_is_proved_though_its_pause_never_came() -> None:
    scene = Scene(rule("tls: {max_version: 1.2, handshake: {delay: 1s}, at: finished}"))
    peer = scene.connect(minimum_version=ssl.TLSVersion.TLSv1_3)
    with pytest.raises(ssl.SSLError):
        peer.shake()
    peer.transport.lost()
    assert injected(scene) == [1]
    assert len(scene.stage.logged("injection")) == 1
    assert scene.failures == {}  # a rule has made it fail
    scene.nothing_left()


# --- passthrough


class Through(Scene):
    """A stage whose listener passes TLS on; the upstream is OpenSSL's."""

    def __init__(self, rules: str = "", **options: Any) -> None:
        super().__init__(rules, "passthrough", **options)
        self.stage.listener.keeper = None

    async def joined(self) -> tuple[TlsPeer, TlsPeer]:
        """A client and the upstream have shaken hands through us."""
        client = self.connect()
        client.hear()
        client.say()
        server = TlsPeer(await self.stage.connected(), the_pki().leaf("a.example").server())
        for _ in range(3):
            server.hear()
            server.say()
            client.hear()
            client.say()
        server.hear()
        server.say()
        assert client.shaken
        assert server.shaken
        return client, server


async def test_tls_is_passed_on_unread() -> None:
    scene = Through()
    client, server = await scene.joined()
    client.sends(b"ask" * 10_000)
    assert server.takes() == b"ask" * 10_000
    server.sends(b"answer")
    assert client.takes() == b"answer"
    client.transport.gives(client.goodbye())
    client.transport.ends()
    assert server.transport.ended
    server.transport.ends()
    for transport in (client.transport, server.transport):
        assert transport.closing
        transport.lost()
    scene.nothing_left()
    assert scene.stage.upstream.open == 0
    (line,) = scene.stage.logged("access")
    assert (line["host"], line["upstream"], line["outcome"]) == ("a.example", "app", "ok")


async def test_a_name_that_no_route_takes() -> None:
    scene = Through(no_route=True)
    peer = scene.connect()
    with pytest.raises(ssl.SSLError, match="TLSV1_UNRECOGNIZED_NAME"):
        peer.shake()
    assert peer.transport.ended
    assert scene.failures == {"no_route": 1}
    peer.transport.ends()
    scene.nothing_left()


async def test_an_upstream_that_cannot_be_reached() -> None:
    scene = Through()
    scene.stage.loop.refuse = OSError(111, "refused")
    peer = scene.connect()
    peer.hear()
    peer.say()
    await scene.stage.turn()
    with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
        peer.hear()
    assert scene.stage.upstream.open == 0


async def test_faults_on_the_bytes_of_what_is_passed_on() -> None:
    scene = Through(rule("reset: {at: response_body, after_bytes: 100B}", more="match: {protocol: [tcp]},"))
    peer = scene.connect()
    peer.hear()
    peer.say()
    (await scene.stage.connected()).gives(b"x" * 101)
    assert peer.transport.taken() == b"x" * 100
    scene.stage.timers.advance(1)
    assert peer.transport.aborted
    assert injected(scene) == [1]


@pytest.mark.parametrize(("fault", "times"), [("tls: expired", 0), ("tls: {handshake: reset}", 1)])
async def test_what_is_passed_on_cannot_be_shaped(fault: str, times: int) -> None:
    scene = Through(rule(fault))
    peer = scene.connect()
    peer.hear()
    peer.say()
    assert peer.transport.aborted is (times == 1)
    assert injected(scene) == [times]
