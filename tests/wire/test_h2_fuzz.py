"""A short run of the fuzz targets: only H2Error leaves the codec, and the h2 library sees the same."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2 import CLIENT, SERVER
from tests.conformance.peer import PREFACE, SETTINGS, frame
from tests.fuzz import h2
from tests.wire.h2_drive import Drive

COUNT = 100_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 1500


@pytest.mark.parametrize("seed", [1, 2])
def test_generated_inputs_against_the_library(seed: int) -> None:
    ends = h2.run(COUNT, seed)
    assert ends["accepted"] > COUNT // 5
    assert ends["refused by both"] > COUNT // 5


def test_an_input_on_which_they_differ_is_told() -> None:
    """The target can fail: what a side refuses alone is a disagreement where nothing explains it."""
    early = frame(6, 0, 0, bytes(8)) + frame(10, 0, 0, b"")
    with pytest.raises(h2.Disagreement):
        h2.check(SERVER, [early + frame(10, 0, 0, b"")[:-4]] * 3 + [early])


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([SERVER, CLIENT]), st.booleans())
def test_any_bytes(data: list[bytes], role: int, begun: bool) -> None:
    drive = Drive(role, begin=False)
    drive.connection.start()
    if begun:
        drive.feed((PREFACE if role == SERVER else b"") + frame(SETTINGS, 0, 0, b""))
    for piece in data:
        drive.feed(piece)
        drive.written()


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)))
)
def test_any_frames(frames: list[tuple[int, int, int, bytes]]) -> None:
    for role in (SERVER, CLIENT):
        drive = Drive(role)
        if role == CLIENT:
            drive.ask()
            drive.ask(end=False)
        for kind, flags, sid, payload in frames:
            drive.feed(frame(kind, flags, sid, payload))
        drive.written()
