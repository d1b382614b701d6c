"""The compiled half of the build; everything else stands in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))  # build front ends do not put it there

from build_native import extensions

# Front ends run this file for metadata too, and for editable installs, which would leave compiled
# files beside the sources: only a real build compiles.
BUILDS = {"bdist_wheel", "build", "build_ext", "install"}

setup(ext_modules=extensions() if BUILDS & set(sys.argv) else [])
