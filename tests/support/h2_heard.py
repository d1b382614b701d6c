"""What an HTTP/2 peer of the tests has heard on one stream, and has yet to say."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

Fields = Sequence[tuple[str, str]]

_KEEP = 1_048_576


@dataclass
class Heard:
    """What came on one stream; ``body`` is kept up to 1 MiB, ``length`` and ``sha256`` tell of all."""

    sid: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)
    length: int = 0
    ended: bool = False
    reset: int | None = None  # the code of its RST_STREAM
    reset_at: float = 0.0  # when that came, of time.monotonic()
    wholly: bool = False  # the request was handed to a script
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256, repr=False)

    def all(self, name: str) -> list[str]:
        """Return every value of a field of the head."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """Return the only value of a field, None where it is absent; two are a failure."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def status(self) -> int:
        """The status of an answer; 0: none came."""
        return int(self.get(":status") or 0)

    @property
    def path(self) -> str:
        """The path of a request."""
        return self.get(":path") or ""

    @property
    def sha256(self) -> str:
        """The hash of the body so far."""
        return self.digest.hexdigest()

    def take(self, data: bytes) -> None:
        """Note content."""
        self.digest.update(data)
        self.length += len(data)
        if self.length <= _KEEP:
            self.body += data


class Out:
    """What waits to be sent on one stream."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.waiting = memoryview(b"")
        self.end = False
        self.trailers: Fields | None = None
        self.pad = 0
