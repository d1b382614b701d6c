"""An HTTP/2 upstream that does exactly what a test tells it, and remembers what it was sent."""

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable

from tests.support.h2_peer import Heard, Peer
from tests.support.scripted import filling

Play = Callable[[Peer, Heard], None]


def plain(peer: Peer, asked: Heard) -> None:
    """Answer by path: ``/bytes/N``, ``/status/N``, ``/echo``, ``/seen``, ``/hash``, else 200 with "ok"."""
    what, _, figure = asked.path.split("?")[0].lstrip("/").partition("/")
    status, body = 200, b"ok"
    if what == "bytes":
        body = filling(int(figure))
    elif what == "status":
        status, body = int(figure), b""
    elif what == "echo":
        body = asked.body
    elif what == "seen":
        body = json.dumps(asked.headers).encode()
    elif what == "hash":
        body = f"{asked.length} {asked.sha256}".encode()
    length = [] if what == "status" else [("content-length", str(len(body)))]
    peer.answer(asked, status, *length, body=b"" if asked.get(":method") == "HEAD" else body)


class ScriptedH2:
    """Listens on a free port; each connection has a thread; each whole request goes to ``play``.

    ``on_head`` is called for each request as soon as its head is there.  Both are looked up for each request.
    """

    def __init__(self, play: Play = plain, settings: dict[int, int] | None = None) -> None:
        self.play = play
        self.on_head: Play | None = None
        self.settings = settings
        self.requests: list[Heard] = []
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._told: dict[Peer, deque[Callable[[Peer], None]]] = {}
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
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
            self._start(lambda sock=sock: self._serve(sock))  # type: ignore[misc]

    def _serve(self, sock: socket.socket) -> None:
        try:
            peer = Peer(sock, False, self.settings)
            self.peers.append(peer)
            known = 0
            while not peer.gone:
                peer.step(0.01)
                told = self._told.get(peer)
                while told:
                    told.popleft()(peer)
                for heard in list(peer.streams.values())[known:]:
                    known += 1
                    self.requests.append(heard)
                    if self.on_head is not None:
                        self.on_head(peer, heard)
                for heard in list(peer.streams.values()):
                    if heard.ended and not heard.wholly and not peer.gone:
                        heard.wholly = True
                        self.play(peer, heard)
        except OSError:
            pass  # the other side went away while we wrote, or the test closed us
        except BaseException as error:
            if not self._closing:
                self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def tell(self, what: Callable[[Peer], None], whose: Heard) -> None:
        """Have something done on the connection of a request, in its own thread."""
        self._told.setdefault(self.peer_of(whose), deque()).append(what)

    def peer_of(self, heard: Heard) -> Peer:
        """Return the connection on which a request came."""
        return next(peer for peer in self.peers if peer.streams.get(heard.sid) is heard)

    @property
    def last(self) -> Heard:
        """The newest request."""
        return self.requests[-1]

    def forget(self) -> None:
        """Go back to plain answers and an empty memory; connections stay."""
        self.play = plain
        self.on_head = None
        self.requests.clear()
        errors, self.errors = self.errors, []
        if errors:
            raise AssertionError(f"the scripted upstream failed: {errors!r}") from errors[0]

    def close(self) -> None:
        """Stop listening, end every connection, and report what went wrong in a script."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self.forget()
