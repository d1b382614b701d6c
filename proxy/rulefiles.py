"""Rule files on disk: which there are, whether they changed, what stands in them.

A configured path is a file, a directory or a preset; of a directory the ``*.yaml``, ``*.yml`` and ``*.json``
count, by name, without hidden ones.  Kubernetes mounts a ConfigMap as links into ``..data``, itself a link
that is swapped in one step to a new directory: following links at each look is all that takes.

No asyncio here: these calls may wait for a disk, so the loop runs them in a thread.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Final

from rules.model import Place
from rules.presets import located, missing
from rules.text import MAX_SIZE, Problem

SUFFIXES: Final = (".yaml", ".yml", ".json")
SWAPPED: Final = "..data"  # the link that Kubernetes swaps

EMPTY: Final = 'the file is empty; to have no rules, write "rules: []"'
DELETED: Final = (
    'the file was deleted; its rules stay in force. Put it back, leave "rules: []" in it, '
    "or send SIGHUP to do without it"
)


@dataclass(frozen=True)
class Found:
    """One rule file: ``stamp`` changes when its content may have; ``error`` says why it has none."""

    path: str
    stamp: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Listing:
    """What one look found: files in the order of the layers, and where each ``..data`` points."""

    files: tuple[Found, ...] = ()
    swaps: tuple[tuple[str, str], ...] = ()

    @property
    def paths(self) -> list[str]:
        """The files' paths, in order."""
        return [found.path for found in self.files]


@dataclass(frozen=True)
class Contents:
    """What stands in the files of a listing, and what is wrong with those that cannot be read."""

    documents: tuple[tuple[str, bytes], ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def digest(self) -> bytes:
        """The same for the same contents and the same problems, else another."""
        whole = hashlib.sha256()
        for path, data in self.documents:
            whole.update(b"%d:%d:" % (len(path.encode("utf-8", "surrogateescape")), len(data)))
            whole.update(path.encode("utf-8", "surrogateescape") + data)
        for problem in self.problems:
            whole.update(str(problem).encode("utf-8", "surrogateescape") + b"\n")
        return whole.digest()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(data) for _, data in self.documents)


def look(paths: list[str]) -> Listing:
    """Find the rule files of the configured paths; never raises: a missing path is an error in its place."""
    files: list[Found] = []
    swaps: list[tuple[str, str]] = []
    for named in paths:
        path = located(named)
        if not os.path.isdir(path):
            wrong = missing(named)
            files.append(Found(named, (), wrong) if wrong else _look_at(path))
            continue
        try:
            names = sorted(name for name in os.listdir(path) if is_rule_file(name))
        except OSError as error:
            files.append(Found(path, (), f"cannot be read: {error.strerror}"))
            continue
        files += [_look_at(os.path.join(path, name)) for name in names]
        swaps += _swap_of(path)
    return Listing(tuple(files), tuple(swaps))


def is_rule_file(name: str) -> bool:
    """Tell whether a directory's entry counts, by its name."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _look_at(path: str) -> Found:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Found(path, (), "the file does not exist")
    except OSError as error:
        return Found(path, (), f"cannot be read: {error.strerror}")
    if not stat.S_ISREG(found.st_mode):
        return Found(path, (), "not a regular file")
    return Found(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


def _swap_of(directory: str) -> list[tuple[str, str]]:
    try:
        return [(directory, os.readlink(os.path.join(directory, SWAPPED)))]
    except OSError:
        return []


def read_files(listing: Listing) -> Contents:
    """Read the files of a listing; empty files are problems, never "no rules"."""
    documents: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for found in listing.files:
        error = found.error
        if not error:
            try:
                data = _read(found.path)
            except OSError as failure:
                error = f"cannot be read: {failure.strerror}"
            else:
                if data.strip():
                    documents.append((found.path, data))
                else:
                    error = EMPTY
        if error:
            problems.append(Problem(Place(found.path), "", error))
    return Contents(tuple(documents), tuple(problems))


def _read(path: str) -> bytes:
    """Read at most a little more than a document may have: the reader of documents refuses the rest."""
    with open(path, "rb") as file:
        return file.read(MAX_SIZE + 1)


def deleted(before: Listing, now: Listing) -> list[Problem]:
    """Name the files that were there before and are gone.

    Not those of a directory whose ``..data`` was swapped: a swap shows a state that is whole, so what is not
    in it was taken out on purpose, unless nothing at all is left in it.
    """
    present = set(now.paths)
    swapped = {path.rstrip("/") for path, _ in set(now.swaps) - set(before.swaps)}
    on_purpose = swapped & {os.path.dirname(path) for path in present}
    return [
        Problem(Place(path), "", DELETED)
        for path in before.paths
        if path not in present and os.path.dirname(path) not in on_purpose
    ]


def directories(paths: list[str]) -> list[str]:
    """Name the directories to watch so that no change of these paths goes unseen.

    Of a file its directory (a rename replaces the file, and a watch on it would die with it), and where the
    file is a link to another place, that place's directory as well.
    """
    wanted: dict[str, None] = {}
    for path in map(located, paths):
        home = path if os.path.isdir(path) else os.path.dirname(path) or "."
        real = os.path.dirname(os.path.realpath(path))
        wanted[os.path.abspath(home)] = None
        # What ``..data`` leads to is never changed, only swapped, which its directory tells.
        seen = (os.path.realpath(home), os.path.realpath(os.path.join(home, SWAPPED)))
        if not os.path.isdir(path) and real not in seen:
            wanted[real] = None
    return [path for path in wanted if os.path.isdir(path)]
