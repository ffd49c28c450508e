"""The step `dedup`: rows that say what another row says go, with the reason; the others stay as they came.

Two passes. The first reads the rows and lays their bytes and their normalised texts aside on disk; the
second works on an index of some 600 bytes a row and fetches texts only to verify a pair. Memory grows
with the number of rows, not with their length.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import math
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.data.comparable import normalise
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.rows import excerpt
from evollab.data.rowstep import KEPT, REJECTED, REMOVED, RowFiles, RowStep, row_files, row_step
from evollab.data.spool import Spool
from evollab.data.strata import value_of
from evollab.llm.session import option
from evollab.records import EvolError, Role, digest

if TYPE_CHECKING:
    from evollab.data.minhash import Found

NEAR = 0.8
LINEAGE = 0.95
EXACT = "exact"
KEEP = ("first", "last", "earliest-round", "latest-round", "longest-response")
HIGHEST = "highest:"
_INSTALL = "pip install 'evollab[data]'"
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupOptions(RowOptions):
    """What counts as a duplicate, and which one stays."""

    exact: bool = option("look for copies alone: equal but for case, blanks, and marks at the ends of words", False)
    near: float | None = option(
        "remove rows whose 5-grams of characters are as alike as this (Jaccard, above 0, at most 1); copies go too; "
        f"default: {NEAR}, unless --exact is given",
        None, metavar="J",
    )  # fmt: skip
    lineage: float | None = option(
        "rows of one seed (same root_id) go only when they are as alike as this; the value of --near treats them like "
        f"all others; default: {LINEAGE}",
        None, metavar="J",
    )  # fmt: skip
    keep: str = option(
        f"which of several stays: {', '.join(KEEP)}, or {HIGHEST}FIELD, the one with the greatest number in a field",
        "first", metavar="RULE",
    )  # fmt: skip
    text: str = option(
        "what is compared: prompt (all that users say) or both (that, and the responses)",
        "prompt", choices=("prompt", "both"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, value in (("near", self.near), ("lineage", self.lineage)):
            if value is not None and not 0 < value <= 1:
                raise EvolError(f"--{name} {value:g}: expected a similarity above 0, at most 1")
        if self.keep not in KEEP and not (self.keep.startswith(HIGHEST) and self.keep != HIGHEST):
            raise EvolError(f"--keep {excerpt(self.keep, 40)!r}: expected one of {', '.join(KEEP)}, {HIGHEST}FIELD")
        if self.text not in ("prompt", "both"):
            raise EvolError(f"--text {excerpt(self.text, 40)!r}: expected prompt or both")
        if self.lineage is not None and self.threshold is None:
            raise EvolError("--lineage is about near-duplicates, and --exact alone looks for none", "add --near")
        if self.lineage is not None and self.threshold is not None and self.lineage < self.threshold:
            raise EvolError(
                f"--lineage {self.lineage:g} is below --near {self.threshold:g}; expected as much or more: rows of one "
                "seed may be more alike than others, not less",
            )
        self.mapping()

    @property
    def threshold(self) -> float | None:
        """The similarity that makes a near-duplicate; None where only copies are looked for."""
        return NEAR if self.near is None and not self.exact else self.near

    @property
    def lineage_threshold(self) -> float:
        return max(LINEAGE, self.threshold or 0) if self.lineage is None else self.lineage

    @property
    def roles(self) -> tuple[Role, ...]:
        """Whose turns are compared."""
        return ("user",) if self.text == "prompt" else ("user", "assistant", "tool")

    def config(self) -> dict[str, Any]:
        """What the outcome depends on, for step.json."""
        told = dataclasses.asdict(self) | {"near": self.threshold, "map": list(self.map)}
        del told["exact"]  # copies always go
        return told | {"lineage": self.lineage_threshold if self.threshold else None}


@dataclass(frozen=True, slots=True)
class DedupResult:
    """What came of it. `counts`: rows, kept, exact, near (removed for each reason), rejected,
    without_text, and of the search: candidates, links, clusters, skipped (see `minhash.Found`)."""

    folder: Path
    counts: Mapping[str, int]
    fresh: bool

    def __str__(self) -> str:
        counts = self.counts
        told = [
            f"{self.folder / KEPT}: {counts['kept']:,} of {counts['rows']:,} rows",
            f"{self.folder / REMOVED}: {counts['exact']:,} copies, {counts['near']:,} near-duplicates, each with the "
            "row that stays",
        ]
        if counts["rejected"]:
            told.append(f"{self.folder / REJECTED}: {counts['rejected']:,} rows that could not be used")
        if counts["without_text"]:
            told.append(f"note: {counts['without_text']:,} rows have no text to compare; they stay")
        if counts["skipped"]:
            told.append(
                f"note: {counts['skipped']:,} pairs in crowded buckets were not looked at (many rows share a text)"
            )
        if not self.fresh:
            told.append("note: this was done before; nothing was left to do")
        return "\n".join(told)


def dedup(data: str, out: Path | None, options: DedupOptions) -> DedupResult:
    """Remove duplicates among the rows of `data`: whatever `data.files` reads, a run folder, or the
    folder of another step.

    Writes into the folder `out` (default: see `rowstep.place_of`): kept.jsonl, rows in their order
    (lines of JSONL byte for byte, other rows as JSON objects of their columns); removed.jsonl, each
    row with reason, similarity and the row that stays; rejected.jsonl; step.json. Made again only
    where it was not complete. Raises EvolError for a folder made from other data or with other
    settings, for `--keep` by something that no row has, and for everything about the input.
    """
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("evol dedup needs numpy, which is not installed", _INSTALL)
    with row_step("dedup", data, out, options.config(), verb="dedup") as at:
        if at.done is not None:
            return DedupResult(at.folder, at.done["counts"], fresh=False)
        return _run(at, options)


def _run(at: RowStep, options: DedupOptions) -> DedupResult:
    clock = time.monotonic()
    at.step.write("running")
    with _Index(at.folder, options) as index, row_files(at.folder) as files:
        for item in read_items(at.source, options, files.reject):
            index.add(item)
        index.check()
        gone, found = index.duplicates()
        _write(files, index, gone)
    counts = {
        "rows": len(index), "kept": files.count, "exact": files.reasons[EXACT], "near": files.reasons["near"],
        "rejected": files.bad, "without_text": index.without_text, "candidates": found.candidates,
        "links": found.links, "clusters": found.clusters, "skipped": found.skipped,
    }  # fmt: skip
    at.complete(counts=counts, times={"seconds": round(time.monotonic() - clock, 2)})
    return DedupResult(at.folder, counts, fresh=True)


# Which row stays


def _merit(keep: str, item: Item) -> float | None:
    """The number by which the row with the greatest stays, None where the row has none."""
    value: Any
    match keep:
        case "first":
            return 0.0
        case "last":
            return float(item.number)
        case "earliest-round" | "latest-round":
            value = item.round
        case "longest-response":
            last = item.messages[-1]
            value = len(last.content) if last.role == "assistant" else None
        case _:
            value = value_of(item.fields, keep.removeprefix(HIGHEST))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return -number if keep == "earliest-round" else number


# The index


class _Index:
    """All that is known of the rows, and where their bytes lie."""

    def __init__(self, folder: Path, options: DedupOptions) -> None:
        self._options = options
        self.rows = Spool(folder)
        self._texts = Spool(folder)
        self.lines = array("Q")
        self._roots = array("Q")
        self._merits = array("d")
        self._digests = bytearray()
        self._with_merit = 0
        self._id_column = options.mapping().get("id", "id")
        self.without_text = 0

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.close()
        self._texts.close()

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, item: Item) -> None:
        said = "\n\n".join(turn.content for turn in item.messages if turn.role in self._options.roles)
        text = normalise(said).encode("utf-8", "surrogatepass")
        merit = _merit(self._options.keep, item)
        # A row without a text is alike none: its digest is its number's.
        self._digests += hashlib.blake2b(text or b"\xff%d" % len(self.lines), digest_size=16).digest()
        self.without_text += not text
        self.rows.add(item.data)
        self._texts.add(text)
        self.lines.append(item.number)
        self._roots.append(int(digest(item.root), 16) if item.root else 0)
        self._with_merit += merit is not None
        self._merits.append(-math.inf if merit is None else merit)

    def check(self) -> None:
        """Raise EvolError when no row has what `--keep` asks for."""
        self.rows.flush()
        self._texts.flush()
        if not self._with_merit:
            missing = {"longest-response": "response"}.get(self._options.keep, "number in the field round")
            if self._options.keep.startswith(HIGHEST):
                missing = f"number in the field {excerpt(self._options.keep.removeprefix(HIGHEST), 40)}"
            keep = excerpt(self._options.keep, 60)
            raise EvolError(f"--keep {keep}: no row has a {missing}", "--keep first needs none")

    def text(self, row: int) -> str:
        return self._texts[row].decode("utf-8", "surrogatepass")

    def id(self, row: int) -> Any:
        """The id of a row as it stands there, None where it has none."""
        found = orjson.loads(self.rows[row]).get(self._id_column)
        return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None

    def duplicates(self) -> tuple[dict[int, tuple[str, int, float]], Found]:
        """Removed row -> (reason, the row that stays, similarity); and what the search saw."""
        import numpy as np

        from evollab.data import minhash

        count = len(self)
        order = np.lexsort((np.arange(count), -np.array(self._merits)))
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        digests = np.frombuffer(bytes(self._digests), "<u8").reshape(count, 2)
        groups = np.lexsort((rank, digests[:, 1], digests[:, 0]))
        new = np.ones(count, bool)
        new[1:] = (digests[groups[1:]] != digests[groups[:-1]]).any(axis=1)
        stays = groups[np.maximum.accumulate(np.where(new, np.arange(count), 0))]
        copy = ~new
        found = minhash.Found()
        copies = dict(zip(groups[copy].tolist(), stays[copy].tolist(), strict=True))
        near: dict[int, tuple[int, float]] = {}
        if self._options.threshold is not None:
            # Without the copies, and without rows that have no text.
            left = [row for row in np.sort(groups[new]).tolist() if len(self._texts[row])]
            roots = np.array(self._roots)[left] if any(self._roots) else np.empty(0, np.uint64)
            limits = minhash.Limits(self._options.threshold, self._options.lineage_threshold, roots)
            made = minhash.signatures(self.text(row) for row in left)
            found = minhash.near_duplicates(made, lambda row: self.text(left[row]), rank[left], limits)
            near = {left[row]: (left[stay], similarity) for row, (stay, similarity) in found.removed.items()}
        gone = {row: ("near", stay, similarity) for row, (stay, similarity) in near.items()}
        for row, stay in copies.items():
            # The copy that would have stayed may itself resemble another row: that one stays for both.
            similar = near.get(stay)
            gone[row] = (EXACT, stay, 1.0) if similar is None else ("near", *similar)
        return gone, found


# Writing


def _write(files: RowFiles, index: _Index, gone: Mapping[int, tuple[str, int, float]]) -> None:
    for row in range(len(index)):
        if row not in gone:
            files.keep(index.rows[row])
            continue
        reason, stay, similarity = gone[row]
        files.put_aside(
            index.rows[row], index.lines[row], index.id(row), reason, similarity=round(similarity, 4),
            stays={"line": index.lines[stay], "id": index.id(stay), "text": index.text(stay)[:_SHOWN]},
        )  # fmt: skip
