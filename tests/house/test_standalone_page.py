"""docs/standalone.md shows the very files of deploy/examples, and all of them."""

import pytest

from tests.house import ROOT
from tests.house.markdown import fences, sections

PAGE = sections((ROOT / "docs" / "standalone.md").read_text())
EXAMPLES = {
    "http": "In front of an HTTP service",
    "grpc-tls": "In front of a gRPC service over TLS",
    "postgres": "In front of PostgreSQL",
}


def test_every_example_has_its_section() -> None:
    folders = {path.name for path in (ROOT / "deploy" / "examples").iterdir()}
    assert folders == set(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_page_shows_the_files(example: str) -> None:
    shown = sorted(text for language, text, _ in fences(PAGE[EXAMPLES[example]]) if language != "console")
    files = sorted(
        path.read_text() for path in (ROOT / "deploy" / "examples" / example).iterdir() if path.is_file()
    )
    assert shown == files
