"""The house keeps itself in order: names, sizes, tables and docs are checked like code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("proxy", "rules", "certs")


def modules(*packages: str) -> list[Path]:
    """Every Python file of these packages (all three where none is given)."""
    return sorted(path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    """The path as it is written in messages: from the root of the tree."""
    return path.relative_to(ROOT).as_posix()
