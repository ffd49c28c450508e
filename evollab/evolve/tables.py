"""Small data blocks made by program, for models that can name things but not write a table."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable

import orjson

from evollab import rng

_MAX_THINGS = 6
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_LABEL = re.compile(r"[^\w\s'-]")

_ASKS = (
    "Use the data below, and say which of its entries matters most for the answer, and why.",
    "Use the data below, and explain what the highest and the lowest figure mean for the answer.",
    "Let the answer draw on the data below, and name the two entries that differ most.",
)
_COLUMNS = ("quantity", "score", "cost", "days")
_COLUMN = re.compile(r"[^a-z0-9]+")


def named_things(text: str) -> list[str]:
    """Three to six different short names out of "a; b; c | what is counted"; an empty list when there
    are fewer."""
    things: list[str] = []
    for part in re.split(r"[;,]", text[:500].partition("|")[0]):
        name = _LABEL.sub("", part).strip()
        name = _ARTICLE.sub("", name)
        if 2 <= len(name) <= 40 and len(name.split()) <= 4 and name.lower() not in map(str.lower, things):
            things.append(name)
    return things[:_MAX_THINGS] if len(things) >= 3 else []


def figure_name(text: str) -> str:
    """What the figures count, as a column name, out of "a; b; c | price in euros"; "" when not said."""
    name = _COLUMN.sub("_", text[:500].partition("|")[2].split(";")[0].strip().lower()).strip("_")
    return name if 2 < len(name) <= 30 and not name[0].isdigit() and name.count("_") <= 3 else ""


def table(fence: str, things: list[str], column: str, *place: object) -> str:
    """A request to use the data, then the data: `things` with figures under the name `column` ("": one
    is drawn), in the format of `fence` (xml, sql, python, html, bash, json)."""
    ask = _ASKS[rng.integer(*place, "ask") % len(_ASKS)]
    if not column or any(word in column for thing in things for word in thing.lower().split()):
        column = ""  # the model named the things again instead of what is counted
    column = column or _COLUMNS[rng.integer(*place, "column") % len(_COLUMNS)]
    rows = [(thing, 2 + rng.integer(*place, "figure", n) % 97) for n, thing in enumerate(things)]
    return f"{ask}\n\n```{fence}\n{_WRITERS[fence](column, rows)}\n```"


Rows = list[tuple[str, int]]


def _xml(column: str, rows: Rows) -> str:
    lines = [f'  <item name="{html.escape(name)}" {column}="{figure}"/>' for name, figure in rows]
    return "\n".join(["<items>", *lines, "</items>"])


def _sql(column: str, rows: Rows) -> str:
    values = ",\n".join("  ('{}', {})".format(name.replace("'", "''"), figure) for name, figure in rows)
    return f"CREATE TABLE items (name TEXT, {column} INTEGER);\nINSERT INTO items VALUES\n{values};"


def _python(column: str, rows: Rows) -> str:
    lines = [f"    {{'name': {name!r}, '{column}': {figure}}}," for name, figure in rows]
    return "\n".join(["items = [", *lines, "]"])


def _html(column: str, rows: Rows) -> str:
    lines = [f"  <tr><td>{html.escape(name)}</td><td>{figure}</td></tr>" for name, figure in rows]
    return "\n".join(["<table>", f"  <tr><th>name</th><th>{column}</th></tr>", *lines, "</table>"])


def _bash(column: str, rows: Rows) -> str:
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name:<{width}}{figure}" for name, figure in rows]
    return "\n".join(["$ cat items.txt", f"{'name':<{width}}{column}", *lines])


def _json(column: str, rows: Rows) -> str:
    lines = [orjson.dumps({"name": name, column: figure}).decode() for name, figure in rows]
    return "[\n" + textwrap.indent(",\n".join(lines), "  ") + "\n]"


_WRITERS: dict[str, Callable[[str, Rows], str]] = {
    "xml": _xml,
    "sql": _sql,
    "python": _python,
    "html": _html,
    "bash": _bash,
    "json": _json,
}
