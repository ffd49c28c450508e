"""Tables that AlpacaEval 2's length control needs, out of files of the user's (none are shipped).

instruction_difficulty.csv   the item's 0-based number and its difficulty
df_gamed.csv                 rows of the gamed baselines: index, instruction_difficulty, std_delta_len, preference,
                             not_gamed_baseline
FILE.jsonl                   instruction, instruction_difficulty
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from evollab.data.files import read_rows
from evollab.data.rows import names
from evollab.evals.judging.length import Gamed
from evollab.records import EvolError, Rejected

FILE = "EVOLLAB_ALPACAEVAL_DIFFICULTY"
"""The environment variable that names such a file."""
COLUMN = "instruction_difficulty"


@dataclass(frozen=True, slots=True)
class Difficulties:
    """by_number: by the item's 0-based place in the benchmark. by_text: by its instruction. gamed: rows of gamed
    baselines, where the file has them. file: its name."""

    by_number: Mapping[int, float] = field(default_factory=dict[int, float])
    by_text: Mapping[str, float] = field(default_factory=dict[str, float])
    gamed: Sequence[Gamed] = ()
    file: str = ""

    def of(self, identity: str, text: str) -> float | None:
        """By the instruction, else by the id, which is the item's 1-based number."""
        if text in self.by_text:
            return self.by_text[text]
        return self.by_number.get(int(identity) - 1) if identity.isdecimal() and len(identity) < 9 else None


def named() -> Difficulties:
    """The table that the environment names, an empty one where it names none. Raises EvolError."""
    file = os.environ.get(FILE, "")
    return read(file, _changed(file)) if file else Difficulties()


def _changed(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise EvolError(f"${FILE} {file}: {error.strerror}", "name a table of instruction difficulties") from None


@lru_cache(maxsize=4)
def read(file: str, changed: int = 0) -> Difficulties:
    """Raises EvolError for a file without a row that can be used."""
    by_number: dict[int, float] = {}
    by_text: dict[str, float] = {}
    gamed: list[Gamed] = []
    bad: list[Rejected] = []
    last: Mapping[str, Any] = {}
    for row in read_rows(file, reject=bad.append):
        last = row.fields
        value = number(last.get(COLUMN, last.get("0")))
        if value is None:
            continue
        place = number(last.get("index", last.get("", last.get("column0"))))
        text = last.get("instruction")
        if isinstance(text, str):
            by_text[text] = value
        if place is not None and place.is_integer():
            by_number[int(place)] = value
        delta, preference = number(last.get("std_delta_len")), number(last.get("preference"))
        if delta is not None and preference is not None and 0 <= preference <= 1:
            gamed.append(Gamed(preference, delta, value))
    if not by_number and not by_text:
        raise EvolError(
            f"{file}: no row gives an instruction's difficulty; the rows have {names(last)}",
            f"columns index and {COLUMN}, or instruction and {COLUMN}",
        )
    return Difficulties(by_number, by_text, gamed, Path(file).name)


def number(value: object) -> float | None:
    """A finite number, also one written as a text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value[:40] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
