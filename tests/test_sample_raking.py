"""Shares into whole numbers, and several fields at once: what is feasible is met, nothing is taken twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evollab import rng
from evollab.data.raking import NEAR, Side, apportion, misses, rake, sums, whole

SHARES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=8)
FEW = settings(max_examples=150, deadline=None)


def place(seed: int = 0) -> Callable[..., float]:
    return lambda *more: rng.uniform(seed, *more)


def bounds_of(data: st.DataObject, size: int) -> tuple[list[int], list[int]]:
    pairs = [sorted(data.draw(st.tuples(st.integers(0, 60), st.integers(0, 60)))) for _ in range(size)]
    return [low for low, _ in pairs], [high for _, high in pairs]


@FEW
@given(total=st.integers(0, 300), shares=SHARES, data=st.data())
def test_apportioned_numbers_keep_their_bounds_and_sum(total: int, shares: list[float], data: st.DataObject) -> None:
    low, high = bounds_of(data, len(shares))
    numbers = apportion(total, shares, low, high)
    assert all(least <= n <= most for least, n, most in zip(low, numbers, high, strict=True))
    top = sum(most if share else least for share, least, most in zip(shares, low, high, strict=True))
    assert sum(numbers) == min(max(total, sum(low)), top)
    assert all(n == least for share, n, least in zip(shares, numbers, low, strict=True) if not share)


@FEW
@given(total=st.integers(0, 300), shares=SHARES, data=st.data())
def test_more_rows_never_lower_a_number(total: int, shares: list[float], data: st.DataObject) -> None:
    low, high = bounds_of(data, len(shares))
    now, more = apportion(total, shares, low, high), apportion(total + 1, shares, low, high)
    assert all(a <= b for a, b in zip(now, more, strict=True))


@FEW
@given(total=st.integers(0, 300), shares=SHARES, data=st.data(), factor=st.floats(1, 5))
def test_a_larger_share_never_lowers_its_number(
    total: int, shares: list[float], data: st.DataObject, factor: float
) -> None:
    low, high = bounds_of(data, len(shares))
    at = data.draw(st.integers(0, len(shares) - 1))
    raised = [share * factor if n == at else share for n, share in enumerate(shares)]
    assert apportion(total, raised, low, high)[at] >= apportion(total, shares, low, high)[at]


@FEW
@given(parts=st.lists(st.integers(0, 50), min_size=1, max_size=8), times=st.integers(1, 40))
def test_proportions_that_are_whole_are_exact(parts: list[int], times: int) -> None:
    assume(sum(parts))
    total = sum(parts) * times
    shares = [float(Fraction(part, sum(parts))) for part in parts]
    assert apportion(total, shares, [0] * len(parts), [total] * len(parts)) == [part * times for part in parts]


@FEW
@given(total=st.integers(1, 500), shares=SHARES)
def test_no_other_division_has_a_fairer_pair(total: int, shares: list[float]) -> None:
    """Webster's condition: no row moved to another value would have had the better claim."""
    assume(any(shares))
    size = len(shares)
    numbers = apportion(total, shares, [0] * size, [total] * size)
    gains = [(2 * n + 1) / share for n, share in zip(numbers, shares, strict=True) if share]
    losses = [(2 * n - 1) / share for n, share in zip(numbers, shares, strict=True) if share and n]
    assert max(losses) <= min(gains) * (1 + 1e-9)


def feasible(data: st.DataObject, fields: int, most: int = 4) -> tuple[list[int], list[Side], list[int]]:
    """Cells with room, a draw that is possible, and the sides that this draw meets."""
    shape = [data.draw(st.integers(1, most)) for _ in range(fields)]
    cells = [cell for cell in itertools.product(*map(range, shape)) if data.draw(st.integers(0, 3))]
    assume(cells)
    room = [data.draw(st.integers(0, 40)) for _ in cells]
    drawn = [data.draw(st.integers(0, most)) for most in room]
    sides: list[Side] = []
    for at, size in enumerate(shape):
        member = [cell[at] for cell in cells]
        goal = sums(drawn, Side(member, [0] * size, [0] * size))
        sides.append(Side(member, goal, goal))
    return room, sides, drawn


@FEW
@given(data=st.data(), fields=st.integers(1, 3))
def test_what_is_taken_of_a_cell_is_never_more_than_it_has(data: st.DataObject, fields: int) -> None:
    room, sides, drawn = feasible(data, fields)
    expected = rake(room, sides)
    assert all(-1e-9 <= x <= most + 1e-9 for x, most in zip(expected, room, strict=True))
    counts = whole(expected, room, sides, sum(drawn), place())
    assert sum(counts) == sum(drawn)
    assert all(0 <= n <= most for n, most in zip(counts, room, strict=True))


@FEW
@given(data=st.data(), fields=st.integers(1, 2))
def test_one_and_two_fields_are_met_exactly_where_that_is_possible(data: st.DataObject, fields: int) -> None:
    room, sides, drawn = feasible(data, fields, most=6)
    counts = whole(rake(room, sides), room, sides, sum(drawn), place())
    assert misses(counts, sides) == [0] * fields


@FEW
@given(data=st.data())
def test_three_fields_are_met_to_within_few_rows(data: st.DataObject) -> None:
    room, sides, drawn = feasible(data, 3)
    off = misses(whole(rake(room, sides), room, sides, sum(drawn), place()), sides)
    assert off[:2] == [0, 0]
    assert off[2] <= 8


def test_raking_converges_to_the_known_table() -> None:
    """Deming and Stephan's property: odds ratios stay as they were, marginals are the new ones."""
    room = [4000, 1000, 2000, 3000]
    rows = Side([0, 0, 1, 1], [500, 500], [500, 500])
    columns = Side([0, 1, 0, 1], [300, 700], [300, 700])
    found = rake(room, [rows, columns])
    assert abs(found[0] + found[1] - 500) < NEAR
    assert abs(found[0] + found[2] - 300) < 10 * NEAR
    assert found[0] * found[3] / (found[1] * found[2]) == pytest.approx(4000 * 3000 / (1000 * 2000))


def test_a_cell_without_rows_left_hands_its_share_on() -> None:
    found = rake([10, 1000, 1000], [Side([0, 0, 1], [300, 300], [300, 300]), Side([0, 1, 0], [310, 290], [310, 290])])
    assert found == pytest.approx([10, 290, 300], abs=0.01)


def test_bounds_leave_alone_what_is_within_them() -> None:
    everything = Side([0, 0, 0], [90], [90])
    found = rake([100, 100, 100], [everything, Side([0, 1, 2], [0, 0, 50], [90, 20, 90])])
    assert found == pytest.approx([20, 20, 50], abs=0.01)


def test_what_can_not_be_met_ends_and_the_first_field_is_met() -> None:
    first = Side([0, 1], [50, 50], [50, 50])
    second = Side([0, 1], [90, 10], [90, 10])
    counts = whole(rake([100, 100], [first, second]), [100, 100], [first, second], 100, place())
    assert counts == [50, 50]
    assert misses(counts, [first, second]) == [0, 80]


def test_chains_of_swaps_are_found() -> None:
    """A rounding that is off in the second field, and can be mended through a third value only."""
    cells = [(0, 0), (0, 1), (1, 1), (1, 2)]
    first = Side([a for a, _ in cells], [1, 1], [1, 1])
    second = Side([b for _, b in cells], [0, 1, 1], [0, 1, 1])
    counts = whole([1.0, 0.0, 1.0, 0.0], [1, 1, 1, 1], [first, second], 2, place())
    assert counts == [0, 1, 0, 1]


def test_small_cells_get_the_odd_row_as_often_as_their_fraction_says() -> None:
    room, expected = [5] * 40, [0.1, 0.4] * 20
    side = Side([0] * 40, [10], [10])
    times: Counter[int] = Counter()
    for seed in range(400):
        counts = whole(expected, room, [side], 10, place(seed))
        assert sum(counts) == 10
        times.update({0: sum(counts[::2]), 1: sum(counts[1::2])})
    assert times[0] / (400 * 20) == pytest.approx(0.1, abs=0.012)
    assert times[1] / (400 * 20) == pytest.approx(0.4, abs=0.012)


def test_many_cells_and_three_fields_are_met() -> None:
    cells = list(itertools.product(range(12), range(10), range(5)))
    room = [rng.integer("room", cell) % 60 for cell in cells]
    goals = [[50] * 12, [60] * 10, [120] * 5]
    sides = [Side([cell[at] for cell in cells], goal, goal) for at, goal in enumerate(goals)]
    assert misses(whole(rake(room, sides), room, sides, 600, place()), sides) == [0, 0, 0]
