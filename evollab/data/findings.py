"""What other steps found in the same rows, for the page of an analysis: duplicates, benchmark items."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from evollab.data.dedup import DedupOptions, dedup
from evollab.data.items import RowOptions, read_items
from evollab.data.rowstep import REMOVED, RowStep
from evollab.runs import read_step

_EXAMPLES = 20
_LOOK_AT = 2000
_SHOWN = 1200
DECONTAMINATION = "decontamination"


def duplicates(at: RowStep, options: Any) -> dict[str, Any]:
    """Look for copies and near-duplicates among the rows of a step, in its folder `dedup`.

    Gives JSON as `report.analysis_facts.Duplicates` has it. `options`: `AnalyseOptions`.
    """
    wanted = DedupOptions(near=options.near, format=options.format, map=options.map)
    found = dedup(at.source, at.folder / "dedup", wanted)
    counts = found.counts
    kinds = [
        {"name": "exact", "rows": counts["exact"], "threshold": 1.0},
        {"name": "near", "rows": counts["near"], "threshold": options.near},
    ]
    return {"rows": counts["rows"], "kinds": kinds, "examples": _pairs(at.source, found.folder / REMOVED, options)}


def _pairs(source: str, path: Path, options: RowOptions) -> list[dict[str, Any]]:
    """Some of the removed rows beside the rows that stay: of each kind as many, those least alike first, because
    they are the ones to look at."""
    with path.open("rb") as file:
        rows = [orjson.loads(line) for line in islice(file, _LOOK_AT)]
    found: list[dict[str, Any]] = []
    for kind in ("near", "exact"):
        own = sorted((row for row in rows if row["reason"] == kind), key=lambda row: (row["similarity"], row["line"]))
        found += own[: _EXAMPLES - 5 if kind == "near" else _EXAMPLES - len(found)][:_EXAMPLES]
    texts = _texts(source, options, {row["stays"]["line"] for row in found} | {row["line"] for row in found})
    return [
        {
            "kind": row["reason"],
            "similarity": row["similarity"],
            "stays": {"text": texts[row["stays"]["line"]], "id": _id(row["stays"]["id"]), "line": row["stays"]["line"]},
            "goes": {"text": texts[row["line"]], "id": _id(row["id"]), "line": row["line"]},
        }
        for row in found
    ]


def _texts(source: str, options: RowOptions, lines: set[int]) -> dict[int, str]:
    """What users say in the rows of these numbers: `removed.jsonl` has it in the normal form alone."""
    wanted = RowOptions(format=options.format, map=options.map)
    found: dict[int, str] = dict.fromkeys(lines, "")
    left = set(lines)
    for item in read_items(source, wanted, lambda _: None):
        if item.number in left:
            found[item.number] = item.asked[:_SHOWN]
            left.discard(item.number)
        if not left:
            break
    return found


def _id(id: Any) -> str | None:
    return None if id is None else str(id)


def contamination(at: RowStep) -> dict[str, Any] | None:
    """What `evol decontaminate` found in the same rows: in the folder `decontamination` in or beside the step's.

    What `decontamination.json` holds, which the page reads; None where no such step was made from these rows.
    """
    for folder in _beside(at.folder):
        before = read_step(folder)
        if before is None or before.get("step") != DECONTAMINATION or before.get("state") != "complete":
            continue
        if before.get("inputs", {}).get("data") == at.step.inputs["data"]:
            found: dict[str, Any] = orjson.loads((folder / f"{DECONTAMINATION}.json").read_bytes())
            return found
    return None


def _beside(folder: Path) -> Iterator[Path]:
    yield folder / DECONTAMINATION
    yield folder.parent / DECONTAMINATION
