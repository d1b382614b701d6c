"""The image, without a container engine: its tree as a read-only root, entered as the Dockerfile says."""

import fnmatch
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects import envoy
from benchmarks.load.upstream import Upstream
from proxy.injector import settings
from tests.support.image import FOLDER, STATE, Dockerfile, need_sealing, sealed
from tests.support.need import not_fetched
from tests.support.process import ROOT, Process
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wire import Wire, get

IMAGE = ROOT / "deploy" / "image"
BUILD = os.environ.get("MISRULE_EXPECT", "interpreted")
CODE = ROOT / "build" / "native" if BUILD == "compiled" else ROOT


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, of the code under test and the packages of this environment: nothing is downloaded."""
    need_sealing()
    root = tmp_path_factory.mktemp("image") / "tree"
    command = [sys.executable, str(IMAGE / "build_tree.py"), str(root), "--from", str(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return root


class Container:
    """A proxy in the tree, with its configuration as a read-only mount."""

    def __init__(self, tree: Path, folder: Path, shop: Scripted) -> None:
        self.tree = tree
        self.folder = folder
        listener = {"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "shop"}]}
        config = {
            "listeners": [listener],
            "upstreams": {"shop": {"address": shop.address}},
            "state_dir": STATE,
        }
        self.proxy = Proxy(folder, config=config, around=self._inside)

    def _inside(self, command: list[str]) -> list[str]:
        dockerfile = Dockerfile()
        assert command[-3:] == ["run", "--config", str(self.folder / "misrule.yaml")]
        return sealed(self.tree, [*dockerfile.command("ENTRYPOINT"), *dockerfile.command("CMD")], self.folder)

    def healthy(self) -> tuple[int, str]:
        """Do the image's health check as a container engine does; exit status and what it says."""
        variables = [f"MISRULE_ADMIN={self.proxy.admin_address}"]
        return inside(self.tree, Dockerfile().command("HEALTHCHECK"), variables=variables)


def inside(tree: Path, command: Sequence[str], **more: Any) -> tuple[int, str]:
    """Run a command in the tree to its end; exit status and output."""
    whole = sealed(tree, command, **more)
    done = subprocess.run(
        whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def container(tree: Path, tmp_path: Path) -> Iterator[Container]:
    shop = Scripted()
    made = Container(tree, tmp_path / "config", shop)
    yield made
    if made.proxy.process.status is None:
        made.proxy.stop()
    shop.close()


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def asked(proxy: Proxy, path: str) -> int:
    with Wire.to(proxy.address) as wire:
        wire.send(get(path))
        return wire.answer().status


def test_it_serves_without_rights_on_a_read_only_root(container: Container) -> None:
    proxy = container.proxy
    process = status_of(proxy.process.pid)
    assert (process["Uid"], process["Gid"], process["Groups"]) == (["1337"] * 4, ["1337"] * 4, [])
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(process[kind][0], 16) == 0, kind
    assert process["NoNewPrivs"] == ["1"]
    mounts = [line.split() for line in Path(f"/proc/{proxy.process.pid}/mountinfo").read_text().splitlines()]
    (root,) = [mount for mount in mounts if mount[4] == "/"]
    assert "ro" in root[5].split(",")

    assert container.healthy() == (0, "ready\n")
    assert asked(proxy, "/orders") == 200
    proxy.put(rule("gone", {"abort": 410}, match={"path": "/orders"}))  # kept in the folder that it may write
    assert [asked(proxy, path) for path in ("/orders", "/carts")] == [410, 200]
    assert proxy.injections(rule="gone", fault="abort") == 1

    proxy.stop()  # SIGTERM; fails where the exit status is not 0
    code, said = container.healthy()
    assert (code == 0, "not reachable" in said) == (False, True)


def test_nothing_of_it_can_be_written(tree: Path) -> None:
    attempt = "open('/etc/misrule.txt', 'w')"
    for alone in (False, True):  # not by root either, as which the init container runs
        code, said = inside(tree, ["python3", "-c", attempt], alone=alone)
        assert (code, said.splitlines()[-1].partition(":")[0]) == (1, "OSError"), said
        assert "Read-only file system" in said


@pytest.mark.parametrize("tool", ["nft", "iptables-nft", "iptables-legacy"])
def test_its_init_container_captures(tree: Path, tool: str) -> None:
    script = (
        "import subprocess, sys\n"
        "for words in (['apply', '--tool', sys.argv[1]], ['show'], ['remove'], ['show']):\n"
        "    subprocess.run(['misrule', 'capture', *words], check=True)\n"
    )
    own = Path("/usr/sbin/nft" if tool == "nft" else f"/usr/sbin/{tool}-save")
    assert (tree / str(own).lstrip("/")).exists()
    code, said = inside(tree, ["python3", "-c", script, tool], alone=True)
    assert code == 0, said
    assert f"inbound connections go to port 15106, by {tool}\n" in said


def test_it_trusts_whom_the_system_trusts(tree: Path) -> None:
    ask = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    assert inside(tree, ["python3", "-c", ask]) == (0, "True\n")


def test_it_is_the_build_that_was_asked_for(tree: Path) -> None:
    code, said = inside(tree, ["misrule", "--version"])
    assert (code, BUILD in said) == (0, True), said


def test_it_says_of_what_it_is_made(tree: Path) -> None:
    notes = list((tree / "var/lib/dpkg/status.d").iterdir())
    assert {"libc6", "libssl3", "nftables", "iptables", "python3.11-minimal"} <= {note.name for note in notes}
    for note in notes:
        assert f"Package: {note.name}\n" in note.read_text()
        assert (tree / "usr/share/doc" / note.name / "copyright").exists(), note.name


def size(root: Path) -> float:
    """MiB of all files below, or of one."""
    files = [path for path in root.rglob("*") if not path.is_symlink()] if root.is_dir() else [root]
    return sum(path.stat().st_size for path in files) / 2**20


def test_size_and_memory_beside_envoys(
    container: Container, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """Figures for people.  The bounds are what would be a mistake: a second Python, a compiler, the tests."""
    for _ in range(20):
        assert asked(container.proxy, "/") == 200
    ours, memory = size(container.tree), container.proxy.process.memory() / 1024
    figures(f"image, {BUILD}: {ours:.0f} MiB of files; {memory:.0f} MiB RSS when it has served")
    assert ours < 200
    assert memory < 150
    program = envoy.find()
    if not program:
        not_fetched("Envoy")
    written = tmp_path / "envoy.json"
    written.write_text(envoy.config(0, Upstream(9), RuleSet("none", ())))
    more = ["--concurrency", "1", "--disable-hot-restart", "-l", "info"]
    process = Process([program, "-c", str(written), *more])
    try:
        process.wait_line("starting workers")
        theirs = process.memory() / 1024
        figures(f"Envoy: {size(Path(program)):.0f} MiB, its program alone; {theirs:.0f} MiB RSS")
    finally:
        process.stop()


# What the Dockerfile says, for those who have an engine


def ignored(name: str) -> bool:
    """Whether ``.dockerignore`` keeps a path away from the engine; the last line that fits counts."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        parents = [str(parent) for parent in Path(name).parents if str(parent) != "."]
        if not line.startswith("#") and any(fnmatch.fnmatch(one, pattern) for one in (name, *parents)):
            found = not line.startswith("!")
    return found


def test_what_it_copies_is_there() -> None:
    copied = [rest.split()[:-1] for rest in Dockerfile().all("COPY") if not rest.startswith("--from")]
    names = [name for words in copied for name in words]
    assert {"pyproject.toml", "proxy", "rules", "certs", "deploy/image"} <= set(names)
    assert [name for name in names if not (ROOT / name).exists() or ignored(name)] == []
    assert [ignored(name) for name in (".git", ".venv", "tests", "deploy/helm", "build")] == [True] * 5


def test_it_is_what_the_manifests_expect() -> None:
    dockerfile = Dockerfile()
    assert dockerfile.user == "1337:1337"
    assert dockerfile.command("ENTRYPOINT") == ["misrule"]
    assert dockerfile.command("CMD") == ["run", "--config", f"{settings.FOLDER}/misrule.yaml"]
    assert (settings.FOLDER, settings.STATE) == (FOLDER, STATE)
    assert dockerfile.all("FROM")[-1] == "scratch"


def test_the_constraints_are_those_of_the_project() -> None:
    """Each dependency, and what builds, is pinned, and to a version that the project takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [
        line for line in (IMAGE / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    ]
    pinned = dict(line.split("==") for line in lines)
    for text in [*project["project"]["dependencies"], *project["build-system"]["requires"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), text


def test_another_python_than_debians_is_refused_in_one_line(tmp_path: Path) -> None:
    """Found where ``python3`` is pyenv's: the tree was made, and nothing in it could be run."""
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", tmp_path / "own"], check=True)
    own = tmp_path / "own" / "bin" / "python"
    script: list[str | Path] = [own, "-I", IMAGE / "build_tree.py", tmp_path / "tree", "--from", ROOT]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("build_tree.py: Debian's own Python is missing: this is ")
    assert done.stderr.endswith("Run it with /usr/bin/python3\n")
    assert not any((tmp_path / "tree").iterdir())
