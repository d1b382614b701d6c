"""What a configuration says of captured clients."""

import pytest

from proxy.config import options, parse
from tests.unit.proxy.test_config import LISTENER, SMALL, problems, warnings

CAPTURE = """\
version: 1
listeners: [{name: out, address: ":15101", capture: redirect}]
"""


def test_a_capturing_listener_needs_no_route_and_no_upstream() -> None:
    config = parse(CAPTURE.encode(), "m.yaml")
    (listener,) = config.listeners
    assert listener.routes == [options.RouteConfig((("original_dst", 1),))]
    assert config.upstreams["original_dst"].addresses == ["original_dst"]
    assert listener.timeouts.sniff == 1.0
    assert (3306, 3306) in listener.opaque_ports


def test_what_no_route_of_a_capturing_listener_takes_goes_where_it_was_dialled() -> None:
    text = CAPTURE.replace("redirect}", "redirect, opaque_ports: [], routes: [{match: {port: [80, 90-99]}, ")
    text = text.replace("]\n", "upstream: a}, {match: {destination: 10.0.0.0/8}, upstream: b}]}]\n")
    text += "upstreams: {a: {address: a:1}, b: {address: original_dst}}\n"
    config = parse(text.encode(), "m.yaml")
    (listener,) = config.listeners
    assert [route.targets for route in listener.routes] == [(("a", 1),), (("b", 1),), (("original_dst", 1),)]
    assert listener.routes[0].match.port == ((80, 80), (90, 99))
    assert listener.routes[1].match.destination == ("10.0.0.0/8",)
    assert listener.opaque_ports == ()
    assert warnings(text) == []


def test_a_route_for_all_leaves_nothing_to_where_it_was_dialled() -> None:
    text = (
        CAPTURE.replace("redirect}", "redirect, routes: [{upstream: a}]}")
        + "upstreams: {a: {address: a:1}}\n"
    )
    assert list(parse(text.encode(), "m.yaml").upstreams) == ["a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            CAPTURE.replace(", capture: redirect", ""),
            '2:13: listeners[0]: "routes" is missing: only with capture',
        ),
        (
            CAPTURE.replace('":15101"', "unix:/tmp/a"),
            "listeners[0].address: connections are redirected to a port",
        ),
        (
            SMALL.replace("upstream: default", "upstream: default, match: {port: 80}"),
            "listeners[0].routes[0].match.port: port is of the address that captured clients have",
        ),
        (
            SMALL.replace("upstream: default", "upstream: default, match: {destination: '::1'}"),
            "listeners[0].routes[0].match.destination: destination is of the address that captured",
        ),
        (
            SMALL.replace('"127.0.0.1:3000"', "original_dst"),
            'listeners[0].routes[0].upstream: "default" goes where captured clients have dialled',
        ),
        (
            SMALL.replace(LISTENER, LISTENER + ", timeouts: {sniff: 2s}"),
            "listeners[0].timeouts.sniff: only captured clients have a use for sniff",
        ),
        (
            SMALL.replace(LISTENER, LISTENER + ", opaque_ports: [25]"),
            "listeners[0].opaque_ports: only captured clients have a use for opaque_ports",
        ),
        (
            CAPTURE + "upstreams: {original_dst: {address: a:1}}\n",
            "upstreams.original_dst.address: this name is for where captured clients have dialled",
        ),
        (
            CAPTURE + "upstreams: {original_dst: {address: [original_dst, a:1]}}\n",
            "upstreams.original_dst.address: original_dst stands alone",
        ),
        (
            CAPTURE + "upstreams: {original_dst: {address: original_dst, health: {tcp: true}}}\n",
            "upstreams.original_dst.health: its addresses are those that clients dial: nobody knows which",
        ),
        (
            CAPTURE.replace("redirect}", "redirect, opaque_ports: [0]}"),
            "a port is a number from 1 to 65535, got 0",
        ),
        (CAPTURE.replace("redirect}", "redirect, opaque_ports: 9-8}"), '"9-8" ends before it begins'),
    ],
)
def test_what_only_captured_clients_have_is_refused_elsewhere(text: str, found: str) -> None:
    (problem,) = problems(text)
    assert found in problem


def test_tls_that_ends_and_goes_on_in_clear_text_is_warned_of() -> None:
    text = CAPTURE.replace("redirect}", "redirect, tls: {mode: auto}}")
    (warning,) = warnings(text)
    assert "TLS ends here, and to original_dst it goes on in clear text" in warning
    assert warnings(text + "upstreams: {original_dst: {address: original_dst, tls: {}}}\n") == []
