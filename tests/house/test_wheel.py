"""What a user installs has all that the source tree has, presets included: wheel and compiled copy."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_native
from rules.presets import names
from tests.house import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the tree, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for package in build_native.PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "build_native.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    environment = {**os.environ, "MISRULE_NATIVE": "0"}
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_has_the_presets(unpacked: Path) -> None:
    assert sorted(path.stem for path in (unpacked / "rules" / "presets").glob("*.yaml")) == names()


def test_the_command_finds_them_there(unpacked: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "proxy", "check", "preset:retry-storm"]
    done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{unpacked / 'rules/presets/retry-storm.yaml'}: ok, 2 rules\n"


def test_the_compiled_copy_has_them_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_native, "TARGET", tmp_path)
    gone = tmp_path / "rules" / "presets" / "gone.yaml"
    gone.parent.mkdir(parents=True)
    gone.write_text("version: 1\nrules: []\n")
    build_native.copy_sources()
    assert sorted(path.stem for path in gone.parent.glob("*.yaml")) == names()
