"""From documents to rules: the whole shape of a rule file, and what must hold between its parts.

Everything here is a table of parameters, so that reading, messages and the JSON Schema come from one place.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from rules.answers import MAX_BODY
from rules.contradictions import contradictions
from rules.fault import ON_OPEN
from rules.fault_param import FaultParam
from rules.match_params import MATCH, TEXT
from rules.model import Match, Place, PlannedFault, Rule, Sample, Text
from rules.params import (
    ALONE,
    DAY,
    BadValue,
    Bool,
    Context,
    Duration,
    Integer,
    Param,
    Schema,
    Trouble,
    shorten,
    words,
)
from rules.params import Text as String
from rules.records import MAX_TROUBLES, Field, ListOf, Record, Values
from rules.sample_params import SAMPLE
from rules.schedule_params import SCHEDULE
from rules.text import Node, RulesError, read, read_value

NAME: Final = String(
    "a name of a-z, 0-9, dot, dash and underscore (at most 63)", r"[a-z0-9][a-z0-9._-]{0,62}"
)


class RuleContext(Context):
    """Reading rules from one source: files stand beside the rule file, and over the API there are none."""

    def __init__(self, source: str, api: bool) -> None:
        self.source = source
        self.api = api
        self.files: list[tuple[str, str]] = []  # of the rule that is being read: path and SHA-256

    def read_file(self, path: str) -> bytes:
        """Read a file that a rule names, relative to the rule file, of at most 1 MiB."""
        if self.api:
            raise BadValue("a rule made over the admin endpoint cannot name a file: give text or json")
        full = os.path.join(os.path.dirname(self.source), path)
        try:
            if not stat.S_ISREG(os.stat(full).st_mode):
                raise BadValue(f"{full} is no regular file")
            with open(full, "rb") as file:
                content = file.read(MAX_BODY + 1)
        except (OSError, ValueError) as error:
            raise BadValue(f"cannot read {full}: {getattr(error, 'strerror', None) or error}") from None
        if len(content) > MAX_BODY:
            raise BadValue(f"{full} is larger than {MAX_BODY >> 20} MiB")
        self.files.append((path, hashlib.sha256(content).hexdigest()))
        return content


_FAULT: Final = FaultParam()

_RULE: Final[Record[Values]] = Record(
    {
        "name": Field(NAME, doc="unique; logs, metrics and the proof header say it"),
        "description": Field(String(high=4096), None, "for people"),
        "enabled": Field(Bool(), True, "false: as if it were not there"),
        "mode": Field(words("inject", "shadow"), "inject", "shadow: decide and count, change nothing"),
        "priority": Field(Integer(-1_000_000, 1_000_000), 0, "higher first; equal: in the order of the file"),
        "final": Field(Bool(), False, "true: no later rule is looked at once this one has fired"),
        "proof": Field(Bool(), True, "false: no response header"),
        "ttl": Field(Duration(low=0.001, high=366 * DAY), None, "over the admin endpoint: it ends by itself"),
        "match": Field(MATCH, None, "every given part must hold; without it all matches"),
        "sample": Field(SAMPLE, None, "which of the matches fire; without it all do"),
        "schedule": Field(SCHEDULE, None, "when it acts; without it always"),
        "faults": Field(ListOf(_FAULT, low=1), doc="what happens, one kind in each entry"),
    },
    human="a rule: a mapping with name, match, sample and faults",
)


class RuleParam(Param[Rule]):
    """One rule: its parts, and what must hold between them."""

    human = _RULE.human

    def parse(self, value: object, context: Context = ALONE) -> Rule:
        """Read a rule; where it stands is left to the caller."""
        if isinstance(context, RuleContext):
            context.files = []
        values, troubles = _RULE.collect(value, context)
        assert isinstance(value, dict)  # the table takes nothing else
        written = value.get("faults")
        faults = values["faults"]
        if faults is None and isinstance(written, list):
            faults = [_fault_or_none(entry, context) for entry in written[:MAX_TROUBLES]]
        troubles += contradictions(value, faults or (), values["sample"])
        if values["ttl"] is not None and not context.api:
            troubles.append(Trouble(("ttl",), "only a rule made over the admin endpoint has a ttl", True))
        if troubles:
            raise BadValue(troubles)
        return _make_rule(value, values, context)

    def schema(self) -> Schema:
        """Describe a rule."""
        return _RULE.schema()


def _fault_or_none(entry: object, context: Context) -> PlannedFault | None:
    """Read one of several faults of which another one is wrong: what it contradicts shall be said as well."""
    try:
        return _FAULT.parse(entry, context)
    except BadValue:
        return None


def _make_rule(written: dict[str, Any], values: Values, context: Context) -> Rule:
    match: Match = values["match"] or _ALL
    if match.protocol == ("tcp",):
        _open_by_default(written["faults"], values["faults"])
    return Rule(
        name=values["name"],
        place=_NOWHERE,
        written=written,
        faults=values["faults"],
        description=values["description"] or "",
        enabled=values["enabled"],
        shadow=values["mode"] == "shadow",
        priority=values["priority"],
        final=values["final"],
        proof=values["proof"],
        match=match,
        sample=values["sample"] or _EACH,
        schedule=values["schedule"],
        ttl=values["ttl"],
        files=tuple(context.files) if isinstance(context, RuleContext) else (),
    )


_ALL: Final = Match()
_EACH: Final = Sample()
_NOWHERE: Final = Place("")


def _open_by_default(written: list[object], faults: tuple[PlannedFault, ...]) -> None:
    """Let faults on TCP alone act on what is open, unless their rule says when they do."""
    for entry, planned in zip(written, faults, strict=True):
        given = next(iter(entry.values())) if isinstance(entry, dict) else None
        if not (isinstance(given, dict) and "on" in given) and "on" in planned.fault.PARAMS.fields:
            planned.fault.on = ON_OPEN


class RuleList(ListOf[Rule]):
    """Rules with names of their own."""

    def __init__(self) -> None:
        super().__init__(RuleParam())
        self.human = "a list of rules"

    def parse(self, value: object, context: Context = ALONE) -> tuple[Rule, ...]:
        """Read the rules; a name given twice is found also where the rules have other mistakes."""
        troubles: list[Trouble] = []
        rules: tuple[Rule, ...] = ()
        try:
            rules = super().parse(value, context)
        except BadValue as bad:
            troubles += bad.troubles
        if isinstance(value, list):
            troubles += _names_twice(value)
        if troubles:
            raise BadValue(troubles)
        return rules


def _names_twice(written: list[object]) -> Iterator[Trouble]:
    first: dict[str, int] = {}
    for number, rule in enumerate(written):
        name = rule.get("name") if isinstance(rule, dict) else None
        if isinstance(name, str):
            if name in first:
                message = f'the name "{shorten(name)}" is taken by rules[{first[name]}]'
                yield Trouble((number, "name"), message)
            else:
                first[name] = number


class Version(Integer):
    """The version of the format: 1, so far."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.human = "1, the only version there is"

    def schema(self) -> Schema:
        """Describe it."""
        return {"const": 1}


DOCUMENT: Final[Record[Values]] = Record(
    {"version": Field(Version(), doc="of the format"), "rules": Field(RuleList(), doc="in order")},
    human="a mapping with version: 1 and rules: a list",
)


def parse_rules(data: bytes, source: str, api: bool = False) -> list[Rule]:
    """Read a document of rules, YAML or JSON; raises RulesError with every mistake in it.

    ``source`` is the path of the file (files that rules name stand beside it) or what else problems shall
    say; ``api``: it came over the admin endpoint, where rules may have a ttl, and name no files.  Rules of a
    JSON document know their source but no line: finding lines would cost more than reading.
    """
    node = read(data, source)
    document = node.document
    values = node.get(DOCUMENT, {}, RuleContext(source, api))
    document.check()
    rules: tuple[Rule, ...] = values["rules"]
    return [replace(rule, place=document.known_place(("rules", n))) for n, rule in enumerate(rules)]


def parse_rule(value: object, source: str, api: bool = True) -> Rule:
    """Read one rule from a plain JSON value; raises RulesError with every mistake in it."""
    node = read_value(value, source)
    rule = node.get(_ONE, None, RuleContext(source, api))
    node.document.check()
    assert rule is not None  # else there was something to report
    return replace(rule, place=node.place)


_ONE: Final[Param[Rule | None]] = RuleParam()


def parse_text(node: Node, param: Param[Text] = TEXT) -> Text | None:
    """Read a condition on a string; mistakes are noted in the document, and None stands in.

    ``param``: TEXT, or for hosts and paths ``match_params.HOST_TEXT`` and ``PATH_TEXT``.
    """
    optional: Param[Text | None] = param
    return node.get(optional, None)


__all__ = ["DOCUMENT", "NAME", "RuleContext", "RulesError", "parse_rule", "parse_rules", "parse_text"]
