"""The step `selection`: rows that a filter drops go, of the others those stay that a way chooses.

Two passes. The first reads the rows, lays their bytes aside on disk and keeps an index of them; the
second writes. What goes is written with the reason, and the row it resembles where that was the reason.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.data import strata
from evollab.data.embed import Embedder, embedder
from evollab.data.filtering import Filters, Finding, filters_of, parted, plug_files
from evollab.data.items import read_items
from evollab.data.personal import find as find_private
from evollab.data.rowindex import TOKENS, WORDS, RowIndex
from evollab.data.rows import excerpt
from evollab.data.rowstep import KEPT, REMOVED, RowFiles, RowStep, row_files, row_step
from evollab.data.select_table import text
from evollab.data.selecting import SELECTORS, WAYS, Need, SelectOptions, Selector, Why
from evollab.data.tokencount import ESTIMATE
from evollab.plugs import find
from evollab.records import EvolError, Rejected
from evollab.runs import read_step, write_json

NAME = "selection"
ACCOUNT = "selection.json"
ANALYSIS = "analysis"
"""The step whose folder tells what attributes cost."""
ALL, PASSED = "all rows", "after filters"
_INSTALL = "pip install 'evollab[data]'"
_SHOWN = 200
_JUDGE = "evol analyse DATA --with MODEL"
MADE_BY = {
    **dict.fromkeys(("difficulty", "quality", "category", "tags", "skills", "level", "safety"), _JUDGE),
    **dict.fromkeys(("ifd", "ic_ifd", "perplexity"), "evol analyse DATA --lm smollm2"),
    "pass_rate": "evol analyse DATA --target MODEL",
}
"""The command that gives rows an attribute."""


@dataclass(frozen=True, slots=True)
class SelectResult:
    """What a call came to. `account` is what selection.json holds; `fresh`: whether it was made now."""

    folder: Path
    account: Mapping[str, Any]
    fresh: bool

    def __str__(self) -> str:
        again = "" if self.fresh else "\nnote: this was done before; nothing was left to do"
        return text(self.account, self.folder) + again


def select(data: str, out: Path | None, options: SelectOptions) -> SelectResult:
    """Choose rows of `data`: whatever `data.files` reads, a run folder, or the folder of another step.

    Writes into the folder `out` (default: see `rowstep.place_of`): kept.jsonl, rows in their order (lines
    of JSONL byte for byte); removed.jsonl, each row with reason and detail (of rows with private finds
    line and id alone); rejected.jsonl; selection.json, the comparison; step.json. Raises EvolError for
    unknown ways and filters, for fields that no row has, for a folder made from other data or with other
    settings, and for everything about the input.
    """
    filters = filters_of(options)
    ways = _ways(options)
    if ways and importlib.util.find_spec("numpy") is None:
        raise EvolError("evol select --how needs numpy, which is not installed", _INSTALL)
    plugs = plug_files([options.how or "", *options.filters(), *parted((options.compare,))])
    files = (KEPT, REMOVED, ACCOUNT)
    embeds = None
    if options.how is not None:
        # The default of deita is the best there is; of the table, what costs next to nothing.
        embeds = embedder(options.embed if options.embed is not None or ways[options.how].embeds else "hashed")
    config = options.config() | {"embed": embeds and embeds.identity}
    with row_step(NAME, data, out, config, verb="select", files=files, inputs=plugs) as at:
        if at.done is not None:
            return SelectResult(at.folder, orjson.loads((at.folder / ACCOUNT).read_bytes()), fresh=False)
        return _run(at, filters, ways, embeds, options)


def _ways(options: SelectOptions) -> dict[str, Selector]:
    """The way that chooses, first, and those to compare it with. Raises EvolError for unknown ones."""
    if options.how is None:
        return {}
    named = [] if options.compare in ("all", "none") else parted((options.compare,))
    found: dict[str, Selector] = {}
    for name in dict.fromkeys((options.how, *named, *(WAYS if options.compare == "all" else ()))):
        way = find(SELECTORS, name, "SELECTOR", "way to select")
        if not isinstance(way, Selector):
            raise EvolError(f"{excerpt(name, 60)}: SELECTOR is no Selector", "SELECTOR = Selector(needs, pick)")
        found[name] = way
    if options.n is None and not found[options.how].ends:
        raise EvolError(f"--how {options.how}: how many rows?", "--n N")
    return found


def _run(
    at: RowStep, filters: Filters, ways: Mapping[str, Selector], embeds: Embedder | None, options: SelectOptions
) -> SelectResult:
    clock = time.monotonic()
    at.step.write("running")
    needs = dict.fromkeys(need for way in ways.values() for need in way.needs(options))
    columns = tuple(dict.fromkeys((*needs, *_compared(options)))) if ways else ()
    with (
        RowIndex(
            at.folder, filters, columns,
            id_column=options.mapping().get("id", "id"), text=options.text if ways else "",
        ) as index,
        row_files(at.folder) as files,
    ):  # fmt: skip
        for item in read_items(at.source, options, _rejecter(files, private=filters.private)):
            index.add(item)
        index.flush()
        made = _Made(lambda row: None, [], [], None)
        if embeds is not None:
            made = _choose(at, index, ways, embeds, options)
        _write(files, index, made.why)
        account = _account(at, index, files, made, options)
    write_json(at.folder / ACCOUNT, account)
    counts = {"rows": account["rows"], "kept": account["kept"], "rejected": account["rejected"]}
    at.complete(counts=counts, notes=made.notes, times={"seconds": round(time.monotonic() - clock, 2)})
    return SelectResult(at.folder, account, fresh=True)


def _rejecter(files: RowFiles, *, private: bool) -> Callable[[Rejected], None]:
    """Where unusable rows go: without their text, and names of their fields, that may not be copied."""
    if not private:
        return files.reject

    def reject(row: Rejected) -> None:
        reason = "can't be used" if any(find_private(row.reason)) else row.reason
        files.reject(Rejected(row.file, row.line, reason, ""))

    return reject


# Choosing


def _compared(options: SelectOptions) -> tuple[Need, ...]:
    """What the table tells of every way."""
    numbers = (options.complexity, options.quality, WORDS, TOKENS, "response_tokens")
    return (*map(Need, numbers), Need("tags", "list"))


@dataclass(frozen=True, slots=True)
class _Made:
    """Why a row that passed the filters goes (None: it stays), the lines of the table, notes."""

    why: Callable[[int], Why | None]
    table: list[dict[str, Any]]
    notes: list[str]
    embedder: str | None


def _choose(
    at: RowStep, index: RowIndex, ways: Mapping[str, Selector], embeds: Embedder, options: SelectOptions
) -> _Made:
    import numpy as np

    from evollab.data.choosing import Pool, baselines, choose
    from evollab.data.comparison import Columns, table
    from evollab.data.rowvectors import RowVectors

    source = at.source
    vectors = RowVectors(index.text, embeds, at.folder)
    pool = Pool(index, options.seed, vectors)
    how, *others = ways
    needs = ways[how].needs(options)
    for need in needs:
        if not pool.anywhere(need):
            raise _missing(source, how, need, index)
    lacking = np.flatnonzero(pool.passed)
    lacking = lacking[~np.isin(lacking, pool.having(needs))]
    if options.strict and len(lacking):
        row = int(lacking[0])
        why = next(pool.index.lack(row, need) for need in needs if row not in pool.having([need]))
        raise EvolError(f"{source}:{index.lines[row]}: {why}")
    outcome = choose(how, ways[how], pool, options)
    notes = [embeds.note] if embeds.note and ways[how].embeds else []
    if options.n is not None and len(outcome.chosen) < options.n:
        notes.append(f"only {len(outcome.chosen):,} rows could be chosen, of {options.n:,} asked for")
    choices = {ALL: np.arange(len(index))}
    if not pool.passed.all():
        choices[PASSED] = np.flatnonzero(pool.passed)
    choices[how] = outcome.chosen
    if len(outcome.chosen):
        choices |= baselines({name: ways[name] for name in others}, pool, options, len(outcome.chosen), notes)
    if index.estimated:
        notes.append(f"tokens of {index.estimated:,} rows are {ESTIMATE.name}")
    shown = {"difficulty": options.complexity, "quality": options.quality, "words": WORDS}
    means = {title: pool.numbers[name] for title, name in shown.items()}
    columns = Columns(means, pool.numbers[TOKENS], index.lists["tags"], index.categories, pool.keys, vectors)
    chosen = set(outcome.chosen.tolist())
    lines = table(choices, columns, options.seed)
    return _Made(lambda row: None if row in chosen else outcome.why(row), lines, notes, embeds.identity)


def _missing(source: str, how: str, need: Need, index: RowIndex) -> EvolError:
    what = "a number" if need.kind == "number" else "a list of texts"
    unknown = strata.unknown(strata.Field(need.name), index.known, f"{source}: --how {how} needs {what}")
    maker = MADE_BY.get(need.name)
    return EvolError(unknown.message, f"{maker} gives it to rows" if maker else unknown.hint)


# Writing


def _write(files: RowFiles, index: RowIndex, why: Callable[[int], Why | None]) -> None:
    for row in range(len(index)):
        found = index.finding(row)
        if found is not None and found[1]:
            _tell_of(files, index, row, found[0])
        elif found is not None:
            reason, detail = found[0].reason, found[0].detail
            files.put_aside(index.rows[row], index.lines[row], index.id(row), reason, detail=detail)
        elif (no := why(row)) is None:
            files.keep(index.rows[row])
        else:
            facts: dict[str, Any] = {"detail": no.detail, **no.facts}
            if no.nearest is not None:
                near = no.nearest
                told = {"line": index.lines[near], "id": index.id(near), "text": index.text(near)[:_SHOWN]}
                facts["nearest"] = told
            files.put_aside(index.rows[row], index.lines[row], index.id(row), no.reason, **facts)


def _tell_of(files: RowFiles, index: RowIndex, row: int, found: Finding) -> None:
    """A removed row that must not be copied: where it stood, and why it went."""
    files.reasons[found.reason] += 1
    told = {"reason": found.reason, "line": index.lines[row], "id": index.id(row), "detail": found.detail}
    files.removed.write(orjson.dumps(told) + b"\n")


def _account(at: RowStep, index: RowIndex, files: RowFiles, made: _Made, options: SelectOptions) -> dict[str, Any]:
    return {
        "data": Path(at.source).name,
        "how": options.how,
        "n": options.n,
        "filters": list(options.filters()),
        "seed": options.seed,
        "embedder": made.embedder,
        "rows": len(index),
        "rejected": files.bad,
        "kept": files.count,
        "removed": dict(sorted(files.reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "cost": _cost(at.source),
        "table": made.table,
        "notes": made.notes,
    }


def _cost(source: str) -> Any:
    """What the attributes were paid, where the rows are those of an analysis that says so."""
    step = read_step(Path(source).parent) if Path(source).name == KEPT else None
    return step.get("cost") if step and step.get("step") == ANALYSIS else None
