"""Judged attributes: category, skills, difficulty, quality, safety and tags by a judge model, and the pass rate of a
target model.

One call for each row gives all but the difficulty of evolved rows; that comes from one call for each lineage, over all
its generations. Every reply goes through the store: what was paid for is never asked again, and the same call of
`judge_rows` goes on where the last one stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from evollab import rng
from evollab.data.items import Item
from evollab.data.judge_options import JudgeOptions
from evollab.data.judge_parse import read_form, read_marks
from evollab.data.judge_prompts import form_prompt, lineage_prompt
from evollab.data.judge_report import Counts, JudgeReport, make_report
from evollab.data.judge_units import Rows, Unit
from evollab.data.opinions import Opinion, Opinions
from evollab.data.passrate import Target, pass_rate
from evollab.llm import CallFailed, Model, Request, Sampling
from evollab.llm.session import Opened, Session
from evollab.llm.stop import Stopped
from evollab.llm.watching import money, say, seconds, watched
from evollab.records import Message

_WIDER = 1.25
"""Units under way for each request in flight: enough that none of the places stays empty."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it: `judged[n]` are the attributes of row n (from 0), {} for rows that were not drawn.

    state: complete, or stopped, with `why` (the same call goes on). exit_code: as for `evol evolve`: 0 also at a cap
    that was asked for, 1 where calls failed, 128 + n after a signal. Close it, or use it in a with statement.
    """

    report: JudgeReport
    state: str
    why: str
    exit_code: int
    _opinions: Opinions

    def __len__(self) -> int:
        return len(self._opinions)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self._opinions.attributes(row)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The attributes of all rows, in the order of the rows."""
        return map(self._opinions.attributes, range(len(self._opinions)))

    def close(self) -> None:
        self._opinions.close()

    def __enter__(self) -> Judged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Work:
    """Whom to ask what about which rows, and where the replies go."""

    rows: Rows
    opinions: Opinions
    options: JudgeOptions
    judge: Model | None
    target: Target | None
    counts: Counts = field(default_factory=Counts)
    rows_done: int = 0


async def judge_rows(
    items: Iterable[Item], opened: Session, options: JudgeOptions, folder: Path, *, note: Callable[[str], None] = say
) -> Judged:
    """Ask models about the rows of `items`, which are read once; memory grows with their number, not their length.

    folder: where the rows' texts and the replies' contents lie while this runs, in nameless files. opened: the session
    whose store keeps the calls. note: hears what a person should know. Raises EvolError for a model that can't be
    opened, and for the fault that ended the run; everything paid for is kept.
    """
    rows = Rows(folder)
    opinions: Opinions | None = None
    try:
        judge = await opened.model(options.with_model) if options.with_model else None
        answering = await opened.model(options.target) if options.target else None
        rows.read(items)
        opinions = Opinions(folder, len(rows))
        work = _Work(rows, opinions, options, judge.ask if judge else None, _target(options, judge, answering))
        drawn, units = rows.drawn(options.judge_sample, options.seed)
        work.counts.rows, work.counts.drawn = len(rows), drawn
        if drawn < len(rows):
            note(f"models are asked about {drawn:,} of {len(rows):,} rows, drawn by seed {options.seed}")
        if opened.store.at_risk:
            note(f"{opened.store.at_risk} calls were in flight when this run died; they are asked again")
        if options.asks:
            async with watched(_ticker(opened, work), opened.stop):
                await _each(work, units, opened)
        opinions.finish()
        if opened.stop.error is not None:
            raise opened.stop.error
        report = make_report(opinions, work.counts, options, opened, judge, answering)
    except BaseException:
        if opinions is not None:
            opinions.close()
        raise
    finally:
        rows.close()
    for warning in report.warnings:
        note(f"note: {warning}")
    stopped = bool(opened.stop.reason or report.unfinished)
    why = opened.stop.reason or (f"{report.unfinished:,} rows wait for calls that failed" if stopped else "")
    code = opened.stop.exit_code if opened.stop.reason else int(stopped)
    return Judged(report, "stopped" if stopped else "complete", why, code, opinions)


def _target(options: JudgeOptions, judge: Opened | None, answering: Opened | None) -> Target | None:
    if answering is None:
        return None
    return Target(
        answering.ask, options.samples, Sampling(options.target_temperature, 1.0, options.target_tokens),
        judge.ask if judge else None, options.reply_tokens, options.seed if options.send_seed else None,
    )  # fmt: skip


async def _each(work: _Work, units: Iterable[Unit], opened: Session) -> None:
    """Every unit, so many side by side that all places are in use, until units or run end."""
    waiting = iter(units)

    async def worker() -> None:
        for unit in waiting:
            if opened.stop.reason:
                return
            await _unit(work, unit)
            work.rows_done += len(unit.rows)

    width = max(one.limiter.limits.concurrency for one in opened.models.values())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(int(width * _WIDER) + 2):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _unit(work: _Work, unit: Unit) -> None:
    """All calls about one unit, side by side."""
    options, calls = work.options, []
    if work.judge is not None:
        again = rng.uniform(options.seed, "judge again", unit.key) < options.self_agreement
        together = "difficulty" in options.what and len(unit.rows) > 1
        work.counts.together += together * len(unit.rows)
        work.counts.twice += again * len(unit.rows)
        for sample in range(1 + again):
            calls += [_form(work, work.judge, unit, row, sample) for row in unit.rows]
            if together:
                calls.append(_lineage(work, work.judge, unit, sample))
    if work.target is not None:
        calls += [_passed(work, work.target, row) for row in unit.rows]
    await asyncio.gather(*calls)


async def _form(work: _Work, judge: Model, unit: Unit, row: int, sample: int) -> None:
    """The form about one row. Its difficulty is in it where it has no other generations to compare with, its quality
    where it has a response."""
    turns = work.rows.turns(row)
    answered = turns[-1].role == "assistant" and bool(turns[-1].content.strip())
    left_out = {"difficulty"} if len(unit.rows) > 1 else set[str]()
    asked = tuple(name for name in work.options.what if name not in left_out and (answered or name != "quality"))
    if not asked:
        return
    place = (work.options.seed, "judge", work.rows.key(row), sample) if sample else None
    text, failed = await _ask(work, judge, form_prompt(turns, asked, place), sample, "label")
    form = read_form(text, asked)
    work.opinions.add_form(row, sample, Opinion(asked, form.found, failed, form.strays))


async def _lineage(work: _Work, judge: Model, unit: Unit, sample: int) -> None:
    """The difficulty of all generations, shown in an order that doesn't give the rounds away."""
    rows, seed = work.rows, work.options.seed
    shown = sorted(unit.rows, key=lambda row: rng.integer(seed, "judge order", sample, rows.key(row)))
    prompt = lineage_prompt([rows.turns(row) for row in shown])
    text, failed = await _ask(work, judge, prompt, sample, "rate")
    marks = read_marks(text, ascii_uppercase[: len(shown)])
    for letter, row in zip(ascii_uppercase, shown, strict=False):
        found = {"difficulty": marks[letter]} if letter in marks else {}
        work.opinions.add_marks(row, sample, Opinion(("difficulty",), found, failed))


async def _passed(work: _Work, target: Target, row: int) -> None:
    passed = await pass_rate(target, work.rows.turns(row), work.rows.key(row))
    if passed is not None:
        work.opinions.add_passed(row, passed)


async def _ask(work: _Work, judge: Model, prompt: str, sample: int, purpose: str) -> tuple[str, str]:
    """(reply, class of failure). Of a reply cut by its limit the whole lines count, for the last may be half a
    number."""
    sampling = Sampling(0.0, 1.0, work.options.reply_tokens)
    request = Request((Message("user", prompt),), None, sampling, None, sample, purpose)
    try:
        return (await judge(request)).text, ""
    except CallFailed as failure:
        work.counts.cut += failure.kind == "truncated"
        text = failure.reply.text if failure.kind == "truncated" and failure.reply else ""
        return text.rpartition("\n")[0], failure.kind
    except Stopped:
        return "", "stopped"


def _ticker(opened: Session, work: _Work) -> Callable[[], str]:
    """The line that shows how far it is."""
    started = time.monotonic()

    def line() -> str:
        done, total, tally, paid = work.rows_done, work.counts.drawn, opened.tally, opened.store.totals
        elapsed = time.monotonic() - started
        parts = [
            f"judged {done:,}/{total:,} rows",
            f"{(tally.kept + tally.found) / max(elapsed, 1e-9):,.0f} calls/s",
            f"{paid.tokens_in + paid.tokens_out:,} tokens",
            money(paid.usd, bool(opened.unpriced)),
            f"{tally.retries:,} retries" if tally.retries else "",
            *(one.limiter.state for one in opened.models.values()),
            f"{seconds(elapsed * (total - done) / done)} left" if 0 < done < total else "",
        ]
        return " | ".join(part for part in parts if part)

    return line
