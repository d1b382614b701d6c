"""Real upstreams, each in a process of its own: nginx, uvicorn, Node's http server."""

import hashlib
import http.client
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients import Call, ask
from tests.support.need import need
from tests.support.process import Process, free_port, listening

SERVERS = Path(__file__).parent / "servers"
_PIECE = 1_048_576

SIZES = (0, 1, 65_536, 10 * 1024 * 1024)
HUGE = 100 * 1024 * 1024


class Corpus:
    """A folder with one file of bytes for each size, named by the size; made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[int, str] = {}
        folder.mkdir(parents=True)
        for size in SIZES:
            self.path(size)

    def path(self, size: int) -> Path:
        """Return the file of that size."""
        path = self.folder / str(size)
        if size not in self.hashes:
            block = random.Random(size).randbytes(min(size, _PIECE))
            digest = hashlib.sha256()
            left = size
            with path.open("wb") as file:
                for number in range(size // _PIECE + 1):
                    # Each block begins with its number: blocks that change places are found out.
                    piece = (b"%08d" % number + block)[: min(left, _PIECE)]
                    file.write(piece)
                    digest.update(piece)
                    left -= len(piece)
            self.hashes[size] = digest.hexdigest()
        return path

    def sha256(self, size: int) -> str:
        """Return the hash of the file of that size."""
        self.path(size)
        return self.hashes[size]


@dataclass(frozen=True)
class Received:
    """What an upstream got as a body; ``framing`` is chunked, length or "" where it cannot tell."""

    length: int
    sha256: str
    framing: str


class Upstream:
    """A running upstream with the calls of ``servers/upstream.mjs``."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"

    def received(self, name: str) -> Received | None:
        """Return what was uploaded under a name."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request("GET", f"/received/{name}")
            told = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return None if told is None else Received(told["length"], told["sha256"], told["framing"])

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()


class Node2(Upstream):
    """Node's HTTP/2 server is asked in HTTP/2."""

    def received(self, name: str) -> Received | None:
        """Return what was uploaded under a name."""
        seen = ask("curl", Call(f"{self.url}/received/{name}", http2=True))
        told = json.loads(seen.body)
        return None if told is None else Received(told["length"], told["sha256"], told["framing"])


class Nginx(Upstream):
    """nginx keeps uploads as files: they are read here."""

    def __init__(self, process: Process, port: int, uploads: Path) -> None:
        super().__init__(process, port)
        self._uploads = uploads

    def received(self, name: str) -> Received | None:
        """Return what was uploaded under a name."""
        path = self._uploads / name
        if not path.exists():
            return None
        data = path.read_bytes()
        path.unlink()
        return Received(len(data), hashlib.sha256(data).hexdigest(), "")


def start_nginx(corpus: Corpus, folder: Path) -> Upstream:
    """Start nginx (Debian's package ``nginx-light`` will do)."""
    program = need("nginx")
    run = folder / "run"
    (run / "upload").mkdir(parents=True)
    (folder / "corpus").symlink_to(corpus.folder)
    port = free_port()
    text = (SERVERS / "nginx.conf").read_text().replace("FOLDER", str(folder)).replace("PORT", str(port))
    own = folder / "nginx.conf"
    own.write_text(text)
    process = Process([program, "-c", str(own), "-p", str(folder), "-e", "stderr"])
    return _started(Nginx(process, port, run / "upload"), port)


def start_uvicorn(corpus: Corpus, folder: Path) -> Upstream:
    """Start uvicorn with the app of ``servers/app.py``."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.support.servers.app:app", "--port", str(port)]
    command += ["--log-level", "warning", "--timeout-keep-alive", "60", "--loop", "uvloop"]
    return _started(Upstream(Process(command, {"UPSTREAM_FOLDER": str(corpus.folder)}), port), port)


def start_node(corpus: Corpus, folder: Path) -> Upstream:
    """Start Node's http server."""
    process = Process([need("node"), str(SERVERS / "upstream.mjs"), str(corpus.folder)])
    return Upstream(process, int(process.wait_line(r"listening on (\d+)")[1]))


def start_node2(corpus: Corpus, folder: Path) -> Upstream:
    """Start Node's HTTP/2 server."""
    process = Process([need("node"), str(SERVERS / "upstream.mjs"), str(corpus.folder), "h2"])
    return Node2(process, int(process.wait_line(r"listening on (\d+)")[1]))


def start_nghttpd(corpus: Corpus, folder: Path) -> Upstream:
    """Start nghttpd (Debian's package ``nghttp2-server``); it gives files, and takes uploads in silence."""
    port = free_port()
    (folder / "files").symlink_to(corpus.folder)
    command = [need("nghttpd"), "--no-tls", "--echo-upload", "-d", str(folder), "-a", "127.0.0.1", str(port)]
    return _started(Upstream(Process(command), port), port)


def _started(upstream: Upstream, port: int) -> Upstream:
    try:
        upstream.process.wait_for(lambda: listening(port))
    except BaseException:
        upstream.stop()
        raise
    return upstream


START = {
    "nginx": start_nginx,
    "uvicorn": start_uvicorn,
    "node": start_node,
    "node2": start_node2,
    "nghttpd": start_nghttpd,
}
