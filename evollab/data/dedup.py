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
import os
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.data import formats
from evollab.data.comparable import Comparable, Reading, is_file, read
from evollab.data.files import input_digest
from evollab.data.rows import Row, excerpt
from evollab.records import EvolError, Rejected, digest
from evollab.runs import Step, locked, open_folder, whole_file

if TYPE_CHECKING:
    from evollab.data.minhash import Found

KEPT = "kept.jsonl"
REMOVED = "removed.jsonl"
REJECTED = "rejected.jsonl"
EVOLVED = Path("1-evolve") / "instructions.jsonl"
NEAR = 0.8
LINEAGE = 0.95
EXACT = "exact"
KEEP = ("first", "last", "earliest-round", "latest-round", "longest-response")
HIGHEST = "highest:"
_INSTALL = "pip install 'evollab[data]'"
_SHOWN = 200


def option(help: str, default: Any = None, **more: Any) -> Any:
    """A dataclass field that is a command-line option too."""
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupOptions:
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
    format: str | None = option("format of the data, where it can't be told", None, metavar="FORMAT")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")
    strict: bool = option("stop at the first bad row", False)

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

    def mapping(self) -> dict[str, str]:
        """`map` as our field -> their column. Raises EvolError for what is no pair."""
        pairs: dict[str, str] = {}
        for pair in self.map:
            name, sign, column = pair.partition("=")
            if not (name and sign and column):
                raise EvolError(f"--map {excerpt(pair, 40)!r}: expected FIELD=COLUMN", formats.MAP_HINT)
            pairs[name] = column
        return pairs

    def reading(self) -> Reading:
        """How the rows are to be read and compared."""
        return Reading(
            format=self.format, mapping=self.mapping(), strict=self.strict, merit=partial(_merit, self.keep),
            roles=("user",) if self.text == "prompt" else ("user", "assistant", "tool"),
        )  # fmt: skip

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
    """Remove duplicates among the rows of `data`: whatever `data.files` reads, or a run folder.

    Writes into the folder `out` (default for a run folder: RUN/dedup): kept.jsonl, rows in their order
    (lines of JSONL byte for byte, other rows as JSON objects of their columns); removed.jsonl, each
    row with reason, similarity and the row that stays; rejected.jsonl; step.json. Made again only
    where it was not complete. Raises EvolError for a folder made from other data or with other
    settings, for `--keep` by something that no row has, and for everything about the input.
    """
    source = data
    if data != "-" and is_file(Path(data) / EVOLVED):
        source = str(Path(data) / EVOLVED)
        out = Path(data) / "dedup" if out is None else out
    if out is None:
        raise EvolError("no --out FOLDER; only for a run folder it may be left out")
    _numpy()
    inputs = {"data": input_digest(source)}
    _check_folder(out)
    try:
        with locked(out, "evol dedup"):
            step = open_folder(out, "dedup", options.config(), inputs, hint="give another --out", paid=False)
            known = inputs["data"]["digest"] is not None and all((out / name).exists() for name in (KEPT, REMOVED))
            if known and step.before and step.before.get("state") == "complete":
                return DedupResult(out, step.before["counts"], fresh=False)
            try:
                return _run(step, source, options)
            finally:
                for name in (KEPT, REMOVED, REJECTED):
                    (out / f"{name}.part").unlink(missing_ok=True)
    except OSError as error:
        raise EvolError(f"{out}: can't be written ({error.strerror})", "the rows are laid aside there, too") from None


def _numpy() -> None:
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("evol dedup needs numpy, which is not installed", _INSTALL)


def _check_folder(out: Path) -> None:
    """Refuse a folder whose kept.jsonl or removed.jsonl this step did not write."""
    if not (out / "step.json").exists():
        for name in (KEPT, REMOVED):
            if (out / name).exists():
                raise EvolError(f"{out / name} is not of this step's making; it would be lost", "give another --out")


def _run(step: Step, source: str, options: DedupOptions) -> DedupResult:
    clock = time.monotonic()
    step.write("running")
    with _Index(step.folder, options) as index, whole_file(step.folder / REJECTED) as rejected:
        bad = 0

        def reject(row: Rejected) -> None:
            nonlocal bad
            bad += 1
            rejected.write(row.to_json() + b"\n")

        for row in read(source, options.reading(), reject):
            index.add(row)
        index.check()
        gone, found = index.duplicates()
        reasons = _write(step.folder, index, gone)
    counts = {
        "rows": len(index), "kept": len(index) - len(gone), "exact": reasons[EXACT], "near": reasons["near"],
        "rejected": bad, "without_text": index.without_text, "candidates": found.candidates, "links": found.links,
        "clusters": found.clusters, "skipped": found.skipped,
    }  # fmt: skip
    step.write("complete", counts=counts, times={"seconds": round(time.monotonic() - clock, 2)})
    return DedupResult(step.folder, counts, fresh=True)


# Which row stays


def _merit(keep: str, row: Row, example: formats.Example) -> float | None:
    """The number by which the row with the greatest stays, None where the row has none."""
    value: Any
    match keep:
        case "first":
            return 0.0
        case "last":
            return float(row.number)
        case "earliest-round" | "latest-round":
            value = row.fields.get("round")
        case "longest-response":
            last = example.turns[-1]
            value = len(last.content) if last.role == "assistant" else None
        case _:
            value = row.fields.get(keep.removeprefix(HIGHEST))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return -number if keep == "earliest-round" else number


# The index


class _Spool:
    """Byte strings laid aside in a nameless file, which goes when it is closed, or with the process."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115 - closed by _Index
        self._ends = array("Q", [0])

    def add(self, data: bytes) -> None:
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def flush(self) -> None:
        self._file.flush()

    def __getitem__(self, row: int) -> bytes:
        start, end = self._ends[row], self._ends[row + 1]
        return os.pread(self._file.fileno(), end - start, start)

    def close(self) -> None:
        self._file.close()


class _Index:
    """All that is known of the rows, and where their bytes lie."""

    def __init__(self, folder: Path, options: DedupOptions) -> None:
        self._options = options
        self.rows = _Spool(folder)
        self._texts = _Spool(folder)
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

    def add(self, row: Comparable) -> None:
        text = row.text.encode("utf-8", "surrogatepass")
        # A row without a text is alike none: its digest is its number's.
        self._digests += hashlib.blake2b(text or b"\xff%d" % len(self.lines), digest_size=16).digest()
        self.without_text += not text
        self.rows.add(row.data)
        self._texts.add(text)
        self.lines.append(row.line)
        self._roots.append(int(digest(row.root), 16) if row.root else 0)
        self._with_merit += row.merit is not None
        self._merits.append(-math.inf if row.merit is None else row.merit)

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


def _write(folder: Path, index: _Index, gone: Mapping[int, tuple[str, int, float]]) -> Counter[str]:
    """kept.jsonl and removed.jsonl. How many rows went, by reason."""
    reasons: Counter[str] = Counter()
    with whole_file(folder / KEPT) as kept, whole_file(folder / REMOVED) as removed:
        for row in range(len(index)):
            data = index.rows[row]
            if row not in gone:
                kept.write(data + b"\n")
                continue
            reason, stay, similarity = gone[row]
            reasons[reason] += 1
            told = {
                "reason": reason,
                "similarity": round(similarity, 4),
                "line": index.lines[row],
                "id": index.id(row),
                "stays": {
                    "line": index.lines[stay], "id": index.id(stay), "text": index.text(stay)[:_SHOWN],
                },
                "row": orjson.Fragment(data),
            }  # fmt: skip
            removed.write(orjson.dumps(told) + b"\n")
    return reasons
