"""Versions of the rules: kept before they are in force, bounded, taken up after a restart, put back."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy import history as histories
from proxy.changes import Changes, Done
from proxy.history import Asker, History, Version, take_up, to_roll_back
from proxy.logs import Log
from rules.parse import parse_rule
from rules.store import NOT_KEPT, Document, Layers, Refusal, Store

ME = Asker("local", "127.0.0.1:5", "PUT /v1/rules", {"rule": "a"})


def written(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "faults": [{"delay": "1s"}], **more}


class Run:
    """One process's worth of rules, versions and log."""

    def __init__(self, directory: Path | None, now: float = 1000.0) -> None:
        self.now = now
        self._sink = io.StringIO()
        self.log = Log(stream=self._sink)
        self.store = Store(["web"], now)
        self.history = take_up(str(directory) if directory else "", self.store, self.log, now)
        self.installed: list[int] = []
        self.changes = Changes(
            self.store,
            lambda snapshot: self.installed.append(snapshot.version),
            self.log,
            lambda: self.now,
            self.history,
        )

    async def files(self, *rules: dict[str, Any], source: str = "rules.yaml") -> object:
        document = Document(source, tuple(parse_rule(rule, source, api=False) for rule in rules))
        return await self.changes.make("file", lambda kept, now: kept.replace_files([document], now, "files"))

    async def put(self, *rules: dict[str, Any]) -> object:
        made = [parse_rule(rule, "body") for rule in rules]
        return await self.changes.make(
            "admin", lambda kept, now: kept.replace_admin(made, now, "admin: PUT /v1/rules"), asker=ME
        )

    async def back_to(self, number: int) -> object:
        version = self.version(number)
        return await self.changes.make(
            "admin",
            lambda kept, now: kept.replace_admin(to_roll_back(version, kept.layers), now, "rollback"),
            asker=ME,
        )

    def version(self, number: int) -> Version:
        found = self.history.version(number)
        assert found is not None
        return found

    def rules(self) -> dict[str, dict[str, Any]]:
        """The enabled rules in force, as written."""
        compiled = self.store.snapshot.by_name
        return {name: one.rule.written for name, one in compiled.items() if one.enabled}

    def lines(self, event: str) -> list[dict[str, Any]]:
        assert self.log.flush(5)
        told = [json.loads(line) for line in self._sink.getvalue().splitlines()]
        return [line for line in told if line["event"] == event]

    def end(self) -> None:
        self.changes.close()
        self.history.close()


async def test_each_change_is_a_version_that_says_who_made_it() -> None:
    run = Run(None)
    await run.files(written("f"))
    await run.put(written("a"))
    await run.files(written("f", priority=2))
    heads = list(run.history.heads.values())
    assert [(one.version, one.author, one.client, one.layer, one.source) for one in heads] == [
        (1, "files", "", "file", "files"),
        (2, "local", "127.0.0.1:5", "admin", "admin: PUT /v1/rules"),
        (3, "files", "", "file", "files"),
    ]
    assert [(one.added, one.changed, one.removed) for one in heads] == [
        (["f"], [], []),
        (["a"], [], []),
        ([], ["f"], []),
    ]
    assert heads[2].sha256 == run.store.snapshot.sha256
    assert run.version(2).merged() == [("file", written("f")), ("admin", written("a"))]
    assert (run.history.before(3), run.history.before(1), run.history.version(4)) == (2, 0, None)


async def test_each_change_but_the_start_leaves_one_audit_line() -> None:
    run = Run(None)
    await run.files(written("f"))
    await run.put(written("a", ttl="1ms"))
    await run.files(written("g"))
    run.now += 1
    run.changes._begin_expiry()
    assert run.changes._expiring is not None
    await run.changes._expiring
    said = [
        (one["who"], one["client"], one["call"], one["version_before"], one["version_after"], one["removed"])
        for one in run.lines("audit")
    ]
    assert said == [
        ("local", "127.0.0.1:5", "PUT /v1/rules", 1, 2, 0),
        ("files", "", "reload", 2, 3, 1),
        ("ttl", "", "expire", 3, 4, 1),
    ]
    assert run.lines("audit")[0]["rule"] == "a"
    run.end()


async def test_the_number_of_versions_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(histories, "MOST", 3)
    run = Run(tmp_path)
    for number in range(6):
        await run.put(written(f"r{number}"))
    assert list(run.history.heads) == [4, 5, 6]
    assert len(list(tmp_path.glob("rules/*.json"))) == 3
    run.end()


async def test_their_size_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "LARGE", 3000)
    run = Run(None)
    for number in range(6):
        await run.put(written("a", description=f"{number}" * 1000))
    assert list(run.history.heads) == [5, 6]
    await run.put(written("a", description="x" * 4000))
    assert list(run.history.heads) == [6, 7]  # these two stay, whatever their size


async def test_a_restart_takes_up_rules_numbers_and_versions(tmp_path: Path) -> None:
    run = Run(tmp_path)
    await run.files(written("f"))
    await run.put(written("a"), written("b", ttl="10s"), written("c", ttl="1h"))
    run.end()
    run = Run(tmp_path, now=1060.0)  # a minute later: that of b has passed
    await run.files(written("f"))
    assert list(run.rules()) == ["f", "a", "c"]
    assert (run.store.version, run.installed) == (3, [3])
    assert run.store.ends("c") == 4600.0  # what is left of its hour
    assert run.lines("rules_expired")[0]["rules"] == ["b"]
    assert run.lines("state_restored")[0]["version"] == 2
    assert list(run.history.heads) == [1, 2, 3]
    assert run.version(2).author == "local"
    newest = run.history.heads[3]
    assert (newest.added, newest.changed, newest.removed) == ([], [], ["b"])
    run.end()


async def test_a_change_that_cannot_be_written_is_not_made(tmp_path: Path) -> None:
    run = Run(tmp_path)
    await run.files(written("f"))
    (tmp_path / "rules").rename(tmp_path / "gone")
    refused = await run.put(written("a"))
    assert isinstance(refused, Refusal)
    assert refused.kind == NOT_KEPT
    assert refused.text.endswith("no such file or directory; nothing was changed")
    assert (run.store.version, list(run.rules())) == (1, ["f"])
    assert isinstance(await run.files(written("g")), Done)  # files are what they are
    assert list(run.rules()) == ["g"]
    assert run.changes.reloads.unwritten == 2
    assert [line["version"] for line in run.lines("state_not_written")] == [2, 2]
    (tmp_path / "gone").rename(tmp_path / "rules")
    assert isinstance(await run.put(written("a")), Done)
    run.end()


async def test_a_rule_that_cannot_be_read_any_more_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    await run.put(written("a"), written("b"))
    version = run.version(1)
    version.admin[0].rule["faults"] = [{"of_later_days": 1}]
    assert await run.history.keep(version) == ""
    run.end()
    run = Run(tmp_path)
    await run.files()
    assert list(run.rules()) == ["b"]
    assert "of_later_days" in run.lines("state_rule_dropped")[0]["message"]
    run.end()


@pytest.mark.parametrize(
    ("data", "why"), [(b"[]", "Expected `object`"), (b'{"version": 1}', "missing required field")]
)
async def test_what_is_whole_but_no_version_is_set_aside(tmp_path: Path, data: bytes, why: str) -> None:
    run = Run(tmp_path)
    await run.put(written("a"))
    assert run.history._state is not None
    run.history._state.write(2, data)
    run.history._state.write(3, msgspec.json.encode(run.version(1)))  # under another's name
    run.end()
    run = Run(tmp_path)
    assert list(run.history.heads) == [1]
    said = [line["message"] for line in run.lines("state_set_aside")]
    assert why in said[0]
    assert "it says that it is version 1" in said[1]
    await run.files()
    assert (list(run.rules()), run.store.version) == (["a"], 4)  # no number twice
    run.end()


async def test_a_rollback_puts_a_version_back() -> None:
    run = Run(None)
    await run.files(written("f"))
    await run.put(written("a"), written("b", ttl="1h"))
    await run.put(written("a", priority=5))
    hashes = [one.sha256 for one in run.history.heads.values()]
    run.now += 1800.0
    await run.back_to(2)
    assert run.store.snapshot.sha256 == hashes[1]
    assert run.store.ends("b") == run.now + 3600.0  # its time begins anew
    await run.back_to(1)
    assert (run.store.snapshot.sha256, run.store.version) == (hashes[0], 5)
    run.end()


async def test_a_rollback_covers_files_that_are_others_now(tmp_path: Path) -> None:
    source = str(tmp_path / "rules.yaml")
    (tmp_path / "body.txt").write_text("down")
    answer = {"abort": {"status": 503, "body": {"file": "body.txt"}}}
    with_file = {"name": "answer", "faults": [answer]}
    run = Run(tmp_path / "state")
    await run.files(written("same"), written("old"), with_file, written("other"), source=source)
    before = run.rules()
    await run.files(written("same"), written("new"), written("other", priority=3), source=source)
    await run.back_to(1)
    assert run.rules() == before
    assert run.store.rule("new") is not None  # but disabled
    run.end()
    run = Run(tmp_path / "state")  # what stands in a file beside another one is found again
    await run.files(written("same"), written("new"), written("other", priority=3), source=source)
    assert run.rules() == before
    run.end()


def test_a_rollback_that_changes_nothing_makes_no_rules() -> None:
    rule = parse_rule(written("f"), "rules.yaml", api=False)
    version = Version(
        1, "", 0.0, "files", "", "", "file", [], [], [],
        [histories.KeptDocument("rules.yaml", [written("f")])], [],
    )  # fmt: skip
    assert to_roll_back(version, Layers((Document("rules.yaml", (rule,)),))) == []


def test_without_a_directory_nothing_is_taken_up() -> None:
    history = History(Log(stream=io.StringIO()))
    assert (history.load(), history.lasting, history.highest) == (None, False, 0)
