"""The workload of floods: what is sent, against the codec itself, and the table."""

import pytest

from benchmarks.load import report, results
from benchmarks.load.floods import NEVER
from benchmarks.load.h2_floods import FLOODS, Flood, opening
from benchmarks.load.results import FloodRow
from proxy.wire.h2 import NEED, SERVER, H2Connection, H2Settings
from proxy.wire.h2_errors import ENHANCE_YOUR_CALM, H2Error


def send(codec: H2Connection, data: bytes) -> H2Error | None:
    """Give the error that ends the connection, if it does."""
    codec.feed(data, 1.0)
    try:
        while codec.next() != NEED:
            pass
    except H2Error as error:
        return error
    codec.take()
    return None


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_each_flood_is_what_its_name_says(flood: Flood) -> None:
    """With its last round, not before half of them, the codec ends the connection for this kind of flood."""
    codec = H2Connection(SERVER, H2Settings())
    codec.start()
    assert send(codec, opening()) is None
    for place in range(flood.most):
        error = send(codec, flood.rounds(place, 1))
        if error is not None:
            break
    assert error is not None
    assert (error.kind, error.code) == (flood.kind, ENHANCE_YOUR_CALM)
    assert place + 1 >= flood.most / 2


def test_the_table_of_floods() -> None:
    result = results.begin(1, 3)
    assert report.flood_table(result) == ""
    result.floods = [
        FloodRow("Envoy", "PING", 100.0, 200.0, 150.0, 900.0, 2, 1, float(NEVER), 3 << 20),
        FloodRow("Envoy", "rapid reset", 100.0, 200.0, 110.0, 250.0, 0, 12, 270.0, 0),
    ]
    lines = [" ".join(line.split()) for line in report.flood_table(result).splitlines()]
    assert lines[-2] == "rapid reset Envoy 100 200 110 250 1.25 - 270 12 0.0"
    assert lines[-1] == "PING Envoy 100 200 150 900 4.50 2 not 1 3.0"
