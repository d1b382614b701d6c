"""Large sets are read elsewhere: with the same result, the same mistakes, and the loop free."""

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from proxy import reader
from proxy.reader import LARGE, read_documents, read_here
from rules.model import Rule
from rules.text import RulesError
from tests.unit.proxy.stalls import Stalls


def rules_yaml(count: int, extra: str = "") -> bytes:
    rule = """  - name: rule-{n}
    description: "Rule {n}: grüße"
    match:
      host: h{n}.example
      path: {{prefix: /api/{n}/}}
      headers: {{x-tier: gold, x-n: {{regex: "^{n}$"}}}}
    sample: {{percent: 12.5, seed: {n}}}
    faults: [{{delay: {{uniform: {{min: 10ms, max: 20ms}}}}}}, {{abort: {{status: 503, body: {{text: no}}}}}}]
"""
    return ("version: 1\nrules:\n" + "".join(rule.format(n=n) for n in range(count)) + extra).encode()


def plain(rule: Rule) -> tuple[object, ...]:
    """All that can be compared: faults are objects of their own."""
    faults = [(planned.fault.KIND, planned.fault.phase, planned.sample) for planned in rule.faults]
    return replace(rule, faults=()), rule.written, rule.place, rule.files, faults


async def test_the_helper_reads_what_we_would(tmp_path: Path) -> None:
    (tmp_path / "body.txt").write_text("sorry")
    extra = "  - {name: filed, faults: [{abort: {status: 500, body: {file: body.txt}}}]}\n"
    documents = ((str(tmp_path / "a.yaml"), rules_yaml(30, extra)), ("grüße \udcff.yaml", rules_yaml(1)))
    here = read_here(documents)
    helped = await read_documents(documents, large=1)
    assert [[plain(rule) for rule in rules] for rules in helped] == [
        [plain(rule) for rule in rules] for rules in here
    ]
    assert helped[0][-1].files[0][0] == "body.txt"


async def test_the_helper_finds_the_same_mistakes() -> None:
    bad = "  - {name: BAD, faults: [{delay: 5}], mach: {}}\n"
    documents = (("a.yaml", rules_yaml(3, bad)), ("b.yaml", b"version: 2\nrules: {}\n"), ("c.yaml", b"[\n"))
    with pytest.raises(RulesError) as here:
        read_here(documents)
    with pytest.raises(RulesError) as helped:
        await read_documents(documents, large=1)
    assert helped.value.problems == here.value.problems
    assert len(helped.value.problems) >= 6


async def test_what_came_over_the_endpoint_is_read_as_such() -> None:
    data = b"version: 1\nrules: [{name: a, ttl: 1h, faults: [{delay: 1s}]}]"
    ((rule,),) = await read_documents((("body", data),), api=True, large=1)
    assert rule.ttl == 3600
    with pytest.raises(RulesError, match="ttl"):
        await read_documents((("body", data),), api=False, large=1)


async def test_without_a_helper_a_thread_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    ((rule,),) = await read_documents((("a.yaml", rules_yaml(1)),), large=1)
    assert rule.name == "rule-0"


async def test_a_helper_that_dies_is_replaced_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    ((rule,),) = await read_documents((("a.yaml", rules_yaml(1)),), large=1)
    assert rule.name == "rule-0"


async def test_a_helper_that_takes_too_long_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    endless = tmp_path / "python"
    endless.write_text("#!/bin/sh\nexec sleep 60\n")
    endless.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(endless))
    monkeypatch.setattr(reader, "PATIENCE", 0.05)
    with pytest.raises(RulesError, match=r"a\.yaml: reading took more than 0 seconds"):
        await read_documents((("a.yaml", rules_yaml(1)),), large=1)


async def test_a_thousand_rules_do_not_hold_the_loop() -> None:
    data = rules_yaml(1000)
    assert len(data) > LARGE
    with Stalls() as stalls:
        ((*rules,),) = await read_documents((("a.yaml", data),))
    assert len(rules) == 1000
    print(f"reading 1,000 rules ({len(data) >> 10} KiB of YAML): {stalls}")
    assert stalls.worst_cpu < 0.05


_SHORT = b"version: 1\nrules:\n" + b"".join(
    b"- {name: r%d, faults: [{abort: 500}]}\n" % n for n in range(1000)
)


async def test_a_thousand_short_rules_do_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """38 KiB of YAML are a thousand rules, too, and would take 40 to 70 ms here."""

    def here(documents: object, api: bool = False) -> list[list[Rule]]:
        raise AssertionError("they were read on the loop")

    monkeypatch.setattr(reader, "read_here", here)
    with Stalls() as stalls:
        ((*rules,),) = await read_documents((("a.yaml", _SHORT),))
    assert len(rules) == 1000
    print(f"reading 1,000 short rules ({len(_SHORT) >> 10} KiB of YAML): {stalls}")
    assert stalls.worst_cpu < 0.05


async def test_json_of_the_same_size_is_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the fast path: fifty sets a second leave no time to start a helper for each."""

    async def helper(documents: object, api: bool) -> list[reader.Read]:
        raise AssertionError("a helper was started")

    monkeypatch.setattr(reader, "_read_in_helper", helper)
    rules = [{"name": f"r{n}", "faults": [{"abort": 500}]} for n in range(800)]
    data = b"\xef\xbb\xbf " + msgspec.json.encode({"version": 1, "rules": rules})
    assert len(_SHORT) * 0.8 < len(data) < LARGE
    ((*read,),) = await read_documents((("body", data),))
    assert len(read) == 800
