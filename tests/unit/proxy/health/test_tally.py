"""What a row of checks means."""

import pytest

from proxy.health.tally import Tally


@pytest.mark.parametrize(
    ("checks", "states"),
    [
        # + a pass, - a failure; the state after each: u unknown, h healthy, x unhealthy
        ("+", "h"),
        ("-", "x"),
        ("-+", "xh"),  # it never was healthy: one pass is enough
        ("+--+", "hhhh"),
        ("+---", "hhhx"),
        ("+--+--+--", "hhhhhhhhh"),  # failures that are not in a row
        ("+---+-+-++", "hhhxxxxxxh"),
        ("+---++---", "hhhxxhhhx"),
        ("-+---+", "xhhhxx"),  # it was healthy once: from now on two passes are needed
        ("---+", "xxxh"),
    ],
)
def test_states_follow_rows_of_checks(checks: str, states: str) -> None:
    tally = Tally(healthy_after=2, unhealthy_after=3)
    letters = {"unknown": "u", "healthy": "h", "unhealthy": "x"}
    assert letters[tally.state] == "u"
    seen, before = "", "u"
    for check in checks:
        changed = tally.add(check == "+")
        now = letters[tally.state]
        assert changed == (now != before)
        seen, before = seen + now, now
    assert seen == states


def test_thresholds_of_one_follow_each_check() -> None:
    tally = Tally(1, 1)
    assert [tally.add(well) for well in (True, False, True, True, False)] == [True, True, True, False, True]
