"""PostgreSQL and Redis of a test's own, each in a folder of its own; and their trouble in real life."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.need import find, need
from tests.support.process import Process, free_port, listening


def _tool(name: str) -> str:
    """Find one of PostgreSQL's own programs: Debian keeps those of the server out of the PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(newest[-1]) if newest else find(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Server:
    """One server process, with its port; it can stand still, as if its machine had vanished."""

    port: int
    process: Process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *(int(pid) for pid in children.split())]

    def freeze(self) -> None:
        """Stop all of it: connections are taken by the kernel, and nobody answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Postgres(Server):
    """A cluster with the user ``postgres`` and no passwords; it refuses to run as root, so it does not."""

    def __init__(self) -> None:
        server, setup = _tool("postgres"), _tool("initdb")
        self.folder = Path(tempfile.mkdtemp(prefix="misrule-postgres"))
        self._as: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
            self._as = [need("setpriv"), "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        data = str(self.folder / "data")
        made = Process(
            [*self._as, setup, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"],
            {"LC_ALL": "C"},
            cwd=self.folder,
        )
        assert made.wait(60) == 0, made.text()
        made.stop()
        self.port = free_port()
        settings = [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "max_connections=40",
            "unix_socket_directories=",
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        self.process = Process(
            [*self._as, server, "-D", data, "-p", str(self.port), *options], {"LC_ALL": "C"}, cwd=self.folder
        )
        self.process.wait_line("ready to accept connections")

    def stop(self) -> None:
        """Stop at once, and leave nothing."""
        self.thaw()
        self.process.signal(signal.SIGQUIT)  # "immediate shutdown"
        self.process.wait(20)
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    """A server that writes nothing to disk."""

    def __init__(self) -> None:
        command = need("redis-server")
        self.port = free_port()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = Process([command, *options], cwd=Path(tempfile.gettempdir()))
        self.process.wait_for(lambda: listening(self.port))

    def stop(self) -> None:
        """Stop it."""
        self.thaw()
        self.process.stop()


def redis_client(address: str, timeout: float = 0.6, **more: Any) -> Any:
    """Make a client that tries once; steps aside without the package redis."""
    redis = pytest.importorskip("redis")
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    host, _, port = address.rpartition(":")
    return redis.Redis(host, int(port), socket_timeout=timeout, retry=Retry(NoBackoff(), 0), **more)
