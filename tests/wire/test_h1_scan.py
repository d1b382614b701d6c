"""The two bodies of the head scan, by regular expression and by index, make the same of any bytes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import h1_fields, h1_match, h1_scan
from proxy.wire.h1 import REQUEST, RESPONSE, Head, Names
from proxy.wire.h1_head import filter_place
from tests.wire.cases import CASES
from tests.wire.corpus import REQUEST_LINES, STATUS_LINES, heads, mutated
from tests.wire.drive import shown
from tests.wire.malformed import SMALL

COLLECTED = frozenset([b"x-a", b"accept", b"cookie", b"x"])
CUT = frozenset([b"via", b"x-user-tier"])
FEW = Names(COLLECTED, CUT)
MANY = Names(COLLECTED | {b"x-%d" % i for i in range(100)}, CUT)
SETS = {"none": Names(frozenset()), "few": FEW, "many": MANY}

SCANS: dict[int, tuple[Callable[[bytes, Names], Head | None], Callable[[bytes, Names], Head | None]]] = {
    REQUEST: (h1_match.scan_request, h1_scan.scan_request),
    RESPONSE: (h1_match.scan_response, h1_scan.scan_response),
}


def agree(role: int, data: bytes, names: Names) -> bool:
    """Compare the two on the head in these bytes; gives whether they took it."""
    head = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    by_match, by_index = SCANS[role]
    one = by_match(head, names)
    other = by_index(head, names)
    assert (None if one is None else shown(one)) == (None if other is None else shown(other))
    return one is not None


@pytest.mark.parametrize("names", SETS.values(), ids=SETS.keys())
def test_they_agree_on_every_good_message(names: Names) -> None:
    for case in CASES:
        assert agree(case.role, case.data, names)
        agree(REQUEST + RESPONSE - case.role, case.data, names)


@pytest.mark.parametrize("names", SETS.values(), ids=SETS.keys())
def test_they_agree_on_every_malformed_message(names: Names) -> None:
    taken = [agree(bad.role, bad.data, names) for bad in SMALL]
    assert any(taken), "framing, say, is no matter of the scan"
    assert not all(taken)


@pytest.mark.parametrize("byte", range(256))
def test_they_agree_on_each_byte_at_each_place(byte: int) -> None:
    for role, head in [
        (REQUEST, b"GET /a HTTP/1.1\r\nHost: b\r\nX: c\r\n\r\n"),
        (RESPONSE, b"HTTP/1.1 200 OK\r\nHost: b\r\nX: c\r\n\r\n"),
    ]:
        for at in range(len(head) - 4):
            agree(role, head[:at] + bytes([byte]) + head[at + 1 :], FEW)
            agree(role, head[:at] + bytes([byte]) + head[at:], FEW)


@given(
    st.one_of(heads(REQUEST_LINES), heads(STATUS_LINES), mutated(), st.binary(max_size=60)),
    st.sampled_from([REQUEST, RESPONSE]),
    st.sampled_from(list(SETS.values())),
)
def test_they_agree_on_anything(data: bytes, role: int, names: Names) -> None:
    agree(role, data, names)


def test_few_and_many_names_find_the_same() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nVIA: b\r\nX-a:c\r\nx: \t d \r\nx-other: e\r\n\r\n"
    for scan in SCANS[REQUEST]:
        few, many = scan(head, FEW), scan(head, MANY)
        assert few is not None
        assert many is not None
        assert few.hits == many.hits
        assert [hit[0] for hit in few.hits] == [b"host", b"via", b"x-a", b"x"]


def test_the_build_that_runs_uses_its_own_body() -> None:
    assert h1_fields.COMPILED is not h1_fields.__file__.endswith(".py")


def test_the_filter_knows_both_cases_of_a_name() -> None:
    for name in FEW.kinds:
        assert FEW.filter[filter_place(len(name), name[0])] == 1
        assert FEW.filter[filter_place(len(name), name.upper()[0])] == 1
