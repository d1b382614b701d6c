"""The breakers of a rule: keys, forced states, changes of figures, and what is told."""

from rules.breakers import figures as of
from rules.breakers.breaker import IS_OPEN, MOST_TRANSITIONS, NO_TRIAL_LEFT
from rules.breakers.figures import CLOSED, HALF_OPEN, MILLION, OPEN, Figures
from rules.breakers.keeper import MOST_KEYS, Breakers, most_keys


def figures(force: int = of.FORCED_NOT) -> Figures:
    made = Figures(of.GOBREAKER)
    made.force = force
    made.consecutive_failures = 1
    made.open_for = 5 * MILLION
    return made


def fail(breakers: Breakers, key: bytes = b"", now: int = 0) -> None:
    passed = breakers.admit(key, now)
    assert passed is not None
    passed.judge(now, True, False)


def told(breakers: Breakers) -> list[tuple[bytes, int, int, str]]:
    return [(one.key, one.before, one.after, one.reason) for one in breakers.news()]


def test_keys_are_bounded() -> None:
    breakers = Breakers("a", figures())
    fail(breakers, b"first")
    for number in range(MOST_KEYS - 1):
        assert breakers.admit(b"%d" % number, 0) is not None
    assert breakers.admit(b"first", 0) is None  # and is now the one that was asked for last
    for number in range(MOST_KEYS, MOST_KEYS + 10):
        breakers.admit(b"%d" % number, 0)
    assert (len(breakers.keys), breakers.evicted) == (MOST_KEYS, 10)
    assert b"first" in breakers.keys
    assert b"0" not in breakers.keys


def test_large_windows_have_fewer_keys() -> None:
    large = figures()
    large.profile, large.window_calls = of.HYSTRIX, 100_000
    assert most_keys(figures()) == MOST_KEYS
    breakers = Breakers("a", figures())
    for number in range(20):
        breakers.admit(b"%d" % number, 0)
    breakers.take(large, 1)
    assert most_keys(large) == 9
    breakers.admit(b"new", 0)
    assert len(breakers.keys) == 9
    assert b"19" in breakers.keys


def test_news_are_told_once_and_bounded() -> None:
    breakers = Breakers("a", figures())
    fail(breakers)
    assert told(breakers) == [(b"", CLOSED, OPEN, "consecutive_failures")]
    assert told(breakers) == []
    for number in range(MOST_TRANSITIONS + 10):
        fail(breakers, b"%d" % (number % MOST_KEYS), number * 10 * MILLION)
    assert len(breakers.news()) == MOST_TRANSITIONS
    assert sum(breakers.journal.counts) > MOST_TRANSITIONS


def test_a_forced_state_hides_the_own_one() -> None:
    breakers = Breakers("a", figures())
    fail(breakers)
    told(breakers)
    breakers.take(figures(CLOSED), 1)
    fail(breakers)
    fail(breakers)
    assert told(breakers) == [(b"", OPEN, CLOSED, "forced")]
    assert breakers.states() == [1, 0, 0]
    breakers.take(figures(HALF_OPEN), 2)
    passed = breakers.admit(b"", 0)
    assert passed is not None
    assert breakers.admit(b"", 0) is None
    assert breakers.verdict == NO_TRIAL_LEFT
    passed.judge(0, True, False)
    fail(breakers)
    breakers.take(figures(), 3)
    assert breakers.admit(b"", 5 * MILLION) is None
    assert breakers.verdict == IS_OPEN
    assert told(breakers) == [(b"", CLOSED, HALF_OPEN, "forced"), (b"", HALF_OPEN, OPEN, "released")]
    assert breakers.admit(b"", 5 * MILLION + 1) is not None


def test_older_figures_do_not_come_back() -> None:
    breakers = Breakers("a", figures())
    breakers.take(figures(OPEN), 7)
    breakers.take(figures(), 6)
    assert breakers.admit(b"", 0) is None
    assert breakers.refused == 1


def test_another_profile_keeps_the_state() -> None:
    breakers = Breakers("a", figures())
    fail(breakers)
    other = Figures(of.HYSTRIX)
    other.window_time, other.window_buckets = 10 * MILLION, 10
    other.open_for = MILLION
    breakers.take(other, 1)
    assert breakers.admit(b"", MILLION) is None
    assert breakers.admit(b"", MILLION + 1) is not None


def test_a_window_of_another_shape_keeps_its_counts() -> None:
    made = Figures(of.HYSTRIX)
    made.window_time, made.window_buckets = 10 * MILLION, 10
    made.failure_percent, made.min_calls = 500_000, 6
    breakers = Breakers("a", made)
    for second in range(4):
        fail(breakers, b"", second * MILLION)
    longer = Figures(of.HYSTRIX)
    longer.window_time, longer.window_buckets = 60 * MILLION, 6
    longer.failure_percent, longer.min_calls = 500_000, 6
    breakers.take(longer, 1)
    fail(breakers, b"", 9 * MILLION)
    fail(breakers, b"", 50 * MILLION)
    assert [one.reason for one in breakers.news()] == ["failure_percent"]


def test_reset() -> None:
    breakers = Breakers("a", figures())
    late = breakers.admit(b"", 0)
    fail(breakers)
    breakers.reset()
    assert (breakers.keys, breakers.news(), breakers.admitted) == ({}, [], 0)
    assert late is not None
    late.judge(1, True, False)
    assert breakers.admit(b"", 1) is not None
