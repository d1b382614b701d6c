"""Files that hold keys: whole or not there, for their owner only, one writer at a time."""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from certs.errors import CertError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
DIRECTORY: Final = 0o700
PUBLIC_DIRECTORY: Final = 0o755


def write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file whole: a crash leaves the old one or the new one (fsync, rename, fsync of directory).

    Nobody else can read the bytes at any time: the mode holds from the first one on.  Raises CertError.
    """
    beside = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)  # whatever the umask says
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
        _sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CertError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """Read a file.  Raises CertError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def make_directory(directory: Path, mode: int = DIRECTORY) -> None:
    """Make a directory, by default for its owner only; one that is there stays as it is (CertError)."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise CertError(f"cannot use {directory}: {(error.strerror or str(error)).lower()}") from error


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from writing here meanwhile; waits for them.  Raises CertError."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CertError(f"cannot use {directory}: {(error.strerror or str(error)).lower()}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes) -> None:
    """Add to a file in one piece; it is made for its owner only.  Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def pem_blocks(data: bytes, what: bytes) -> list[bytes]:
    """Give the PEM blocks whose label ends in ``what``, in their order (RFC 7468)."""
    pattern = rb"-----BEGIN ([A-Z0-9 ]*" + re.escape(what) + rb")-----.*?-----END \1-----"
    return [found[0] + b"\n" for found in re.finditer(pattern, data, re.DOTALL)]
