"""Captured clients: where they were going, what they speak, and who is refused."""

import socket
from typing import Any

import pytest

from proxy.captured import CapturingDoor
from proxy.listener import Capture, Reach, Route, Target
from proxy.metrics.cells import UpstreamCells
from proxy.net.dialled import DialledUpstream
from proxy.net.pool import AUTO
from rules.reading import Network
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Peer

GET = b"GET /a HTTP/1.1\r\nhost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
HERE = ("127.0.0.1", 15101)


class Asked:
    """A socket that knows where its client was going; (): the kernel knows of nothing."""

    family = socket.AF_INET

    def __init__(self, dialled: tuple[str, int] | tuple[()]) -> None:
        self.dialled = dialled

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if level == socket.IPPROTO_TCP:
            return b"\1"  # established
        if not self.dialled:
            raise OSError("no such entry")
        host, port = self.dialled
        return (
            socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)
        )

    def setsockopt(self, *_: Any) -> None:
        pass

    def fileno(self) -> int:
        raise OSError("no descriptor")


class Captured(FakeTransport):
    """The transport of a captured client."""

    def __init__(self, dialled: tuple[str, int] | tuple[()]) -> None:
        super().__init__()
        self.asked = Asked(dialled)

    def get_extra_info(self, name: str) -> Any:
        known = {"socket": self.asked, "sockname": HERE}
        return known[name] if name in known else super().get_extra_info(name)


class Scene(Stage):
    """A capturing listener: the route of the stage for 10.0.0.1, everything else to where it was dialled."""

    def __init__(self, rules: str = "", **options: Any) -> None:
        super().__init__(rules, **options)
        cells = UpstreamCells("original_dst")
        self.worker.cells.upstreams.append(cells)
        self.dialled = DialledUpstream("original_dst", cells, 5.0, 60.0, 300.0, 10, 10, True, 0, AUTO)
        self.worker.upstreams["original_dst"] = self.dialled
        target = Target(self.dialled, 1, self.worker.cells.route("web", "original_dst"))
        self.listener.routes[0].reach = Reach([], [Network("10.0.0.1/32")])
        self.listener.routes.append(Route(None, None, [], [target]))
        self.listener.only = None
        self.listener.capture = Capture(1.0, frozenset({3306}), {15101, 9905})

    def captured(self, *dialled: Any) -> Captured:
        transport = Captured(dialled)
        transport.protocol = CapturingDoor(self.worker, self.listener).protocol()
        transport.protocol.connection_made(transport)
        return transport


def nothing_left(stage: Scene) -> None:
    assert stage.listener.cells.open == 0
    assert stage.worker.connections == {}
    assert stage.worker.cells.internal_errors == 0
    assert sum(cells.active for cells in stage.worker.cells.routes) == 0


async def test_a_request_goes_to_the_address_that_was_dialled() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 8080)
    client.gives(GET)
    upstream = await stage.connected()
    assert upstream.peer == ("192.0.2.80", 8080)
    upstream.gives(OK)
    assert client.taken().endswith(b"\r\n\r\nhi")
    client.gives(GET)
    assert upstream.taken().count(b"GET /a") == 2  # on the connection of before
    upstream.gives(OK)
    client.ends()
    upstream.ends()
    nothing_left(stage)
    first, _ = stage.logged("access")
    assert (first["upstream"], first["dialled"], first["status"]) == ("original_dst", "192.0.2.80:8080", 200)


async def test_connections_are_not_shared_by_addresses() -> None:
    stage = Scene()
    for number, port in enumerate((8080, 8081, 8080)):
        client = stage.captured("192.0.2.80", port)
        client.gives(GET)
        upstream = await stage.connected(min(number, 1) if port == 8081 else 0)
        assert upstream.peer == ("192.0.2.80", port)
        upstream.gives(OK)
        client.taken()
    assert len(stage.loop.upstreams) == 2


async def test_a_route_may_say_otherwise() -> None:
    stage = Scene()
    client = stage.captured("10.0.0.1", 9999)
    assert stage.worker.connections  # it waits for its first bytes
    client.gives(GET)
    assert (await stage.connected()).peer == ("10.0.0.1", 80)


@pytest.mark.parametrize("pieces", [[GET], [GET[:1], GET[1:12], GET[12:]], [bytes([byte]) for byte in GET]])
async def test_a_request_in_any_pieces_is_a_request(pieces: list[bytes]) -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 8080)
    for piece in pieces:
        client.gives(piece)
    assert b"GET /a HTTP/1.1" in (await stage.connected()).taken()


async def test_http2_goes_on_as_http2() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 8080)
    peer = Peer(client, True)
    peer.ask("/a")
    upstream = await stage.connected()
    assert upstream.taken().startswith(b"PRI * HTTP/2.0")


async def test_what_nobody_knows_passes_unread() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 5432)
    client.gives(b"\0\0\0\x08")
    upstream = await stage.connected()
    assert upstream.taken() == b"\0\0\0\x08"
    upstream.gives(b"N")
    assert client.taken() == b"N"
    client.lost()
    upstream.lost()
    nothing_left(stage)


async def test_who_says_nothing_waits_for_the_servers_first_word() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 2525)
    stage.sweep(0.75)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.sweep(0.5)
    upstream = await stage.connected()
    upstream.gives(b"220 ready\r\n")
    assert client.taken() == b"220 ready\r\n"


async def test_half_a_request_line_goes_on_unread_when_time_is_over() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 2525)
    client.gives(b"GET /")
    stage.sweep(1.25)
    assert (await stage.connected()).taken() == b"GET /"


async def test_ports_where_servers_speak_first_do_not_wait() -> None:
    stage = Scene()
    stage.captured("192.0.2.80", 3306)
    stage.timers.advance(0.01)
    assert (await stage.connected()).peer == ("192.0.2.80", 3306)


async def test_a_fault_holds_a_connection_whose_server_speaks_first() -> None:
    stage = Scene("  - {name: r, match: {protocol: [tcp]}, faults: [{delay: {fixed: 3s, at: accept}}]}\n")
    client = stage.captured("192.0.2.80", 3306)
    stage.timers.advance(2.9)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.timers.advance(0.2)
    (await stage.connected()).gives(b"5.7")
    assert client.taken() == b"5.7"


async def test_a_client_of_an_opaque_port_that_goes_at_once_leaves_nothing() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 3306)
    client.closing = True
    client.lost()
    stage.timers.advance(0.01)
    await stage.turn()
    assert stage.loop.upstreams == []
    nothing_left(stage)


async def test_fin_before_anything_was_recognised_is_passed_on() -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 2525)
    client.gives(b"QUIT")
    client.ends()
    upstream = await stage.connected()
    assert upstream.taken() == b"QUIT"
    assert upstream.ended
    upstream.gives(b"221 bye\r\n")
    assert client.taken() == b"221 bye\r\n"


@pytest.mark.parametrize("data", [b"\x16\x03\x01\0\5\1\0\0\1\0", b"\x16\x03\x01\0\1\2"])
async def test_tls_that_cannot_be_read_passes_on(data: bytes) -> None:
    stage = Scene()
    client = stage.captured("192.0.2.80", 443)
    client.gives(data)
    assert (await stage.connected()).taken() == data
    assert stage.listener.cells.failures == {}


async def test_a_fault_holds_a_connection_before_it_is_sniffed() -> None:
    stage = Scene("  - {name: r, faults: [{delay: {fixed: 3s, at: accept}}]}\n")
    stage.listener.routes.pop(0)
    client = stage.captured("192.0.2.80", 2525)
    stage.sweep(2.75)
    assert stage.worker.cells.waiting == 1
    stage.sweep(1.0)
    assert stage.worker.cells.waiting == 0
    client.gives(GET)
    assert b"GET /a" in (await stage.connected()).taken()


async def test_too_many_clients_are_turned_away_without_a_word() -> None:
    stage = Scene(max_connections_in=0)
    client = stage.captured("192.0.2.80", 2525)
    assert client.ended
    assert client.taken() == b""
    assert stage.listener.cells.failures == {"too_many_connections": 1}


@pytest.mark.parametrize("dialled", [(), HERE])
def test_a_connection_to_the_listener_itself_is_refused(dialled: tuple[str, int] | tuple[()]) -> None:
    stage = Scene()
    client = stage.captured(*dialled)
    assert client.aborted
    client.lost()
    assert stage.listener.cells.failures == {"not_redirected": 1}
    assert stage.listener.cells.accepted == 1
    (line,) = stage.logged("capture_refused")
    assert (line["address"], line["dialled"], line["client"]) == (
        "127.0.0.1:15101",
        "not redirected",
        "192.0.2.7",
    )
    nothing_left(stage)


def test_no_captured_client_reaches_the_admin_endpoint() -> None:
    stage = Scene()
    client = stage.captured("127.0.0.1", 9905)
    assert client.aborted
    assert stage.listener.cells.failures == {"own_address": 1}
    assert not stage.captured("192.0.2.80", 9905).aborted  # of another machine
    nothing = stage.logged("capture_refused")
    assert [line["kind"] for line in nothing] == ["own_address"]
