"""Which files count, what changed, what is gone."""

import os
from pathlib import Path

import pytest

from proxy.rulefiles import (
    DELETED,
    EMPTY,
    Listing,
    deleted,
    directories,
    is_rule_file,
    look,
    read_files,
)


def configmap(home: Path, version: str, **files: str) -> None:
    """Lay files out as Kubernetes mounts a ConfigMap, or swap them for these."""
    aside = home / f"..{version}"
    aside.mkdir()
    for name, text in files.items():
        (aside / f"{name}.yaml").write_text(text)
        link = home / f"{name}.yaml"
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}.yaml")
    temporary = home / "..data_tmp"
    temporary.symlink_to(aside.name)
    os.replace(temporary, home / "..data")
    for link in home.glob("[!.]*"):  # the kubelet removes links to what is gone last
        if not link.exists():
            link.unlink()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("a.yaml", True),
        ("a.yml", True),
        ("a.json", True),
        ("a.txt", False),
        (".a.yaml", False),
        ("yaml", False),
    ],
)
def test_names_that_count(name: str, counts: bool) -> None:
    assert is_rule_file(name) is counts


def test_a_directory_gives_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.json", ".hidden.yaml", "readme.md", "c.yml"):
        (tmp_path / name).write_text("x")
    first = tmp_path / "first.yaml.d"
    first.mkdir()
    (first / "z.yaml").write_text("x")
    listing = look([str(first), str(tmp_path)])
    assert [os.path.basename(path) for path in listing.paths] == ["z.yaml", "a.json", "b.yaml", "c.yml"]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "dir.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "empty.yaml").write_text("  \n")
    (tmp_path / "good.yaml").write_text("x")
    contents = read_files(look([str(tmp_path), str(tmp_path / "missing")]))
    found = {os.path.basename(problem.place.source): problem.message for problem in contents.problems}
    assert found == {
        "loop.yaml": "cannot be read: Too many levels of symbolic links",
        "gone.yaml": "the file does not exist",
        "dir.yaml": "not a regular file",
        "pipe.yaml": "not a regular file",
        "empty.yaml": EMPTY,
        "missing": "the file does not exist",
    }
    assert [data for _, data in contents.documents] == [b"x"]


def test_a_file_without_the_right_to_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x")
    listing = look([str(path)])

    def refuse(_path: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("proxy.rulefiles._read", refuse)  # root may read whatever the mode says
    assert str(read_files(listing).problems[0]) == f"{path}: cannot be read: Permission denied"


def test_each_change_shows_in_the_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("one")
    first = look([str(path)])
    assert look([str(path)]) == first
    os.utime(path, ns=(1, 1))
    second = look([str(path)])
    replacement = tmp_path / "b"
    replacement.write_text("one")
    os.utime(replacement, ns=(1, 1))
    os.replace(replacement, path)
    third = look([str(path)])
    assert len({first, second, third}) == 3


def test_a_swap_shows_and_lets_go_of_what_it_left_out(tmp_path: Path) -> None:
    configmap(tmp_path, "1", a="one", b="two")
    before = look([str(tmp_path)])
    assert [data for _, data in read_files(before).documents] == [b"one", b"two"]
    configmap(tmp_path, "2", a="three")
    after = look([str(tmp_path)])
    assert [data for _, data in read_files(after).documents] == [b"three"]
    assert deleted(before, after) == []


def test_a_swap_that_leaves_nothing_is_no_intention(tmp_path: Path) -> None:
    configmap(tmp_path, "1", a="one")
    before = look([str(tmp_path)])
    configmap(tmp_path, "2")
    assert [problem.message for problem in deleted(before, look([str(tmp_path)]))] == [DELETED]


def test_a_file_deleted_from_a_directory_is_named(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("x")
    before = look([f"{tmp_path}/"])
    (tmp_path / "b.yaml").unlink()
    assert [str(problem) for problem in deleted(before, look([f"{tmp_path}/"]))] == [
        f"{tmp_path}/b.yaml: {DELETED}"
    ]
    assert deleted(Listing(), before) == []


def test_digest_tells_contents_and_problems_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("ab")
    two.write_text("c")
    first = read_files(look([str(tmp_path)])).digest
    one.write_text("a")
    two.write_text("bc")
    second = read_files(look([str(tmp_path)])).digest
    two.write_text("")
    third = read_files(look([str(tmp_path)])).digest
    assert len({first, second, third}) == 3


def test_directories_to_watch(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    (away / "real.yaml").write_text("x")
    (home / "link.yaml").symlink_to(away / "real.yaml")
    (home / "plain.yaml").write_text("x")
    assert directories([str(home / "plain.yaml"), str(home / "missing.yaml"), str(home)]) == [str(home)]
    assert directories([str(home / "link.yaml")]) == [str(home), str(away)]
    assert directories([str(tmp_path / "no" / "file.yaml")]) == []
    for inside in (home / "current", tmp_path / "home-of-others"):
        inside.mkdir()
        (inside / "real.yaml").write_text("x")
        (home / "link.yaml").unlink()
        (home / "link.yaml").symlink_to(inside / "real.yaml")
        assert directories([str(home / "link.yaml")]) == [str(home), str(inside)]
    configmap(home, "1", rules="x")
    assert directories([str(home / "rules.yaml")]) == [str(home)]
