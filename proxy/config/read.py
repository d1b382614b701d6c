"""A configuration file to a ``Config``; every mistake with its place."""

import os
from typing import Any

from msgspec import structs

from proxy.config.checks import Findings, cross_check
from proxy.config.options import Config
from proxy.config.tables import CONFIG
from rules.model import Place
from rules.params import BadValue, Trouble
from rules.presets import SCHEME
from rules.text import Document, Node, Problem, RulesError, path_text, read


def load(path: str, warnings: list[Problem] | None = None) -> Config:
    """Read a configuration file.

    Paths in it are relative to its directory.  What is most likely not meant goes to ``warnings``.
    Raises RulesError with every mistake, also where the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RulesError([Problem(Place(path), "", f"cannot read the file: {why}")]) from None
    config = parse(data, path, warnings)
    base = os.path.dirname(path)
    return _relative_to(base, config) if base else config


def parse(data: bytes, source: str, warnings: list[Problem] | None = None) -> Config:
    """Read a configuration from its text; paths in it stay as they are.  Raises RulesError."""
    node = read(data, source)
    config, found = read_config(node)
    if warnings is not None:
        warnings += [_problem(node.document, trouble) for trouble in found.warnings]
    node.document.check()
    assert config is not None  # whatever kept it from being read was noted
    return config


def read_config(node: Node) -> tuple[Config | None, Findings]:
    """Read a document; mistakes are noted in it, and None stands for what they spoilt."""
    config: Config | None = None
    try:
        config = CONFIG.parse(node.value)
    except BadValue as bad:
        node.document.note_all((), bad.troubles)
    found = cross_check(node.value)
    node.document.note_all((), found.troubles)
    return config, found


def _problem(document: Document, trouble: Trouble) -> Problem:
    return Problem(document.locate(trouble.path, trouble.at_key), path_text(trouble.path), trouble.message)


def _relative_to(base: str, config: Config) -> Config:
    rules = [path if path.startswith(SCHEME) else os.path.join(base, path) for path in config.rules]
    admin = config.admin
    if admin is not None and admin.token_file:
        admin = structs.replace(admin, token_file=os.path.join(base, admin.token_file))
    return structs.replace(
        config,
        rules=rules,
        admin=admin,
        certs=_beside(base, config.certs, "dir"),
        state_dir=os.path.join(base, config.state_dir) if config.state_dir else "",
        listeners=[
            structs.replace(one, tls=_beside(base, one.tls, "certificate", "key", "client_ca"))
            for one in config.listeners
        ],
        upstreams={
            name: structs.replace(one, tls=_beside(base, one.tls, "ca", "crl", "certificate", "key"))
            for name, one in config.upstreams.items()
        },
    )


def _beside(base: str, section: Any, *names: str) -> Any:
    """Give a section with the paths of these fields relative to a folder; absent ones stay so."""
    if section is None:
        return None
    found = {name: os.path.join(base, path) for name in names if (path := getattr(section, name))}
    return structs.replace(section, **found)
