"""Figures, and the one table that they are printed as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Figure:
    """One line of the table: the same measure for every client, and what ours should reach."""

    measure: str
    unit: str
    values: dict[str, float | None] = field(default_factory=dict[str, float | None])
    target: str = ""
    got: str = ""
    met: bool | None = None
    note: str = ""
    runs: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def compare(self, *, at_most: float | None = None, at_least: float | None = None) -> None:
        """Hold ours against the floor: the ratio may be at most, or must be at least, so much."""
        ours, floor = self.values.get("ours"), self.values.get("floor")
        limit = at_most if at_most is not None else at_least
        assert limit is not None
        self.target = f"{'<=' if at_most is not None else '>='} {limit:g} x floor"
        if ours is not None and floor:
            ratio = ours / floor
            self.got = f"{ratio:.2f} x"
            self.met = ratio <= limit if at_most is not None else ratio >= limit

    def require(self, *, below: float | None = None, at_least: float | None = None) -> None:
        """Hold ours against a fixed number."""
        ours = self.values.get("ours")
        limit = below if below is not None else at_least
        assert limit is not None
        self.target = f"{'<' if below is not None else '>='} {limit:,g}"
        if ours is not None:
            self.got = _number(ours)
            self.met = ours < limit if below is not None else ours >= limit

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def render(figures: Sequence[Figure]) -> str:
    """A Markdown table with aligned columns; notes stand below it."""
    names = list(dict.fromkeys(name for figure in figures for name in figure.values))
    rows = [["measure", "unit", *names, "target", "got", "met"]]
    for figure in figures:
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        cells = [_number(figure.values[name]) if name in figure.values else "" for name in names]
        rows.append([figure.measure, figure.unit, *cells, figure.target, figure.got, met])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    notes = [f"{figure.measure}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])
