"""The fault http2 at work: what a client's connection sees while rules are in force, and after."""

import pytest
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    WindowUpdated,
)
from h2.settings import SettingCodes

from tests.support.h2_stage import Http2Stage, Peer

OK = [(":status", "200")]
STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = SettingCodes.INITIAL_WINDOW_SIZE


def rule(fault: str, name: str = "r", match: str = "{path: /bad}") -> str:
    return f"  - {{name: {name}, match: {match}, faults: [http2: {fault}]}}\n"


async def disturbed(fault: str) -> tuple[Http2Stage, Peer]:
    on = Http2Stage(rule(fault))
    client = on.peer()
    client.ask("/bad")
    await on.both(client)
    return on, client


def told(client: Peer, setting: SettingCodes) -> list[int]:
    return [
        event.changed_settings[setting].new_value
        for event in client.came(RemoteSettingsChanged)
        if setting in event.changed_settings
    ]


@pytest.mark.parametrize("how", ["deleted", "stopped"])
async def test_settings_are_those_of_the_rule_as_long_as_it_is_there(how: str) -> None:
    fault = "{settings: {max_concurrent_streams: 1, initial_window_size: 100}}"
    on, client = await disturbed(fault)
    assert (told(client, STREAMS)[-1], told(client, WINDOW)[-1]) == (1, 100)
    on.change_rules(rule(fault) if how == "stopped" else "", how == "stopped")
    client.sync()
    assert (told(client, STREAMS)[-1], told(client, WINDOW)[-1]) == (100, 131072)
    assert not on.worker.waiting


async def test_settings_are_sent_once_for_each_connection() -> None:
    on, client = await disturbed("{settings: {max_concurrent_streams: 7}}")
    client.ask("/bad")
    client.sync()
    assert told(client, STREAMS) == [100, 7]
    other = on.peer()
    other.ask("/good")
    assert told(other, STREAMS) == [100]
    client.transport.lost()
    assert not on.worker.waiting


async def test_more_streams_than_the_rule_allows_are_refused() -> None:
    _, client = await disturbed("{settings: {max_concurrent_streams: 1}}")
    client.h2.remote_settings[STREAMS] = 100
    client.h2.remote_settings.acknowledge()
    late = client.ask("/good")
    assert client.reset(late) == 7


async def test_ping_goes_unanswered() -> None:
    on, client = await disturbed("{ignore_ping: true}")
    client.h2.ping(b"12345678")
    assert client.sync().came(PingAckReceived) == []
    on.change_rules("")
    client.h2.ping(b"12345678")
    assert len(client.sync().came(PingAckReceived)) == 1


async def test_frames_are_padded() -> None:
    on, client = await disturbed("{padding: 255}")
    server = await on.both(client)
    for number in range(2):
        server.h2.send_headers(1, OK) if not number else None
        server.say(1, b"hello")
        client.sync()
        on.change_rules("")
    first, second = client.came(DataReceived, 1)
    assert (first.data, first.flow_controlled_length) == (b"hello", 5 + 256)
    assert (second.data, second.flow_controlled_length) == (b"hello", 5)


@pytest.mark.parametrize("scope", ["stream", "connection"])
async def test_windows_stay_shut(scope: str) -> None:
    on = Http2Stage(rule(f"{{withhold_window_updates: {scope}}}"))
    client = on.peer()
    bad = client.ask("/bad", end=False)
    good = client.ask("/good", end=False)
    server = await on.both(client)
    for sid in (bad, good):
        for _ in range(8):
            client.say(sid, bytes(16384))
            server.sync()
    client.sync()
    assert client.came(WindowUpdated, bad) == []
    assert bool(client.came(WindowUpdated, good)) == (scope == "stream")
    on.change_rules("")
    client.sync()
    assert client.came(WindowUpdated, bad)
    assert client.came(WindowUpdated, good)


async def test_a_stream_that_is_over_is_forgotten() -> None:
    on, client = await disturbed("{withhold_window_updates: stream}")
    assert len(on.worker.waiting) == 1
    (await on.both(client)).head(1, OK, end=True)
    client.sync()
    assert not on.worker.waiting


async def test_a_goaway_lets_what_is_under_way_end() -> None:
    on = Http2Stage(rule("{goaway: {code: ENHANCE_YOUR_CALM, debug: enough}}"))
    client = on.peer()
    client.ask("/good")
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/bad")]
    client.h2.send_headers(3, head, end_stream=True)
    client.transport.gives(client.h2.data_to_send())
    client.events += client.h2.receive_data(client.transport.taken())
    (goaway,) = client.came(ConnectionTerminated)
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (3, 11, b"enough")
    server = await on.server()
    for sid in server.requests():
        assert not client.transport.ended
        server.head(sid, OK, end=True)
    on.sweep(1)
    assert client.transport.taken().count(b"\x01\x05\0\0\0") == 2  # HEADERS with END_STREAM
    assert client.transport.ended


async def test_rules_come_and_go_in_any_order() -> None:
    both = rule("{padding: 9}", "a") + rule("{padding: 20, ignore_ping: true}", "b")
    on = Http2Stage(both)
    client = on.peer()
    client.ask("/bad")
    codec = client.transport.protocol.codec
    assert (codec.padding, codec.ignore_ping) == (20, True)
    on.change_rules(rule("{padding: 9}", "a"))
    assert (codec.padding, codec.ignore_ping) == (9, False)
    on.change_rules("")
    assert (codec.padding, codec.ignore_ping) == (0, False)


async def test_http1_has_nothing_of_this() -> None:
    on = Http2Stage(rule("{padding: 9, goaway: {}}", match="{}"))
    client = on.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    server = await on.server()
    server.head(1, [*OK, ("content-length", "0")], end=True)
    assert b"connection: close" not in client.taken()
    assert on.snapshot.by_name["r"].state.injected == [0]
