"""The sidecar that the injector puts into a pod, run as a kubelet would: it listens, it reloads, it ends."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.injector import containers, review
from proxy.injector.settings import FOLDER, RULES, STATE, Settings
from tests.support import kubernetes
from tests.support.process import Process
from tests.support.scripted import Scripted
from tests.support.wait import eventually

SLOW = "version: 1\nrules:\n  - {name: gone, match: {path: /gone}, faults: [{abort: 410}]}\n"
OTHER = "version: 1\nrules:\n  - {name: teapot, match: {path: /tea}, faults: [{abort: 418}]}\n"


def has_ipv6() -> bool:
    """Whether this machine has a loopback of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """Ask on the loopback; the status, 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def free_ports(count: int) -> list[int]:
    """Find ports that were free a moment ago, each another one."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class Kubelet:
    """One pod, as far as its sidecar goes: volumes are folders, the container is a process."""

    def __init__(self, folder: Path, native: bool) -> None:
        self.app = Scripted()
        self.port, self.admin, self.health = free_ports(3)
        self._folder = folder
        self._swaps = 0
        pod = self._pod(native)
        spec, kind = pod["spec"], "initContainers" if native else "containers"
        self.container: dict[str, Any] = next(one for one in spec[kind] if one["name"] == containers.SIDECAR)
        mounts = {mount["mountPath"]: mount["name"] for mount in self.container["volumeMounts"]}
        self._volumes = {path: folder / name for path, name in mounts.items()}
        for place in self._volumes.values():
            place.mkdir(exist_ok=True)
        text = pod["metadata"]["annotations"]["misrule.dev/config"]
        for path in (RULES, STATE):
            text = text.replace(path, str(self._volumes[path]))
        (self._volumes[FOLDER] / containers.FILE).write_text(text)
        self.env = {one["name"]: one["value"] for one in self.container["env"]}

    def _pod(self, native: bool) -> dict[str, Any]:
        wanted = {
            "ports": f"{self.port}:{self.app.address.rpartition(':')[2]}",
            "admin-port": str(self.admin),
            "health-port": str(self.health),
            "rules": "shop-rules",
        }
        pod: dict[str, Any] = {
            "metadata": {"annotations": {f"misrule.dev/{key}": value for key, value in wanted.items()}},
            "spec": {"containers": [{"name": "shop", "image": "shop:1"}], "terminationGracePeriodSeconds": 6},
        }
        asked = review.read(json.dumps(kubernetes.review(pod)).encode())
        answer = json.loads(review.answer(asked, Settings(native=native)).body)
        assert "warnings" not in answer["response"], answer
        return kubernetes.patched(pod, answer)

    def rules(self, text: str) -> None:
        """Mount the ConfigMap, or swap it for its next version, in one step."""
        place = self._volumes[RULES]
        self._swaps += 1
        data = place / f"..2026_{self._swaps}"
        data.mkdir()
        (data / "rules.yaml").write_text(text)
        (place / "..data_tmp").symlink_to(data.name)
        (place / "..data_tmp").rename(place / "..data")
        if self._swaps == 1:
            (place / "rules.yaml").symlink_to("..data/rules.yaml")

    def start(self) -> Process:
        """Start the container."""
        arguments = [one.replace(FOLDER, str(self._volumes[FOLDER])) for one in self.container["args"]]
        return Process([sys.executable, "-m", "proxy", *arguments], self.env)

    def execute(self, *command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command in the container, as `kubectl exec` and hooks do."""
        assert command[0] == "misrule"
        return subprocess.run(
            [sys.executable, "-m", "proxy", *command[1:]],
            input=given,
            capture_output=True,
            text=True,
            env={**os.environ, **self.env},
            check=False,
            timeout=60,
        )

    def probe(self, name: str) -> int:
        """Do what one of the container's probes does."""
        asked = self.container[name]["httpGet"]
        return status(asked["port"], asked["path"])


@pytest.fixture
def kubelet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubelet]:
    made = Kubelet(tmp_path, native=request.param == "native")
    yield made
    made.app.close()


@pytest.mark.parametrize("kubelet", ["plain"], indirect=True)
def test_an_injected_sidecar_from_its_start_to_its_end(kubelet: Kubelet) -> None:
    kubelet.rules(SLOW)
    assert kubelet.execute("misrule", "ready").returncode == 1
    process = kubelet.start()
    try:
        started = kubelet.execute(*kubelet.container["lifecycle"]["postStart"]["exec"]["command"])
        assert (started.returncode, started.stdout) == (0, "ready\n"), started.stderr + process.text()
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert kubelet.probe(name) == 200

        # The Service's port leads to the application, by way of the faults that the ConfigMap has now.
        for host in ("127.0.0.1", *(["[::1]"] if has_ipv6() else [])):  # pods have either, or both
            assert status(kubelet.port, "/", host) == 200
            assert status(kubelet.health, "/readyz", host) == 200
        assert status(kubelet.port, "/gone") == 410
        kubelet.rules(OTHER)
        eventually(lambda: status(kubelet.port, "/tea") == 418, 20)
        assert status(kubelet.port, "/gone") == 200

        # kubectl exec … misrule rules apply -
        applied = kubelet.execute("misrule", "rules", "apply", "-", given=SLOW)
        assert (applied.returncode, "+ gone" in applied.stdout) == (0, True), applied.stderr
        assert status(kubelet.port, "/gone") == 410
        assert kubelet.execute("misrule", "stop").returncode == 0
        assert status(kubelet.port, "/gone") == 200

        # The pod is deleted: the hook lets it serve on for a while, then drains it; SIGTERM follows.
        begun = time.monotonic()
        hooked = kubelet.execute(*kubelet.container["lifecycle"]["preStop"]["exec"]["command"])
        assert (hooked.returncode, time.monotonic() - begun >= 2.0) == (0, True), hooked.stderr
        assert process.wait(30) == 0, process.text()
    finally:
        process.stop(30)
    assert '"draining"' in process.text()
    assert kubelet.execute("misrule", "ready").returncode == 1


@pytest.mark.parametrize("kubelet", ["native"], indirect=True)
def test_a_pod_starts_without_its_config_map_which_may_come_later(kubelet: Kubelet) -> None:
    process = kubelet.start()
    try:
        eventually(lambda: kubelet.probe("startupProbe") == 200, 30)
        assert status(kubelet.port, "/gone") == 200
        kubelet.rules(SLOW)
        eventually(lambda: status(kubelet.port, "/gone") == 410, 20)
    finally:
        assert process.stop(30) == 0, process.text()
