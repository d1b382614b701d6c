"""Reading one fault the way a rule file gives it, and dice as the engine hands them out."""

import pytest

from rules.draw import Dice, Draws
from rules.facts import Facts
from rules.fault import Fault
from rules.parse import parse_rules
from rules.text import RulesError

FACTS = Facts("web", "127.0.0.1")
GRPC = "{protocol: grpc}"


def document(entry: str, match: str = "{}") -> bytes:
    """Write a document with one rule of one fault."""
    return f"version: 1\nrules:\n  - {{name: a, match: {match}, faults: [{entry}]}}\n".encode()


def read(entry: str, match: str = "{}") -> Fault:
    """Read one entry of ``faults:``."""
    (rule,) = parse_rules(document(entry, match), "f")
    return rule.faults[0].fault


def problem(entry: str, match: str = "{}") -> str:
    """Give the one problem of an entry, from the part of its path below the entry on."""
    with pytest.raises(RulesError) as caught:
        read(entry, match)
    (found,) = caught.value.problems
    assert found.place.line == 3
    return f"{found.path.removeprefix('rules[0].faults[0]').removeprefix('.')}: {found.message}"


def dice(number: int = 0, memory: list[float] | None = None) -> Dice:
    """Give the dice of one exchange, the same ones for the same number."""
    return Draws("7", "rule", 0).dice(b"%d" % number, [] if memory is None else memory)


# What every fault on a connection refuses, as the fields after its name.
BAD_CONNECTION_FIELDS = [
    ("{at: reponse_body}", "at", 'did you mean "response_body"?'),
    ("{at: 3}", "at", "expected accept, tls, request_head"),
    ("{after_bytes: 5}", "after_bytes", "a bare number has no unit"),
    (
        "{after_bytes: 5KiB, at: connect}",
        "after_bytes",
        "counts bytes of a body, and connect has none",
    ),
    ("{after_bytes: 0B, at: request_head}", "after_bytes", "and request_head has none"),
    ("{side: server}", "side", "expected client, upstream or both"),
    ("{side: upstream}", "side", "at request_head there is no connection to the upstream yet"),
    ("{side: upstream, at: accept}", "side", "at accept there is no connection to the upstream yet"),
    ("{side: upstream, at: resolve}", "side", "at resolve there is no connection to the upstream yet"),
    ("{on: always}", "on", "expected next, new or open"),
    ("{after: 1KiB}", "after", 'did you mean "after_bytes"?'),
    ("[]", "", "got a list"),
]
