"""The state directory: whole or not at all, one owner, and nothing in it stops a start."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.logs import Log
from proxy.state import StateDir, StateError


class Told:
    """A log and what it was told."""

    def __init__(self) -> None:
        self._sink = io.StringIO()
        self.log = Log(stream=self._sink)

    def lines(self, event: str) -> list[dict[str, object]]:
        assert self.log.flush(5)
        told = [json.loads(line) for line in self._sink.getvalue().splitlines()]
        return [line for line in told if line["event"] == event]


@pytest.fixture
def told() -> Told:
    return Told()


def refill(home: Path, told: Told) -> StateDir:
    """Open it with three versions in it."""
    state = StateDir(str(home), told.log)
    for number in (1, 2, 3):
        state.write(number, b'{"n":%d}' % number)
    return state


def test_what_was_written_is_read_in_order(tmp_path: Path, told: Told) -> None:
    state = refill(tmp_path, told)
    state.remove([1, 7])
    state.close()
    again = StateDir(str(tmp_path), told.log)
    assert again.read() == [(2, b'{"n":2}'), (3, b'{"n":3}')]
    assert again.highest == 3
    again.close()
    files = sorted(tmp_path.glob("rules/*"))
    assert [file.name for file in files] == ["0000000002.json", "0000000003.json"]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    head, body = files[0].read_bytes().splitlines()
    assert (json.loads(head)["misrule"], json.loads(head)["format"], body) == ("rules", 1, b'{"n":2}')


def test_a_second_process_is_refused(tmp_path: Path, told: Told) -> None:
    state = StateDir(str(tmp_path), told.log)
    with pytest.raises(StateError, match="in use by another misrule"):
        StateDir(str(tmp_path), told.log)
    state.close()
    StateDir(str(tmp_path), told.log).close()


def test_left_overs_are_removed(tmp_path: Path, told: Told) -> None:
    refill(tmp_path, told).close()
    (tmp_path / "rules" / ".0000000004.json.abcdef").write_bytes(b'{"half')
    state = StateDir(str(tmp_path), told.log)
    assert len(state.read()) == 3
    assert sorted(os.listdir(tmp_path / "rules")) == [f"000000000{n}.json" for n in (1, 2, 3)]
    assert told.lines("state_cleaned")[0]["files"] == 1
    state.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: data[:-9], "it is torn or was changed"),
        (lambda data: data.replace(b'"n":3', b'"n":4'), "it is torn or was changed"),
        (lambda data: b"apiVersion: v1\n", "it does not say that it is one"),
        (lambda data: b"[1]\n2", "it does not say that it is one"),
        (lambda data: data.replace(b'"format":1', b'"format":2'), "it has format 2, and this misrule knows"),
        (lambda data: b"\xff\xfe\n" + data, "it does not say that it is one"),
    ],
)
def test_a_torn_or_foreign_file_is_set_aside(
    tmp_path: Path, told: Told, spoil: Callable[[bytes], bytes], why: str
) -> None:
    refill(tmp_path, told).close()
    newest = tmp_path / "rules" / "0000000003.json"
    spoilt = spoil(newest.read_bytes())
    newest.write_bytes(spoilt)
    state = StateDir(str(tmp_path), told.log)
    assert [number for number, _ in state.read()] == [1, 2]
    assert state.highest == 3  # its number is not given away again
    assert (tmp_path / "aside" / "0000000003.json").read_bytes() == spoilt
    (line,) = told.lines("state_set_aside")
    assert why in str(line["message"])
    assert line["level"] == "error"
    state.close()


def test_a_file_of_another_name_is_set_aside(tmp_path: Path, told: Told) -> None:
    refill(tmp_path, told).close()
    (tmp_path / "rules" / "notes.txt").write_text("buy milk")
    (tmp_path / "rules" / "lost+found").mkdir()
    state = StateDir(str(tmp_path), told.log)
    assert len(state.read()) == 3
    assert (tmp_path / "aside" / "notes.txt").read_text() == "buy milk"
    assert "not named like a version" in str(told.lines("state_set_aside")[0]["message"])
    state.close()


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(StateError, match=r"cannot use .*: (not a directory|file exists)"):
            StateDir(str(tmp_path / place), told.log)


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path, told: Told) -> None:
    state = refill(tmp_path, told)
    (tmp_path / "rules").rename(tmp_path / "gone")
    with pytest.raises(StateError, match=r"cannot write .*0000000004.json: no such file or directory"):
        state.write(4, b"{}")
    assert state.highest == 3
    state.close()
