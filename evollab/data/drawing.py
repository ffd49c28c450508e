"""Which rows to draw so that the mix is the wanted one, and what of it could not be had."""

from __future__ import annotations

import dataclasses
import difflib
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evollab import rng
from evollab.data.mix import Limit, Wish, bounds
from evollab.data.raking import Side, apportion, rake, sums, whole
from evollab.data.rows import excerpt, names
from evollab.data.strata import Strata
from evollab.records import EvolError


@dataclass(slots=True)
class Aim:
    """One field over all rows, with what is wanted of it."""

    strata: Strata
    wish: Wish
    limits: Sequence[Limit] = ()

    @property
    def name(self) -> str:
        return self.strata.field.name


@dataclass(frozen=True, slots=True)
class Line:
    """One value of one field: rows there are, rows wanted (None: nothing asked), rows drawn. Shares
    are of all rows, of the rows wanted, and of the rows drawn; `gap` is drawn less wanted."""

    value: str
    range: str | None
    rows: int
    share: float
    target: float | None
    wanted: int | None
    drawn: int
    drawn_share: float
    gap: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """One field before and after. `off_before`, `off_after`: the share of rows that would have to be
    of another value for the target to be met (total variation distance), None where none was set."""

    field: str
    target: str
    off_before: float | None
    off_after: float | None
    values: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Unmet:
    """Something asked for that could not be had. `field` and `value` are "" for the rows in all."""

    field: str
    value: str
    wanted: int
    got: int
    rows: int
    why: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The rows drawn (their places, ascending), the cell of every row, and the account of it."""

    chosen: list[int]
    cells: array[int]
    asked: int
    tables: tuple[Table, ...]
    unmet: tuple[Unmet, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Asked:
    """An aim in numbers: for each value its rows, share, bounds, and the rows wanted of it."""

    aim: Aim
    values: list[str]
    rows: list[int]
    shares: list[float]
    low: list[int]
    high: list[int]
    wanted: list[int] | None

    @property
    def barred(self) -> set[int]:
        """Values that must not be drawn at all."""
        free = self.aim.wish.free
        return {at for at, most in enumerate(self.high) if not most or not (free or self.shares[at])}


def draw(aims: Sequence[Aim], keys: Sequence[int], asked: int | None, seed: int) -> Drawing:
    """Draw `asked` rows without replacement, so that every field gets its target and its limits.

    `keys`: for each row a number that depends on what it is, not on where it stands, all different;
    draws depend on them and on `seed` alone. `asked` None: as many as each field's target allows, all
    where there is none. Fields are met in their order, those with limits only before all others; of a
    value with too few rows all are taken, and the other values fill in. Raises EvolError for limits
    that exclude each other and where nothing can be drawn.
    """
    total = _ask_for(aims, len(keys)) if asked is None else asked
    questions = [_question(aim, total) for aim in aims]
    room, members, cells = _cells([aim.strata.codes for aim in aims], len(keys))
    for question, member in zip(questions, members, strict=True):
        if barred := question.barred:
            room = [0 if value in barred else most for most, value in zip(room, member, strict=True)]
    reach = [sums(room, Side(member, q.low, q.high)) for q, member in zip(questions, members, strict=True)]
    able = [sum(map(min, q.high, have)) for q, have in zip(questions, reach, strict=True)]
    drawn = min([total, sum(room), *able])
    if not drawn:
        raise _nothing(questions)
    sides = [_side(q, member, have, drawn) for q, member, have in zip(questions, members, reach, strict=True)]
    order = sorted(range(len(sides)), key=lambda at: not (aims[at].limits and aims[at].wish.free))
    counts = _counts(room, [side for at in order if (side := sides[at])], drawn, seed)
    got = [sums(counts, Side(member, q.low, q.high)) for q, member in zip(questions, members, strict=True)]
    tables = tuple(_table(q, have, len(keys), drawn) for q, have in zip(questions, got, strict=True))
    unmet = [
        one for q, have, most in zip(questions, got, reach, strict=True) for one in _unmet(q, have, most, drawn < total)
    ]
    if drawn < total and asked is not None:
        unmet.insert(0, Unmet("", "", total, drawn, len(keys), _too_few(questions, able, sum(room), len(keys), drawn)))
    return Drawing(_pick(counts, cells, keys), cells, total, tables, tuple(unmet), _notes(questions))


def _ask_for(aims: Sequence[Aim], rows: int) -> int:
    """The most rows with which each field's target, for itself, is met in full."""
    total = rows
    for aim in aims:
        have = _rows_of(aim.strata.codes, len(aim.strata.values))
        if aim.wish.free or (aim.wish.power == 1 and not aim.wish.shares):
            continue
        missing = [value for value, share in aim.wish.shares.items() if share and value not in aim.strata.values]
        if missing:
            raise EvolError(
                f"{aim.name}: the target names {names(missing)}, which no row has, so that it can't be met in full",
                "say how many rows to draw all the same: --n N",
            )
        shares = aim.wish.over(aim.strata.values, have)
        total = min(
            [total, *(math.floor(number / share + 1e-9) for number, share in zip(have, shares, strict=True) if share)]
        )
    return total


def _rows_of(codes: Sequence[int], values: int) -> list[int]:
    counted = Counter(codes)
    return [counted[at] for at in range(values)]


def _question(aim: Aim, total: int) -> _Asked:
    named = [*aim.wish.shares, *(limit.value for limit in aim.limits if limit.value != "*")]
    strata = aim.strata
    values = [*strata.values, *sorted(set(named) - set(strata.values))]
    rows = _rows_of(strata.codes, len(values))
    shares = aim.wish.over(values, rows)
    low, high = bounds(aim.limits, values, total)
    if sum(low) > total:
        raise EvolError(f"the floors of {aim.name} sum to {sum(low):,} rows; expected at most the {total:,} to draw")
    for at, value in enumerate(values):
        if low[at] and not aim.wish.free and not shares[at] and rows[at]:
            raise EvolError(
                f"{aim.name}: the target gives {excerpt(value, 60)} no rows, a floor gives it {low[at]:,}",
                "change one of them",
            )
    wanted = None if aim.wish.free else apportion(total, shares, low, high)
    return _Asked(aim, values, rows, shares, low, high, wanted)


def _cells(codes: Sequence[Sequence[int]], rows: int) -> tuple[list[int], list[list[int]], array[int]]:
    """The cells, in an order that depends on what they are: rows of each, the value that each has in
    each field, and the cell of each row."""
    if not codes:
        return [rows], [], array("I", bytes(4 * rows))
    place = {cell: at for at, cell in enumerate(sorted(set(zip(*codes, strict=True))))}
    cells = array("I", map(place.__getitem__, zip(*codes, strict=True)))
    return _rows_of(cells, len(place)), [list(member) for member in zip(*place, strict=True)], cells


def _side(asked: _Asked, member: Sequence[int], reach: Sequence[int], drawn: int) -> Side | None:
    """What raking has to hold for this field, None where it is free."""
    if asked.aim.wish.free and not asked.aim.limits:
        return None
    low, high = list(map(min, asked.low, reach)), list(map(min, asked.high, reach))
    if sum(low) > drawn:
        low = apportion(drawn, low, [0] * len(low), low)
    if asked.aim.wish.free:
        return Side(member, low, high)
    exact = apportion(drawn, asked.shares, low, high)
    return Side(member, exact, exact)


def _counts(room: Sequence[int], sides: Sequence[Side], drawn: int, seed: int) -> list[int]:
    everything = Side([0] * len(room), [drawn], [drawn])
    expected = rake(room, [everything, *sides])
    return whole(expected, room, sides, drawn, lambda *place: rng.uniform(seed, "sample", "cells", *place))


def _pick(counts: Sequence[int], cells: Sequence[int], keys: Sequence[int]) -> list[int]:
    """Of each cell as many rows as it is given: those whose keys come first."""
    left = list(counts)
    chosen: list[int] = []
    for row in sorted(range(len(keys)), key=lambda row: cells[row] << 64 | keys[row]):
        if left[cells[row]]:
            left[cells[row]] -= 1
            chosen.append(row)
    return sorted(chosen)


def _nothing(questions: Sequence[_Asked]) -> EvolError:
    for q in questions:
        if not any(number for at, number in enumerate(q.rows) if at not in q.barred):
            return EvolError(
                f"{q.aim.name}: no row has a value that the target gives a share above 0; the values are "
                f"{names(q.aim.strata.values)}"
            )
    return EvolError("no row has a value of every field that may be drawn", "give more values a share above 0")


def _table(asked: _Asked, got: Sequence[int], rows: int, drawn: int) -> Table:
    wanted = asked.wanted
    sum_wanted = sum(wanted or ()) or 1
    ranges = dict(zip(asked.aim.strata.values, asked.aim.strata.ranges, strict=False))
    lines = [
        Line(
            value, ranges.get(value), asked.rows[at], asked.rows[at] / rows,
            wanted[at] / sum_wanted if wanted else None, wanted[at] if wanted else None,
            got[at], got[at] / drawn, got[at] - wanted[at] if wanted else None,
        )
        for at, value in enumerate(asked.values)
    ]  # fmt: skip
    before = after = None
    if wanted:
        before = sum(abs(line.share - (line.target or 0)) for line in lines) / 2
        after = sum(abs(line.drawn_share - (line.target or 0)) for line in lines) / 2
    words = str(asked.aim.wish) + (" within limits" if asked.aim.limits else "")
    return Table(str(asked.aim.strata.field), words, before, after, tuple(lines))


def _unmet(asked: _Asked, got: Sequence[int], reach: Sequence[int], fewer: bool) -> list[Unmet]:
    found: list[Unmet] = []
    for at, value in enumerate(asked.values):
        wanted = asked.wanted[at] if asked.wanted else asked.low[at]
        if got[at] < wanted:
            found.append(
                Unmet(asked.aim.name, value, wanted, got[at], asked.rows[at], _why(asked, at, got, reach, fewer))
            )
        elif got[at] > asked.high[at]:
            why = "its rows are needed for the limits and targets of other fields"
            found.append(Unmet(asked.aim.name, value, asked.high[at], got[at], asked.rows[at], why))
    return found


def _why(asked: _Asked, at: int, got: Sequence[int], reach: Sequence[int], fewer: bool) -> str:
    wanted = asked.wanted[at] if asked.wanted else asked.low[at]
    rows = asked.rows[at]
    if not rows:
        near = difflib.get_close_matches(asked.values[at], asked.aim.strata.values, 1)
        return "no row has it" + (f" (did you mean {excerpt(near[0], 60)}?)" if near else "")
    if rows < wanted:
        others = f", of which {got[at]:,} also fit the other fields" if got[at] < rows else ""
        return f"only {rows:,} rows have it{others}"
    if reach[at] < wanted:
        return f"of its {rows:,} rows only {reach[at]:,} have values of the other fields that may be drawn"
    if fewer:
        return "fewer rows could be drawn than asked for"
    return f"{rows:,} rows have it, but too few that also fit what is asked of the other fields"


def _too_few(questions: Sequence[_Asked], able: Sequence[int], room: int, rows: int, drawn: int) -> str:
    """Why fewer rows than asked for could be drawn."""
    if drawn == rows:
        return "there are no more"
    for q, most in zip(questions, able, strict=True):
        if most == drawn < room:
            return f"the limits of {q.aim.name} allow no more"
    return "no more rows have values that may be drawn"


def _notes(questions: Sequence[_Asked]) -> tuple[str, ...]:
    found: list[str] = []
    for q in questions:
        field, shares = q.aim.strata.field, q.aim.wish.shares
        unnamed = [
            f"{value} ({number:,} rows)"
            for value, number in zip(q.values, q.rows, strict=True)
            if number and value not in shares
        ]
        if shares and unnamed:
            found.append(f"{q.aim.name}: the target does not name {names(unnamed)}; none of them are drawn")
        if 0 < len(q.aim.strata.values) < field.quantiles:
            found.append(f"{field}: {len(q.aim.strata.values)} bins only, since equal numbers stay together")
    return tuple(found)


def as_json(drawing: Drawing) -> dict[str, object]:
    """The account as plain values."""
    return {
        "asked": drawing.asked,
        "drawn": len(drawing.chosen),
        "fields": [dataclasses.asdict(table) for table in drawing.tables],
        "unmet": [dataclasses.asdict(one) for one in drawing.unmet],
        "notes": list(drawing.notes),
    }
