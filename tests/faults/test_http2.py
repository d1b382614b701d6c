"""http2: its troubles, one or several in an entry, and what each asks of the proxy."""

import pytest

from rules.actions import (
    WITHHOLD_CONNECTION,
    WITHHOLD_NOTHING,
    WITHHOLD_STREAM,
    Disturb,
    GoAway,
    Nothing,
)
from rules.facts import GRPC as GRPC_BIT
from rules.facts import HTTP1, HTTP2, Facts
from rules.phases import END, REQUEST_HEAD, RESPONSE_BODY, RESPONSE_HEAD
from tests.faults.cases import dice, problem, read

CASES: list[tuple[str, int, tuple[int, int, int, bool, int]]] = [
    ("{withhold_window_updates: stream}", REQUEST_HEAD, (WITHHOLD_STREAM, -1, -1, False, 0)),
    ("{withhold_window_updates: connection}", REQUEST_HEAD, (WITHHOLD_CONNECTION, -1, -1, False, 0)),
    ("{settings: {max_concurrent_streams: 1}}", REQUEST_HEAD, (WITHHOLD_NOTHING, 1, -1, False, 0)),
    ("{settings: {initial_window_size: 0}, at: end}", END, (WITHHOLD_NOTHING, -1, 0, False, 0)),
    (
        "{settings: {initial_window_size: 262144, max_concurrent_streams: 0}, at: response_head}",
        RESPONSE_HEAD,
        (WITHHOLD_NOTHING, 0, 262144, False, 0),
    ),
    (
        "{ignore_ping: true, padding: 255, at: response_body}",
        RESPONSE_BODY,
        (WITHHOLD_NOTHING, -1, -1, True, 255),
    ),
]


@pytest.mark.parametrize(("fields", "phase", "asked"), CASES)
def test_what_it_asks(fields: str, phase: int, asked: tuple[int, int, int, bool, int]) -> None:
    fault = read(f"{{http2: {fields}}}")
    for protocols in (HTTP2, HTTP2 | GRPC_BIT):
        action = fault.decide(Facts("web", "", protocols), dice())
        assert isinstance(action, Disturb)
        found = (
            action.withhold,
            action.max_streams,
            action.initial_window,
            action.ignore_ping,
            action.padding,
        )
        assert found == asked
        assert action.lasts
        assert action.goaway is None
    assert isinstance(fault.decide(Facts("web", "", HTTP1), dice()), Nothing)
    assert fault.phase == phase
    assert not fault.ends_exchange


def test_frames_are_small() -> None:
    action = read("{http2: {frame_size: 5}}").decide(Facts("web", "", HTTP2), dice())
    assert isinstance(action, Disturb)
    assert (action.frame_size, action.padding, action.lasts) == (5, 0, True)


def test_a_goaway_happens_once() -> None:
    action = read("{http2: {goaway: {code: ENHANCE_YOUR_CALM, graceful: true}}}").decide(
        Facts("web", "", HTTP2), dice()
    )
    assert isinstance(action, Disturb)
    assert isinstance(action.goaway, GoAway)
    assert (action.goaway.code, action.goaway.graceful) == (11, True)
    assert not action.lasts


BAD: list[tuple[str, str, str]] = [
    ("{}", "", "expected at least one of goaway, withhold_window_updates, settings, ping, ignore_ping"),
    ("{at: end}", "", "expected at least one of goaway"),
    ("{settings: {}}", "settings", "expected at least one of max_concurrent_streams, initial_window_size"),
    ("{settings: {max_concurrent_streams: 101}}", "settings.max_concurrent_streams", "from 0 to 100"),
    ("{settings: {initial_window_size: -1}}", "settings.initial_window_size", "from 0 to 262144"),
    ("{settings: {max_frame_size: 1}}", "settings.max_frame_size", "unknown key"),
    ("{ignore_ping: false}", "ignore_ping", "expected true, or no ignore_ping"),
    ("{ping: false}", "ping", "expected true, or no ping"),
    ("{padding: 0}", "padding", "from 1 to 255"),
    ("{padding: 256}", "padding", "from 1 to 255"),
    ("{frame_size: 0}", "frame_size", "from 1 to 16384"),
    ("{frame_size: 16385}", "frame_size", "from 1 to 16384"),
    ("{withhold_window_updates: true}", "withhold_window_updates", "expected stream or connection"),
    ("{goaway: {code: X}}", "goaway.code", "expected an HTTP/2 error code"),
    ("{padding: 5, at: accept}", "at", "expected request_head, response_head, response_body or end"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{http2: {fields}}}")
    assert found.startswith(f"http2.{path}: " if path else "http2: ")
    assert words in found
