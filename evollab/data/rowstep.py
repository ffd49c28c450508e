"""What every step on rows has in common: where its rows come from, where they go, when it is done.

    FOLDER/kept.jsonl       the rows that stay, in their order
    FOLDER/removed.jsonl    the others: {"reason", "line", "id", ..., "row"}
    FOLDER/rejected.jsonl   what could not be read: a `records.Rejected` a line
    FOLDER/step.json        what was asked, what came of it

A step's folder can be the DATA of the next step.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from evollab.data.files import input_digest
from evollab.data.items import Item, changed, is_file
from evollab.llm.journal import NO_ROOM
from evollab.records import EvolError, Rejected
from evollab.runs import STEP, Step, locked, open_folder, whole_file

KEPT = "kept.jsonl"
REMOVED = "removed.jsonl"
REJECTED = "rejected.jsonl"
EVOLVE = Path("1-evolve")
EVOLVED = EVOLVE / "instructions.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """The file of rows that a DATA argument names, and the folder that a step on it writes to."""

    source: str
    folder: Path


def place_of(data: str, out: Path | None, name: str) -> Place:
    """What `data` stands for: a run folder for its evolved rows, a step's folder for the rows it kept,
    anything else for itself. `out` None: <run>/<name>, beside the step, or runs/<name>.

    Raises EvolError for a run or step without rows yet.
    """
    path = Path(data)
    beside = Path("runs")
    source = data
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have; opening it says so
        if data == "-" or not path.is_dir():
            pass
        elif is_file(path / EVOLVED):
            source, beside = str(path / EVOLVED), path
        elif is_file(path / STEP) and is_file(path / EVOLVED.name):
            source, beside = str(path / EVOLVED.name), path.parent
        elif is_file(path / STEP) and is_file(path / KEPT):
            source, beside = str(path / KEPT), path.parent
        elif (path / EVOLVE).is_dir() or is_file(path / STEP):
            raise EvolError(f"{data}: no rows yet ({EVOLVED.name} or {KEPT} is missing)", "let its step come to an end")
    return Place(source, out or beside / name)


@dataclass(slots=True)
class RowFiles:
    """The three files of rows while they are written."""

    kept: BinaryIO
    removed: BinaryIO
    rejected: BinaryIO
    reasons: Counter[str] = field(default_factory=Counter[str])
    """How many rows went, by reason."""
    count: int = 0
    """How many rows stay."""
    bad: int = 0
    """How many rows could not be read."""

    def keep(self, data: bytes) -> None:
        self.kept.write(data + b"\n")
        self.count += 1

    def remove(self, item: Item, reason: str, **facts: Any) -> None:
        self.put_aside(item.data, item.number, item.id, reason, **facts)

    def put_aside(self, data: bytes, number: int, id: object, reason: str, **facts: Any) -> None:
        """A removed row by its parts. `facts` come between the id and the row: the nearest match and such."""
        self.reasons[reason] += 1
        told = {"reason": reason, "line": number, "id": id, **facts, "row": orjson.Fragment(data)}
        self.removed.write(orjson.dumps(told) + b"\n")

    def reject(self, row: Rejected) -> None:
        self.bad += 1
        self.rejected.write(row.to_json() + b"\n")


@contextlib.contextmanager
def row_files(folder: Path) -> Iterator[RowFiles]:
    """The files of a step; they take their names together at the end, or not at all."""
    names = (KEPT, REMOVED, REJECTED)
    try:
        with (
            whole_file(folder / KEPT) as kept,
            whole_file(folder / REMOVED) as removed,
            whole_file(folder / REJECTED) as rejected,
        ):
            yield RowFiles(kept, removed, rejected)
    finally:
        for name in names:
            (folder / f"{name}.part").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RowStep:
    """A step on rows, opened. `done`: its step.json where nothing is left to do, else None."""

    step: Step
    source: str
    done: Mapping[str, Any] | None

    @property
    def folder(self) -> Path:
        return self.step.folder

    def complete(self, **facts: Any) -> None:
        """Write step.json for good. Raises EvolError where the input is no longer what was read."""
        if input_digest(self.source) != self.step.inputs["data"]:
            raise changed(self.source)
        self.step.write("complete", **facts)


@contextlib.contextmanager
def row_step(
    name: str,
    data: str,
    out: Path | None,
    config: Mapping[str, Any],
    *,
    verb: str,
    files: tuple[str, ...] = (KEPT, REMOVED),
    inputs: Mapping[str, Any] | None = None,
) -> Iterator[RowStep]:
    """Open the step `name` on `data` in the folder `out` (None: see `place_of`), for this process alone.

    config: what the outcome depends on. inputs: what else is read, with digests. files: what must be
    there, besides step.json, for the step to count as done. Raises EvolError for a folder that was made
    from other data or with other settings, that holds files of somebody else's making, or can't be
    written, and for a missing input.
    """
    place = place_of(data, out, name)
    digests = {"data": input_digest(place.source), **(inputs or {})}
    folder = place.folder
    if not is_file(folder / STEP):
        for file in files:
            if (folder / file).exists():
                raise EvolError(f"{folder / file} is not of this step's making; it would be lost", "give another --out")
    config = orjson.loads(orjson.dumps(config, option=orjson.OPT_NON_STR_KEYS))
    try:
        with locked(folder, f"evol {verb}"):
            step = open_folder(folder, name, config, digests, hint="give another --out", paid=False)
            known = digests["data"]["digest"] is not None and all((folder / one).exists() for one in files)
            whole = known and step.before is not None and step.before.get("state") == "complete"
            yield RowStep(step, place.source, step.before if whole else None)
    except OSError as error:
        why = "no room is left" if error.errno in NO_ROOM else error.strerror or str(error)
        raise EvolError(
            f"{folder}: can't be written ({why})", "make room, or give another --out; the same command goes on"
        ) from None
