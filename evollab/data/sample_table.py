"""A sample's account as a person reads it in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evollab.data.rows import excerpt

_SHOWN = 30
_WIDEST = 32


def text(account: Mapping[str, Any], folder: Path) -> str:
    """What was drawn, a table for each field, what could not be met, what was set aside."""
    drawn = account["drawn"]
    out = [f"{drawn:,} of {account['usable']:,} rows drawn (seed {account['seed']}): {folder / 'kept.jsonl'}"]
    for table in account["fields"]:
        out += ["", *_table(table)]
    if account["slices"]:
        out += ["", f"slices, {account['slices']['by']}:"]
        for one in account["slices"]["files"]:
            ends = f", {one['from']:g} to {one['to']:g}" if "from" in one else ""
            out.append(f"  {one['file']}: {one['rows']:,} rows{ends}")
    if account["unmet"]:
        out += ["", "could not be met:"]
        out += [f"  {_unmet(one)}" for one in account["unmet"][:_SHOWN]]
        out += _more(len(account["unmet"]))
    if account["rejected"]:
        out += ["", "set aside, in rejected.jsonl:"]
        out += [f"  {times:,} rows: {reason}" for reason, times in list(account["rejected"].items())[:_SHOWN]]
        out += _more(len(account["rejected"]))
    if account["notes"]:
        out += ["", *(f"note: {note}" for note in account["notes"])]
    return "\n".join(out)


def _unmet(one: Mapping[str, Any]) -> str:
    what = f"{one['field']} = {excerpt(one['value'], 60)}" if one["field"] else "rows in all"
    return f"{what}: {one['got']:,} of {one['wanted']:,} wanted: {one['why']}"


def _more(total: int) -> list[str]:
    return [f"  and {total - _SHOWN:,} more in sample.json"] if total > _SHOWN else []


def _table(table: Mapping[str, Any]) -> list[str]:
    head = f"{excerpt(table['field'], 80)}: {table['target']}"
    if table["off_before"] is not None:
        head += f"; off the target by {table['off_before']:.1%} before, {table['off_after']:.1%} now"
    titles = ("value", "rows", "share", "wanted", "drawn", "share", "gap")
    lines = [titles, *(_line(line) for line in table["values"][:_SHOWN])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    rows = [
        "  ".join(["  " + line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    ]
    return [head, *rows, *_more(len(table["values"]))]


def _line(line: Mapping[str, Any]) -> tuple[str, ...]:
    name = excerpt(line["value"], _WIDEST)
    if line["range"]:
        name += f" ({line['range']})"
    return (
        name, f"{line['rows']:,}", f"{line['share']:.1%}", "" if line["wanted"] is None else f"{line['wanted']:,}",
        f"{line['drawn']:,}", f"{line['drawn_share']:.1%}", f"{line['gap']:+,}" if line["gap"] else "",
    )  # fmt: skip
