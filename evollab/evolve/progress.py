"""How a run is watched: one line that renews itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evollab.evolve.outlet import Outlet
from evollab.llm.session import Session
from evollab.llm.watching import money, seconds

if TYPE_CHECKING:
    from evollab.evolve.step import Result


@dataclass(slots=True)
class Total:
    """How many seeds there are, once somebody has counted."""

    seeds: int | None = None


class Ticker:
    """Composes the line. Rates are over the last ticks, so they show what is happening now."""

    def __init__(self, session: Session, outlet: Outlet, total: Total) -> None:
        self._session, self._outlet, self._total = session, outlet, total
        self._started = time.monotonic()
        self._last = (self._started, 0)
        self._rate = 0.0

    def line(self) -> str:
        session, outlet = self._session, self._outlet
        now, calls = time.monotonic(), session.tally.kept + session.tally.found
        if now > self._last[0]:
            recent = (calls - self._last[1]) / (now - self._last[0])
            self._rate = recent if not self._rate else 0.7 * self._rate + 0.3 * recent
        self._last = (now, calls)
        totals = session.store.totals
        done = f"{outlet.lineages:,}"
        left = ""
        if self._total.seeds:
            done += f"/{self._total.seeds:,}"
            if 0 < outlet.lineages < self._total.seeds:
                elapsed = now - self._started
                left = f"{seconds(elapsed * (self._total.seeds - outlet.lineages) / outlet.lineages)} left"
        survival = f"{(outlet.kept - outlet.lineages) / outlet.tried:.0%} survive" if outlet.tried else ""
        retries = f"{session.tally.retries:,} retries" if session.tally.retries else ""
        limits = "; ".join(opened.limiter.state for opened in session.models.values())
        parts = [
            f"seeds {done}",
            f"rows {outlet.kept - outlet.lineages:,}",
            survival,
            f"{self._rate:,.0f} calls/s",
            f"{totals.tokens_in + totals.tokens_out:,} tokens",
            money(totals.usd, bool(session.unpriced)),
            retries,
            limits,
            left,
        ]
        return " | ".join(part for part in parts if part)


def summary(run: Path, result: Result) -> str:
    """What a start of the step came to, in a few lines, and what to do next."""
    counts, cost = result.facts.get("counts", {}), result.facts.get("cost", {})
    born = counts.get("kept", 0) - counts.get("seeds", 0)
    tried = born + counts.get("dropped", 0)
    lines = [
        f"{result.state}{': ' + result.why if result.why else ''}",
        f"  {counts.get('seeds', 0):,} seeds, {born:,} evolved rows kept of {tried:,} tried"
        + (f" ({born / tried:.0%} survive)" if tried else "")
        + (f", {counts['rejected']:,} bad rows in rejected.jsonl" if counts.get("rejected") else ""),
        f"  {cost.get('calls', 0):,} calls, {cost.get('tokens_in', 0) + cost.get('tokens_out', 0):,} tokens, "
        + ("price unknown (give --price IN,OUT)" if cost.get("usd") is None else f"${cost['usd']:,.4f}")
        + (f", {cost['retries']:,} retries" if cost.get("retries") else ""),
    ]
    if result.state == "complete":
        lines.append(f"next: evol report {run}    or: evol export {run} --format messages")
    else:
        lines.append("next: the same command goes on where this stopped (with a higher cap, if a cap stopped it)")
    return "\n".join(lines)
