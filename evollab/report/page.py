"""report.html: one self-contained page about a run. It loads nothing and runs nothing but its own script.

Everything that a model, a file or a stranger wrote reaches the page as escaped text (jinja2 autoescape,
`svg.el`), and the page's policy (CSP by hash) would stop what slipped through.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from evollab.evolve.eliminate import RULES
from evollab.records import Instruction
from evollab.report import svg
from evollab.report.diff import compare
from evollab.report.facts import Cell, RunFacts, add_up, collect
from evollab.report.figures import big, duration, number, percent, usd
from evollab.report.flow import flow_across, flow_down
from evollab.report.inert import cut, inert, one_line
from evollab.report.lineage import Lineage, reason
from evollab.report.spread import Spread
from evollab.runs import whole_file
from evollab.words import count_words

_HERE = Path(__file__).parent
TEXT = 900
RESPONSE = 2400
_COMPARED = 6000
_REMOVED = 90
_UNCHANGED = 360
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
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        num=number, big=big, usd=usd, pct=percent, took=duration, text=shown, safe_text=inert,
        changed=changed, breakable=breakable, reason=reason, line=one_line,
    )  # fmt: skip
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    template = environment.from_string((_HERE / "page.html.j2").read_text("utf-8"))
    page = template.render(
        facts=facts,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        numbers=Markup(_for_script(numbers(facts))),
        charts=_charts(facts),
        bar=svg.bar,
        survival=_survival(facts),
        about=RULES,
        threads=[_thread(line, facts) for line in facts.lineages],
        operations=sorted({cell.operation for cell in facts.cells}),
        drops={rule: [d for d in facts.drops if d.dropped.rule == rule] for rule in facts.rules},
        dropped_total=add_up(0, "", facts.cells).dropped,
        options=dict(_flat(facts.config)),
        inputs=dict(_flat(facts.inputs)),
    )
    return page.encode("utf-8", "replace")


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _for_script(value: object) -> str:
    """JSON that no HTML parser can read as markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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
    text, rewrite = _compared(row, parent, TEXT)
    words = count_words(row.prompt) - count_words(parent.prompt)
    grown = f"{words:+,} word{'' if abs(words) == 1 else 's'}".replace("-", "\u2212")
    return _Attempt(row, text, f"new text, {grown}" if rewrite else grown, rule, detail)


def changed(child: Instruction, parent: Instruction | None, limit: int = TEXT) -> Markup:
    """The child's text with what came marked <ins> and what went <del>; plain where all is new."""
    return _compared(child, parent, limit)[0]


def _compared(child: Instruction, parent: Instruction | None, limit: int) -> tuple[Markup, bool]:
    """The marked text, and whether it is new as a whole (and so not marked)."""
    text, left = cut(inert(child.prompt), _COMPARED)
    change = compare(cut(inert(parent.prompt), _COMPARED)[0], text) if parent else None
    if change is None or change.rewrite:
        return _limited([("same", text)], limit, left), change is not None
    return _limited([(piece.kind, piece.text) for piece in change.pieces], limit, left), False


def _limited(pieces: list[tuple[str, str]], limit: int, left: int) -> Markup:
    """The pieces until `limit` characters of the text are out; `left`: characters cut off before.

    A long stretch that stayed as it was is shown by its two ends: it stands in full at the parent.
    """
    out: list[Markup] = []
    for kind, text in pieces:
        if kind == "removed":
            if limit > 0:
                gone, more = cut(text, _REMOVED)
                out.append(svg.el("del", {}, gone + ("…" if more else "")))
            continue
        if kind == "same" and len(pieces) > 1 and len(text) > _UNCHANGED and limit > 0:
            start, _ = cut(text, _UNCHANGED // 3)
            end = text[-_UNCHANGED // 3 :].partition(" ")[2]
            out += [escape(start), _aside(f" … {len(text) - len(start) - len(end):,} characters as before … ")]
            out.append(escape(end))
            limit -= len(start) + len(end)
            continue
        head, more = cut(text, max(limit, 0))
        limit -= len(text)
        left += more
        bare = head.strip() if kind == "added" else ""
        if bare:  # white space around an addition isn't marked
            before = head.index(bare)
            out += [escape(head[:before]), svg.el("ins", {}, bare), escape(head[before + len(bare) :])]
        else:
            out.append(escape(head))
    if left:
        out.append(_aside(f" … {left:,} more characters"))
    return Markup("").join(out)


def _aside(words: str) -> Markup:
    return svg.el("span", {"class": "more"}, words)


def shown(text: str | None, limit: int = TEXT) -> Markup:
    """Foreign text, inert and cut."""
    head, left = cut(inert(text or ""), limit)
    return _limited([("same", head)], limit, left)


def breakable(name: str) -> Markup:
    """A rule's name that may break after its underscores."""
    return Markup("_<wbr>").join(one_line(name, 40).split("_"))


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Name and value of every option; what is inside another gets both names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value and depth < 4:
            yield from _flat(value, f"{before}{name}.", depth + 1)
        else:
            yield f"{before}{name}", _value(value)


def _value(value: Any) -> str:
    """An option's value as a person reads it."""
    match value:
        case None:
            return "default"
        case True:
            return "yes"
        case False:
            return "no"
        case str():
            return value or "none"
        case [] | {}:
            return "none"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case Mapping() | list():
            return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        case _:
            return str(value)
