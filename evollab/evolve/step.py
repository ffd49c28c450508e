"""The step `evolve`: seeds in, instructions.jsonl and dropped.jsonl out; resumes or refuses."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from evollab.data.files import input_digest, read_seeds
from evollab.evolve.options import EvolveOptions
from evollab.evolve.outlet import Outlet
from evollab.evolve.plan import make_plan
from evollab.evolve.progress import Ticker, Total
from evollab.evolve.rounds import Lineage, Plan, lineage
from evollab.llm.journal import NO_ROOM, DiskFull
from evollab.llm.pairs import parse_extra, parse_pairs
from evollab.llm.session import Session, session
from evollab.llm.stop import Stop
from evollab.llm.watching import say, watched
from evollab.records import EvolError, Instruction, Rejected
from evollab.runs import Step, locked, open_step, whole_file

KEPT = "instructions.jsonl"
DROPPED = "dropped.jsonl"
REJECTED = "rejected.jsonl"
_WIDER = 1.25
"""Lineages under way for each request in flight: enough that none of the places stays empty."""
_COUNT_AFTER = 0.5
_COUNT_BYTES = 32 << 20
_BREATH = 16
"""Lineages after which a worker lets others run, even when every reply was found in the store."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a start of the step came to. `state`: complete or stopped; `why`: what stopped it."""

    folder: Path
    state: str
    why: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    exit_code: int = 0


async def evolve(seeds: str, out: Path, options: EvolveOptions) -> Result:
    """Evolve `seeds` (a file, a data set's id, or "-") into the run folder `out`.

    The same call again goes on where the last one stopped, and pays for nothing twice. Raises
    EvolError on mistakes and on faults that a person must mend; everything paid for is kept.
    """
    with locked(out, "evol evolve"):
        async with session(out, options, parse_extra(options.extra_body)) as opened:
            plan, settled = await make_plan(opened, options, out)
            config = {**options.config(), "settled": settled["settled"]}
            step = open_step(out, 1, "evolve", config, {"seeds": input_digest(seeds)})
            if step.before and step.before["state"] == "complete":
                return Result(step.folder, "complete", "nothing was left to do", dict(step.before))
            for note in settled["notes"]:
                say(f"note: {note}")
            if opened.store.at_risk:
                say(f"{opened.store.at_risk} calls were in flight when this run died; they are asked again")
            try:
                return await _run(step, seeds, options, opened, plan, settled["notes"])
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise DiskFull(out) from None
                raise


async def _run(step: Step, seeds: str, options: EvolveOptions, opened: Session, plan: Plan, notes: list[str]) -> Result:
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    step.write("running", notes=notes, times={"started": started.isoformat(timespec="seconds")})
    with (
        whole_file(step.folder / KEPT) as kept,
        whole_file(step.folder / DROPPED) as dropped,
        whole_file(step.folder / REJECTED) as rejected,
    ):
        outlet = Outlet(kept, dropped)
        bad_rows = 0

        def reject(row: Rejected) -> None:
            nonlocal bad_rows
            bad_rows += 1
            rejected.write(row.to_json() + b"\n")

        rows = chosen_seeds(seeds, options, reject)
        total = Total(options.limit)
        threading.Thread(target=_count, args=(seeds, options, total), name="count", daemon=True).start()
        ticker = Ticker(opened, outlet, total)
        async with watched(ticker.line, opened.stop):
            await grow(plan, rows, outlet, width_of(opened), opened.stop)
        outlet.flush()
    stop = opened.stop
    state = "stopped" if stop.reason or outlet.unfinished else "complete"
    why = stop.reason or _failures(outlet)
    totals, tally = opened.store.totals, opened.tally
    facts: dict[str, Any] = {
        "why": why,
        "notes": notes,
        "counts": {
            "seeds": outlet.lineages, "rejected": bad_rows, "kept": outlet.kept, "dropped": outlet.dropped,
            "answered_seeds": outlet.answered_seeds, "unfinished": sum(outlet.unfinished.values()),
        },
        "survival": outlet.survival(),
        "cost": {
            "calls": totals.calls, "tokens_in": totals.tokens_in, "tokens_out": totals.tokens_out,
            "usd": None if opened.unpriced else round(totals.usd, 6), "unpriced": opened.unpriced,
            "retries": tally.retries, "asked_now": tally.asked, "found_in_store": tally.found,
        },
        "times": {
            "started": started.isoformat(timespec="seconds"),
            "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
        },
    }  # fmt: skip
    step.write(state, **facts)
    if stop.error is not None:
        raise stop.error
    return Result(step.folder, state, why, facts, stop.exit_code if stop.reason else int(state == "stopped"))


def _count(seeds: str, options: EvolveOptions, total: Total) -> None:
    """Find out, beside the work, how many seeds there are: so that the progress line can say how long
    it will take. What is too large to read twice stays uncounted."""
    time.sleep(_COUNT_AFTER)
    path = Path(seeds)
    if not path.is_file():
        return
    counted = None
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            counted = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    elif path.stat().st_size <= _COUNT_BYTES:
        with contextlib.suppress(EvolError):  # whoever reads the file for the work says so
            counted = sum(1 for _ in chosen_seeds(seeds, options, lambda _: None))
    if counted:
        total.seeds = min(counted, options.limit or counted)


def chosen_seeds(seeds: str, options: EvolveOptions, reject: Callable[[Rejected], None]) -> Iterator[Instruction]:
    """The seeds, one at a time. With --strict every row is looked at before the first is used."""
    mapping = parse_pairs(options.map, "--map")

    def read(on_bad: Callable[[Rejected], None]) -> Iterator[Instruction]:
        return read_seeds(
            seeds, format=options.format, mapping=mapping, domain=Path(options.domain).stem, strict=options.strict,
            reject=on_bad,
        )  # fmt: skip

    if options.strict and seeds != "-":
        for _ in read(lambda _: None):
            pass
    return islice(read(reject), options.limit)


def width_of(opened: Session) -> int:
    """How many lineages to keep under way."""
    return int(max(one.limiter.limits.concurrency for one in opened.models.values()) * _WIDER) + 2


async def grow(plan: Plan, seeds: Iterator[Instruction], outlet: Outlet, width: int, stop: Stop) -> None:
    """Grow every seed, `width` lineages side by side, until the seeds or the run end."""
    numbered = enumerate(seeds)

    async def worker() -> None:
        count = 0
        while not stop.reason:
            try:
                index, seed = next(numbered)
            except StopIteration:
                return
            except EvolError as error:  # the file is bad from here on; what was read before it counts
                stop.because(error.message, error)
                return
            outlet.put(index, await lineage(plan, seed))
            await outlet.room()
            count += 1
            if count % _BREATH == 0:
                await asyncio.sleep(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def grow_few(plan: Plan, seeds: Sequence[Instruction], opened: Session) -> list[Lineage]:
    """The lineages of a handful of seeds, in memory, in order. Raises EvolError when the run had to
    end for a fault, or a cap was reached."""

    def line() -> str:
        return f"{opened.tally.kept + opened.tally.found:,} calls"

    async with watched(line, opened.stop):
        lineages = await asyncio.gather(*(lineage(plan, seed) for seed in seeds))
    if opened.stop.reason:
        raise opened.stop.error or EvolError(f"stopped: {opened.stop.reason}", "run it again to go on")
    return lineages


def _failures(outlet: Outlet) -> str:
    if not outlet.unfinished:
        return ""
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(outlet.unfinished.items()))
    return f"{sum(outlet.unfinished.values())} lineages wait for calls that failed ({kinds})"
