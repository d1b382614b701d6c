"""The image without a container engine: its tree, what its Dockerfile says, and processes sealed in it."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.need import need, step_aside
from tests.support.process import ROOT

FOLDER: Final = "/etc/misrule"  # where processes see the folder that they are given
STATE: Final = "/var/lib/misrule"

# What a container runtime does to its first process: no capability, now or ever, then the user.
CONFINE: Final = """
import ctypes, os, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
number = 0
while prctl(24, number, 0, 0, 0) == 0:  # PR_CAPBSET_DROP, until there is no such capability
    number += 1
os.setgroups([])
user, group = map(int, sys.argv[1].split(":"))
os.setresgid(group, group, group)
os.setresuid(user, user, user)
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Dockerfile:
    """What the Dockerfile says, by the words that its instructions begin with."""

    def __init__(self) -> None:
        text = (ROOT / "deploy" / "image" / "Dockerfile").read_text()
        joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
        self.lines = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]

    def all(self, word: str) -> list[str]:
        """Give what stands behind each instruction of this name."""
        return [rest for found, rest in self.lines if found == word]

    def command(self, word: str) -> list[str]:
        """Give the command of ENTRYPOINT, CMD or HEALTHCHECK."""
        (rest,) = self.all(word)
        found: list[str] = json.loads(rest[rest.index("[") :])
        return found

    @property
    def user(self) -> str:
        """What USER says."""
        return self.all("USER")[0]

    @property
    def environment(self) -> list[str]:
        """The variables, as NAME=value."""
        return [word for rest in self.all("ENV") for word in shlex.split(rest)]


def need_sealing() -> None:
    """Skip the test where no process can be given a root of its own."""
    for tool in ("unshare", "setpriv", "chroot", "nft", "iptables"):
        need(tool)
    if os.geteuid() != 0:
        step_aside("a root of one's own takes root")
    if not Path("/etc/debian_version").exists():
        step_aside("the image is made of Debian's parts")
    if Path(os.path.realpath(sys.executable)).parent != Path("/usr/bin"):
        step_aside("the image is made with Debian's own Python, and this is another")
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False)
    if tried.returncode != 0:
        step_aside("no mount namespace of our own may be made")


def sealed(
    root: Path,
    command: Sequence[str],
    folder: Path | None = None,
    variables: Sequence[str] = (),
    alone: bool = False,
) -> list[str]:
    """Give what runs a command of the image in its tree, read-only, as its user and without any capability.

    ``folder`` is seen at ``/etc/misrule``.  ``alone``: as root with capabilities and a network of its own, as
    the init container that captures; its root is no less read-only.
    """
    dockerfile = Dockerfile()
    tree = shlex.quote(str(root))
    steps = [
        f"mount --bind {tree} {tree}",
        f"mount -o remount,bind,ro {tree}",
        f"mount --bind /proc {tree}/proc",
        f"mount --bind /dev {tree}/dev",
        f"mount -t tmpfs -o mode=1777 none {tree}{STATE}",
    ]
    if folder is not None:
        steps.append(f"mount --bind {shlex.quote(str(folder))} {tree}{FOLDER}")
        steps.append(f"mount -o remount,bind,ro {tree}{FOLDER}")
    confine = [] if alone else ["python3", "-I", "-c", CONFINE, dockerfile.user]
    environment = ["env", "-i", *dockerfile.environment, *variables]
    chroot = [need("chroot"), str(root)]  # by its path: PATH is the image's by then
    inner = ["setpriv", "--inh-caps=-all", *environment, *chroot, *confine, *command]
    own = ["unshare", "-m", *(["-n"] if alone else [])]
    return [*own, "sh", "-c", " && ".join([*steps, f"exec {shlex.join(inner)}"])]
