"""Training data out of a run: seeds and all rounds merged, filtered, sampled, shuffled, written.

The rows stay on disk: one pass notes where each usable row lies, a second one fetches the chosen rows
in their new order. Memory grows by 28 bytes a row, whatever the rows' length.
"""

from __future__ import annotations

import dataclasses
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab import rng
from evollab.data import hub, targets
from evollab.data.card import MARK, Contents, Export, write_card
from evollab.data.items import ATTRIBUTES
from evollab.data.rowstep import place_of
from evollab.data.tables import DUCKDB, no_pattern
from evollab.records import EvolError, Instruction, from_dict
from evollab.runs import read_step, whole_file

ROWS = "instructions.jsonl"
STEP = "1-evolve"
NO_RESPONSE = "without a response"
OTHER_ROUND = "of other rounds"
UNFIT = "whose turns Alpaca has no place for"
CARD = "README.md"
_ROUNDS = re.compile(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*", re.ASCII)


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
    place = place_of(str(run), out, "export")
    rows, folder = Path(place.source), place.folder
    if rows == run:  # no step of ours made it; where it holds no rows either, reading them says so
        rows, folder = run / ROWS, out or run / "export"
    made = rows.parent if rows.name == ROWS else rows.parent.parent / STEP
    result = export(rows, folder, options, read_step(made) or {})
    if push is None:
        return result
    files = (result.file.name, result.card.name)
    return dataclasses.replace(result, url=hub.push(result.file.parent, push, files=files, public=options.public))


def export(rows: Path, out: Path, options: ExportOptions, facts: Mapping[str, Any]) -> ExportResult:
    """Export the Instruction lines of the file `rows` into the folder `out`. `facts`: the step.json
    that tells, for the data card, how they were made ({} where there is none).

    The order and the draw depend on the rows' ids and `options.seed` alone, and a smaller draw is the
    beginning of a larger one. Rows without a response are left out and counted. When `options.n` is
    more than there are, all are taken and a note says so. Raises EvolError as `export_run` does.
    """
    _check_folder(out)
    found = _catalogue(rows, options)
    if not found.starts:
        left = ", ".join(f"{number:,} {why}" for why, number in found.left_out.items())
        raise EvolError(
            f"{rows}: no rows to export ({left or 'the file is empty'})",
            "seeds get a response by evol evolve --answer-seeds missing" if found.left_out else "",
        )
    order = _order(found.keys, options)
    contents = Contents()
    chosen = contents.counting(_fetch(rows, found.starts, order))
    out.mkdir(parents=True, exist_ok=True)
    if options.format == "parquet":
        file, other = out / "train.parquet", out / "train.jsonl"
        _write_parquet(file, map(targets.parquet, chosen))
    else:
        file, other = out / "train.jsonl", out / "train.parquet"
        wide = options.format == "alpaca" and found.with_history
        target = targets.alpaca_turns if wide else targets.TARGETS[options.format]
        _write_jsonl(file, map(target, chosen))
    made = Export(file.name, dataclasses.asdict(options), contents, len(found.starts), found.left_out, facts)
    write_card(out / CARD, made)
    other.unlink(missing_ok=True)  # an earlier export, of which the card says nothing now
    return ExportResult(file, out / CARD, len(order), len(found.starts), found.left_out, tuple(made.notes))


def _check_folder(out: Path) -> None:
    """Refuse a folder whose README.md somebody wrote."""
    try:
        beginning = (out / CARD).read_bytes()[:4096]
    except FileNotFoundError:
        return
    except OSError as error:
        raise EvolError(f"{out}: can't be exported into ({error.strerror}); expected a folder") from None
    if MARK not in beginning:
        raise EvolError(f"{out / CARD} is not of our making; it would be lost", "give another folder: --out FOLDER")


@dataclass(slots=True)
class _Catalogue:
    """Where the usable rows begin in their file, and the number that gives each its place."""

    starts: array[int]
    keys: array[int]
    left_out: Counter[str]
    with_history: bool = False


def _catalogue(path: Path, options: ExportOptions) -> _Catalogue:
    found = _Catalogue(array("Q"), array("Q"), Counter())
    start = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = _parse(line, f"{path}:{number}")
                if reason := _unusable(row, options):
                    found.left_out[reason] += 1
                else:
                    found.starts.append(start)
                    found.keys.append(rng.integer(options.seed, row.id, "export"))
                    found.with_history |= bool(row.history)
                start += len(line)
    except OSError as error:
        raise EvolError(
            f"{path}: can't be read ({error.strerror}); expected the rows of a run", "evol evolve SEEDS makes them"
        ) from None
    return found


def _unusable(row: Instruction, options: ExportOptions) -> str:
    if not options.takes(row.round):
        return OTHER_ROUND
    if not row.response:
        return NO_RESPONSE
    return UNFIT if options.format == "alpaca" and not targets.fits_alpaca(row.history) else ""


def _parse(line: bytes, place: str) -> Instruction:
    try:
        return _row(line)
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{place}: not JSON ({error}); expected the rows of a run") from None


def _row(line: bytes) -> Instruction:
    """A row of a run, or what a later step left of it: `evol analyse` puts attributes beside its fields."""
    fields = orjson.loads(line)
    if isinstance(fields, dict):
        fields.pop(ATTRIBUTES, None)
    return from_dict(Instruction, fields)


def _order(keys: Sequence[int], options: ExportOptions) -> Sequence[int]:
    """Which rows to take, in the order to write them. The keys are random, so that the first few by
    key are an even draw."""
    order = sorted(range(len(keys)), key=keys.__getitem__)[: options.n]
    return order if options.shuffle else sorted(order)


def _fetch(path: Path, starts: Sequence[int], order: Sequence[int]) -> Iterator[Instruction]:
    with path.open("rb") as file:
        for index in order:
            file.seek(starts[index])
            yield _row(file.readline())


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a line for each row. The longest one's bytes."""
    longest = 0
    with whole_file(path) as file:
        for row in rows:
            longest = max(longest, file.write(orjson.dumps(row) + b"\n"))
    return longest


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows with the columns of `targets.PARQUET`, by way of a JSONL file beside it."""
    import duckdb

    lines, part = path.with_name(path.name + ".rows"), path.with_name(path.name + ".part")
    longest = _write_jsonl(lines, rows)
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in targets.PARQUET.items())
    into = str(part).replace("'", "''")
    try:
        with duckdb.connect(config=DUCKDB) as database:
            database.execute(
                f"copy (select * from read_json(?, format='newline_delimited', columns={{{columns}}},"
                f" maximum_object_size={max(longest, 1 << 20)})) to '{into}'"
                " (format parquet, compression zstd, row_group_size 10000)",
                [no_pattern(str(lines))],
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except duckdb.Error as error:
        raise EvolError(f"{path}: can't be written ({str(error).splitlines()[0]})") from None
    finally:
        lines.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
