"""dns: its fields, what contradicts what, and the look-up that comes of it."""

import pytest

from rules import phases
from rules.actions import ShapeLookup
from tests.faults.cases import FACTS, dice, problem, read

Shape = tuple[str, list[str], int, bool, bool, float]


def shape(entry: str, match: str = "{}") -> Shape:
    decided = read(entry, match).decide(FACTS, dice())
    assert isinstance(decided, ShapeLookup)
    return (
        decided.failure,
        decided.addresses,
        decided.ttl,
        decided.partial,
        decided.truncated,
        decided.seconds,
    )


NONE: list[str] = []


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("nxdomain", ("nxdomain", NONE, -1, False, False, 0.0)),
        ("servfail", ("servfail", NONE, -1, False, False, 0.0)),
        ("refused", ("refused", NONE, -1, False, False, 0.0)),
        ("nodata", ("nodata", NONE, -1, False, False, 0.0)),
        ("timeout", ("timeout", NONE, -1, False, False, 0.0)),
        ("truncated", ("", NONE, -1, False, True, 0.0)),
        ("partial", ("", NONE, -1, True, False, 0.0)),
        ("{answer: nxdomain, delay: 1s}", ("nxdomain", NONE, -1, False, False, 1.0)),
        ("{address: 192.0.2.1}", ("", ["192.0.2.1"], -1, False, False, 0.0)),
        (
            "{address: [192.0.2.1, '2001:DB8::0:1']}",
            ("", ["192.0.2.1", "2001:db8::1"], -1, False, False, 0.0),
        ),
        ("{ttl: 0}", ("", NONE, 0, False, False, 0.0)),
        ("{ttl: 2147483647, answer: partial}", ("", NONE, 2147483647, True, False, 0.0)),
        ("{delay: 250ms}", ("", NONE, -1, False, False, 0.25)),
        (
            "{answer: truncated, address: [192.0.2.1], ttl: 5, delay: 10ms}",
            ("", ["192.0.2.1"], 5, False, True, 0.01),
        ),
    ],
)
def test_the_look_up(written: str, made: Shape) -> None:
    assert shape(f"{{dns: {written}}}") == made


@pytest.mark.parametrize("word", ["nxdomain", "servfail", "refused", "nodata", "timeout"])
def test_a_failure_ends_what_it_meets(word: str) -> None:
    assert read(f"{{dns: {word}}}").ends_exchange


@pytest.mark.parametrize("written", ["truncated", "partial", "{delay: 1s}", "{address: 192.0.2.1}"])
def test_what_is_no_failure_ends_nothing(written: str) -> None:
    assert not read(f"{{dns: {written}}}").ends_exchange


def test_it_acts_at_resolve_and_on_what_the_listener_is_asked() -> None:
    fault = read("{dns: nxdomain}")
    assert (fault.phase, fault.of_lookups) == (phases.RESOLVE, True)
    assert not read("reset").of_lookups


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        ("nxdomin", "dns", 'did you mean "nxdomain"?'),
        ("{}", "dns", "expected at least one of answer, address, ttl and delay"),
        ("{answer: nxdomain, address: [192.0.2.1]}", "dns.address", "ends with nxdomain has no answer"),
        ("{answer: timeout, ttl: 5}", "dns.ttl", "ends with timeout has no answer to change"),
        ("{answer: partial, address: [192.0.2.1]}", "dns.address", "leave out partial"),
        ("{address: []}", "dns.address", "got an empty list"),
        ("{address: [shop.example]}", "dns.address[0]", "expected an IP address"),
        ("{address: 5}", "dns.address", "expected an IP address"),
        ("{ttl: 1h}", "dns.ttl", "seconds as a whole number from 0"),
        ("{ttl: -1}", "dns.ttl", "seconds as a whole number from 0"),
        ("{ttl: 2147483648}", "dns.ttl", "seconds as a whole number from 0"),
        ("{delay: 5}", "dns.delay", "a bare number has no unit"),
        ("{name: a}", "dns.name", 'unknown key "name"'),
    ],
)
def test_what_is_refused(written: str, path: str, words: str) -> None:
    found = problem(f"{{dns: {written}}}")
    assert found.startswith(f"{path}: ")
    assert words in found
