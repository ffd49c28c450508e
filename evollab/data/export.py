"""Training data out of a run: seeds and all rounds merged, filtered, sampled, shuffled, written.

The rows stay on disk: one pass notes where each usable row lies, a second one fetches the chosen rows
in their new order. Memory grows by 28 bytes a row, whatever the rows' length.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from evollab import rng
from evollab.data import hub, targets
from evollab.data.card import CARD, Exported, write_card
from evollab.data.tables import DUCKDB
from evollab.records import EvolError, Instruction, Message
from evollab.runs import read_step, whole_file

ROWS = "instructions.jsonl"
STEP = "1-evolve"
NO_RESPONSE = "without a response"
OTHER_ROUND = "of other rounds"
UNFIT = "whose turns Alpaca has no place for"
_ROUNDS = re.compile(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*", re.ASCII)
_LONGEST_ROW = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to take out of a run, and in which shape."""

    format: str = field(
        default="messages",
        metadata={"help": "shape of the rows; parquet holds messages and lineage", "choices": tuple(targets.TARGETS)},
    )
    n: int | None = field(
        default=None, metadata={"help": "rows to take, drawn evenly from all; default: all", "metavar": "N"}
    )
    rounds: str | None = field(
        default=None, metadata={"help": "rounds to take (0: the seeds), as 0-4 or 1,3", "metavar": "ROUNDS"}
    )
    shuffle: bool = field(default=True, metadata={"help": "keep the run's order", "flag": "--no-shuffle"})
    seed: int = field(default=0, metadata={"help": "number that the draw and the order depend on", "metavar": "N"})
    licence: str = field(
        default="unknown", metadata={"help": "licence of the seeds, for the data card", "metavar": "NAME"}
    )
    public: bool = field(default=False, metadata={"help": "with --push: everybody may see a data set that is new"})

    def __post_init__(self) -> None:
        if self.format not in targets.TARGETS:
            raise EvolError(f"--format {self.format!r}: expected one of {', '.join(targets.TARGETS)}")
        if self.n is not None and self.n < 1:
            raise EvolError(f"--n {self.n}: expected 1 or more")
        if self.rounds is not None and not _ROUNDS.fullmatch(self.rounds):
            raise EvolError(f"--rounds {self.rounds!r}: expected numbers and ranges, as 0-4 or 1,3")

    def takes(self, number: int) -> bool:
        """Whether rows of round `number` are wanted."""
        if self.rounds is None:
            return True
        ranges = (part.split("-") for part in self.rounds.split(","))
        return any(int(ends[0]) <= number <= int(ends[-1]) for ends in ranges)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written: `rows` of the `available` ones, and how many were `left_out`, by reason."""

    file: Path
    card: Path
    rows: int
    available: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
    url: str = ""

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.rows:,} of {self.available:,} rows", f"{self.card}: the data card"]
        lines += [f"left out: {number:,} rows {why}" for why, number in self.left_out.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, self.url] if self.url else lines)


def export_run(run: Path, out: Path | None, options: ExportOptions, *, push: str | None = None) -> ExportResult:
    """Export a run folder (or one step's folder) into the folder `out` (default: RUN/export):
    train.jsonl or train.parquet, and README.md, the data card. `push`: ORG/NAME on the hub.

    Raises EvolError where there are no rows to export, where `out` holds a README.md of another make,
    and for everything that the hub refuses.
    """
    step = run / STEP if (run / STEP).is_dir() else run
    facts = read_step(step) or {}
    result = export(step / ROWS, run / "export" if out is None else out, options, facts)
    if push is None:
        return result
    files = (result.file.name, result.card.name)
    return dataclasses.replace(result, url=hub.push(result.file.parent, push, files=files, public=options.public))


def export(rows: Path, out: Path, options: ExportOptions, facts: Mapping[str, Any]) -> ExportResult:
    """Export the Instruction lines of the file `rows` into the folder `out`. `facts`: the step.json
    that tells, for the data card, how they were made ({} where there is none).

    The order and the draw depend on the rows' ids and `options.seed` alone: a smaller draw is the
    beginning of a larger one.
    """
    ...
