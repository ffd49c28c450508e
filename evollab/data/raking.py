"""How many rows of which kind: shares into whole numbers, and several wishes at once (raking).

Rows that are alike in all fields make a cell. `apportion` turns the shares of one field into whole
numbers, `rake` finds how much of each cell to take so that every field gets its numbers, `whole`
makes whole numbers of that. Nothing here knows of files or names.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SWEEPS = 300
"""Times that all fields are gone over, at most."""
NEAR = 1e-4
"""Rows that a field's number may be off for raking to end."""
_STALL = 25
_MOST, _LEAST = 1e9, 1e-9
"""Bounds of one factor: what can't be met must not run off to infinity, nor end at nothing."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Side:
    """One field as the cells see it: the value that each cell has (a number from 0), and for each
    value the least and the most rows it may get (equal: exactly so many)."""

    member: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]


def apportion(total: int, shares: Sequence[float], low: Sequence[int], high: Sequence[int]) -> list[int]:
    """`total` in whole numbers, in proportion to `shares`, none under its `low` or over its `high`.

    By the method of Webster and Sainte-Laguë: exact where the proportions are whole numbers; a larger
    total or a larger share never lowers a number. Where the bounds allow less than `total` the
    numbers are `high`, where they ask for more they are `low`. A share of 0 gets its `low`.
    """
    top = [most if share > 0 else least for share, least, most in zip(shares, low, high, strict=True)]
    if sum(top) <= total:
        return top
    if sum(low) >= total:
        return list(low)
    scale = _scale(total, shares, low, top)
    numbers = [
        min(max(math.floor(scale * share + 0.5), least), most)
        for share, least, most in zip(shares, low, top, strict=True)
    ]
    missing = total - sum(numbers)
    step = 1 if missing > 0 else -1
    heap: list[tuple[float, int]] = []

    def offer(index: int) -> None:
        """The next claim of one value: to get a row, or to give one up."""
        number, share = numbers[index], shares[index]
        if step > 0 and number < top[index]:
            heapq.heappush(heap, ((2 * number + 1) / share, index))
        elif step < 0 and number > low[index]:
            heapq.heappush(heap, (-(2 * number - 1) / share if share > 0 else -math.inf, -index))

    for index in range(len(numbers)):
        offer(index)
    for _ in range(abs(missing)):
        index = abs(heapq.heappop(heap)[1])
        numbers[index] += step
        offer(index)
    return numbers


def _scale(total: int, shares: Sequence[float], low: Sequence[int], high: Sequence[int]) -> float:
    """The factor at which the bounded shares sum to `total`, as near as halving finds it."""
    least, most = 0.0, 1.0
    while _bounded(most, shares, low, high) < total and most < 1e300:
        most *= 2
    for _ in range(100):
        middle = (least + most) / 2
        if _bounded(middle, shares, low, high) < total:
            least = middle
        else:
            most = middle
    return most


def _bounded(scale: float, shares: Sequence[float], low: Sequence[int], high: Sequence[int]) -> float:
    return sum(min(max(scale * share, least), most) for share, least, most in zip(shares, low, high, strict=True))


def rake(room: Sequence[int], sides: Sequence[Side]) -> list[float]:
    """How much of each cell to take, between 0 and its `room` (rows), so that every value of every
    side gets a number within its bounds; as near to even draws from all rows as that allows.

    Iterative proportional fitting (Deming and Stephan 1940) with the cells' room as a bound. Where
    the sides can't all be met, the first side is, and the others are near.
    """
    weights = [1.0] * len(room)
    inside: list[list[list[int]]] = []
    for side in sides:
        cells: list[list[int]] = [[] for _ in side.low]
        for cell, value in enumerate(side.member):
            if room[cell]:
                cells[value].append(cell)
        inside.append(cells)
    factors = [[1.0] * len(side.low) for side in sides]
    history: list[float] = []
    for _ in range(SWEEPS):
        worst = 0.0
        for side, factor, cells in reversed(list(zip(sides, factors, inside, strict=True))):
            for value, own in enumerate(cells):
                bounds = side.low[value], side.high[value]
                off, factor[value] = _fit(own, room, weights, factor[value], bounds)
                worst = max(worst, off)
        history.append(worst)
        if worst < NEAR or (len(history) > _STALL and worst > 0.95 * history[-_STALL]):
            break
    return [most * min(1.0, weight) for most, weight in zip(room, weights, strict=True)]


def _fit(
    cells: Sequence[int], room: Sequence[int], weights: list[float], factor: float, bounds: tuple[int, int]
) -> tuple[float, float]:
    """Give the cells of one value the factor that brings their sum within bounds. How far they were
    off before, and the new factor."""
    rest = [weights[cell] / factor for cell in cells]
    now = sum(room[cell] * min(1.0, weights[cell]) for cell in cells)
    off = _outside(now, *bounds)
    free = sum(room[cell] * min(1.0, weight) for cell, weight in zip(cells, rest, strict=True))
    new = 1.0
    if not bounds[0] <= free <= bounds[1]:
        goal = bounds[0] if free < bounds[0] else bounds[1]
        new = min(max(_solve(goal, [room[cell] for cell in cells], rest), _LEAST), _MOST)
    for cell, weight in zip(cells, rest, strict=True):
        weights[cell] = weight * new
    return off, new


def _solve(goal: float, room: Sequence[int], weights: Sequence[float]) -> float:
    """The factor f at which sum(room * min(1, f * weight)) is `goal`.

    Each round finds more cells that are full, and what they can't take the others must: the factor
    only grows, so that no cell has to be taken back.
    """
    open_cells = list(zip(room, weights, strict=True))
    filled = 0.0
    while open_cells:
        mass = sum(most * weight for most, weight in open_cells)
        if mass <= 0:
            return _MOST
        factor = (goal - filled) / mass
        full = sum(most for most, weight in open_cells if factor * weight >= 1)
        if not full:
            return factor
        filled += full
        open_cells = [(most, weight) for most, weight in open_cells if factor * weight < 1]
    return 1 / min(weights) if weights else 1.0


def whole(
    expected: Sequence[float], room: Sequence[int], sides: Sequence[Side], total: int, place: Callable[..., float]
) -> list[int]:
    """Whole numbers near `expected`, none over its cell's `room`, that sum to `total` and meet the
    sides: the first exactly, the second wherever one can after it, further ones to within few rows.

    `place`: a number in [0, 1) for any arguments, always the same for the same ones. Which of the
    cells gets the odd row is drawn in proportion, so that small cells are not always left out.
    `total` may be at most the sum of `room`.
    """
    best: list[int] = []
    least = math.inf
    for attempt in range(_TRIES):
        counts = _drawn(expected, room, sides, total, lambda *more, go=attempt: place(go, *more))
        for level in range(len(sides)):
            _settle(counts, room, sides, level)
        off = sum(misses(counts, sides))
        if off < least:
            best, least = counts, off
        if not off:
            break
    return best


def sums(counts: Sequence[int], side: Side) -> list[int]:
    """Rows that each value of a side gets."""
    have = [0] * len(side.low)
    for value, count in zip(side.member, counts, strict=True):
        have[value] += count
    return have


def misses(counts: Sequence[int], sides: Iterable[Side]) -> list[float]:
    """For each side, the rows by which its values lie outside of their bounds."""
    return [sum(map(_outside, sums(counts, side), side.low, side.high)) for side in sides]


def _outside(number: float, low: int, high: int) -> float:
    return max(low - number, number - high, 0)


def _drawn(
    expected: Sequence[float], room: Sequence[int], sides: Sequence[Side], total: int, place: Callable[..., float]
) -> list[int]:
    """Systematic rounding: the cells stand in a row, those of a value together, and a comb with teeth
    one row apart falls on them. Each cell gets its whole part, and the odd row as often as its
    fraction says."""
    ranks = [[place("order", level, value) for value in range(len(side.low))] for level, side in enumerate(sides)]

    def rank(cell: int) -> tuple[float, ...]:
        return (*(ranks[level][side.member[cell]] for level, side in enumerate(sides)), place("cell", cell))

    order = sorted(range(len(room)), key=rank)
    counts = [0] * len(room)
    so_far, start, given = 0.0, 0.002 + 0.996 * place("start"), 0
    for cell in order:
        so_far += expected[cell]
        now = math.floor(so_far + start)
        counts[cell] = min(now - given, room[cell])
        given = now
    missing = total - sum(counts)
    for cell in order:  # only where the sides could not all be met, or the last digit of a float was off
        change = min(max(missing, -counts[cell]), room[cell] - counts[cell])
        counts[cell] += change
        missing -= change
    return counts


def _settle(counts: list[int], room: Sequence[int], sides: Sequence[Side], level: int) -> None:
    """Move rows between cells until the side `level` is within its bounds, or can't be; cells only
    swap with those that are alike in all earlier sides, which therefore keep what they have."""
    side = sides[level]
    have = sums(counts, side)
    if not any(map(_outside, have, side.low, side.high)):
        return
    swaps = _Swaps(counts, room, sides[: level + 1])
    for value, (low, high) in enumerate(zip(side.low, side.high, strict=True)):
        while not low <= have[value] <= high:
            step = 1 if have[value] < low else -1
            end = swaps.path(value, step, have)
            if end is None:
                break
            have[value] += step
            have[end] -= step


class _Swaps:
    """Rows moved from value to value of the last of some sides, by the shortest chain of swaps."""

    def __init__(self, counts: list[int], room: Sequence[int], sides: Sequence[Side]) -> None:
        self._counts, self._room = counts, room
        *earlier, self._side = sides
        groups: dict[tuple[int, ...], int] = {}
        self._group = [
            groups.setdefault(key, len(groups))
            for key in (tuple(side.member[cell] for side in earlier) for cell in range(len(room)))
        ]
        self._of_value: defaultdict[int, list[int]] = defaultdict(list)
        self._of_group: list[list[int]] = [[] for _ in groups]
        for cell, (value, group) in enumerate(zip(self._side.member, self._group, strict=True)):
            if room[cell]:
                self._of_value[value].append(cell)
                self._of_group[group].append(cell)

    def _may(self, cell: int, step: int) -> bool:
        return self._counts[cell] < self._room[cell] if step > 0 else self._counts[cell] > 0

    def _affords(self, then: int, value: int, step: int) -> bool:
        return then >= self._side.low[value] if step > 0 else then <= self._side.high[value]

    def path(self, value: int, step: int, have: Sequence[int]) -> int | None:
        """Give `value` one row more (`step` 1) or less (-1), at the cost of another value that can
        afford it: which one, None where there is none."""
        came: dict[int, tuple[int, int, int]] = {value: (value, -1, -1)}
        seen = set[int]()
        queue = deque([value])
        while queue:
            here = queue.popleft()
            if here != value and self._affords(have[here] - step, here, step):
                end = here
                while here != value:
                    here, one, other = came[here]
                    self._counts[one] += step
                    self._counts[other] -= step
                return end
            for cell in self._of_value[here]:
                group = self._group[cell]
                if group in seen or not self._may(cell, step):
                    continue
                seen.add(group)
                for other in self._of_group[group]:
                    there = self._side.member[other]
                    if there not in came and self._may(other, -step):
                        came[there] = (here, cell, other)
                        queue.append(there)
        return None
