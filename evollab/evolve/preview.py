"""Look before you pay: a few seeds evolved for real, and what all of them would take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evollab.evolve.options import EvolveOptions
from evollab.evolve.plan import make_plan
from evollab.evolve.rounds import Lineage
from evollab.evolve.step import chosen_seeds, grow_few
from evollab.llm.pairs import parse_extra
from evollab.llm.session import Session, session
from evollab.llm.watching import say, seconds
from evollab.records import EvolError
from evollab.runs import locked


@dataclass(frozen=True, slots=True)
class Estimate:
    """What evolving `seeds` rows would take, from the means over `tried` of them. `usd` is None where
    a price is not known, `seconds` where every reply was kept from before, so none was timed."""

    tried: int
    seeds: int
    rows: float
    calls: float
    tokens_in: float
    tokens_out: float
    usd: float | None
    seconds: float | None


async def preview(seeds: str, out: Path, options: EvolveOptions, rows: int) -> str:
    """Evolve the first `rows` seeds, show them, and say what the whole job would take. The replies
    stay in `out`: the run itself doesn't ask for them again. Raises EvolError."""
    if rows < 1:
        raise EvolError(f"--rows {rows}: expected 1 or more")
    with locked(out, "evol preview"):
        async with session(out, options, parse_extra(options.extra_body)) as opened:
            plan, settled = await make_plan(opened, options, out)
            for note in settled["notes"]:
                say(f"note: {note}")
            sample = list(islice(chosen_seeds(seeds, options, lambda _: None), rows))
            lineages = await grow_few(plan, sample, opened)
            total = sum(1 for _ in chosen_seeds(seeds, options, lambda _: None))
            estimate = estimate_all(lineages, total, opened, options)
    return "\n".join([*map(show_lineage, lineages), tell(estimate)])


def estimate_all(lineages: list[Lineage], seeds: int, opened: Session, options: EvolveOptions) -> Estimate:
    """Scale the means of `lineages` up to `seeds`. Time is what the slowest limit makes of it: replies
    in flight, requests a minute, tokens a minute."""
    tally = opened.tally
    scale = seeds / len(lineages)
    rows = [row for one in lineages for row in one.kept[1:]]
    rows += [drop.instruction for one in lineages for drop in one.dropped]
    tokens_in = scale * sum(row.tokens.get("in", 0) for row in rows)
    tokens_out = scale * sum(row.tokens.get("out", 0) for row in rows)
    calls = scale * (tally.kept + tally.found)
    time = None
    if tally.kept:
        at_once = max(one.limiter.limits.concurrency for one in opened.models.values())
        time = calls * tally.latency / tally.kept / at_once
        time = max(time, 60 * calls / options.rpm if options.rpm else 0.0)
        time = max(time, 60 * (tokens_in + tokens_out) / options.tpm if options.tpm else 0.0)
    usd = None
    if not opened.unpriced:  # by share of each model's calls would be finer; means per row are what we have
        prices = [one.ask.price for one in opened.models.values() if one.ask.price]
        usd = max((price.cost(int(tokens_in), int(tokens_out)) for price in prices), default=0.0)
    kept = scale * sum(len(one.kept) - 1 for one in lineages)
    return Estimate(len(lineages), seeds, kept, calls, tokens_in, tokens_out, usd, time)


def show_lineage(lineage: Lineage) -> str:
    """A seed and what became of it, for reading."""
    lines = [f"seed      {_one_line(lineage.kept[0].prompt)}"]
    events = [(row.round, f"{row.operation}: {_one_line(row.prompt)}", row.response) for row in lineage.kept[1:]]
    for drop in lineage.dropped:
        what = f"{drop.instruction.operation}: dropped, {drop.rule} ({_one_line(drop.detail, 80)})"
        events.append((drop.instruction.round, what, None))
    for number, text, response in sorted(events, key=lambda event: event[0]):
        lines.append(f"round {number}   {text}")
        if response:
            lines.append(f"          answer: {_one_line(response, 160)}")
    return "\n".join(lines) + "\n"


def tell(estimate: Estimate) -> str:
    """The estimate in words."""
    tokens = estimate.tokens_in + estimate.tokens_out
    usd = "not known: give --price IN,OUT" if estimate.usd is None else f"about ${estimate.usd:,.2f}"
    time = "not known: nothing was asked anew" if estimate.seconds is None else f"about {seconds(estimate.seconds)}"
    return "\n".join(
        [
            f"all {estimate.seeds:,} seeds, judged by {estimate.tried}:",
            f"  rows    about {estimate.rows:,.0f} evolved",
            f"  calls   about {estimate.calls:,.0f}",
            f"  tokens  about {tokens:,.0f} ({estimate.tokens_in:,.0f} in, {estimate.tokens_out:,.0f} out)",
            f"  money   {usd}",
            f"  time    {time}",
        ]
    )


def _one_line(text: str, most: int = 400) -> str:
    """Text made inert for a terminal: one line, no control characters, cut."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= most else line[: most - 1] + "…"
