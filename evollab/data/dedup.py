"""The step `dedup`: rows that say what another row says go, with the reason; the others stay as they came.

Two passes. The first reads the rows and lays their bytes and their normalised texts aside on disk; the
second works on an index of some 600 bytes a row (some 300 more where vectors are compared) and fetches
texts only to verify a pair. Memory grows with the number of rows, not with their length.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.data.duplicates import EXACT, HIGHEST, KEEP, NEAR, SEMANTIC, Duplicates, Index, Sought
from evollab.data.embed import EMBED_HELP, Embedder, embedder
from evollab.data.items import RowOptions, read_items
from evollab.data.rows import excerpt
from evollab.data.rowstep import KEPT, REJECTED, REMOVED, RowFiles, RowStep, row_files, row_step
from evollab.llm.option import option
from evollab.records import EvolError, Role

ALIKE = 0.8
LINEAGE = 0.95
LINEAGE_SEMANTIC = 0.99
_INSTALL = "pip install 'evollab[data]'"
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupOptions(RowOptions):
    """What counts as a duplicate, and which one stays."""

    exact: bool = option(
        "look for copies: equal but for case, blanks, and marks at the ends of words; they always go; without --near "
        "and --semantic look for nothing else",
        False,
    )
    near: float | None = option(
        "remove rows whose 5-grams of characters are as alike as this (Jaccard, above 0, at most 1); default: "
        f"{ALIKE}, unless --exact or --semantic is given",
        None, metavar="J",
    )  # fmt: skip
    lineage: float | None = option(
        "rows of one seed (same root_id) go as near-duplicates only when they are as alike as this; the value of "
        f"--near treats them like all others; default: {LINEAGE}",
        None, metavar="J",
    )  # fmt: skip
    semantic: float | None = option(
        "remove rows that say the same: whose vectors' cosine is this or more (above 0, at most 1)", None, metavar="C"
    )
    lineage_semantic: float | None = option(
        "rows of one seed go for saying the same only from this cosine on; the value of --semantic treats them like "
        f"all others; default: {LINEAGE_SEMANTIC}",
        None, metavar="C",
    )  # fmt: skip
    embed: str | None = option(f"for --semantic: {EMBED_HELP}", None, metavar="SPEC")
    keep: str = option(
        f"which of several stays: {', '.join(KEEP)}, or {HIGHEST}FIELD, the one with the greatest number in a field",
        "first", metavar="RULE",
    )  # fmt: skip
    text: str = option(
        "what is compared: prompt (all that users say) or both (that, and the responses)",
        "prompt", choices=("prompt", "both"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("near", "lineage", "semantic", "lineage_semantic"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise EvolError(f"{_flag(name)} {value:g}: expected a similarity above 0, at most 1")
        if self.keep not in KEEP and not (self.keep.startswith(HIGHEST) and self.keep != HIGHEST):
            raise EvolError(f"--keep {excerpt(self.keep, 40)!r}: expected one of {', '.join(KEEP)}, {HIGHEST}FIELD")
        if self.text not in ("prompt", "both"):
            raise EvolError(f"--text {excerpt(self.text, 40)!r}: expected prompt or both")
        if self.lineage is not None and self.threshold is None:
            alone = "--exact alone" if self.semantic is None else "--semantic without --near"
            raise EvolError(f"--lineage is about near-duplicates, and {alone} looks for none", "add --near")
        for name in ("lineage_semantic", "embed"):
            if getattr(self, name) is not None and self.semantic is None:
                raise EvolError(f"{_flag(name)} is about rows that say the same; none are looked for", "add --semantic")
        for name, over, least in (
            ("lineage", "near", self.threshold), ("lineage_semantic", "semantic", self.semantic)
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and least is not None and value < least:
                raise EvolError(
                    f"{_flag(name)} {value:g} is below --{over} {least:g}; expected as much or more: rows of one seed "
                    "may be more alike than others, not less",
                )
        self.mapping()

    @property
    def threshold(self) -> float | None:
        """The similarity that makes a near-duplicate; None where none are looked for."""
        return ALIKE if self.near is None and not self.exact and self.semantic is None else self.near

    @property
    def lineage_threshold(self) -> float:
        return max(LINEAGE, self.threshold or 0) if self.lineage is None else self.lineage

    @property
    def lineage_semantic_threshold(self) -> float:
        given = self.lineage_semantic
        return max(LINEAGE_SEMANTIC, self.semantic or 0) if given is None else given

    @property
    def roles(self) -> tuple[Role, ...]:
        """Whose turns are compared."""
        return ("user",) if self.text == "prompt" else ("user", "assistant", "tool")

    def sought(self) -> Sought:
        """What to look for. Raises EvolError for an embedder that isn't there."""
        return Sought(
            self.threshold, self.lineage_threshold, self.semantic, self.lineage_semantic_threshold,
            None if self.semantic is None else embedder(self.embed),
        )  # fmt: skip

    def config(self, embedder: Embedder | None) -> dict[str, Any]:
        """What the outcome depends on, for step.json."""
        told = dataclasses.asdict(self) | {"near": self.threshold, "map": list(self.map)}
        del told["exact"]  # copies always go
        return told | {
            "lineage": self.lineage_threshold if self.threshold else None,
            "lineage_semantic": None if self.semantic is None else self.lineage_semantic_threshold,
            "embed": embedder and embedder.identity,
        }


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class DedupResult:
    """What came of it. `counts`: rows, kept, exact, near, semantic (removed for each reason), rejected,
    without_text, and of the search for near-duplicates: candidates, links, clusters, skipped (see
    `minhash.Found`). `notes`: what the user should know about how rows were compared."""

    folder: Path
    counts: Mapping[str, int]
    fresh: bool
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = self.counts
        removed = f"{counts['exact']:,} copies, {counts['near']:,} near-duplicates, "
        if "semantic" in counts:
            removed += f"{counts['semantic']:,} that say the same, "
        told = [
            f"{self.folder / KEPT}: {counts['kept']:,} of {counts['rows']:,} rows",
            f"{self.folder / REMOVED}: {removed}each with the row that stays",
        ]
        if counts["rejected"]:
            told.append(f"{self.folder / REJECTED}: {counts['rejected']:,} rows that could not be used")
        if counts["without_text"]:
            told.append(f"note: {counts['without_text']:,} rows have no text to compare; they stay")
        if counts["skipped"]:
            told.append(
                f"note: {counts['skipped']:,} pairs in crowded buckets were not looked at (many rows share a text)"
            )
        told += [f"note: {note}" for note in self.notes]
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
    settings, for `--keep` by something that no row has, for an embedder that isn't there, and for
    everything about the input.
    """
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("evol dedup needs numpy, which is not installed", _INSTALL)
    sought = options.sought()
    notes = (sought.embedder.note,) if sought.embedder and sought.embedder.note else ()
    with row_step("dedup", data, out, options.config(sought.embedder), verb="dedup") as at:
        if at.done is not None:
            return DedupResult(at.folder, at.done["counts"], fresh=False, notes=notes)
        return DedupResult(at.folder, _run(at, options, sought), fresh=True, notes=notes)


def _run(at: RowStep, options: DedupOptions, sought: Sought) -> dict[str, int]:
    clock = time.monotonic()
    at.step.write("running")
    id_column = options.mapping().get("id", "id")
    with (
        Index(at.folder, keep=options.keep, roles=options.roles, id_column=id_column) as index,
        row_files(at.folder) as files,
    ):
        for item in read_items(at.source, options, files.reject):
            index.add(item)
        index.check()
        found = index.duplicates(sought)
        _write(files, index, found)
    counts = {
        "rows": len(index), "kept": files.count, EXACT: files.reasons[EXACT], NEAR: files.reasons[NEAR],
        **({SEMANTIC: files.reasons[SEMANTIC]} if sought.embedder else {}),
        "rejected": files.bad, "without_text": index.without_text, "candidates": found.candidates,
        "links": found.links, "clusters": found.clusters, "skipped": found.skipped,
    }  # fmt: skip
    at.complete(counts=counts, times={"seconds": round(time.monotonic() - clock, 2)})
    return counts


def _write(files: RowFiles, index: Index, found: Duplicates) -> None:
    for row in range(len(index)):
        gone = found.gone.get(row)
        if gone is None:
            files.keep(index.rows[row])
            continue
        stays = {"line": index.lines[gone.stays], "id": index.id(gone.stays), "text": index.text(gone.stays)[:_SHOWN]}
        files.put_aside(
            index.rows[row], index.lines[row], index.id(row), gone.reason, similarity=round(gone.similarity, 4),
            stays=stays,
        )  # fmt: skip
