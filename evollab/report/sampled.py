"""Before and after of a sample: what `evol sample` left in sample.json, for a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from markupsafe import Markup

from evollab.data.drawing import Line, Table, Unmet
from evollab.records import EvolError
from evollab.report.svg import el
from evollab.report.typed import read_typed

NAME = "sample.json"
_SHOWN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFile:
    file: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    by: str
    files: tuple[SliceFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A sample's account (see `data.drawing` and `data.sample`)."""

    data: str = ""
    rows: int
    usable: int
    asked: int
    drawn: int
    seed: int = 0
    fields: tuple[Table, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    notes: tuple[str, ...] = ()
    slices: Slices | None = None


def read_sample(place: Path) -> Sampled:
    """The account at `place`: sample.json, or the folder that holds it. Raises EvolError where there is none, and
    for one that is not whole."""
    path = Path(place) / NAME if Path(place).is_dir() else Path(place)
    try:
        parsed: Any = orjson.loads(path.read_bytes())
    except OSError as error:
        raise EvolError(
            f"{path}: can't be read ({error.strerror})", "expected a folder that `evol sample` made"
        ) from None
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{path}: not JSON ({error})", "make it anew: evol sample") from None
    return read_typed(Sampled, parsed, str(path))


@dataclass(frozen=True, slots=True)
class Rung:
    """One value of a field: its line, and its bars."""

    line: Line
    bars: Markup


def rungs(table: Table) -> list[Rung]:
    """The field's values, each with its share before (upper bar), after (lower bar) and wanted (stroke), all on one
    scale from zero to the largest share of the field."""
    lines = table.values[:_SHOWN]
    longest = max([0.0, *(share for line in lines for share in (line.share, line.drawn_share, line.target or 0.0))])
    return [Rung(line, _bars(line, longest or 1.0)) for line in lines]


def left_out(table: Table) -> int:
    return max(len(table.values) - _SHOWN, 0)


def _bars(line: Line, longest: float) -> Markup:
    def bar(share: float, y: float, cls: str) -> Iterator[Markup]:
        if share > 0:
            yield el("rect", {"y": y, "width": f"{share / longest * 100:.2f}%", "height": 8, "class": cls})

    parts = [*bar(line.share, 2, "before"), *bar(line.drawn_share, 12, "after")]
    if line.target is not None:
        x = f"{line.target / longest * 100:.2f}%"
        parts.append(el("line", {"x1": x, "x2": x, "y1": 0, "y2": 22, "class": "target"}))
    return el("svg", {"class": "rung", "width": "100%", "height": 22, "aria-hidden": "true"}, *parts)
