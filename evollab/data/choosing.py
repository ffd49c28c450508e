"""One way at work: the candidates it may choose from, its choice, and why each other row was not chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from evollab.data.rowindex import RowIndex
from evollab.data.rows import excerpt
from evollab.data.selecting import Candidates, Choice, Need, SelectOptions, Selector, Why
from evollab.records import EvolError

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
_OURS = {"reason", "line", "id", "data", "number", "detail", "nearest", "row"}


class Pool:
    """The rows of an index by columns of numpy. `vectors`: unit vectors of some rows."""

    def __init__(self, index: RowIndex, seed: int, vectors: Callable[[Rows], Vectors]) -> None:
        self.index = index
        self.passed = np.frombuffer(bytes(index.passed), np.bool_)
        self.numbers = {name: np.array(column, np.float64) for name, column in index.numbers.items()}
        self.keys = np.array(index.keys(seed), np.uint64)
        self.vectors = vectors

    def having(self, needs: Sequence[Need]) -> Rows:
        """The rows that passed the filters and have all of `needs`, in their order."""
        able = self.passed.copy()
        for need in needs:
            able &= self._has(need)
        return np.flatnonzero(able)

    def anywhere(self, need: Need) -> bool:
        """Whether any row has it."""
        return bool(self._has(need).any())

    def _has(self, need: Need) -> npt.NDArray[np.bool_]:
        if need.kind == "number":
            return ~np.isnan(self.numbers[need.name])
        return np.array([found is not None for found in self.index.lists[need.name]], np.bool_)

    def candidates(self, rows: Rows) -> Candidates:
        places = rows.tolist()
        return Candidates(
            size=len(rows),
            keys=self.keys[rows],
            numbers={name: values[rows] for name, values in self.numbers.items()},
            lists={name: [values[row] or () for row in places] for name, values in self.index.lists.items()},
            vectors=lambda some: self.vectors(rows[some]),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows that a way chose, in their order; `why` not, for any other row that passed the filters, with
    the chosen row in place of the candidate (`Why.nearest`)."""

    chosen: Rows
    why: Callable[[int], Why]


def choose(name: str, way: Selector, pool: Pool, options: SelectOptions) -> Outcome:
    """What `way` makes of the pool. Raises EvolError where its choice is none."""
    needs = tuple(way.needs(options))
    able = pool.having(needs)
    choice = way.pick(pool.candidates(able), options)
    chosen = _checked(name, choice, len(able), options.n)

    def why(row: int) -> Why:
        place = int(np.searchsorted(able, row))
        if place < len(able) and able[place] == row:
            found = choice.why(place)
            nearest = None if found.nearest is None else int(able[found.nearest])
            return dataclasses.replace(found, facts=_facts(name, found.facts), nearest=nearest)
        need = next(need for need in needs if not _has(pool, row, need))
        return Why(f"no {need.name}", pool.index.lack(row, need))

    return Outcome(able[chosen], why)


def _facts(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that removed.jsonl can hold: numbers of numpy as numbers, other things as text."""
    if taken := sorted(_OURS & facts.keys()):
        raise EvolError(f"{excerpt(name, 60)}: a fact is called {taken[0]}, which removed.jsonl has already")
    found: dict[str, Any] = orjson.loads(orjson.dumps(facts, default=str, option=orjson.OPT_SERIALIZE_NUMPY))
    return found


def _has(pool: Pool, row: int, need: Need) -> bool:
    if need.kind == "number":
        return not np.isnan(pool.numbers[need.name][row])
    return pool.index.lists[need.name][row] is not None


def _checked(name: str, choice: Choice, size: int, n: int | None) -> Rows:
    """The chosen places in order: a way of one's own may be wrong about them."""
    places = np.asarray(choice.chosen, np.int64)
    chosen = np.unique(places)
    wrong = len(chosen) < len(places) or (len(chosen) and not 0 <= chosen[0] <= chosen[-1] < size)
    if wrong or (n is not None and len(chosen) > n):
        limit = "" if n is None else f", at most {n:,} of them"
        raise EvolError(f"{excerpt(name, 60)}: expected places from 0 to {size - 1:,}, each once{limit}; got others")
    return chosen


def baselines(
    ways: Mapping[str, Selector], pool: Pool, options: SelectOptions, n: int, notes: list[str]
) -> Iterator[tuple[str, Rows]]:
    """What each of `ways` would choose, `n` rows; those whose fields too few rows have are named in `notes`.
    A band is the choice's own: the others go by theirs."""
    for name, way in ways.items():
        needs = way.needs(options)
        missing = [need.name for need in needs if not pool.anywhere(need)]
        able = len(pool.having(needs))
        if missing:
            notes.append(f"{name} is not compared: no row has {' and '.join(missing)}")
        elif able < n:
            notes.append(f"{name} is not compared: only {able:,} rows have what it needs")
        else:
            yield name, choose(name, way, pool, dataclasses.replace(options, n=n, band=None)).chosen
