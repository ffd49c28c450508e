"""Rows that say in other words what a benchmark item says, by how near their embeddings are.

n-grams don't see a paraphrase or a translation into another programming language; embeddings do
(Yang et al. 2023, 2311.04850). Every user turn of a row is held against every item.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evollab.data.benchmark import BenchmarkItem
from evollab.data.spool import Spool
from evollab.data.vectors import Kept, Vectors

Numbers = npt.NDArray[np.int64]

MOST = 5
"""Items that a row is held to resemble, at most: the nearest."""
_SHOWN = 4000
"""Characters of a text that are embedded, at most; models look at fewer."""
_BLOCK = 256
"""Turns whose similarities to all items are in memory at a time."""
_ROUNDED = 1e-4
_EVEN = 1e-6
"""Similarities, rounded, that differ by less are equal."""
_ENOUGH = 8
"""Words with which a question of multiple choice stands for itself."""
_FEW_WORDS = 5
_MOST_WORDS = 120
_SAID = re.compile(r'"""(.*?)"""|' + r"'''(.*?)'''" + r"|/\*(.*?)\*/|(?<!:)(?:#|//)([^\n]*)", re.DOTALL)
_CODE = re.compile(r"^\s*(?:def|class|function|import|from|#include|public|const|let|var)\b", re.MULTILINE)
_NAME = re.compile(r"\b(?:def|function)\s+(\w{1,80})|^\w[\w* ]{0,80}?\b(\w{1,80})\([^;\n]{0,200}\)\s*\{", re.MULTILINE)
_HUMP = re.compile(r"_+|(?<=[a-z])(?=[A-Z])")
_EDGE = re.compile(r"^[\s*@!/]+")
_EXAMPLE = (">>>", "param", "return", "example", "include")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row (0-based) and an item that are near: cosine of their vectors, rounded to 4 places."""

    row: int
    item: int
    similarity: float


def gist(text: str) -> str:
    """What a text is about, for an embedding. Prose is that itself. Of code it is the first function's
    name, in words, and what docstrings and comments say, without examples and parameters: so that the
    same task in another language is near, and the code that solves it is no matter.
    """
    text = text[:_SHOWN]
    if not _CODE.search(text):
        return text
    said = "\n".join(next(part for part in found.groups() if part is not None) for found in _SAID.finditer(text))
    lines = (_EDGE.sub("", line) for line in said.split("\n"))
    told = " ".join(line for line in lines if line and not line.casefold().startswith(_EXAMPLE)).split()
    if len(told) < _FEW_WORDS:
        return text
    name = next((_HUMP.sub(" ", found[1] or found[2]) for found in _NAME.finditer(text)), "")
    return f"{name}: {' '.join(told[:_MOST_WORDS])}"


def about(item: BenchmarkItem) -> str:
    """What is embedded of an item: its question; a short one says too little without its choices."""
    return gist(item.question if len(item.question.split()) >= _ENOUGH else item.whole)


class Prompts:
    """Users' turns laid aside, to be embedded when all have passed by: in a nameless file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._texts = Spool(folder)
        self._rows = array("q")

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, turns: Iterable[str]) -> None:
        """A row's turns; each is held against the items by itself."""
        for turn in turns:
            if turn and not turn.isspace():
                self._rows.append(row)
                self._texts.add(gist(turn).encode("utf-8", "surrogatepass"))

    def texts(self) -> Iterator[str]:
        self._texts.flush()
        return (self._texts[at].decode("utf-8", "surrogatepass") for at in range(len(self)))

    @property
    def rows(self) -> Numbers:
        """The row of each text."""
        return np.array(self._rows, np.int64)

    def close(self) -> None:
        self._texts.close()


def near_pairs(items: Kept | Vectors, turns: Kept | Vectors, rows: Numbers, similar: float) -> list[Pair]:
    """All pairs of a row and an item that are as near as `similar`, by row, the nearest first; of a row at
    most MOST items. items: one vector for each. turns: one for each turn; rows: which row it is of."""
    best: dict[tuple[int, int], float] = {}
    there = np.asarray(items, np.float32).T
    for start in range(0, len(turns), _BLOCK):
        near = np.asarray(turns[start : start + _BLOCK], np.float32) @ there
        for at in np.flatnonzero(near.max(axis=1, initial=-1) >= similar - _ROUNDED).tolist():
            row, values = int(rows[start + at]), near[at].round(4)
            items_near = np.flatnonzero(values >= similar - _EVEN)
            for item in items_near[np.argsort(-values[items_near], kind="stable")[:MOST]].tolist():
                best[row, item] = max(round(float(values[item]), 4), best.get((row, item), -1.0))
    ordered = sorted((row, -similarity, item) for (row, item), similarity in best.items())
    return [
        Pair(row, item, -negative)
        for number, (row, negative, item) in enumerate(ordered)
        if number < MOST or ordered[number - MOST][0] != row
    ]


def by_item(pairs: Sequence[Pair]) -> dict[int, list[Pair]]:
    """The pairs of each item, the nearest row first."""
    found: dict[int, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda one: (one.item, -one.similarity, one.row)):
        found.setdefault(pair.item, []).append(pair)
    return found
