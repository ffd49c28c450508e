"""One line from a seed to its last descendant, with the attempts that were dropped on the way."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeVar

import orjson

from evollab.records import Dropped, EvolError, Instruction, from_dict
from evollab.report.files import RunFiles, find, stream

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lineage:
    """`line` goes from the seed to the leaf; `dropped` holds what failed on the way, by round.
    `others` counts kept rows of the same seed that stand on another branch."""

    line: tuple[Instruction, ...]
    dropped: tuple[Dropped, ...]
    others: int = 0

    @property
    def seed(self) -> Instruction:
        return self.line[0]

    @property
    def leaf(self) -> Instruction:
        return self.line[-1]


def reason(dropped: Dropped) -> str:
    """What its rule saw, without the rule's name (which stands beside it)."""
    return dropped.detail.removeprefix(f"{dropped.rule}: ")


def lineage(run: Path, id: str) -> Lineage:
    """The line that the row `id` is part of (kept or dropped; any unique beginning of an id will do).

    Raises EvolError when no row or more than one has that id, naming the nearest.
    """
    files = find(run)
    root, wanted = _resolve(files, id)
    kept = [record(Instruction, row, files.instructions) for row in _rows(files.instructions, root, _own)]
    dropped = [record(Dropped, row, files.dropped) for row in _rows(files.dropped, root, _inner)]
    if not kept:
        raise EvolError(f"{files.run} has no seed {root} for row {wanted}", "its lineage is still being written")
    return assemble(kept, dropped, wanted)


def record(cls: type[R], row: dict[str, Any], path: Path | None) -> R:
    """`row` as a record; an EvolError names the file."""
    try:
        return from_dict(cls, row)
    except (EvolError, TypeError, AttributeError) as error:
        raise EvolError(f"{path}: {error}", "was this file written by another version of evollab?") from None


def assemble(kept: Sequence[Instruction], dropped: Sequence[Dropped], wanted: str = "") -> Lineage:
    """The line through row `wanted` (or to the latest row): up by parents, then down to the last child."""
    by_id = {row.id: row for row in kept}
    parents = {one.instruction.id: one.instruction.parent_id for one in dropped}
    at = by_id.get(parents.get(wanted) or wanted) or max(kept, key=lambda row: row.round)
    line = [at]
    while (parent := by_id.get(line[0].parent_id or "")) and parent not in line:
        line.insert(0, parent)
    while children := [row for row in kept if row.parent_id == line[-1].id and row not in line]:
        line.append(max(children, key=lambda row: row.round))
    on_line = {row.id for row in line}
    failed = sorted((d for d in dropped if d.instruction.parent_id in on_line), key=lambda d: d.instruction.round)
    return Lineage(tuple(line), tuple(failed), len(by_id) - len(line))


def _own(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _inner(row: dict[str, Any]) -> dict[str, Any]:
    inner = row.get("instruction")
    return inner if isinstance(inner, dict) else {}


def _resolve(files: RunFiles, id: str) -> tuple[str, str]:
    """(root id, whole id) of the row that `id` names."""
    needle = orjson.dumps(id)[1:-1]
    found: dict[str, str] = {}
    for path, inner in ((files.instructions, _own), (files.dropped, _inner)):
        for line in stream(path, containing=needle):
            row = inner(line.row)
            name, root = row.get("id"), row.get("root_id")
            if isinstance(name, str) and isinstance(root, str) and name.startswith(id):
                found[name] = root
                if name == id:
                    return root, name
                if len(found) > 8:
                    break
    if len(found) == 1 and id:
        return next((root, name) for name, root in found.items())
    if found and id:
        raise EvolError(f"{id!r} is the beginning of several ids: {', '.join(sorted(found)[:8])}", "give more of it")
    near = _nearest(files, id)
    raise EvolError(
        f"{files.run} has no row {id!r}" + (f"; the nearest ids are {', '.join(near)}" if near else ""),
        f"ids are the field `id` of the rows: head -n 3 {files.folder / 'instructions.jsonl'}",
    )


def _nearest(files: RunFiles, id: str) -> list[str]:
    """Three ids that look most like `id`, among the first rows of the run."""
    matcher = SequenceMatcher(b=id[:64], autojunk=False)
    scored: list[tuple[float, str]] = []
    for number, line in enumerate(stream(files.instructions)):
        name = line.row.get("id")
        if number >= 2000:
            break
        if isinstance(name, str):
            matcher.set_seq1(name[:64])
            scored.append((matcher.ratio(), name))
    return [name for _, name in heapq.nsmallest(3, scored, key=lambda pair: (-pair[0], pair[1]))]


def _rows(path: Path | None, root: str, inner: Any) -> list[dict[str, Any]]:
    return [line.row for line in stream(path, containing=orjson.dumps(root)) if inner(line.row).get("root_id") == root]
