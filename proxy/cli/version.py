"""What ``misrule --version`` says."""

import platform
from importlib import metadata

from proxy import __version__, build_kind


def version_line() -> str:
    """Give for example ``misrule 0.1.0, compiled (CPython 3.11.2, uvloop 0.23.0)``."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        loop = f"uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        loop = "uvloop missing"
    return f"misrule {__version__}, {build_kind()} ({python}, {loop})"
