"""The upstream whose addresses are those that clients have dialled."""

import ssl
from typing import Any

from proxy.metrics.cells import UpstreamCells
from proxy.net.dialled import FORGET_AFTER, DialledUpstream
from proxy.net.identity import Credentials
from proxy.net.pool import AUTO, HTTP1, HTTP2
from tests.support.fakes import FakeTransport
from tests.unit.proxy.test_pool import Kept


class Trusting(Credentials):
    """Never asked in these tests."""

    def context(self, offer: int) -> ssl.SSLContext:
        raise AssertionError


def upstream(protocol: int = AUTO, tls: bool = False, connections: int = 10) -> DialledUpstream:
    cells = UpstreamCells("original_dst")
    credentials = Trusting("") if tls else None
    return DialledUpstream(
        "original_dst", cells, 5.0, 60.0, 300.0, connections, 10, True, 0, protocol, 30.0, credentials
    )


def test_one_address_is_one_place_for_clients_of_one_protocol() -> None:
    target = upstream()
    place = target.at("10.0.0.1", 80, HTTP1, False, "", 0.0)
    assert (place.address(), place.protocol, place.keepalive) == ("10.0.0.1:80", HTTP1, 30.0)
    assert target.at("10.0.0.1", 80, HTTP1, False, "", 0.0) is place
    assert target.at("10.0.0.1", 80, HTTP2, False, "", 0.0) is not place
    assert target.at("10.0.0.1", 81, HTTP1, False, "", 0.0) is not place
    assert target.at("fd00::1", 80, HTTP1, False, "", 0.0).address() == "[fd00::1]:80"


def test_a_configured_protocol_is_that_of_all() -> None:
    target = upstream(HTTP2)
    assert target.at("10.0.0.1", 80, HTTP1, False, "", 0.0).protocol == AUTO
    assert target.at("10.0.0.1", 80, HTTP1, False, "", 0.0) is target.at(
        "10.0.0.1", 80, HTTP2, False, "", 0.0
    )


def test_tls_goes_on_for_those_who_came_by_it_and_by_the_name_that_they_asked_for() -> None:
    target = upstream(tls=True)
    secure = target.at("10.0.0.1", 443, AUTO, True, "shop.example", 0.0)
    assert secure.credentials is target.credentials
    assert secure.host == "shop.example"
    assert secure.names is not None
    assert secure.names.known("shop.example") == ["10.0.0.1"]
    assert target.at("10.0.0.1", 443, AUTO, True, "pay.example", 0.0) is not secure
    nameless = target.at("10.0.0.1", 443, AUTO, True, "", 0.0)
    assert (nameless.host, nameless.names) == ("10.0.0.1", None)
    assert target.at("10.0.0.1", 443, AUTO, False, "", 0.0).credentials is None


def test_without_tls_of_its_own_all_goes_on_in_clear_text() -> None:
    target = upstream()
    place = target.at("10.0.0.1", 443, AUTO, True, "shop.example", 0.0)
    assert (place.credentials, place.host) == (None, "10.0.0.1")


def test_an_address_that_nothing_uses_is_forgotten() -> None:
    target = upstream()
    target.sweep(1000.0)
    used, busy = (target.at("10.0.0.1", port, AUTO, False, "", 1000.0) for port in (80, 81))
    kept = Kept(target)
    assert target.keep(busy, kept)
    target.sweep(1000.0 + FORGET_AFTER - 1)
    assert len(target.places) == 2
    target.sweep(1000.0 + FORGET_AFTER)
    assert list(target.places.values()) == [busy]
    assert not target.keep(used, Kept(target))  # nobody would find it
    assert target.take(busy) is kept


def test_addresses_make_room_for_each_other() -> None:
    target = upstream(connections=1)
    place = target.at("10.0.0.1", 80, AUTO, False, "", 0.0)
    target.open = 1
    assert not target.make_room()
    assert target.keep(place, Kept(target))
    assert target.make_room()
    assert (target.open, place.idle) == (0, [])


def test_it_has_no_address_to_choose() -> None:
    target = upstream()
    assert target.pick(0) is None
    assert target.aside(["10.0.0.9"], False) is None


class Ends(FakeTransport):
    """A transport that knows both ends."""

    def get_extra_info(self, name: str) -> Any:
        return {"sockname": ("::ffff:10.0.0.9", 5000, 0, 0), "peername": ("10.0.0.1", 80)}.get(name)


def test_a_connection_of_ours_is_known_again_while_it_is_open() -> None:
    target = upstream()
    ours = Ends()
    target.made(ours)  # type: ignore[arg-type]
    assert target.is_own("10.0.0.9", 5000, "10.0.0.1", 80)
    assert not target.is_own("10.0.0.9", 5001, "10.0.0.1", 80)
    assert not target.is_own("10.0.0.9", 5000, "10.0.0.1", 81)
    ours.close()
    assert not target.is_own("10.0.0.9", 5000, "10.0.0.1", 80)
    target.sweep(0.0)
    assert target.own == {}
    target.made(FakeTransport())  # type: ignore[arg-type]
    assert target.own == {}
