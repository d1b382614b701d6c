"""Messages are followed at any split, timeouts and status texts read as the gRPC protocol writes them."""

from itertools import accumulate, pairwise
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.grpc import NO_DEADLINE, PREFIX, Messages, decode_message, encode_message, timeout_of
from rules.answers import percent_encode

MESSAGES = st.lists(st.tuples(st.sampled_from([0, 1]), st.binary(max_size=40)), max_size=8)
CUTS = st.lists(st.integers(0, 400), max_size=20)


def framed(messages: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([flag]) + len(body).to_bytes(4, "big") + body for flag, body in messages)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def follow(parts: list[bytes]) -> tuple[Messages, list[tuple[int, int, bytes]], list[int]]:
    """Give the follower, the segments (message, flag, bytes), and the content bytes at which one ended."""
    messages = Messages()
    segments, ends, passed = [], [], 0
    for part in parts:
        at = 0
        while at < len(part):
            stop = messages.follow(part, at)
            assert stop > at
            segments.append((int(messages.begun), int(messages.flag), part[at:stop]))
            passed += stop - at
            at = stop
            if messages.between:
                ends.append(passed)
    return messages, segments, ends


@given(MESSAGES, CUTS, st.integers(0, 60))
def test_any_split_gives_the_same_messages(
    messages: list[tuple[int, bytes]], cuts: list[int], less: int
) -> None:
    whole = framed(messages)
    sizes = [PREFIX + len(body) for _, body in messages]
    data = whole[: max(0, len(whole) - less)]
    follower, segments, ends = follow(pieces(data, cuts))
    assert ends == [place for place in accumulate(sizes) if place <= len(data)]
    assert follower.ended == len(ends)
    assert b"".join(part for _, _, part in segments) == data
    start = 0
    for number, (size, (flag, _)) in enumerate(zip(sizes, messages, strict=True), 1):
        of_this = [part for which, _, part in segments if which == number]
        assert b"".join(of_this) == data[start : start + size]
        assert all(seen == flag for which, seen, _ in segments if which == number)
        start += size


def test_nothing_is_followed_into_nothing() -> None:
    messages = Messages()
    assert messages.follow(b"", 0) == 0
    assert messages.between
    assert messages.follow(b"\0\0\0\0", 0) == 4
    assert (messages.begun, messages.ended, messages.between) == (1, 0, False)
    assert messages.follow(b"\0", 0) == 1  # an empty message is complete with its prefix
    assert (messages.ended, messages.length, messages.between) == (1, 0, True)


def test_the_largest_length_is_no_reason_to_hold_anything() -> None:
    messages = Messages()
    data = b"\1\xff\xff\xff\xff" + bytes(100)
    assert messages.follow(data, 0) == 105
    assert (messages.length, messages.at, messages.flag) == (0xFFFFFFFF, 105, 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"100m", 0.1), (b"5u", 5e-6), (b"7n", 7e-9),
        (b"99999999S", 99999999.0), (b"0n", 0.0), (b"00000001S", 1.0),
        (None, NO_DEADLINE), (b"", NO_DEADLINE), (b"S", NO_DEADLINE), (b"1", NO_DEADLINE),
        (b"1s", NO_DEADLINE),
        (b"123456789S", NO_DEADLINE), (b"-1S", NO_DEADLINE), (b"1.5S", NO_DEADLINE), (b" 1S", NO_DEADLINE),
    ],
)  # fmt: skip
def test_timeouts(value: bytes | None, seconds: float) -> None:
    assert timeout_of(value) == pytest.approx(seconds)


@given(st.binary(max_size=60))
def test_what_was_encoded_is_decoded(text: bytes) -> None:
    coded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in coded)
    assert decode_message(coded) == text == unquote_to_bytes(coded)


@given(st.text(max_size=30))
def test_rules_encode_alike(text: str) -> None:
    assert encode_message(text.encode()) == percent_encode(text)


@given(st.binary(max_size=40))
def test_decoding_refuses_nothing(coded: bytes) -> None:
    assert decode_message(coded) == unquote_to_bytes(coded)


def test_what_is_no_escape_stays() -> None:
    assert decode_message(b"50% off, 100%25, %zz, %4") == b"50% off, 100%, %zz, %4"
