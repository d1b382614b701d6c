"""An upstream that does exactly what a test tells it, and remembers what it was sent."""

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.support.wire import Gone, Message, Wire, chunked, response

Play = Callable[[Wire, Message], None]


def plain(wire: Wire, asked: Message) -> None:
    """Answer by path: ``/bytes/N``, ``/chunked/N``, ``/status/N``, ``/echo``, else 200 with "ok"."""
    wire.read_body(asked)
    bodiless = asked.method == "HEAD"
    what, _, figure = asked.target.split("?")[0].lstrip("/").partition("/")
    if what == "bytes":
        whole = response(200, "content-type: application/octet-stream", body=filling(int(figure)))
    elif what == "chunked":
        size = int(figure)
        data = filling(size)
        pieces = [data[at : at + 16_384] for at in range(0, size, 16_384)]
        whole = response(200, "transfer-encoding: chunked") + chunked(*pieces)
    elif what == "status":
        whole = response(int(figure), body=b"" if int(figure) not in (204, 304) else None)
    elif what == "echo":
        whole = response(200, body=asked.body)
    else:
        whole = response(200, "content-type: text/plain", body=b"ok")
    wire.send(whole[: whole.index(b"\r\n\r\n") + 4] if bodiless else whole)


def filling(size: int) -> bytes:
    """Make bytes whose place can be told: no two windows of 8 are alike within 100 MB."""
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


class Scripted:
    """Listens on a free port; each connection has a thread; each request goes to ``play``.

    ``play`` may be changed at any time: it is looked up for each request, so that connections pooled by
    the proxy follow.  ``on_open`` is called before anything is read from a new connection.
    """

    def __init__(self, play: Play = plain, on_open: Callable[[Wire], None] | None = None) -> None:
        self.play = play
        self.on_open = on_open
        self.requests: list[Message] = []
        self.wires: list[Wire] = []
        self.errors: list[BaseException] = []
        self.ended: list[tuple[int, str]] = []  # connection number, how its peer ended it
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._closing = False
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            wire = Wire(sock, timeout=60.0)
            wire.number = len(self.wires)
            self.wires.append(wire)
            self._start(lambda wire=wire: self._serve(wire))  # type: ignore[misc]

    def _serve(self, wire: Wire) -> None:
        try:
            if self.on_open is not None:
                self.on_open(wire)
            while not wire.closed:
                asked = wire.read_head()
                asked.opening = wire.number
                self.requests.append(asked)
                self.play(wire, asked)
        except Gone as gone:
            self.ended.append((wire.number, gone.how))
        except OSError as error:  # the peer went away while we wrote, or the test closed us
            self.ended.append((wire.number, type(error).__name__))
        except BaseException as error:
            if not self._closing:
                self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                wire.close()

    @property
    def last(self) -> Message:
        """The newest request."""
        return self.requests[-1]

    def forget(self) -> None:
        """Go back to plain answers and an empty memory; connections stay."""
        self.play = plain
        self.on_open = None
        self.requests.clear()
        self.ended.clear()
        errors, self.errors = self.errors, []
        if errors:
            raise AssertionError(f"the scripted upstream failed: {errors!r}") from errors[0]

    def close(self) -> None:
        """Stop listening, end every connection, and report what went wrong in a script."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
        self._socket.close()
        for wire in self.wires:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self.forget()
