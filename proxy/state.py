"""The directory where versions of the rules outlive a restart (``state_dir``).

Each version is one file, ``rules/0000000012.json``: a line that says what it is, with the SHA-256 of the
rest, and the version as JSON.  It is written beside its place, synced, renamed, and the directory synced:
whoever pulls the plug finds a version whole or not at all.  What is not whole, or not ours, is set aside
under ``aside/`` and reported; it stops nobody from starting.
"""

import fcntl
import hashlib
import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from certs import storage
from certs.errors import CertError
from proxy.logs import Log

FORMAT: Final = 1
_NAME: Final = re.compile(r"(\d{10})\.json")


class StateError(Exception):
    """The directory cannot be used, or a version not be written; the text says why in one line."""


class StateDir:
    """One proxy's state directory; nobody else may use it meanwhile.  Calls block: write from a thread."""

    def __init__(self, directory: str, log: Log) -> None:
        """Make what is missing, take the directory for this process, clean up.  Raises StateError."""
        self._log = log
        self._home = Path(directory)
        self._rules = self._home / "rules"
        try:
            storage.make_directory(self._rules)
        except CertError as error:
            raise StateError(str(error)) from None
        self._lock = self._take()
        self._clean()
        self.highest = 0  # of all versions that were ever seen here, those set aside included

    def _take(self) -> int:
        try:
            descriptor = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, storage.PRIVATE)
        except OSError as error:
            raise StateError(f"cannot use {self._home}: {(error.strerror or str(error)).lower()}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StateError(f"{self._home} is in use by another misrule: each needs its own") from None
        return descriptor

    def _clean(self) -> None:
        """Remove what a process that was killed in the middle of a write has left."""
        left = [path for path in self._rules.iterdir() if path.name.startswith(".") and not path.is_dir()]
        for path in left:
            path.unlink(missing_ok=True)
        if left:
            self._log.event("info", "state_cleaned", path=str(self._rules), files=len(left))

    def read(self) -> list[tuple[int, bytes]]:
        """Give the versions that are whole, oldest first; set the others aside."""
        found: list[tuple[int, bytes]] = []
        for path in sorted(self._rules.iterdir()):
            if path.is_dir():
                continue
            named = _NAME.fullmatch(path.name)
            try:
                if named is None:
                    raise ValueError("it is not named like a version")
                number = int(named[1])
                self.highest = max(self.highest, number)
                found.append((number, _unpack(path.read_bytes())))
            except (ValueError, OSError) as error:
                self.set_aside(path.name, str(error))
        return found

    def set_aside(self, name: str, why: str) -> None:
        """Move a file out of the way, and say so."""
        aside = self._home / "aside"
        moved = f"it is {aside / name} now"
        try:
            storage.make_directory(aside)
            os.replace(self._rules / name, aside / name)
        except (OSError, CertError) as error:
            moved = f"it stays: {error}"
        message = f"{self._rules / name} is no version of rules that can be used ({why}); {moved}"
        self._log.event("error", "state_set_aside", message=message, path=str(self._rules / name))

    def write(self, number: int, data: bytes) -> None:
        """Write a version: on disk when this returns.  Raises StateError."""
        try:
            storage.write(self._path(number), _pack(data), storage.PRIVATE)
        except CertError as error:
            raise StateError(str(error)) from None
        self.highest = max(self.highest, number)

    def remove(self, numbers: list[int]) -> None:
        """Remove versions that are not kept any longer."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self._rules / name_of(number)


def name_of(number: int) -> str:
    """Name the file of a version."""
    return f"{number:010d}.json"


def _pack(data: bytes) -> bytes:
    head = {"misrule": "rules", "format": FORMAT, "sha256": hashlib.sha256(data).hexdigest()}
    return msgspec.json.encode(head) + b"\n" + data + b"\n"


def _unpack(packed: bytes) -> bytes:
    """Take a version out of its file.  Raises ValueError."""
    head, _, rest = packed.partition(b"\n")
    try:
        said: Any = msgspec.json.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict) or said.get("misrule") != "rules":
        raise ValueError("it does not say that it is one" if packed else "it is empty")
    if said.get("format") != FORMAT:
        raise ValueError(f"it has format {said.get('format')}, and this misrule knows format {FORMAT}")
    data = rest.removesuffix(b"\n")
    if hashlib.sha256(data).hexdigest() != said.get("sha256"):
        raise ValueError("it is torn or was changed: its SHA-256 is another one")
    return data
