"""Two network namespaces with a cable between them, and processes in them: a pod, and the world outside."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.need import need, step_aside
from tests.support.process import ROOT, Process

POD: Final = ("10.77.0.1", "fd77::1")
WORLD: Final = ("10.77.0.2", "fd77::2")
SEEN: Final = "/mnt"  # where processes see the source tree, whoever may read it elsewhere
USER: Final = 1337


class Namespace:
    """One of the two."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, command: Sequence[str], user: int = 0, powerless: bool = False) -> list[str]:
        """Give what runs a command there; ``powerless``: with no capability, now or ever."""
        rights = ["--reuid", str(user), "--regid", str(user), "--clear-groups"] if user else []
        if powerless:
            rights += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        words = [word.replace(str(ROOT), SEEN) for word in command]
        paths = os.environ.get("PYTHONPATH", "").replace(str(ROOT), SEEN)
        inner = ["setpriv", *rights, *words] if rights else words
        script = (
            f"mount --bind {shlex.quote(str(ROOT))} {SEEN} && cd {SEEN} && "
            f"PYTHONPATH={shlex.quote(paths)} PYTHONDONTWRITEBYTECODE=1 exec {shlex.join(inner)}"
        )
        return ["ip", "netns", "exec", self.name, "sh", "-c", script]

    def python(self, *words: str, user: int = 0, powerless: bool = False) -> list[str]:
        """Give what runs a module there."""
        return self.command([sys.executable, "-m", *words], user, powerless)

    def run(self, command: Sequence[str], ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something short there."""
        whole = ["ip", "netns", "exec", self.name, *command] if command[0] != "ip" else list(command)
        done = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert done.returncode == 0 or not ok, f"{command}: {done.stdout}{done.stderr}"
        return done


class Visitor:
    """A client in a namespace: calls services of the other one, all at once."""

    def __init__(self, where: Namespace, user: int = 0) -> None:
        self._child = subprocess.Popen(
            where.python("tests.support.servers.visitor", user=user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def begin(self, authority: Path, services: Sequence[str], hosts: Sequence[str]) -> None:
        """Begin to call these services at these addresses."""
        assert self._child.stdin is not None
        order = {"authority": str(authority), "services": list(services), "hosts": list(hosts)}
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for all answers."""
        assert self._child.stdout is not None
        found: dict[str, Any] = json.loads(self._child.stdout.readline())
        return found

    def close(self) -> None:
        """Let it end."""
        self._child.communicate(timeout=30)


class Cable:
    """The two namespaces; to be closed."""

    def __init__(self) -> None:
        self.pod = Namespace(f"misrule-pod-{os.getpid()}")
        self.world = Namespace(f"misrule-world-{os.getpid()}")
        self._made: list[str] = []
        self._running: list[Process] = []
        self._visitors: list[Visitor] = []
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        for one in (self.pod, self.world):
            _ip("netns", "add", one.name)
            self._made.append(one.name)
        ends = ["link", "add", "eth0", "netns", self.pod.name, "type", "veth"]
        _ip(*ends, "peer", "name", "eth0", "netns", self.world.name)
        for one, addresses in ((self.pod, POD), (self.world, WORLD)):
            _ip("-n", one.name, "link", "set", "lo", "up")
            _ip("-n", one.name, "link", "set", "eth0", "up")
            _ip("-n", one.name, "address", "add", f"{addresses[0]}/24", "dev", "eth0")
            _ip("-n", one.name, "address", "add", f"{addresses[1]}/64", "dev", "eth0", "nodad")

    def start(self, where: Namespace, *words: str) -> Process:
        """Run a module there until the end."""
        made = Process(where.python(*words))
        self._running.append(made)
        return made

    def visitor(self, where: Namespace, user: int = 0) -> Visitor:
        """Have a client there until the end."""
        made = Visitor(where, user)
        self._visitors.append(made)
        return made

    def close(self) -> None:
        """End what runs there, and remove the namespaces."""
        for visitor in self._visitors:
            visitor.close()
        for process in self._running:
            process.stop()
        for name in self._made:
            with suppress(AssertionError):
                _ip("netns", "delete", name)


def need_cable() -> Cable:
    """Lay a cable, or skip the test with one clear line."""
    for tool in ("ip", "nft", "setpriv"):
        need(tool)
    if os.geteuid() != 0:
        step_aside("network namespaces take root")
    try:
        cable = Cable()
    except AssertionError as error:
        step_aside(f"no network namespaces can be made: {str(error).strip()[:200]}")
    mounted = cable.pod.run(["mount", "--bind", str(ROOT), SEEN], ok=False)
    if mounted.returncode != 0:
        cable.close()
        step_aside(f"no mount namespaces can be made: {mounted.stderr.strip()[:200]}")
    return cable


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
