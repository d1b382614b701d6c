"""Ready rule files, one for each failure that people rehearse; each ``*.yaml`` beside this file is one.

A file begins with comments: a line that says what happens, and one that says by which ``Protocols:``.  The
lines behind these, for readers alone, say what a good client does, and what one might change.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rules.params import nearest

SCHEME: Final = "preset:"  # before a preset's name, where a rule file may be named
FOLDER: Final = Path(__file__).parent
_PROTOCOLS: Final = "Protocols:"


@dataclass(frozen=True)
class Preset:
    """A ready rule file: its name, what it rehearses, and the protocols on which it does."""

    name: str
    rehearses: str
    protocols: tuple[str, ...]
    path: str

    @property
    def text(self) -> str:
        """The file."""
        return Path(self.path).read_text("utf-8")


def presets() -> list[Preset]:
    """Give all of them, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]


def names() -> list[str]:
    """Name all of them."""
    return [path.stem for path in sorted(FOLDER.glob("*.yaml"))]


def preset(name: str) -> Preset:
    """Give one; raises ValueError with what to say where there is none of that name."""
    if name not in names():
        raise ValueError(unknown(name))
    return _read(FOLDER / f"{name}.yaml")


def located(path: str) -> str:
    """Give the path of the file where a preset is named, ``preset:NAME``; any other path as it is.

    A name that no preset has gives a path to nothing, as that of a missing file does.
    """
    return str(FOLDER / f"{path.removeprefix(SCHEME)}.yaml") if path.startswith(SCHEME) else path


def missing(path: str) -> str:
    """Say what is wrong with a path that names a preset which is not there; "" where nothing is."""
    name = path.removeprefix(SCHEME)
    return unknown(name) if path.startswith(SCHEME) and name not in names() else ""


def unknown(name: str) -> str:
    """Say that there is no such preset, and which one may be meant."""
    near = nearest(name, names())
    hint = f'did you mean "{near}"?' if near else "`misrule presets` lists them"
    return f'there is no preset "{name}"; {hint}'


def _read(path: Path) -> Preset:
    """Read what the comments at the file's beginning say."""
    first, second, _ = path.read_text("utf-8").split("\n", 2)
    listed = second.removeprefix(f"# {_PROTOCOLS}").split(",")
    return Preset(path.stem, first.strip("# ."), tuple(name.strip() for name in listed), str(path))
