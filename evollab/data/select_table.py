"""A selection's account as a person reads it in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evollab.data.rows import excerpt

_SHOWN = 20
_WIDEST = 24
_LEGEND = (
    "means with 95 % intervals; distance: cosine distance to the nearest, among as many rows of each way, by {embedder}"
)


def text(account: Mapping[str, Any], folder: Path) -> str:
    """What was kept, why the others went, the table of the ways, what a reader must know."""
    how = f" by {excerpt(account['how'], 60)}" if account["how"] else ""
    out = [f"{folder / 'kept.jsonl'}: {account['kept']:,} of {account['rows']:,} rows{how}"]
    removed = account["removed"]
    if removed:
        out.append(f"{folder / 'removed.jsonl'}:")
        out += [
            f"  {times:,} {'row' if times == 1 else 'rows'}: {excerpt(reason, 80)}"
            for reason, times in list(removed.items())[:_SHOWN]
        ]
    if len(removed) > _SHOWN:
        out.append(f"  and {len(removed) - _SHOWN:,} more reasons in selection.json")
    if account["rejected"]:
        out.append(f"{folder / 'rejected.jsonl'}: {account['rejected']:,} rows that could not be used")
    if account["table"]:
        out += ["", *lines_of(account["table"]), "", _LEGEND.format(embedder=excerpt(account["embedder"], 60))]
    if account["cost"] and account["cost"].get("usd"):
        out += ["", f"the attributes cost ${account['cost']['usd']:,.2f}"]
    if account["notes"]:
        out += ["", *(f"note: {note}" for note in account["notes"])]
    return "\n".join(out)


def lines_of(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table: a column for each measure that a line has."""
    columns = [(title, cell) for title, name, cell in _COLUMNS if any(name in line for line in table)]
    cells = [[title for title, _ in columns], *([cell(line) for _, cell in columns] for line in table)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]


def _mean(name: str, most: int) -> Callable[[Mapping[str, Any]], str]:
    def cell(line: Mapping[str, Any]) -> str:
        found = line.get(name)
        if found is None:
            return "-"
        digits = most if abs(found["mean"]) < 20 else max(0, most - 1)
        return f"{found['mean']:,.{digits}f} [{found['low']:,.{digits}f}, {found['high']:,.{digits}f}]"

    return cell


def _spread(line: Mapping[str, Any]) -> str:
    found = line.get("difficulty")
    return "-" if found is None else f"{found['sd']:.2f}"


def _whole(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda line: f"{line[name]:,}" if name in line else "-"


_COLUMNS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("way", "way", lambda line: excerpt(line["way"], _WIDEST)),
    ("rows", "rows", _whole("rows")),
    ("difficulty", "difficulty", _mean("difficulty", 2)),
    ("sd", "difficulty", _spread),
    ("quality", "quality", _mean("quality", 2)),
    ("distance", "diversity", _mean("diversity", 3)),
    ("tags", "tags", _whole("tags")),
    ("entropy", "entropy", lambda line: f"{line['entropy']:.2f}" if "entropy" in line else "-"),
    ("words", "words", _mean("words", 1)),
    ("tokens", "tokens", _whole("tokens")),
)
