"""What the path asks of whatever reads a message's body, in every protocol: pull, piece by piece."""

from typing import Final

from mypy_extensions import mypyc_attr

_STATUS: Final = (b"grpc-status", b"grpc-message")


@mypyc_attr(allow_interpreted_subclasses=True)
class BodyReader:
    """A body that is being read; events are those of ``proxy.wire.h1``: NEED, BODY, END, MARK."""

    piece: bytes = b""  # of BODY; at END what is still to be passed on where framing passes raw
    trailers: bytes = b""  # at END: the trailer lines that may be passed on, each with its CRLF
    content: int = 0  # content bytes of this message delivered so far

    def next(self) -> int:
        """Read on to the next event."""
        raise NotImplementedError

    def trailer(self, name: bytes) -> bytes | None:
        """Give the value of the first trailer of this name (lower-case); known at END."""
        for line in self.trailers.split(b"\r\n"):
            if _name_of(line) == name:
                return line.partition(b":")[2].strip(b" \t")
        return None

    def change_status(self, status: bytes, message: bytes) -> None:
        """Put other values of grpc-status and grpc-message into the trailers; b"": none."""
        kept = [line for line in self.trailers.split(b"\r\n") if line and _name_of(line) not in _STATUS]
        if status:
            kept.append(b"grpc-status: " + status)
        if message:
            kept.append(b"grpc-message: " + message)
        self.trailers = b"".join([line + b"\r\n" for line in kept])

    def mark(self, content_bytes: int) -> None:
        """Ask for one MARK as soon as so many content bytes were delivered and another one is there."""
        raise NotImplementedError


def _name_of(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()
