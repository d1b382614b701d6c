"""Just enough Markdown to check our own pages."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house import ROOT

LINK = re.compile(
    r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\""
)


def pages() -> list[Path]:
    """Every Markdown page of the tree that we wrote."""
    top = list(ROOT.glob("*.md"))
    deeper = (p for folder in ("docs", "rules", "benchmarks", "proxy") for p in (ROOT / folder).rglob("*.md"))
    return sorted([*top, *deeper])


def fences(text: str) -> Iterator[tuple[str, str, int]]:
    """Every fenced block: language, text, line (from 1) of its first line."""
    language, block, start = None, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```\s*(\w*)", line)
        if fence is None:
            block.append(line)
        elif language is None:
            language, block, start = fence[1], [], number + 1
        else:
            yield language, "\n".join(block) + "\n", start
            language = None


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """The targets of every link and picture outside of fenced blocks."""
    return [next(part for part in found if part) for found in LINK.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """What ``#fragment`` may point to: headings, written as GitHub does."""
    titles = re.findall(r"^#+ +(.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sections(text: str) -> dict[str, str]:
    """The page's second-level sections by title (back-ticks dropped)."""
    parts = re.split(r"^## +", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].strip("` "): part.partition("\n")[2] for part in parts}
