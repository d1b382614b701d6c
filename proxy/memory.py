"""What keeps memory small, and the garbage collector away from rule sets that are being built."""

import gc
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar, Final

WHILE_BUILDING: Final = 200_000  # objects between two collections; a rule is about 80


class FewCollections:
    """``with FewCollections():`` lets almost no collection happen until it ends; may be nested.

    A thousand rules are 80,000 objects.  At Python's usual pace they are walked by a hundred small
    collections and by at least one full one, which alone can hold the loop for 20 to 50 ms.  What is built
    here lives on and has no cycles, so that one small collection at the end is all that is due.
    """

    _inside: ClassVar[int] = 0
    _usual: ClassVar[tuple[int, int, int]] = (700, 10, 10)

    def __enter__(self) -> None:
        cls = type(self)
        if cls._inside == 0:
            cls._usual = gc.get_threshold()
            gc.set_threshold(max(WHILE_BUILDING, cls._usual[0]), *cls._usual[1:])
        cls._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cls = type(self)
        cls._inside -= 1
        if cls._inside == 0:
            gc.set_threshold(*cls._usual)


@contextmanager
def no_trusted_authorities() -> Iterator[None]:
    """Let nothing that is imported here read the authorities that the machine trusts.

    aiohttp makes contexts for its client when it is imported; the proxy uses its server alone, and would keep
    them in 2 MiB that nobody looks at.
    """
    name = ssl.get_default_verify_paths().openssl_cafile_env
    before = os.environ.get(name)
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
