"""The demo's client: the standard library's, over a real socket, and exact about what it saw."""

import http.client
import time
from dataclasses import dataclass, field


@dataclass
class Saw:
    """What one request came to.

    ``trouble`` is "" for a whole answer, else ``reset`` (ECONNRESET), ``early end`` (FIN before the
    message was complete), ``time-out`` (the client gave up) or ``refused``.
    """

    seconds: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trouble: str = ""

    @property
    def proof(self) -> str:
        """The x-misrule header, lines joined."""
        return self.headers.get("x-misrule", "")

    def __str__(self) -> str:
        time_taken = f"{self.seconds * 1000:.1f} ms"
        if self.trouble == "time-out":
            return f"{self._head()}nothing, gave up after {time_taken}"
        if self.trouble == "reset":
            return f"{self._head()}connection reset (ECONNRESET) after {len(self.body)} bytes"
        if self.trouble:
            return f"{self._head()}{self.trouble} after {len(self.body)} bytes"
        return f"{self.status} in {time_taken}, {len(self.body)} bytes"

    def _head(self) -> str:
        return f"{self.status}, then " if self.status else ""


class Client:
    """A keep-alive client of one address; not for use by two threads at once."""

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = timeout
        self._connection = http.client.HTTPConnection(address, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Saw:
        """Send one request and read all of the answer, or what comes of it."""
        saw = Saw(0.0)
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body, headers or {})
            self._read(saw)
        except (http.client.RemoteDisconnected, http.client.IncompleteRead):
            saw.trouble = "early end"  # first: RemoteDisconnected (a FIN) calls itself a ConnectionResetError
        except (ConnectionResetError, BrokenPipeError):
            saw.trouble = "reset"
        except ConnectionRefusedError:
            saw.trouble = "refused"
        except TimeoutError:
            saw.trouble = "time-out"
        finally:
            saw.seconds = time.perf_counter() - started
        if saw.trouble:
            self._connection.close()  # the next request opens a new one
        return saw

    def _read(self, saw: Saw) -> None:
        """Read the answer piece by piece, so that what came before the trouble is kept."""
        response = self._connection.getresponse()
        saw.status = response.status
        for name, value in response.getheaders():
            key = name.lower()
            saw.headers[key] = f"{saw.headers[key]}, {value}" if key in saw.headers else value
        length = response.length
        while piece := response.read1(65536):
            saw.body += piece
        response.close()  # read1 leaves a message open whose length was reached
        if length is not None and len(saw.body) < length:
            raise http.client.IncompleteRead(saw.body, length - len(saw.body))
