"""Floods over HTTP/2: each is ended within its budget, and what good clients do is not."""

from collections.abc import Callable

import pytest

from proxy.wire.h2 import CLIENT, H2Settings
from proxy.wire.h2_errors import CANCEL, ENHANCE_YOUR_CALM
from proxy.wire.h2_guard import Guard
from tests.conformance.peer import (
    ACK,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    setting,
)
from tests.wire.h2_drive import GET, OK, POST, Drive, block, goaways

CALM = ENHANCE_YOUR_CALM
Attack = Callable[[Drive, int], bytes]


def cancel(sid: int) -> bytes:
    return frame(RST_STREAM, 0, sid, b"\0\0\0\x08")


def rapid_reset(drive: Drive, place: int) -> bytes:
    return drive.headers(GET, 2 * place + 1) + cancel(2 * place + 1)


def zero_update(drive: Drive, place: int) -> bytes:
    return drive.headers(GET, 2 * place + 1) + frame(WINDOW_UPDATE, 0, 2 * place + 1, bytes(4))


def overflow(drive: Drive, place: int) -> bytes:
    most = b"\x7f\xff\xff\xff"
    return drive.headers(GET, 2 * place + 1) + frame(WINDOW_UPDATE, 0, 2 * place + 1, most)


def data_after_end(drive: Drive, place: int) -> bytes:
    return drive.headers(GET, 2 * place + 1) + frame(DATA, 0, 2 * place + 1, b"x")


def headers_after_end(drive: Drive, place: int) -> bytes:
    return drive.headers(GET, 2 * place + 1) + drive.headers([("x", "y")], 2 * place + 1)


def on_itself(drive: Drive, place: int) -> bytes:
    sid = (2 * place + 1).to_bytes(4, "big")
    return drive.headers(GET, 2 * place + 1) + frame(PRIORITY, 0, 2 * place + 1, sid + b"\0")


def short_priority(drive: Drive, place: int) -> bytes:
    return drive.headers(GET, 2 * place + 1) + frame(PRIORITY, 0, 2 * place + 1, bytes(4))


def malformed(drive: Drive, place: int) -> bytes:
    return drive.headers(GET[1:], 2 * place + 1)


RESETS: dict[str, tuple[Attack, str]] = {
    "rapid reset": (rapid_reset, "rapid_reset"),
    "updates of 0": (zero_update, "made_you_reset"),
    "updates beyond the window": (overflow, "made_you_reset"),
    "DATA after the end": (data_after_end, "made_you_reset"),
    "HEADERS after the end": (headers_after_end, "made_you_reset"),
    "dependencies on itself": (on_itself, "made_you_reset"),
    "short priorities": (short_priority, "made_you_reset"),
    "malformed requests": (malformed, "made_you_reset"),
}


def until_error(drive: Drive, attack: Attack, most: int = 12000, pace: float = 0.0) -> int:
    """Attack until the connection ends; gives the number of rounds, -1 when it did not."""
    for place in range(most):
        drive.now += pace
        if any(event[0] == "error" for event in drive.feed(attack(drive, place))):
            return place + 1
        drive.connection.take()
    return -1


@pytest.mark.parametrize(("attack", "kind"), RESETS.values(), ids=RESETS)
def test_resets_end_the_connection_at_the_101st(attack: Attack, kind: str) -> None:
    drive = Drive()
    assert until_error(drive, attack) == 101
    assert drive.error is not None
    assert (drive.error.kind, drive.error.code) == (kind, CALM)
    assert goaways(drive.written()) == [CALM]
    assert drive.connection.guard.counts[kind] == 101


@pytest.mark.parametrize(("attack", "kind"), RESETS.values(), ids=RESETS)
def test_resets_at_a_gentle_pace_do_not(attack: Attack, kind: str) -> None:
    assert until_error(Drive(), attack, 500, 0.11) == -1


def test_late_resets_do_not_count() -> None:
    drive = Drive()
    for place in range(1000):
        drive.request(2 * place + 1)
        drive.now += 1.0
        drive.feed(cancel(2 * place + 1))
    assert drive.error is None
    assert "rapid_reset" not in drive.connection.guard.counts


def test_resets_of_what_a_rule_delays_do_not_count() -> None:
    drive = Drive()
    for place in range(5000):
        drive.request(2 * place + 1).faulted = True
        drive.feed(cancel(2 * place + 1))
    assert drive.error is None


def test_an_upstream_may_reset_as_it_likes() -> None:
    drive = Drive(CLIENT)
    for place in range(1000):
        drive.ask()
        assert drive.feed(cancel(2 * place + 1)) == [("reset", 2 * place + 1, "", CANCEL)]


def ping(drive: Drive, place: int) -> bytes:
    return frame(PING, 0, 0, bytes(8))


def pong(drive: Drive, place: int) -> bytes:
    return frame(PING, ACK, 0, bytes(8))


def goaway(drive: Drive, place: int) -> bytes:
    return frame(GOAWAY, 0, 0, bytes(8))


def updates_of_nothing(drive: Drive, place: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")


def larger_updates_of_nothing(drive: Drive, place: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 0, b"\0\0\x40\0")


def settings(drive: Drive, place: int) -> bytes:
    return frame(SETTINGS, 0, 0, b"")


def acknowledgements(drive: Drive, place: int) -> bytes:
    return frame(SETTINGS, ACK, 0, b"")


def priority(drive: Drive, place: int) -> bytes:
    return frame(PRIORITY, 0, 2 * place + 1, b"\0\0\0\0\1")


def unknown(drive: Drive, place: int) -> bytes:
    return frame(0x77, 0, 0, b"")


def empty(drive: Drive, place: int) -> bytes:
    return frame(DATA, 0, 1, b"") if place else drive.headers(POST, end=False)


def padding_alone(drive: Drive, place: int) -> bytes:
    return frame(DATA, 8, 1, b"\x03\0\0\0") if place else drive.headers(POST, end=False)


def tiny(drive: Drive, place: int) -> bytes:
    if place:
        return frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 0)))
    stream = drive.request(1)
    drive.connection.send_headers(stream, block(OK))
    drive.connection.send_data(stream, b"x" * 100000)
    return b""


def on_closed(drive: Drive, place: int) -> bytes:
    if place:
        return cancel(1)
    drive.connection.send_headers(drive.request(1), block(OK), end=True)
    return b""


def refused(drive: Drive, place: int) -> bytes:
    if place == 0:
        for number in range(100):
            drive.request(2 * number + 1)
    return drive.headers(GET, 2 * place + 201)


def bomb(drive: Drive, place: int) -> bytes:
    many = b"\xbe" * 40
    if place:
        return frame(HEADERS, 5, 2 * place + 3, b"\x82\x86\x84" + many)
    drive.request(1)
    return frame(HEADERS, 5, 3, b"\x82\x86\x84\x40\x01a\x7f\xa1\x1e" + b"y" * 4000 + many)


ABUSES: dict[str, tuple[Attack, str]] = {
    "PING": (ping, "ping_flood"),
    "answers to no PING": (pong, "ping_flood"),
    "GOAWAY": (goaway, "goaway_flood"),
    "updates of nothing": (updates_of_nothing, "window_update_flood"),
    "larger updates of nothing": (larger_updates_of_nothing, "window_update_flood"),
    "SETTINGS": (settings, "settings_flood"),
    "acknowledgements": (acknowledgements, "settings_flood"),
    "PRIORITY": (priority, "priority_flood"),
    "unknown frames": (unknown, "unknown_frame_flood"),
    "empty DATA": (empty, "empty_data_flood"),
    "padding alone": (padding_alone, "empty_data_flood"),
    "tiny updates": (tiny, "window_update_flood"),
    "resets of closed streams": (on_closed, "closed_stream_flood"),
    "more streams than allowed": (refused, "refused_stream_flood"),
    "header bombs": (bomb, "header_bomb"),
}


@pytest.mark.parametrize(("attack", "kind"), ABUSES.values(), ids=ABUSES)
def test_abuse_ends_the_connection_after_200_frames(attack: Attack, kind: str) -> None:
    drive = Drive()
    rounds = until_error(drive, attack)
    useful = 100 if attack is refused else 2
    assert 190 <= rounds <= 202 + useful
    assert drive.error is not None
    assert (drive.error.kind, drive.error.code) == (kind, CALM)
    assert goaways(drive.written()) == [CALM]


@pytest.mark.parametrize(("attack", "kind"), ABUSES.values(), ids=ABUSES)
def test_at_a_gentle_pace_it_is_none(attack: Attack, kind: str) -> None:
    assert until_error(Drive(), attack, 600, 0.051) == -1


def test_a_header_bomb_costs_no_memory() -> None:
    drive = Drive()
    drive.feed(bomb(drive, 0))
    assert drive.connection.block.error == "head_too_large"
    assert drive.connection.block.size <= 65536


def test_a_header_block_that_is_a_multiple_of_what_is_allowed_ends_the_connection() -> None:
    drive = Drive()
    drive.feed(bomb(drive, 0))
    assert drive.feed(frame(HEADERS, 5, 5, b"\x82\x86\x84" + b"\xbe" * 64)) == [
        ("refused", "head_too_large", CALM)
    ]
    assert drive.feed(frame(HEADERS, 5, 7, b"\x82\x86\x84" + b"\xbe" * 66)) == [
        ("error", "header_bomb", CALM)
    ]


def test_useful_frames_pay_for_pings() -> None:
    """HTTP/2 stacks that measure the bandwidth send one PING for each round trip that brings content."""
    drive = Drive(settings=H2Settings(initial_window=1 << 30, connection_window=1 << 30))
    drive.request(1, end=False)
    for _ in range(5000):
        drive.feed(frame(DATA, 0, 1, b"message") + frame(PING, 0, 0, bytes(8)))
        drive.connection.take()
    assert drive.error is None
    assert 200 <= until_error(drive, ping) <= 401  # what is saved is bounded


def test_sent_messages_pay_for_small_updates_of_those_who_read_them() -> None:
    drive = Drive()
    stream = drive.request(1)
    drive.connection.send_headers(stream, block(OK))
    for _ in range(5000):
        assert drive.connection.send_data(stream, b"message") == 0
        small = frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\7") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\7")
        drive.feed(small + frame(PING, 0, 0, bytes(8)))
        drive.connection.take()
    assert drive.error is None


def read_in_slivers(window: int, sliver: int, size: int) -> Drive:
    """Let a client download at once, and give back so many bytes at a time, to stream and connection."""
    drive = Drive()
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, window)))
    stream = drive.request(1)
    drive.connection.send_headers(stream, block(OK))
    drive.connection.send_data(stream, bytes(size), True)
    got = unread = 0
    while got < size and drive.error is None:
        unread += sum(len(f.payload) for f in drive.written() if f.kind == DATA)
        assert unread, "the download stands still"
        now = min(sliver, unread)
        unread -= now
        got += now
        increment = now.to_bytes(4, "big")
        drive.feed(frame(WINDOW_UPDATE, 0, 1, increment) + frame(WINDOW_UPDATE, 0, 0, increment))
    return drive


@pytest.mark.parametrize(
    ("window", "sliver", "size"),
    [
        (65535, 512, 10 << 20),
        (65535, 64, 1 << 20),
        (65535, 17, 1 << 18),
        (1 << 24, 512, 1 << 20),
        (63, 32, 1 << 18),  # nghttp --window-bits=6
        (31, 16, 1 << 18),
    ],
)
def test_a_reader_in_slivers_gets_its_download(window: int, sliver: int, size: int) -> None:
    assert read_in_slivers(window, sliver, size).error is None


def test_slivers_that_cost_more_than_they_bring_are_a_flood() -> None:
    drive = read_in_slivers(1, 1, 1 << 16)
    assert drive.error is not None
    assert drive.error.kind == "window_update_flood"


def test_a_download_pays_for_no_more_updates_than_it_may_need() -> None:
    """32 KiB, given back twice by 16 bytes at a time; what comes after is a flood like any other."""
    drive = Drive()
    stream = drive.request(1)
    drive.connection.send_headers(stream, block(OK))
    drive.connection.send_data(stream, bytes(1 << 15), True)
    rounds = until_error(drive, updates_of_nothing)
    assert 2 * (1 << 15) // 16 + 201 <= rounds <= 2 * (1 << 15) // 16 + 401


def test_a_client_may_widen_the_window_of_each_stream_and_of_the_connection() -> None:
    """As curl and nghttp do, a WINDOW_UPDATE right behind each request."""
    drive = Drive()
    for place in range(5000):
        sid = 2 * place + 1
        stream = drive.request(sid)
        drive.feed(frame(WINDOW_UPDATE, 0, sid, (10 << 20).to_bytes(4, "big")))
        drive.connection.send_headers(stream, block(OK), end=True)
        drive.connection.take()
    assert drive.error is None


def test_a_block_of_too_many_frames() -> None:
    drive = Drive()
    assert drive.feed(frame(HEADERS, 1, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 16) == []
    assert drive.feed(frame(CONTINUATION, 0, 1, b"")) == [("error", "continuation_flood", CALM)]


def test_a_block_of_too_many_bytes() -> None:
    drive = Drive()
    part = b"\x00\x01a\x7f\xff\x7e" + b"x" * 16378
    assert drive.feed(frame(HEADERS, 1, 1, part) + frame(CONTINUATION, 0, 1, part) * 3) == []
    assert drive.feed(frame(CONTINUATION, 4, 1, b"x")) == [("error", "continuation_flood", CALM)]


def test_answers_that_nobody_reads_are_bounded() -> None:
    drive = Drive(settings=H2Settings(initial_window=1 << 30, connection_window=1 << 30))
    drive.request(1, end=False)
    drive.connection.pause()
    rounds = 0
    while drive.error is None:
        events = drive.feed(frame(DATA, 0, 1, b"x") + frame(PING, 0, 0, bytes(8)))
        rounds += 1
    assert rounds == 1001
    assert events[-1] == ("error", "control_backlog", CALM)


def test_a_frame_of_too_many_settings() -> None:
    drive = Drive()
    assert drive.feed(frame(SETTINGS, 0, 0, setting(4, 9) * 32)) == []
    assert drive.feed(frame(SETTINGS, 0, 0, setting(4, 9) * 33)) == [("error", "settings_flood", CALM)]


def test_an_upstream_that_sends_interim_heads_for_ever() -> None:
    drive = Drive(CLIENT)
    drive.ask()
    early = drive.headers([(":status", "103")], end=False)
    assert 199 <= until_error(drive, lambda drive, place: early, 1000) <= 203


def test_the_budgets_are_exact_over_any_ten_seconds() -> None:
    guard = Guard()
    assert not any(guard.count_reset("x", 0.0 + n * 0.01) for n in range(100))
    assert guard.count_reset("x", 9.9)
    guard = Guard()
    assert not any(guard.count_reset("x", 0.0) for _ in range(100))
    assert not any(guard.count_reset("x", 10.0) for _ in range(100))
    assert guard.count_reset("x", 10.0)
    assert guard.counts == {"x": 201}
