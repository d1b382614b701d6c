"""Draws: numbers that depend on nothing but what they are drawn for."""

import pytest

from rules.draw import MILLION, Dice, Draws


def test_the_same_question_gets_the_same_answer() -> None:
    assert Draws("7", "slow", 0).millionth(b"#1") == Draws("7", "slow", 0).millionth(b"#1")
    first, second = (Draws("7", "slow", 0).dice(b"#1", []) for _ in range(2))
    assert [first.uniform() for _ in range(9)] == [second.uniform() for _ in range(9)]


def test_the_answers_never_change_from_release_to_release() -> None:
    # Written down from the first release: a different number would move every sticky user to another side.
    draws = Draws("0", "slow-gold-checkout", -1)
    assert [draws.millionth(b"#%d" % at) for at in (1, 2, 3)] == FIRST_ORDINALS
    assert [draws.millionth(b"=%b" % key) for key in (b"alice", b"bob")] == FIRST_KEYS
    dice = Draws("0/0", "slow-gold-checkout", 0).dice(b"#1", [])
    assert [round(dice.uniform(), 9) for _ in range(6)] == FIRST_UNIFORMS


FIRST_ORDINALS = [284726, 238193, 50509]
FIRST_KEYS = [426248, 512453]
FIRST_UNIFORMS = [0.58840219, 0.021068929, 0.541292008, 0.20486327, 0.311555717, 0.776810481]


@pytest.mark.parametrize(
    "other",
    [Draws("8", "slow", 0), Draws("7", "fast", 0), Draws("7", "slow", 1), Draws("7", "slow", -1)],
    ids=["seed", "rule", "fault", "whole rule"],
)
def test_seed_rule_and_place_each_change_the_draws(other: Draws) -> None:
    units = [b"#%d" % at for at in range(20)]
    one = Draws("7", "slow", 0)
    assert [one.millionth(unit) for unit in units] != [other.millionth(unit) for unit in units]
    assert one.dice(b"#1", []).uniform() != other.dice(b"#1", []).uniform()


def test_a_seed_of_any_length_will_do() -> None:
    long, longer = Draws("1" * 100, "r", 0), Draws("1" * 101, "r", 0)
    assert long.millionth(b"#1") != longer.millionth(b"#1")


def test_millionths_lie_in_their_range_and_reach_both_ends() -> None:
    draws = Draws("0", "r", 0)
    drawn = [draws.millionth(b"#%d" % at) for at in range(20_000)]
    assert all(0 <= number < MILLION for number in drawn)
    assert min(drawn) < 1_000
    assert max(drawn) > 999_000


def test_uniforms_lie_strictly_between_0_and_1_and_fill_the_range() -> None:
    drawn: list[float] = []
    for at in range(2_000):
        dice = Draws("0", "r", 0).dice(b"#%d" % at, [])
        drawn += [dice.uniform() for _ in range(5)]
    assert all(0.0 < number < 1.0 for number in drawn)
    assert abs(sum(drawn) / len(drawn) - 0.5) < 3 * (1 / 12 / len(drawn)) ** 0.5
    assert len(set(drawn)) == len(drawn)


def test_the_memory_is_the_one_that_was_given() -> None:
    memory = [1.5]
    dice = Draws("0", "r", 0).dice(b"#1", memory)
    assert dice.memory is memory


def test_bare_dice_have_no_numbers() -> None:
    with pytest.raises(NotImplementedError):
        Dice([]).uniform()
