"""The step `sample`: out of any data file the mix of rows that is wanted, and slices of it.

Two passes over the file. The first notes for each row a number that it is drawn by and the place of
its value in each field (some 30 bytes a row, however long the rows are); the second writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from evollab import rng
from evollab.data.drawing import Aim, Drawing, draw
from evollab.data.drawing import as_json as account_of
from evollab.data.files import READERS, read_rows
from evollab.data.items import as_json, changed
from evollab.data.jsonfile import is_jsonl
from evollab.data.lines import lines
from evollab.data.mix import Kind, Limit, Wish, parse_limits, wishes
from evollab.data.octets import open_octets, text_chunks
from evollab.data.rows import BadRow, excerpt, names
from evollab.data.rowstep import KEPT, REJECTED, REMOVED, RowStep, row_files, row_step
from evollab.data.sample_table import text
from evollab.data.slices import RANDOM, STRATIFIED, check, cut
from evollab.data.strata import Field, parse_fields
from evollab.data.survey import Survey, survey_rows
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.runs import whole_file, write_json

NAME = "sample"
NOT_DRAWN = "not drawn"
ACCOUNT = "sample.json"
_SPOOLED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """Which rows to draw, how many, and how to cut them."""

    by: tuple[str, ...] = option(
        "fields to balance, parted by commas, dotted into objects (source.file); numbers in bins: "
        "difficulty:1-4,5-7,8+ or, as many rows in each, score:q4; the first is met first",
        (), metavar="FIELD[,FIELD]",
    )  # fmt: skip
    target: str | Mapping[str, Any] = option(
        "the mix: uniform, natural (as it is), natural^0.5 (evened out), or a JSON file {field: {value: share}}",
        "natural", metavar="TARGET",
    )  # fmt: skip
    n: int | None = option("rows to draw; default: as many as meet the target in full", None, metavar="N")
    floor: tuple[str, ...] = option(
        "at least so many rows of a value (* for every one), in rows or as a percentage of the draw; repeatable",
        (),
        metavar="FIELD=VALUE=ROWS",
    )
    cap: tuple[str, ...] = option("at most so many, likewise", (), metavar="FIELD=VALUE=ROWS")
    quota: tuple[str, ...] = option("exactly so many, likewise", (), metavar="FIELD=VALUE=ROWS")
    seed: int = option("number that all draws depend on", 0, metavar="N")
    slices: int | None = option("cut the draw into K slices too, kept-1.jsonl to kept-K.jsonl", None, metavar="K")
    slice_by: str = option(
        "random; stratified: the same mix in each; or a numeric field: the lowest first",
        RANDOM, metavar="HOW",
    )  # fmt: skip
    format: str | None = option("format of the file, where it can't be told", None, metavar="FORMAT")
    strict: bool = option("stop at the first row that can't be used", False)

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise EvolError(f"--n {self.n}: expected 1 or more")
        check(self.slices, self.slice_by)


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What a call came to. `account` is what sample.json holds; `folder` has the files."""

    folder: Path
    account: Mapping[str, Any]
    repeated: bool = False

    def __str__(self) -> str:
        again = "nothing was left to do: this sample was drawn before\n" if self.repeated else ""
        return again + text(self.account, self.folder)


@dataclass(frozen=True, slots=True)
class _Order:
    """Options, read: what to count by, what is wanted of it, what the slices go by."""

    fields: tuple[Field, ...]
    wishes: tuple[Wish, ...]
    limits: tuple[tuple[Limit, ...], ...]
    slice_field: str


def sample(data: str, out: Path | None, options: SampleOptions) -> SampleResult:
    """Draw rows of `data` (a file as `read_rows` takes it, a run folder, the folder of another step) into
    the folder `out` (default: see `rowstep.place_of`): kept.jsonl (rows as they were, in their order),
    removed.jsonl (those not drawn), sample.json (each field before and after, what could not be met and
    why), rejected.jsonl, and the slices kept-1.jsonl and so on.

    Which rows are drawn depends on their ids (or, without, their content) and `options.seed`, not on
    their order. The same call again finds its work done; other options are refused. Raises EvolError
    for pipes (the file is read twice), for fields that no row has, and for all that can't be drawn.
    """
    _no_pipe(data)
    order = _read_order(options)
    config = orjson.loads(orjson.dumps({**dataclasses.asdict(options), **_settled(order)}))
    del config["strict"]
    with row_step(NAME, data, out, config, verb=NAME, files=(KEPT, REMOVED, ACCOUNT)) as at:
        if at.done is not None and (done := _done(at.folder)) is not None:
            return SampleResult(at.folder, done, repeated=True)
        return _sample(at, order, options)


def _sample(at: RowStep, order: _Order, options: SampleOptions) -> SampleResult:
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    with tempfile.SpooledTemporaryFile(_SPOOLED) as aside:
        survey = survey_rows(
            at.source, order.fields, order.slice_field, format=options.format, strict=options.strict, aside=aside
        )
        aims = [
            Aim(column.finish(), wish, limits)
            for column, wish, limits in zip(survey.columns, order.wishes, order.limits, strict=True)
        ]
        keys = survey.keys(options.seed)
        drawing = draw(aims, keys, options.n, options.seed)
        cuts = _cut(drawing, survey, keys, options)
        account = orjson.loads(orjson.dumps(_account(at.source, drawing, survey, cuts, options)))
        at.step.write("running")
        _write(at, survey, drawing, cuts, options, aside)
    write_json(at.folder / ACCOUNT, account)
    counts = {"rows": account["rows"], "rejected": sum(survey.rejected.values()), "kept": len(drawing.chosen)}
    times = {
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 2),
    }
    at.complete(why="", notes=account["notes"], counts=counts, times=times)
    return SampleResult(at.folder, account)


def _no_pipe(data: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have; opening it says so
        if data == "-" or stat.S_ISFIFO(Path(data).stat().st_mode):
            raise EvolError(f"{data}: a pipe, which can be read once only; expected a file", "write it to a file first")


def _read_order(options: SampleOptions) -> _Order:
    """The options in a form to work with. Fields that only limits name are left free."""
    fields, wanted = wishes(options.target, parse_fields(options.by) if options.by else ())
    if not options.by and isinstance(options.target, str) and not fields and options.target != "natural":
        raise EvolError(f"--target {options.target}: of which field?", "name it: --by FIELD")
    given: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("floor", options.floor), ("cap", options.cap), ("quota", options.quota),
    )  # fmt: skip
    limits = [limit for kind, texts in given for limit in parse_limits(kind, texts)]
    for limit in limits:
        if all(limit.field.name != field.name for field in fields):
            fields, wanted = (*fields, limit.field), [*wanted, Wish()]
        elif all(limit.field not in (field, Field(field.name)) for field in fields):
            raise EvolError(f"--{limit.kind}: {limit.field} has other bins than {limit.field.name} elsewhere")
    own = tuple(tuple(limit for limit in limits if limit.field.name == field.name) for field in fields)
    for field, some in zip(fields, own, strict=True):
        for limit in some:
            if field.bins and limit.value not in ("*", *(one.label for one in field.bins)):
                bins = names(one.label for one in field.bins)
                raise EvolError(
                    f"--{limit.kind}: {field.name} has no bin {excerpt(limit.value, 60)}; expected one of {bins}, or *"
                )
    slice_field = "" if options.slice_by in (RANDOM, STRATIFIED) else options.slice_by
    return _Order(fields, tuple(wanted), own, slice_field)


def _settled(order: _Order) -> dict[str, Any]:
    """What decides the draw, with the target file's content in place of its name."""
    return {
        "by": [str(field) for field in order.fields],
        "target": [dict(wish.shares) if wish.shares else wish.power for wish in order.wishes],
    }


def _done(folder: Path) -> dict[str, Any] | None:
    """The account of a step that is complete, with all its files there."""
    try:
        account: Any = orjson.loads((folder / ACCOUNT).read_bytes())
    except (OSError, orjson.JSONDecodeError):  # taken away or spoilt: all is drawn again
        return None
    files = account.get("files") if type(account) is dict else None
    return account if files and all((folder / name).is_file() for name in files) else None


def _cut(drawing: Drawing, survey: Survey, keys: Sequence[int], options: SampleOptions) -> list[int]:
    """The slice, from 1, of each row drawn; nothing without slices."""
    if options.slices is None:
        return []
    chosen = drawing.chosen
    stratified = options.slice_by == STRATIFIED
    levels: Sequence[float] = survey.levels if survey.slice_field else drawing.cells if stratified else bytes(len(keys))
    chance = [rng.integer(options.seed, "slice", keys[row]) for row in chosen]
    ranked = sorted(range(len(chosen)), key=lambda at: (levels[chosen[at]], chance[at]))
    return cut(len(chosen), options.slices, ranked, deal=stratified)


def _account(
    data: str, drawing: Drawing, survey: Survey, cuts: Sequence[int], options: SampleOptions
) -> dict[str, Any]:
    found = [{"file": f"kept-{at + 1}.jsonl", "rows": 0} for at in range(options.slices or 0)]
    for row, own in zip(drawing.chosen, cuts, strict=False):
        one: dict[str, Any] = found[own - 1]
        one["rows"] += 1
        if survey.slice_field:
            level = survey.levels[row]
            one.update({"from": min(level, one.get("from", level)), "to": max(level, one.get("to", level))})
    files = [KEPT, REMOVED, REJECTED, *(str(one["file"]) for one in found)]
    usable = len(survey.numbers)
    return {
        "data": Path(data).name,
        "rows": usable + sum(survey.rejected.values()),
        "usable": usable,
        "rejected": dict(survey.rejected.most_common()),
        "seed": options.seed,
        **account_of(drawing),
        "slices": {"by": options.slice_by, "files": found} if found else None,
        "files": files,
    }


def _write(
    at: RowStep, survey: Survey, drawing: Drawing, cuts: Sequence[int], options: SampleOptions, aside: IO[bytes],
) -> None:  # fmt: skip
    """The second pass: every row to where it belongs. Nothing takes its name before all is written."""
    folder = at.folder
    with contextlib.ExitStack() as stack:
        stack.callback(_sweep, folder)
        files = stack.enter_context(row_files(folder))
        aside.seek(0)
        for block in iter(lambda: aside.read(_SPOOLED), b""):
            files.rejected.write(block)
        parts = [stack.enter_context(whole_file(folder / f"kept-{n + 1}.jsonl")) for n in range(options.slices or 0)]
        place = drawn = 0
        for number, row in _raw_rows(at.source, options.format):
            if place == len(survey.numbers) or number != survey.numbers[place]:
                continue  # set aside in the first pass
            if drawn < len(drawing.chosen) and drawing.chosen[drawn] == place:
                files.keep(row)
                if parts:
                    parts[cuts[drawn] - 1].write(row + b"\n")
                drawn += 1
            else:
                files.put_aside(row, number, _id(row), NOT_DRAWN)
            place += 1
        if place < len(survey.numbers):
            raise changed(at.source)


def _id(row: bytes) -> object:
    found = orjson.loads(row).get("id") if b'"id"' in row else None
    return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None


def _sweep(folder: Path) -> None:
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _raw_rows(data: str, format: str | None) -> Iterator[tuple[int, bytes]]:
    """Each row's number and its bytes: those of the file where that is JSONL, else as JSON."""
    if Path(data).is_file():
        octets = open_octets(data)
        named = format if format in READERS else octets.format or "json"
        if named == "jsonl" or (named == "json" and format != "json" and is_jsonl(octets.head)):
            yield from (
                (line.number, line.data)
                for line in lines(text_chunks(octets), octets.name)
                if not isinstance(line, BadRow) and line.data and not line.data.isspace()
            )
            return
    for row in read_rows(data, format=format, reject=lambda _: None):
        yield row.number, as_json(row.fields)
