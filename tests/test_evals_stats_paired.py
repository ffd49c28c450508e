"""Two models on the same questions: tests with known values, false alarms and power by simulation."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.evals.paired import Pair, detectable, discordant, holm, mcnemar, needed, paired
from evollab.records import EvolError


def verdicts(both: int, only_a: int, only_b: int, neither: int) -> list[Pair]:
    cells = [(1.0, 1.0)] * both + [(1.0, 0.0)] * only_a + [(0.0, 1.0)] * only_b + [(0.0, 0.0)] * neither
    return [Pair(a, 1.0, b, 1.0) for a, b in cells]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (3, 0, 0.25), (1, 8, 0.0390625), (5, 9, 0.42395), (900, 800, 0.0163207)]
)
def test_mcnemar_is_exact(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-5)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_mcnemar_takes_thousands() -> None:
    assert mcnemar(2000, 1500) == pytest.approx(2.942364e-17, rel=1e-6)
    assert mcnemar(5000, 5000) == 1.0


def test_verdicts_are_compared_question_by_question() -> None:
    found = paired(verdicts(50, 20, 6, 24))
    assert found is not None
    assert (found.n, found.a, found.b, found.only_a, found.only_b) == (100, 0.7, 0.56, 20, 6)
    assert found.difference == pytest.approx(0.14)
    assert found.p == mcnemar(20, 6)
    assert found.test == "McNemar, exact"
    assert found.low is not None
    assert found.high is not None
    assert 0.03 < found.low < 0.14 < found.high < 0.25
    assert found.spread == pytest.approx(0.26)


def test_equal_models_are_not_certainly_equal() -> None:
    found = paired(verdicts(30, 0, 0, 20))
    assert found is not None
    assert found.difference == 0
    assert found.p == 1
    assert found.high == pytest.approx(0.0713, abs=1e-4)
    assert found.low == pytest.approx(-0.0713, abs=1e-4)
    assert found.detectable is None
    assert found.needed is None


def test_what_cant_be_told() -> None:
    assert paired([]) is None
    one = paired([Pair(1, 1, 0, 1)])
    assert one is not None
    assert (one.difference, one.low, one.p) == (1.0, None, None)
    alike = paired([Pair(7, 1, 6, 1)] * 5)
    assert alike is not None
    assert alike.low is None
    assert alike.p is not None
    assert alike.p > 0.05, "2 of 32 swaps"
    with pytest.raises(EvolError, match="adds up to 0"):
        paired([Pair(1, 0, 1, 0), Pair(1, 0, 1, 0)])


def test_samples_are_not_verdicts() -> None:
    assert discordant([Pair(2, 2, 1, 2)]) is None
    assert discordant([Pair(0.5, 1, 1, 1)]) is None
    found = paired([Pair(3, 4, 1, 4), Pair(4, 4, 4, 4), Pair(1, 4, 0, 4), Pair(2, 4, 1, 4)] * 5)
    assert found is not None
    assert found.only_a is None
    assert found.test == "swaps of the two, 10,000"
    assert found.difference == pytest.approx(0.25)
    assert found.p is not None
    assert found.p < 0.01


def test_ratios_are_of_sums() -> None:
    found = paired([Pair(8, 9, 7, 8), Pair(5, 10, 9, 9), Pair(6, 8, 8, 8)])
    assert found is not None
    assert found.a == pytest.approx(19 / 27)
    assert found.b == pytest.approx(24 / 25)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=12))
def test_turning_the_two_turns_the_difference(marks: list[tuple[int, int]]) -> None:
    there = paired([Pair(a, 1, b, 1) for a, b in marks])
    back = paired([Pair(b, 1, a, 1) for a, b in marks])
    assert there is not None
    assert back is not None
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.error == pytest.approx(back.error)
    assert there.detectable == pytest.approx(back.detectable)
    assert there.p is not None
    assert back.p is not None
    assert abs(there.p - back.p) < 0.05


def test_holm_raises_in_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_detectable_differences_of_the_usual_benchmarks() -> None:
    """Between 4 and 15 % of questions answered differently: what 218 and 1,319 questions show."""
    for n, low, high in ((218, 3.8, 7.3), (1319, 1.5, 3.0)):
        found = [detectable(n, spread) for spread in (0.04, 0.15)]
        assert [round(100 * (one or 0), 1) for one in found] == [low, high]


@given(st.integers(20, 20_000), st.floats(0.01, 1))
def test_detectable_is_the_inverse_of_needed(n: int, spread: float) -> None:
    found = detectable(n, spread)
    if found is not None:
        takes = needed(found, spread)
        assert takes is not None
        assert takes <= n
        more = needed(found * 0.98, spread)
        assert more is not None
        assert more >= n
    assert needed(0.0, spread) is None


def test_false_alarms_and_power_are_what_is_said() -> None:
    """Under no difference the tests alarm in at most about 5 % of cases; at the detectable one they see 80 %."""
    draw = random.Random(11)
    n, spread = 300, 0.2
    gain = detectable(n, spread) or 0.0
    seen = {0.0: 0, gain: 0}
    held = 0
    for _ in range(150):
        for effect in seen:
            split = [draw.random() for _ in range(n)]
            only_a = sum(one < (spread + effect) / 2 for one in split)
            only_b = sum((spread + effect) / 2 <= one < spread for one in split)
            found = paired(verdicts(100, only_a, only_b, n - 100 - only_a - only_b))
            assert found is not None
            assert found.p is not None
            assert found.low is not None
            assert found.high is not None
            seen[effect] += found.p < 0.05
            held += found.low <= effect <= found.high
    assert seen[0.0] <= 15
    assert 0.68 <= seen[gain] / 150 <= 0.9
    assert 0.91 <= held / 300 <= 0.985


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=7))
def test_swaps_are_drawn_as_often_as_they_should(marks: list[tuple[int, int]]) -> None:
    """Against all swaps there are."""
    found = paired([Pair(a, 1, b, 1) for a, b in marks])
    changes = [a - b for a, b in marks]
    all_of = [
        abs(sum(sign * one for sign, one in zip(signs, changes, strict=True)))
        for signs in product((1, -1), repeat=len(changes))
    ]
    assert found is not None
    assert found.p is not None
    if found.test != "McNemar, exact":
        assert found.p == pytest.approx(sum(one >= abs(sum(changes)) for one in all_of) / len(all_of), abs=0.025)


def test_swapping_alarms_no_more_than_it_says() -> None:
    draw = random.Random(5)
    alarms = 0
    for _ in range(60):
        pairs = [Pair(draw.randint(1, 10), 1, draw.randint(1, 10), 1) for _ in range(40)]
        found = paired(pairs)
        assert found is not None
        assert found.p is not None
        alarms += found.p < 0.05
    assert alarms <= 8
