"""Rule files that change on disk: real files, the real watch, and the polling that stands in for it."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from proxy.changes import Changes
from proxy.events import Events
from proxy.logs import Log
from proxy.reader import Documents, read_documents
from proxy.reload import POLL, SETTLE, Reloader, Watch, watch_directories
from proxy.rulefiles import DELETED, EMPTY, Found
from rules.model import Rule
from rules.store import Store
from rules.text import RulesError
from tests.unit.proxy.stalls import Stalls
from tests.unit.proxy.test_reader import rules_yaml
from tests.unit.proxy.test_rulefiles import configmap

GONE = "the file does not exist"


def one(name: str) -> str:
    return f"version: 1\nrules: [{{name: {name}, faults: [{{delay: 1s}}]}}]\n"


async def blind(
    paths: list[str], concerns: Callable[[str], bool], stop: asyncio.Event
) -> AsyncIterator[None]:
    for _ in paths:
        raise OSError(24, "inotify instances are used up")
    yield


async def deaf(paths: list[str], concerns: Callable[[str], bool], stop: asyncio.Event) -> AsyncIterator[None]:
    await stop.wait()  # as on a network file system: nothing is ever reported
    for path in paths[:0]:
        yield print(path)


class Files:
    """A reloader on real files, and what it said."""

    def __init__(self, paths: list[Path], watch: Watch, poll: float) -> None:
        self.events = Events()
        self.log = Log(stream=io.StringIO(), events=self.events)
        self.said = self.events.subscribe()
        self.changes = Changes(Store(), lambda snapshot: None, self.log)
        self.reloader = Reloader(
            [str(path) for path in paths], self.changes, self.log, watch=watch, settle=0.005, poll=poll
        )

    @property
    def rules(self) -> list[str]:
        return list(self.changes.store.snapshot.by_name)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """Wait for the next event of these kinds (default: what becomes of rules)."""
        async with asyncio.timeout(60):
            while True:
                _, kind, fields = await self.said.next()
                if kind in (kinds or ("rules_reloaded", "rules_reload_failed", "rules_good_again")):
                    return fields

    async def reloaded(self) -> list[str]:
        """Wait for a reload that went well; gives the rules in force."""
        fields = await self.next()
        assert fields["event"] == "rules_reloaded", fields
        reloads = self.changes.reloads
        assert (reloads.last_good, reloads.problems) == (True, [])
        return self.rules

    async def failed(self) -> list[str]:
        """Wait for a reload that went wrong; gives the problems, which readiness and metrics show too."""
        before = self.rules
        fields = await self.next()
        assert fields["event"] == "rules_reload_failed", fields
        reloads = self.changes.reloads
        assert not reloads.last_good
        assert reloads.problems == fields["problems"]
        assert self.rules == before
        return reloads.problems


WAYS: dict[str, tuple[Watch, float]] = {"watch": (watch_directories, 60.0), "poll": (deaf, 0.02)}


@pytest.fixture(params=list(WAYS))
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """Make a reloader that is started; the watch alone must notice, or the polling alone."""
    made: list[Files] = []

    async def start(*paths: Path) -> Files:
        watch, poll = WAYS[request.param]
        files = Files(list(paths), watch, poll)
        made.append(files)
        await files.reloader.start()
        await files.next("rules_loaded")
        return files

    yield start
    for files in made:
        await files.reloader.close()
        files.changes.close()
        files.log.close()


Make = Callable[..., Any]


def replace(path: Path, text: str) -> None:
    aside = path.with_name(".aside")
    aside.write_text(text)
    os.replace(aside, path)


async def test_edited_in_place(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    path.write_text(one("b"))
    assert await files.reloaded() == ["b"]


async def test_replaced_by_rename_again_and_again(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("r0"))
    files = await make(path)
    for number in range(1, 4):
        replace(path, one(f"r{number}"))
        assert await files.reloaded() == [f"r{number}"]
    assert files.changes.store.version == 4


async def test_deleted_keeps_the_last_good_set_and_recovers(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    path.unlink()
    assert GONE in (await files.failed())[0]
    path.write_text(one("b"))
    assert await files.reloaded() == ["b"]


async def test_truncated_is_never_no_rules(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    path.write_text("")
    assert await files.failed() == [f"{path}: {EMPTY}"]
    path.write_text(one("a"))
    assert (await files.next())["event"] == "rules_good_again"
    assert files.changes.reloads.last_good
    assert files.changes.store.version == 1


async def test_no_rules_on_purpose(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    path.write_text("version: 1\nrules: []\n")
    assert await files.reloaded() == []


async def test_mistakes_are_all_told_with_their_places(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    path.write_text("version: 1\nrules:\n  - {name: A, faults: [{delay: 5}]}\n")
    problems = await files.failed()
    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}:3:12", f"{path}:3:32"]
    path.write_text("version: 1\nrules:\n  - {name: A, faults: [{delay: 5s}]}\n")
    assert len(await files.failed()) == 1
    assert files.changes.reloads.results["file", "failure"] == 2


async def test_unreadable_keeps_the_last_good_set(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    replacement = tmp_path / ".loop"
    replacement.symlink_to("rules.yaml")
    os.replace(replacement, path)
    assert await files.failed() == [f"{path}: cannot be read: Too many levels of symbolic links"]
    replace(path, one("b"))
    assert await files.reloaded() == ["b"]


async def test_a_directory(make: Make, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(one("b"))
    files = await make(tmp_path)
    (tmp_path / "a.json").write_text('{"version":1,"rules":[{"name":"a","faults":[{"abort":503}]}]}')
    assert await files.reloaded() == ["a", "b"]
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.yaml").write_text("x")
    (tmp_path / "b.yaml").unlink()
    assert await files.failed() == [f"{tmp_path}/b.yaml: {DELETED}"]
    assert await files.reloader.reload()
    assert files.rules == ["a"]


async def test_the_same_name_in_two_files(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(one("same"))
    files = await make(tmp_path)
    (tmp_path / "b.yaml").write_text(one("same"))
    (problem,) = await files.failed()
    assert "b.yaml" in problem
    assert "a.yaml" in problem


async def test_configmap_swaps(make: Make, tmp_path: Path) -> None:
    configmap(tmp_path, "1", a=one("a1"), b=one("b1"))
    files = await make(tmp_path)
    configmap(tmp_path, "2", a=one("a2"), b=one("b2"))
    assert await files.reloaded() == ["a2", "b2"]
    configmap(tmp_path, "3", a=one("a3"))
    assert await files.reloaded() == ["a3"]


async def test_one_file_of_a_configmap(make: Make, tmp_path: Path) -> None:
    configmap(tmp_path, "1", rules=one("r1"))
    files = await make(tmp_path / "rules.yaml")
    for number in range(2, 5):
        configmap(tmp_path, str(number), rules=one(f"r{number}"))
        assert await files.reloaded() == [f"r{number}"]


async def test_a_link_to_another_place(make: Make, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    (away / "real.yaml").write_text(one("a"))
    home = tmp_path / "home"
    home.mkdir()
    (home / "rules.yaml").symlink_to(away / "real.yaml")
    files = await make(home / "rules.yaml")
    replace(away / "real.yaml", one("b"))
    assert await files.reloaded() == ["b"]


async def test_touching_a_file_is_no_change(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = await make(path)
    os.utime(path)
    path.write_text(one("b"))
    assert await files.reloaded() == ["b"]
    assert files.changes.store.version == 2


async def test_a_directory_that_was_replaced_is_followed(tmp_path: Path) -> None:
    home = tmp_path / "rules.d"
    home.mkdir()
    (home / "a.yaml").write_text(one("a"))
    noticed: list[str] = []

    async def watch(
        paths: list[str], concerns: Callable[[str], bool], stop: asyncio.Event
    ) -> AsyncIterator[None]:
        async for _ in watch_directories(paths, concerns, stop):
            noticed.extend(paths)
            yield

    files = Files([home], watch, 60)
    await files.reloader.start()
    while not noticed:  # before the watch works, looks notice it
        (home / "a.yaml").write_text(one(f"n{files.changes.store.version}"))
        await files.reloaded()
    files.reloader._poll = 0.05
    files.reloader._wake.set()
    home.rename(tmp_path / "old")
    home.mkdir()
    (home / "a.yaml").write_text(one("b"))
    while (await files.next())["event"] != "rules_reloaded":  # on its way it may be seen to be gone
        pass
    files.reloader._poll = 60  # after the looks that are due already, the watch alone must notice
    for name in ("c", "d", "e", "f", "g"):
        (home / "a.yaml").write_text(one(name))
        assert await files.reloaded() == [name]
    await files.reloader.close()


async def test_without_inotify_it_polls_and_says_so_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], blind, 0.02)
    await files.reloader.start()
    said = await files.next("watching_by_polling")
    assert "inotify instances are used up" in said["message"]
    path.write_text(one("b"))
    assert (await files.next("watching_by_polling", "rules_reloaded"))["event"] == "rules_reloaded"
    await files.reloader.close()


async def test_what_no_watch_sees_is_in_force_within_a_second(tmp_path: Path) -> None:
    """As on a network file system, or where links lead through other folders."""
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], deaf, POLL)
    await files.reloader.start()
    await files.next("rules_loaded")
    took: list[float] = []
    while len(took) < 3 or (min(took[2:]) + SETTLE > 1.0 and len(took) < 12):  # the start looks twice at once
        begun = time.monotonic()
        path.write_text(one(f"r{len(took)}"))
        assert await files.reloaded() == [f"r{len(took)}"]
        took.append(time.monotonic() - begun)
    await files.reloader.close()
    assert min(took[2:]) + SETTLE <= 1.0, took


async def test_a_watch_that_breaks_is_replaced_by_polling(tmp_path: Path) -> None:
    async def breaks(
        paths: list[str], concerns: Callable[[str], bool], stop: asyncio.Event
    ) -> AsyncIterator[None]:
        for _ in paths:  # as watchfiles tells of its watcher's errors
            raise ExceptionGroup("in a TaskGroup", [RuntimeError("error in underlying watcher")])
        yield

    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], breaks, POLL)
    await files.reloader.start()
    said = await files.next("watching_by_polling")
    assert "(error in underlying watcher)" in said["message"]
    path.write_text(one("b"))
    assert await files.reloaded() == ["b"]
    await files.reloader.close()


async def test_what_goes_wrong_in_one_look_is_read_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], deaf, 60.0)
    await files.reloader.start()
    await files.next("rules_loaded")
    with monkeypatch.context() as patch:

        async def read(documents: object) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr("proxy.reload.read_documents", read)
        path.write_text(one("b"))
        assert not await files.reloader.reload()
    said = await files.next("reload_failed")
    assert "can't start new thread" in said["message"]
    files.reloader._wake.set()
    assert await files.reloaded() == ["b"]
    await files.reloader.close()


async def test_a_change_within_one_tick_of_the_clock_of_files_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.rulefiles._look_at", lambda path: Found(path, (1, 2, 3)))
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], deaf, 60.0)
    await files.reloader.load()
    path.write_text(one("b"))
    await files.reloader._check()
    assert (files.rules, files.changes.store.version) == (["b"], 2)
    await files.reloader._check()
    assert files.changes.store.version == 2


async def test_a_file_that_a_rule_names_counts_as_part_of_it(tmp_path: Path) -> None:
    body = tmp_path / "sorry.txt"
    body.write_text("one")
    path = tmp_path / "rules.yaml"
    path.write_text(
        "version: 1\nrules: [{name: a, faults: [{abort: {status: 503, body: {file: sorry.txt}}}]}]\n"
    )
    files = Files([path], deaf, 0.02)
    await files.reloader.start()
    first = files.changes.store.snapshot
    body.write_text("two")
    assert await files.reloaded() == ["a"]
    assert files.changes.store.version == first.version + 1
    body.unlink()
    assert "sorry.txt" in (await files.failed())[0]
    await files.reloader.close()


def answering(name: str) -> str:
    fault = "{abort: {status: 503, body: {file: sorry.txt}}}"
    return f"version: 1\nrules: [{{name: {name}, faults: [{fault}]}}]\n"


async def in_force(home: Path, rules: str) -> tuple[Files, Path, Path]:
    """Bring rules in force that may name a file; gives both files, too."""
    body, path = home / "sorry.txt", home / "rules.yaml"
    body.write_text("one")
    path.write_text(rules)
    files = Files([path], deaf, 60.0)
    await files.reloader.load()
    return files, path, body


def failures(files: Files) -> int:
    return files.changes.reloads.results["file", "failure"]


@pytest.mark.parametrize("named", ["by the first read", "before"])
async def test_a_named_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    files, path, body = await in_force(tmp_path, answering("a") if named == "before" else one("a"))
    await files.reloader._check()
    path.write_text(answering("bb"))
    with monkeypatch.context() as patch:

        async def read(documents: Documents) -> list[list[Rule]]:
            rules = await read_documents(documents)
            body.write_text("three")
            return rules

        patch.setattr("proxy.reload.read_documents", read)
        await files.reloader._check()
    first = files.changes.store.snapshot
    await files.reloader._check()
    before, after = first.by_name["bb"].rule.files, files.changes.store.snapshot.by_name["bb"].rule.files
    assert (before[0][1], after[0][1]) == (sha256(b"one").hexdigest(), sha256(b"three").hexdigest())
    await files.reloader._check()
    assert files.changes.store.version == first.version + 1


async def test_a_named_file_that_is_gone_is_one_failure_however_often_one_looks(tmp_path: Path) -> None:
    files, _, body = await in_force(tmp_path, answering("a"))
    body.unlink()
    for _ in range(3):
        await files.reloader._check()
    assert (failures(files), files.changes.reloads.last_good) == (1, False)
    body.write_text("other")
    for _ in range(3):
        await files.reloader._check()
    assert (failures(files), files.changes.reloads.last_good, files.changes.store.version) == (1, True, 2)


async def test_rules_are_not_good_again_while_a_file_they_name_is_not(tmp_path: Path) -> None:
    files, path, body = await in_force(tmp_path, answering("a"))
    body.unlink()
    await files.reloader._check()
    path.write_text("rules: 5")
    await files.reloader._check()
    path.write_text(answering("a"))
    await files.reloader._check()
    assert "sorry.txt" in files.changes.reloads.problems[0]
    path.write_text("rules: 55")
    await files.reloader._check()
    body.write_text("other")
    await files.reloader._check()
    path.write_text(answering("a"))
    await files.reloader._check()
    assert (files.changes.reloads.last_good, files.changes.store.version) == (True, 2)
    assert files.changes.store.snapshot.by_name["a"].rule.files[0][1] == sha256(b"other").hexdigest()


async def test_after_a_swap_to_the_same_a_deletion_by_hand_is_one(tmp_path: Path) -> None:
    configmap(tmp_path, "1", a=one("a"), b=one("b"))
    files = Files([tmp_path], deaf, 60.0)
    await files.reloader.load()
    configmap(tmp_path, "2", a=one("a"), b=one("b"))
    await files.reloader._check()
    assert files.changes.store.version == 1
    (tmp_path / "b.yaml").unlink()
    await files.reloader._check()
    assert files.changes.reloads.problems == [f"{tmp_path}/b.yaml: {DELETED}"]
    assert files.rules == ["a", "b"]


@pytest.mark.parametrize("text", ["", "rules: 5", None])
async def test_the_first_load_refuses(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "rules.yaml"
    if text is not None:
        path.write_text(text)
    files = Files([path], blind, 1)
    with pytest.raises(RulesError):
        await files.reloader.start()
    assert files.changes.store.version == 0


async def test_without_paths_there_is_a_set_all_the_same() -> None:
    files = Files([], blind, 1)
    await files.reloader.start()
    assert files.changes.store.version == 1
    assert files.changes.reloads.last_good
    await files.reloader.close()


async def test_asked_by_hand_the_files_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], deaf, 60)
    await files.reloader.start()
    path.write_text(one("b"))
    assert await files.reloader.reload()
    assert files.rules == ["b"]
    path.unlink()
    assert not await files.reloader.reload()
    assert files.rules == ["b"]
    await files.reloader.close()


async def test_a_thousand_rules_stall_the_loop_by_at_most_50_ms(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(one("a"))
    files = Files([path], deaf, 0.02)
    await files.reloader.start()
    path.write_bytes(rules_yaml(1000))
    with Stalls() as stalls:
        assert len(await files.reloaded()) == 1000
    await files.reloader.close()
    print(f"reloading 1,000 rules of YAML: {stalls}")
    assert stalls.worst_cpu < 0.05
