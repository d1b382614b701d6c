"""The pages are true: links lead somewhere, examples parse, commands exist, names are the code's."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import yaml

from proxy.cli import main
from proxy.config import options
from proxy.config.read import parse as parse_config
from rules.parse import parse_rules
from tests.house import ROOT, relative
from tests.house.markdown import anchors, fences, links, pages
from tests.support import kubernetes
from tests.support.manifests import check_all, load

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page.read_text()):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert broken == []


def examples(language: str) -> Iterator[tuple[str, str]]:
    """Every fenced block of a language in every page: (place, text)."""
    for page in PAGES:
        for found, text, line in fences(page.read_text()):
            if found == language:
                yield f"{relative(page)}:{line}", text


def as_rules(text: str) -> str:
    """Make a document of what may be a whole one, a list of rules, one rule, or only its faults."""
    keys = yaml.compose(text)
    if isinstance(keys, yaml.SequenceNode):
        return "version: 1\nrules:\n" + text
    names = {key.value for key, _ in keys.value} if isinstance(keys, yaml.MappingNode) else set()
    if "rules" in names:
        return text
    named = text if "name" in names else "name: example\n" + text
    whole = named if "faults" in names else named + "faults: [{abort: 503}]\n"
    indented = whole.replace("\n", "\n    ").rstrip()
    return "version: 1\nrules:\n  - " + indented + "\n"


@pytest.mark.parametrize(("place", "text"), list(examples("yaml")), ids=lambda value: value[:60])
def test_every_yaml_example_is_accepted(place: str, text: str) -> None:
    if re.search(r"^apiVersion:", text, re.MULTILINE):
        check_all(load(text), kubernetes.versions()[-1])
    elif re.search(r"^(listeners|upstreams|admin):", text, re.MULTILINE):
        parse_config(text.encode(), place)
    else:
        assert parse_rules(as_rules(text).encode(), place)


def commands() -> list[tuple[str, str]]:
    """Every ``misrule …`` that a page tells somebody to type, in shell blocks and inline."""
    found = []
    for language in ("sh", "console"):
        for place, text in examples(language):
            joined = text.replace("\\\n", " ")
            for line in joined.splitlines():
                typed = re.match(r"\$ (.*)", line) if language == "console" else re.match(r"(.*)", line)
                command = typed[1] if typed else ""
                found += [
                    (place, c) for c in re.findall(r"(?:^|[|;&] *|/)(misrule(?![\w./-])[^|;&>]*)", command)
                ]
    return found


@pytest.mark.parametrize(("place", "typed"), commands())
def test_every_command_exists(place: str, typed: str) -> None:
    """Names of commands and options are those of the program; arguments are not looked at."""
    words = shlex.split(typed, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None, f"{place}: {typed}"
        command = found
    known = {name for parameter in command.get_params(context) for name in parameter.opts}
    asked = {word.split("=")[0] for word in words if word.startswith("--")}
    assert asked <= known, f"{place}: {typed}"


def test_the_command_line_page_has_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [name for name in main.list_commands(click.Context(main)) if f"misrule {name}" not in page] == []


def fields(struct: type[msgspec.Struct]) -> Iterator[str]:
    """The names of the options of a section and of the sections in it, as they stand in a file."""
    for field in msgspec.structs.fields(struct):
        yield field.encode_name


SECTIONS = [
    kind for kind in vars(options).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]


@pytest.mark.parametrize(
    "section", [s for s in SECTIONS if s is not msgspec.Struct], ids=lambda s: s.__name__
)
def test_the_configuration_page_has_every_option(section: type[msgspec.Struct]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in fields(section) if f"`{name}`" not in page] == []


# Said in two halves, so that this file passes its own test.
FOREIGN = re.compile(
    "|".join(["pypi" + r"\.org", "python" + r"hosted", "registry" + r"\.npm", "crates" + r"\.io"])
)
MACHINE = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", "/tmp/" + "v311", "snapshot" + r"\.debian"]))


def tracked() -> list[Path]:
    """Every text file that git knows; a tree without git has nothing to publish."""
    if not (ROOT / ".git").exists():
        return []
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        ROOT / name for name in listed.stdout.split("\0") if name and not name.endswith((".png", ".lock"))
    ]


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    bad = []
    for path in tracked():
        text = path.read_text(errors="replace") if path.exists() else ""
        bad += [
            f"{relative(path)}: {found[0]}" for found in [*FOREIGN.finditer(text), *MACHINE.finditer(text)]
        ]
    assert bad == []
