"""report.html: one self-contained page about a run. It loads nothing and runs nothing but its own script.

Everything that a model, a file or a stranger wrote reaches the page as escaped text (jinja2 autoescape,
`svg.el`), and the page's policy (CSP by hash) would stop what slipped through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evollab.evolve.eliminate import RULES
from evollab.inert import inert, one_line
from evollab.records import Instruction
from evollab.report import svg
from evollab.report.document import fill, for_script
from evollab.report.facts import Cell, RunFacts, add_up, collect
from evollab.report.figures import big, duration, number, percent, usd
from evollab.report.flow import flow_across, flow_down
from evollab.report.lineage import Lineage, reason
from evollab.report.marked import TEXT, changed, compared, shown
from evollab.report.settings import flat
from evollab.report.spread import Spread
from evollab.runs import whole_file
from evollab.words import count_words

_ROUNDS_ACROSS = 5


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of `run` to `out` (default: report.html in the run folder) and return its path.

    The same files give the same bytes. Raises EvolError where `run` is no run.
    """
    page = render(collect(run))
    path = out or Path(run) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page)
    return path


def render(facts: RunFacts) -> bytes:
    """The page of a run, UTF-8."""
    filters: dict[str, Callable[..., Any]] = {
        "num": number, "big": big, "usd": usd, "pct": percent, "took": duration, "text": shown, "safe_text": inert,
        "changed": changed, "breakable": breakable, "reason": reason, "line": one_line,
    }  # fmt: skip
    return fill(
        "page.html.j2",
        ["page.css"],
        "page.js",
        filters,
        facts=facts,
        numbers=for_script(numbers(facts)),
        charts=_charts(facts),
        bar=svg.bar,
        survival=_survival(facts),
        about=RULES,
        threads=[_thread(line, facts) for line in facts.lineages],
        operations=sorted({cell.operation for cell in facts.cells}),
        drops={rule: [d for d in facts.drops if d.dropped.rule == rule] for rule in facts.rules},
        dropped_total=add_up(0, "", facts.cells).dropped,
        options=dict(flat(facts.config)),
        inputs=dict(flat(facts.inputs)),
    )


def numbers(facts: RunFacts) -> dict[str, Any]:
    """The page's numbers for programs: the content of its application/json element."""
    calls = facts.calls
    return {
        "run": facts.name,
        "state": facts.state,
        "seeds": facts.seeds,
        "kept": facts.kept,
        "dropped": facts.dropped,
        "rejected": facts.rejected,
        "answered": facts.answered,
        "survival": [
            {"round": c.round, "operation": c.operation, "tried": c.tried, "kept": c.kept, "dropped": c.dropped}
            for c in facts.cells
        ],
        "words": {number: _figures(spread) for number, spread in facts.lengths.items()},
        "growth": {number: _figures(spread) for number, spread in facts.growth.items()},
        "added": {name: _figures(spread) for name, spread in facts.added.items()},
        "calls": None if calls is None else {
            "count": calls.count, "tokens_in": calls.tokens_in, "tokens_out": calls.tokens_out,
            "usd": calls.usd, "unpriced": calls.unpriced, "seconds": round(calls.seconds, 3),
            "failures": [{"purpose": p, "kind": k, "count": n} for (p, k), n in calls.failures.items()],
            "groups": [
                {"purpose": g.purpose, "model": g.model, "calls": g.calls, "tokens_in": g.tokens_in,
                 "tokens_out": g.tokens_out, "usd": g.usd, "unpriced": g.unpriced,
                 "p50": g.p50, "p90": g.p90, "p99": g.p99, "longest": g.longest}
                for g in calls.groups
            ],
        },
    }  # fmt: skip


def _figures(spread: Spread) -> dict[str, float]:
    quantiles = {f"p{share}": spread.quantile(share / 100) for share in (10, 25, 50, 75, 90)}
    return {"n": spread.n, "mean": round(spread.mean, 2), **quantiles}


def _charts(facts: RunFacts) -> dict[str, list[Markup]]:
    """Pictures by place; an empty list where there is nothing to show."""
    flow: list[Markup] = []
    if facts.cells and facts.seeds:
        flow.append(flow_down(facts.seeds, facts.rounds, facts.rules))
        if len(facts.rounds) <= _ROUNDS_ACROSS:
            flow.append(flow_across(facts.seeds, facts.rounds, facts.rules))
    charts = {
        "lengths": svg.ridges(_by_round(facts.lengths), "Words of an instruction, by round"),
        "growth": svg.ridges(_by_round(facts.growth), "Words more than the parent, by round"),
        "added": svg.ridges(list(facts.added.items()), "Words more than the parent, by operation"),
        "responses": svg.ridges(_by_round(facts.responses), "Words of a response, by round"),
        "pace": svg.pace(facts.calls.pace, facts.calls.seconds) if facts.calls else Markup(""),
    }
    return {"flow": flow, **{name: [chart] for name, chart in charts.items() if chart}}


def _by_round(spreads: Mapping[int, Spread]) -> list[tuple[str, Spread]]:
    return [(f"Round {number}" if number else "Seeds", spread) for number, spread in spreads.items()]


@dataclass(frozen=True, slots=True)
class _Round:
    """A round of the survival table: its sum, then its operations."""

    total: Cell
    cells: tuple[Cell, ...]

    @property
    def lines(self) -> tuple[Cell, ...]:
        return (self.total, *self.cells)


def _survival(facts: RunFacts) -> list[_Round]:
    operations = sorted({cell.operation for cell in facts.cells})
    rounds = [_Round(total, tuple(c for c in facts.cells if c.round == total.round)) for total in facts.rounds]
    if len(rounds) > 1:
        merged = tuple(add_up(0, name, [c for c in facts.cells if c.operation == name]) for name in operations)
        rounds.insert(0, _Round(add_up(0, "", facts.cells), merged))
    return rounds


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one round brought a lineage: a kept child, or a dropped one with its rule."""

    row: Instruction
    text: Markup
    grown: str
    rule: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Thread:
    """A lineage for the page. `tags`: numbers of its operations, and "d" where something was dropped."""

    seed: Instruction
    attempts: tuple[_Attempt, ...]
    tags: str


def _thread(line: Lineage, facts: RunFacts) -> _Thread:
    by_id = {row.id: row for row in line.line}
    attempts = [_attempt(row, before) for before, row in zip(line.line, line.line[1:], strict=False)]
    attempts += [_attempt(d.instruction, by_id[d.instruction.parent_id or ""], d.rule, reason(d)) for d in line.dropped]
    attempts.sort(key=lambda one: (one.row.round, not one.rule))
    names = sorted({cell.operation for cell in facts.cells})
    tags = {str(names.index(row.operation)) for row in line.line[1:] if row.operation in names}
    return _Thread(line.seed, tuple(attempts), " ".join(sorted(tags | ({"d"} if line.dropped else set()))))


def _attempt(row: Instruction, parent: Instruction, rule: str = "", detail: str = "") -> _Attempt:
    text, rewrite = compared(row, parent, TEXT)
    words = count_words(row.prompt) - count_words(parent.prompt)
    grown = f"{words:+,} word{'' if abs(words) == 1 else 's'}".replace("-", "\u2212")
    return _Attempt(row, text, f"new text, {grown}" if rewrite else grown, rule, detail)


def breakable(name: str) -> Markup:
    """A rule's name that may break after its underscores."""
    return Markup("_<wbr>").join(one_line(name, 40).split("_"))
