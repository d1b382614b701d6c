"""Rules outlive whatever happens: kill -9 in the middle of writes, swaps of a ConfigMap in quick succession.

CI does a few rounds.  A person does them all, and reads the figures:
``MISRULE_KILLS=150 MISRULE_SWAPS=1000 pytest -s --timeout 0 tests/e2e/test_state.py``.
"""

import http.client
import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause
from tests.support.wire import Gone, Wire, get

KILLS = int(os.environ.get("MISRULE_KILLS", "4"))
SWAPS = int(os.environ.get("MISRULE_SWAPS", "50"))
BURST = 25  # swaps between two looks whether the last one is in force
WRITERS = 4


def figures(values: Sequence[float]) -> str:
    """Say how a number of times spread, in ms."""
    ranked = sorted(value * 1000 for value in values)
    return f"median {statistics.median(ranked):.0f}, longest {ranked[-1]:.0f} ms of {len(ranked)}"


class Writer(threading.Thread):
    """Writes one rule again and again, and remembers what was acknowledged; ends when nobody answers."""

    def __init__(self, address: str, name: str, number: int) -> None:
        super().__init__()
        self.name = name
        self.number = number  # of the newest write that was tried
        self.acknowledged: str | None = None  # the description that the rule must have; None: no rule
        self.tried: str | None = None  # ... or may have, as nobody knows what became of it
        self.version = 0
        self.count = 0
        self._address = address

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=20)
        try:
            while True:
                self._write(connection)
        except (OSError, http.client.HTTPException):
            pass  # the proxy was killed
        finally:
            connection.close()

    def _write(self, connection: http.client.HTTPConnection) -> None:
        self.number += 1
        path = f"/v1/rules/{self.name}"
        if self.number % 5 == 0 and self.acknowledged is not None:
            self.tried = None
            connection.request("DELETE", path)
        else:
            self.tried = f"number {self.number}"
            made = rule(self.name, {"delay": "1ms"}, match={"path": f"/{self.name}"}, description=self.tried)
            connection.request("PUT", path, json.dumps(made), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        self.version = json.loads(text)["version"]
        self.acknowledged = self.tried
        self.count += 1


class Load(threading.Thread):
    """Asks until it is told to end; the proxy may go away meanwhile."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.over = threading.Event()
        self._address = address

    def run(self) -> None:
        try:
            with Wire.to(self._address) as wire:
                while not self.over.is_set():
                    wire.ask(get("/bytes/100"))
        except (OSError, Gone):
            pass


class Kills:
    """Rounds of: start, write under load, kill."""

    def __init__(self, home: Path, upstream: str) -> None:
        self.starts: list[float] = []
        self.work: list[float] = []  # what of them was work, and not waiting for a core
        self.left = 0  # files that were left over by a killed process
        self.acknowledged = 0
        self.writers: list[Writer] = []
        self._home = home
        self._upstream = upstream

    def start(self) -> Proxy:
        listener = {"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "shop"}]}
        config = {
            "listeners": [listener],
            "upstreams": {"shop": {"address": self._upstream}},
            "state_dir": "state",
        }
        begun = time.monotonic()
        proxy = Proxy(self._home, config=config)
        self.starts.append(time.monotonic() - begun)
        self.work.append(proxy.process.cpu())
        return proxy

    def check(self, proxy: Proxy) -> None:
        """See that what was acknowledged is in force."""
        running = proxy.admin("GET", "/v1/rules")
        assert running["version"] > max((writer.version for writer in self.writers), default=0)
        there = {view["name"]: view["rule"]["description"] for view in running["rules"]}
        for writer in self.writers:
            found = there.get(writer.name)
            assert found in (writer.acknowledged, writer.tried), (writer.name, found)
            self.acknowledged += writer.count
        assert proxy.records(event="state_set_aside") == []  # nothing is torn
        assert proxy.records(event="state_rule_dropped") == []
        self.left += sum(int(line["files"]) for line in proxy.records(event="state_cleaned"))

    def write_and_kill(self, proxy: Proxy, after: float) -> None:
        before = {writer.name: writer for writer in self.writers}
        there = {view["name"]: view["rule"] for view in proxy.admin("GET", "/v1/rules")["rules"]}
        self.writers = []
        for name in (f"w{number}" for number in range(WRITERS)):
            writer = Writer(proxy.admin_address, name, before[name].number if before else 0)
            writer.acknowledged = writer.tried = there.get(name, {}).get("description")
            self.writers.append(writer)
        load = Load(proxy.address)
        for thread in (*self.writers, load):
            thread.start()
        eventually(lambda: any(writer.count for writer in self.writers), 20.0)
        pause(after)
        proxy.process.signal(signal.SIGKILL)
        assert proxy.process.wait(20.0) == -signal.SIGKILL
        proxy.process.stop()  # closes its log
        load.over.set()
        for thread in (*self.writers, load):
            thread.join(20)


def test_killed_in_the_middle_of_writes(shop: Scripted, tmp_path: Path) -> None:
    """No acknowledged rule is lost, nothing is torn, and it starts at once."""
    rounds = Kills(tmp_path, shop.address)
    dice = random.Random(7)
    for _ in range(KILLS):
        proxy = rounds.start()
        rounds.check(proxy)
        rounds.write_and_kill(proxy, dice.uniform(0.0, 0.3))
    proxy = rounds.start()
    rounds.check(proxy)
    proxy.stop()
    print(
        f"\n{KILLS} kill -9 during {rounds.acknowledged} acknowledged writes by {WRITERS} writers: "
        f"none lost, none torn, {rounds.left} left-overs removed; starts: {figures(rounds.starts)}, "
        f"of CPU: {figures(rounds.work)}"
    )
    assert rounds.acknowledged > KILLS


# ConfigMaps


class Mounted:
    """A ConfigMap as it is mounted: two files that link into ..data, which is swapped in one step."""

    def __init__(self, folder: Path) -> None:
        self.number = 0
        self._folder = folder
        folder.mkdir()
        self.swap()
        for name in ("one.yaml", "two.yaml"):
            (folder / name).symlink_to(f"..data/{name}")

    def swap(self) -> None:
        """Put the next state of both files in the place of this one, as a kubelet does."""
        self.number += 1
        data = self._folder / f"..{self.number}"
        data.mkdir()
        for name, fault in (("one", "{delay: 1ms}"), ("two", "{abort: 503}")):
            stamped = f"version: 1\nrules:\n  - {{name: {name}-{self.number}, faults: [{fault}]}}\n"
            (data / f"{name}.yaml").write_text(stamped)
        (self._folder / "..data_tmp").symlink_to(data.name)
        (self._folder / "..data_tmp").rename(self._folder / "..data")
        before = self._folder / f"..{self.number - 1}"
        if before.exists():
            for file in before.iterdir():
                file.unlink()
            before.rmdir()


class Watcher(threading.Thread):
    """Asks all the time which state is in force: the two rules of a set must be of the same one.

    An exchange may have one of them alone: what is held for a rule that goes away is let go.
    """

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.state = 0
        self.seen: set[int] = set()
        self.count = 0
        self.error: BaseException | None = None
        self.over = threading.Event()
        self._proxy = proxy

    def run(self) -> None:
        try:
            with Wire.to(self._proxy.address) as wire:
                while not self.over.is_set():
                    proofs = wire.ask(get("/")).all("x-misrule")
                    states = {int(proof.split(";")[0].partition("-")[2]) for proof in proofs}
                    assert len(states) <= 1, proofs
                    self.seen |= states
                    self.state = max(states, default=self.state)
                    self.count += 1
                    if self.count % 20 == 0:
                        there = self._proxy.admin("GET", "/v1/rules")["rules"]
                        assert len({view["name"].partition("-")[2] for view in there}) == 1, there
                        assert len(there) == 2, there
        except BaseException as error:
            self.error = error


def test_swapped_in_quick_succession(launch: Launch, shop: Scripted, tmp_path: Path) -> None:
    """The last state is in force soon, none is torn, no request is lost."""
    mounted = Mounted(tmp_path / "mounted")
    proxy = launch(shop.address, rules=[tmp_path / "mounted"])
    watcher = Watcher(proxy)
    watcher.start()
    took: list[float] = []
    try:
        while mounted.number < SWAPS:
            for _ in range(BURST):
                mounted.swap()
                pause(0.01)
            begun = time.monotonic()
            eventually(lambda: watcher.error or watcher.state == mounted.number, 10.0)
            took.append(time.monotonic() - begun)
    finally:
        watcher.over.set()
        watcher.join(20)
    assert watcher.error is None
    assert proxy.metric("misrule_rules_reloads_total", layer="file", result="failure") == 0
    versions = proxy.admin("GET", "/v1/rules/versions")
    assert versions["versions"][0]["added"] == [f"one-{mounted.number}", f"two-{mounted.number}"]
    print(
        f"\n{mounted.number} swaps, {BURST} at a time, under {watcher.count} requests: none lost, none torn, "
        f"{len(watcher.seen)} states were in force; the last one of each after: {figures(took)}"
    )
