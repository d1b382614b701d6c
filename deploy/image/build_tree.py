#!/usr/bin/env python3
"""Make the file tree of the image: all that ``misrule`` needs to run, and nothing else.

``deploy/image/Dockerfile`` runs this, and so can anybody who has no container engine; the tree is a root that
can be mounted read-only and entered with chroot.  It is made of parts of the machine that runs this (Debian
12: Python, the C library, nft, iptables, the roots that are trusted) and of the product with its
dependencies: compiled and downloaded as ``constraints.txt`` says or, with ``--from FOLDER``, the code as it
stands there (the sources, or ``build/native``) beside the dependencies of the Python that runs this.

Exit status: 0, or 1 with one line that says what is missing.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CONSTRAINTS: Final = Path(__file__).resolve().parent / "constraints.txt"
CODE: Final = ("proxy", "rules", "certs", "misrule__mypyc*.so")
BUILT_OF: Final = (
    *CODE[:3],
    "pyproject.toml",
    "setup.py",
    "build_native.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)
USER: Final = 1337
PROGRAM: Final = Path(os.path.realpath(sys.executable))
BIN: Final = Path("/usr/bin")  # of Debian's own Python; others are beside libraries that the tree has not

PASSWD: Final = f"root:x:0:0:root:/:/sbin/nologin\nmisrule:x:{USER}:{USER}:misrule:/:/sbin/nologin\n"
GROUP: Final = f"root:x:0:\nmisrule:x:{USER}:\n"
COMMAND: Final = """#!{python} -P
import sys

from proxy.cli import main

sys.exit(main())
"""

# Mounted over by whoever runs the image.  Some write there, as whatever user the platform gives them.
EMPTY: Final = {
    "dev": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "run": 0o755,
    "etc/misrule": 0o755,
    "etc/misrule-rules": 0o755,
    "tmp": 0o1777,
    "var/lib/misrule": 0o1777,
}
MERGED: Final = ("bin", "sbin", "lib", "lib64")  # links into usr, as Debian has them

# What of the system comes along, and the package that has it.
SYSTEM: Final = {
    "/usr/sbin/nft": "nftables",
    "/usr/sbin/xtables-nft-multi": "iptables",
    "/usr/sbin/xtables-legacy-multi": "iptables",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/etc/ssl/openssl.cnf": "openssl",
}
WELCOME: Final = ("/etc/nsswitch.conf", "/etc/protocols", "/etc/debian_version", "/etc/os-release")
LINKS: Final = {
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
    "usr/lib/ssl/openssl.cnf": "/etc/ssl/openssl.cnf",
}

# Parts of Python for people who develop, test, or have a screen.
NOT_OF_PYTHON: Final = shutil.ignore_patterns(
    "__pycache__",
    "test",
    "idlelib",
    "lib2to3",
    "tkinter",
    "turtle*",
    "ensurepip",
    "pydoc_data",
    "config-3*",
    "_test*",
    "_xx*",
    "_ctypes_test*",
    "_tkinter*",
    "_sqlite3*",
    "_dbm*",
    "dist-packages",
    "site-packages",
    "EXTERNALLY-MANAGED",
)
NOT_OF_PACKAGES: Final = shutil.ignore_patterns(
    "__pycache__", "tests", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h"
)


class Missing(Exception):
    """Something that the tree needs is not on this machine."""


def run(command: Iterable[object]) -> str:
    """Run a command; its output.  ``Missing`` where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"{' '.join(words[:4])} ... ended with status {done.returncode}: see above")
    return done.stdout


class Tree:
    """A root in the making.  Paths are those that they have when it is the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str | Path) -> Path:
        """Where a path of the root lies now; its folder is made."""
        found = self.root / str(path).lstrip("/")
        found.parent.mkdir(parents=True, exist_ok=True)
        return found

    def copy(self, path: str | Path) -> None:
        """Take a file of this machine to the same place; a link becomes what it leads to."""
        source = Path(path)
        shutil.copy2(source, self.at(source.parent.resolve() / source.name))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file."""
        self.at(path).write_text(text)
        self.at(path).chmod(mode)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self.at(path).symlink_to(target)


def base(tree: Tree) -> None:
    """What every root has: folders, the two users, and files that the C library and OpenSSL read."""
    for name in MERGED:
        tree.at(f"usr/{name}").mkdir(parents=True, exist_ok=True)
        tree.link(name, f"usr/{name}")
    for name, mode in EMPTY.items():
        tree.at(name).mkdir()
        tree.at(name).chmod(mode)
    tree.write("etc/passwd", PASSWD)
    tree.write("etc/group", GROUP)
    for name in ("etc/hosts", "etc/resolv.conf", "etc/hostname"):
        tree.write(name, "")
    for path, package in SYSTEM.items():
        if not os.path.exists(path):
            raise Missing(f"{path} is missing. Install it with: apt-get install -y {package}")
        tree.copy(path)
    for path in WELCOME:
        if os.path.exists(path):
            tree.copy(path)
    for name, target in LINKS.items():
        tree.link(name, target)


def capture(tree: Tree) -> None:
    """The names of iptables, old and new, and what it loads; nft has one name and loads nothing."""
    for found in sorted(Path("/usr/sbin").iterdir()):
        if found.is_symlink() and re.fullmatch(r"ip6?tables-(nft|legacy)(-restore|-save)?", found.name):
            tree.link(f"usr/sbin/{found.name}", os.readlink(found))
    modules = Path("/usr/lib") / str(sysconfig.get_config_var("MULTIARCH")) / "xtables"
    shutil.copytree(modules, tree.at(modules))


def python(tree: Tree) -> Path:
    """The interpreter with its library.  Returns where it looks for packages."""
    tree.copy(PROGRAM)
    for name in ("python3", "python"):
        tree.link(str(PROGRAM.parent / name), PROGRAM.name)
    library = sysconfig.get_path("stdlib")
    shutil.copytree(library, tree.at(library), ignore=NOT_OF_PYTHON, ignore_dangling_symlinks=True)
    return Path(run([PROGRAM, "-I", "-c", "import site; print(site.getsitepackages()[0])"]).strip())


def copy_all(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy files and whole folders."""
    target.mkdir(exist_ok=True)
    for found in [path for pattern in patterns for path in source.glob(pattern)]:
        if found.is_dir():
            shutil.copytree(found, target / found.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(found, target)


def resolved(work: Path) -> Path:
    """Compile the product, and get its dependencies, all as the constraints say.  Returns the folder."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    run([sys.executable, "-m", "venv", work / "venv"])
    pip = [work / "venv/bin/python", "-m", "pip", "-q", "--disable-pip-version-check"]
    run([*pip, "install", "-c", CONSTRAINTS, *build])
    copy_all(ROOT, BUILT_OF, work / "source")  # a build leaves its traces where it was
    os.environ["MISRULE_NATIVE"] = "1"  # an image that is slow without a word would be worse than none
    run([*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", work / "wheels", work / "source"])
    target = ["--target", work / "packages", "--no-compile", "--only-binary", ":all:"]
    run([*pip, "install", "-c", CONSTRAINTS, *target, *(work / "wheels").glob("misrule-*.whl")])
    shutil.rmtree(work / "packages" / "bin", ignore_errors=True)
    return work / "packages"


def needed() -> set[str]:
    """The names of all distributions that the product needs where it runs."""
    # Environments for development have it, Debian's Python has not.
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    left = [Requirement(line) for line in project["dependencies"]]
    while left:
        asked = left.pop()
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        if name in found or (asked.marker is not None and not asked.marker.evaluate({"extra": ""})):
            continue
        try:
            left += map(Requirement, importlib.metadata.requires(name) or [])
        except importlib.metadata.PackageNotFoundError:
            raise Missing(f"{name} is not installed for {sys.executable}") from None
        found.add(name)
    return found


def installed(work: Path, code: Path) -> Path:
    """Copy the code as it stands in a folder, and what the Python that runs this has.  Returns the folder."""
    packages = work / "packages"
    for name in sorted(needed()):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(distribution.locate_file(file)), packages / file)
    copy_all(code, CODE, packages)
    return packages


def libraries(tree: Tree) -> None:
    """The shared libraries of all programs and modules in the tree, and the loader."""
    programs = [p for p in (tree.root / "usr").rglob("*") if p.is_file() and not p.is_symlink()]
    binaries = [p for p in programs if p.open("rb").read(4) == b"\x7fELF"]
    listed = subprocess.run(["ldd", *map(str, binaries)], stdout=subprocess.PIPE, text=True, check=False)
    for path in sorted(set(re.findall(r"(/\S+) \(0x", listed.stdout))):
        if not path.startswith(f"{tree.root}/"):
            tree.copy(path)
    missing = sorted(set(re.findall(r"(\S+) => not found", listed.stdout)))
    if missing:
        raise Missing(f"shared libraries are missing: {', '.join(missing)}")


def origins(tree: Tree) -> None:
    """Note which of Debian's packages, with which version and licence, the files are of.

    ``/var/lib/dpkg/status.d`` is where scanners for vulnerabilities look in images that have no dpkg.
    """
    files = [f"/{path.relative_to(tree.root)}" for path in (tree.root / "usr").rglob("*") if path.is_file()]
    asked = [*files, *(path.removeprefix("/usr") for path in files)]  # older packages name no /usr
    found = subprocess.run(["dpkg-query", "-S", *asked], capture_output=True, text=True, check=False).stdout
    for package in sorted(set(re.findall(r"^([\w.+-]+)[:, ]", found, re.MULTILINE))):
        tree.write(f"var/lib/dpkg/status.d/{package}", run(["dpkg-query", "-s", package]))
        licence = f"/usr/share/doc/{package}/copyright"
        if os.path.exists(licence):
            shutil.copy2(licence, tree.at(licence))  # some packages share a folder, by a link


def build(root: Path, code: Path | None) -> None:
    """Make the tree in an empty folder; ``code``: take the product from there, and get nothing."""
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    if any(root.iterdir()):
        raise Missing(f"an empty folder is missing: {root} has something in it")
    if PROGRAM.parent != BIN:
        raise Missing(f"Debian's own Python is missing: this is {PROGRAM}. Run it with {BIN}/python3")
    root.chmod(0o755)
    tree = Tree(root)
    base(tree)
    capture(tree)
    packages = python(tree)
    with tempfile.TemporaryDirectory(prefix="misrule-tree-") as folder:
        found = resolved(Path(folder)) if code is None else installed(Path(folder), code.resolve())
        shutil.copytree(found, tree.at(packages), ignore=NOT_OF_PACKAGES)
    tree.write("usr/bin/misrule", COMMAND.format(python=PROGRAM), 0o755)
    libraries(tree)
    origins(tree)
    # A root that is read-only can keep no bytecode.  Hashes in place of times: layers of images round these.
    compiling = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"]
    strip = ["-s", root, "-p", "/"]
    run([*compiling, *strip, tree.at(sysconfig.get_path("stdlib")), tree.at(packages)])


def main() -> None:
    """Read the arguments and build."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("root", type=Path, help="an empty folder, or one that is yet to be made")
    parser.add_argument("--from", dest="code", type=Path, metavar="FOLDER", help="where the code stands")
    given = parser.parse_args()
    os.umask(0o022)
    try:
        build(given.root, given.code)
    except Missing as missing:
        sys.exit(f"{Path(__file__).name}: {missing}")


if __name__ == "__main__":
    main()
