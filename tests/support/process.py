"""A child process with its log in hand."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.wait import eventually

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Find a port for servers that cannot choose one themselves, or for none at all.

    It is below those that the kernel gives away: no other test is given it meanwhile.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    choice = random.SystemRandom().sample(range(10_000, lowest), 50) if lowest > 12_000 else []
    for port in [*choice, 0]:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            free: int = sock.getsockname()[1]
            return free
    raise AssertionError("no port is free")


def listening(port: int) -> bool:
    """Say whether something accepts on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


class Process:
    """Runs a command; its output (both streams) is kept line by line in ``log``."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self.command = list(command)
        self.log: list[str] = []
        self._child = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        self.pid = self._child.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.log.append(line.rstrip("\n"))

    def wait_line(self, pattern: str, seconds: float = 20.0) -> re.Match[str]:
        """Wait for a line of the log in which the pattern is found."""

        def look() -> re.Match[str] | None:
            for line in list(self.log):
                found = re.search(pattern, line)
                if found:
                    return found
            if self._child.poll() is not None:
                self._reader.join(5)
                if not any(re.search(pattern, line) for line in self.log):
                    raise AssertionError(
                        f"{self.command} ended with {self._child.returncode}:\n{self.text()}"
                    )
            return None

        found = eventually(look, seconds, f"{pattern!r} in the log of {self.command}")
        assert found is not None
        return found

    def wait_for(self, ask: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds while the process lives."""

        def look() -> bool:
            assert self._child.poll() is None, f"{self.command} ended:\n{self.text()}"
            return ask()

        eventually(look, seconds, f"start of {self.command}")

    def text(self) -> str:
        """Return the whole log."""
        return "\n".join(self.log)

    @property
    def status(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._child.poll()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for the end; return the exit status."""
        status = self._child.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self, seconds: float = 10.0) -> int:
        """End the process: SIGTERM, and SIGKILL where that does not help.  Returns the exit status."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self.wait(seconds)
        finally:
            self._reader.join(5)
            if self._child.stdout is not None:
                self._child.stdout.close()

    def memory(self) -> int:
        """Return the resident memory in KiB (VmRSS)."""
        return self._status_figure("VmRSS")

    def peak(self) -> int:
        """Return the highest resident memory so far in KiB (VmHWM)."""
        return self._status_figure("VmHWM")

    def _status_figure(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None, text
        return int(found[1])

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def files(self) -> int:
        """Return the number of open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
