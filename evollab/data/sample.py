"""The step `sample`: out of any data file the mix of rows that is wanted, and slices of it.

Two passes over the file. The first notes for each row a number that it is drawn by and the place of
its value in each field (some 30 bytes a row, however long the rows are); the second writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from evollab import rng
from evollab.data.drawing import Aim, Drawing, as_json, draw
from evollab.data.export import ROWS
from evollab.data.export import STEP as EVOLVED
from evollab.data.files import READERS, input_digest, read_rows
from evollab.data.jsonfile import is_jsonl
from evollab.data.lines import lines
from evollab.data.mix import Kind, Limit, Wish, parse_limits, wishes
from evollab.data.octets import open_octets, text_chunks
from evollab.data.rows import BadRow, excerpt, names
from evollab.data.sample_table import text
from evollab.data.slices import RANDOM, STRATIFIED, check, cut
from evollab.data.strata import Field, parse_fields
from evollab.data.survey import Survey, survey_rows
from evollab.records import EvolError
from evollab.runs import Step, locked, open_step, whole_file, write_json

NAME = "sample"
KEPT = "sample.jsonl"
LEFT = "unsampled.jsonl"
REJECTED = "rejected.jsonl"
ACCOUNT = "sample.json"
_SPOOLED = 1 << 20


def _option(help: str, default: Any = None, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """Which rows to draw, how many, and how to cut them."""

    by: tuple[str, ...] = _option(
        "fields to balance, parted by commas, dotted into objects (source.file); numbers in bins: "
        "difficulty:1-4,5-7,8+ or, as many rows in each, score:q4; the first is met first",
        (), metavar="FIELD[,FIELD]",
    )  # fmt: skip
    target: str | Mapping[str, Any] = _option(
        "the mix: uniform, natural (as it is), natural^0.5 (evened out), or a JSON file {field: {value: share}}",
        "natural", metavar="TARGET",
    )  # fmt: skip
    n: int | None = _option("rows to draw; default: as many as meet the target in full", None, metavar="N")
    floor: tuple[str, ...] = _option(
        "at least so many rows of a value (* for every one), in rows or as a percentage of the draw; repeatable",
        (),
        metavar="FIELD=VALUE=ROWS",
    )
    cap: tuple[str, ...] = _option("at most so many, likewise", (), metavar="FIELD=VALUE=ROWS")
    quota: tuple[str, ...] = _option("exactly so many, likewise", (), metavar="FIELD=VALUE=ROWS")
    seed: int = _option("number that all draws depend on", 0, metavar="N")
    slices: int | None = _option("cut the draw into K slices too, kept-1.jsonl to kept-K.jsonl", None, metavar="K")
    slice_by: str = _option(
        "random; stratified: the same mix in each; or a numeric field: the lowest first",
        RANDOM, metavar="HOW",
    )  # fmt: skip
    unsampled: bool = _option("write the rows that were not drawn too", False)
    format: str | None = _option("format of the file, where it can't be told", None, metavar="FORMAT")
    strict: bool = _option("stop at the first row that can't be used", False)

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
    """Draw rows of `data` (a file as `read_rows` takes it, or a run folder) into OUT/<n>-sample:
    sample.jsonl (rows as they were, in their order), sample.json (each field before and after, what
    could not be met and why), rejected.jsonl, and the slices kept-1.jsonl and so on. `out` None: the
    run folder that `data` is, else runs/sample.

    Which rows are drawn depends on their ids (or, without, their content) and `options.seed`, not on
    their order. The same call again finds its work done; other options are refused. Raises EvolError
    for pipes (the file is read twice), for fields that no row has, and for all that can't be drawn.
    """
    rows = rows_of(data)
    if out is None:
        out = Path(data) if rows != data else Path("runs") / NAME
    data = rows
    order = _read_order(options)
    inputs = {"data": input_digest(data)}
    try:
        with locked(out, "evol sample"):
            return _sample(data, out, order, options, inputs)
    except OSError as error:  # reading has its own errors
        raise EvolError(f"{out}: can't be written ({error.strerror}); expected a folder with room in it") from None


def _sample(data: str, out: Path, order: _Order, options: SampleOptions, inputs: Mapping[str, Any]) -> SampleResult:
    config = orjson.loads(orjson.dumps({**dataclasses.asdict(options), **_settled(order)}))
    del config["strict"]
    step = open_step(out, _number(out), NAME, config, inputs)
    if (done := _done(step)) is not None:
        return SampleResult(step.folder, done, repeated=True)
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    with tempfile.SpooledTemporaryFile(_SPOOLED) as aside:
        survey = survey_rows(
            data, order.fields, order.slice_field, format=options.format, strict=options.strict, aside=aside
        )
        aims = [
            Aim(column.finish(), wish, limits)
            for column, wish, limits in zip(survey.columns, order.wishes, order.limits, strict=True)
        ]
        keys = survey.keys(options.seed)
        drawing = draw(aims, keys, options.n, options.seed)
        cuts = _cut(drawing, survey, keys, options)
        account = orjson.loads(orjson.dumps(_account(data, drawing, survey, cuts, options)))
        step.write("running")
        _write(step.folder, data, survey, drawing, cuts, options, aside)
    if input_digest(data) != inputs["data"]:
        raise _changed(data)
    write_json(step.folder / ACCOUNT, account)
    counts = {"rows": account["rows"], "rejected": sum(survey.rejected.values()), "kept": len(drawing.chosen)}
    times = {
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 2),
    }
    step.write("complete", why="", notes=account["notes"], counts=counts, times=times)
    return SampleResult(step.folder, account)


def rows_of(data: str) -> str:
    """The file of rows that `data` names: of a run folder the rows it made, else `data` itself.
    Raises EvolError for a run without rows, and for pipes."""
    path = Path(data)
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have; opening it says so
        if data == "-" or stat.S_ISFIFO(path.stat().st_mode):
            raise EvolError(f"{data}: a pipe, which can be read once only; expected a file", "write it to a file first")
        for step in (path / EVOLVED, path):
            if (step / ROWS).is_file():
                return str(step / ROWS)
        if (path / EVOLVED).is_dir():
            raise EvolError(f"{data}: a run without rows yet ({EVOLVED}/{ROWS} is missing)", "evol evolve makes them")
    return data


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


def _number(out: Path) -> int:
    """The number of the folder <n>-sample: the one that is there, else the next."""
    found = [path.name.partition("-") for path in out.iterdir() if path.is_dir()]
    numbers = [(name == NAME, int(number)) for number, _, name in found if number.isascii() and number.isdigit()]
    return next((number for own, number in numbers if own), 1 + max((number for _, number in numbers), default=0))


def _done(step: Step) -> dict[str, Any] | None:
    """The account of a step that is complete, with all its files there."""
    if not step.before or step.before.get("state") != "complete":
        return None
    try:
        account: Any = orjson.loads((step.folder / ACCOUNT).read_bytes())
    except (OSError, orjson.JSONDecodeError):  # taken away or spoilt: all is drawn again
        return None
    files = account.get("files") if type(account) is dict else None
    return account if files and all((step.folder / name).is_file() for name in files) else None


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
    files = [KEPT, REJECTED, *([LEFT] if options.unsampled else []), *(str(one["file"]) for one in found)]
    usable = len(survey.numbers)
    return {
        "data": Path(data).name,
        "rows": usable + sum(survey.rejected.values()),
        "usable": usable,
        "rejected": dict(survey.rejected.most_common()),
        "seed": options.seed,
        **as_json(drawing),
        "slices": {"by": options.slice_by, "files": found} if found else None,
        "files": files,
    }


def _write(
    folder: Path, data: str, survey: Survey, drawing: Drawing, cuts: Sequence[int], options: SampleOptions,
    aside: IO[bytes],
) -> None:  # fmt: skip
    """The second pass: every row to where it belongs. Nothing takes its name before all is written."""
    with contextlib.ExitStack() as stack:
        stack.callback(_sweep, folder)
        rejected = stack.enter_context(whole_file(folder / REJECTED))
        aside.seek(0)
        for block in iter(lambda: aside.read(_SPOOLED), b""):
            rejected.write(block)
        kept = stack.enter_context(whole_file(folder / KEPT))
        left = stack.enter_context(whole_file(folder / LEFT)) if options.unsampled else None
        parts = [stack.enter_context(whole_file(folder / f"kept-{at + 1}.jsonl")) for at in range(options.slices or 0)]
        at = drawn = 0
        for number, row in _raw_rows(data, options.format):
            if at == len(survey.numbers) or number != survey.numbers[at]:
                continue  # set aside in the first pass
            if drawn < len(drawing.chosen) and drawing.chosen[drawn] == at:
                kept.write(row + b"\n")
                if parts:
                    parts[cuts[drawn] - 1].write(row + b"\n")
                drawn += 1
            elif left is not None:
                left.write(row + b"\n")
            at += 1
        if at < len(survey.numbers):
            raise _changed(data)


def _sweep(folder: Path) -> None:
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _changed(data: str) -> EvolError:
    return EvolError(f"{data}: changed while it was read", "run it again when nobody writes to it")


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
        yield row.number, _json(row.fields)


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=str)
    except TypeError:  # integers beyond 64 bits, keys that are no texts
        return json.dumps(fields, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
