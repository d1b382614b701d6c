"""Presets as rules of a test."""

from rules.parse import parse_rules
from rules.presets import preset
from tests.support.proxy import Rule


def written(name: str) -> list[Rule]:
    """Give the rules of a preset as they stand in its file."""
    found = preset(name)
    return [rule.written for rule in parse_rules(found.text.encode(), found.path)]
