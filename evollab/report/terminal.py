"""A run in the terminal: `evol show`. Data goes to stdout; model text can't act on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evollab.evolve.eliminate import RULES
from evollab.inert import cut, inert, one_line
from evollab.records import Instruction
from evollab.report.diff import compare
from evollab.report.facts import Cell, DropExample, RunFacts, add_up, collect
from evollab.report.figures import big, duration, number, percent, usd
from evollab.report.lineage import Lineage, lineage, reason

_PIPED_WIDTH = 120
_TEXT = 4000
_RESPONSE = 1500
_BAR = 10


def show(run: Path, *, row: str | None = None, console: Console | None = None) -> None:
    """Print a run, or with `row` (the beginning of an id will do) one lineage from seed to leaf.

    Raises EvolError where `run` is no run or has no such row.
    """
    console = console or _console()
    if row is not None:
        _show_lineage(lineage(run, row), row, console)
        return
    facts = collect(run)
    _show_head(facts, console)
    if facts.cells:
        _heading("Survival by round, operation and rule", console)
        console.print(_survival(facts, console.width))
    if facts.drops:
        _heading("Dropped", console)
        _show_drops(facts, console)
    if facts.calls:
        _heading("Calls", console)
        console.print(_calls(facts))
        for group in facts.calls.groups:
            for kind, count in group.not_ok.items():
                console.print(_text(f"{number(count)} x {kind} ({group.purpose}): kept, but not usable", "yellow"))
        for (purpose, kind), count in facts.calls.failures.items():
            console.print(_text(f"{number(count)} x {kind} ({purpose}): asked again or given up", "yellow"))
    if facts.lineages:
        some, path = facts.lineages[0].leaf.id, shlex.quote(str(run))
        console.print(_text(f"\none lineage: evol show {path} --row {some}    pictures: evol report {path}", "dim"))


def _console() -> Console:
    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=False)
    if not console.is_terminal:
        # Piped: no colour (rich sees to that), and a width that doesn't depend on who is looking.
        return Console(highlight=False, emoji=False, markup=False, width=_PIPED_WIDTH)
    return console


def _text(text: str, style: str = "") -> Text:
    return Text(inert(text), style=style)


def _heading(words: str, console: Console) -> None:
    console.print(_text(f"\n{words}", "bold"))


def _show_head(facts: RunFacts, console: Console) -> None:
    state = facts.state or "state unknown"
    console.print(
        Text.assemble(
            (inert(facts.name), "bold"),
            "  ",
            (inert(state), "green" if state == "complete" else "yellow"),
        )
    )
    survival = f", {percent(facts.survival)} survive" if facts.survival is not None else ""
    lines = [
        f"{number(facts.rows)} rows: {number(facts.seeds)} seeds, {number(facts.kept)} evolved of "
        f"{number(facts.tried)} tried{survival}; {number(facts.answered)} with a response"
    ]
    if facts.rejected:
        lines.append(f"{number(facts.rejected)} input rows could not be used (rejected.jsonl)")
    if calls := facts.calls:
        money = usd(calls.usd) if calls.usd is not None else "price unknown"
        lines.append(
            f"{number(calls.count)} calls, {big(calls.tokens_in)} tokens in, {big(calls.tokens_out)} out, {money}; "
            f"{duration(calls.seconds)} of work, {number(calls.rate)} replies a second"
        )
    for line in lines:
        console.print(_text(line))
    for note in (*facts.notes, *facts.warnings):
        console.print(_text(f"! {note}", "yellow"))


def _survival(facts: RunFacts, width: int) -> Table:
    """Rounds and operations down; across, the rules that fit, the rarest together in one column."""
    table = _table("round, operation")
    for name in ("tried", "kept", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    columns = facts.rules
    room = width - 18 - 7 - 7 - 7 - _BAR - 4
    while columns and sum(len(rule) + 2 for rule in columns) > room - (8 if columns != facts.rules else 0):
        columns = columns[:-1]
    for rule in columns:
        table.add_column(_text(rule), justify="right", no_wrap=True)
    if columns != facts.rules:
        table.add_column("others", justify="right", no_wrap=True)
    for total in (add_up(0, "", facts.cells), *facts.rounds):
        name = f"round {total.round}" if total.round else "all rounds"
        table.add_row(*_cells(name, total, columns, facts.rules), style="bold")
        for cell in facts.cells if total.round else ():
            if cell.round == total.round:
                table.add_row(*_cells(f"  {cell.operation}", cell, columns, facts.rules))
    return table


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    return table


def _cells(name: str, cell: Cell, columns: tuple[str, ...], rules: tuple[str, ...]) -> list[Text]:
    share = cell.kept / cell.tried if cell.tried else 0.0
    bar = "█" * round(share * _BAR)
    counts = [cell.dropped.get(rule, 0) for rule in columns]
    if columns != rules:
        counts.append(cell.lost - sum(counts))
    return [
        _text(name),
        _text(number(cell.tried)),
        _text(number(cell.kept)),
        _text(percent(share)),
        _text(bar, "blue"),
        *(_text(number(count) if count else "·", "" if count else "dim") for count in counts),
    ]


def _show_drops(facts: RunFacts, console: Console) -> None:
    """Each rule, what it means, how often it struck, and one short example."""
    total = add_up(0, "", facts.cells).dropped
    examples: dict[str, DropExample] = {}
    for example in facts.drops:
        examples.setdefault(example.dropped.rule, example)
    for rule in facts.rules:
        meaning = RULES.get(rule, "")
        console.print(_text(f"{number(total[rule])} {rule}{f': {meaning}' if meaning else ''}"))
        if rule in examples:
            example = examples[rule]
            child = example.dropped.instruction
            beginning = one_line(child.prompt, max(console.width - 6, 40)) or "(no text)"
            console.print(_text(f"    {beginning}", "dim"), no_wrap=True, overflow="ellipsis", crop=True)
            if example.dropped.detail:
                detail = one_line(reason(example.dropped), max(console.width - 6, 40))
                console.print(_text(f"    {detail} ({child.operation}, {child.id})", "dim"))


def _calls(facts: RunFacts) -> Table:
    assert facts.calls is not None
    table = _table("purpose")
    table.add_column("model", overflow="fold", min_width=12)
    for name in ("calls", "in", "out", "cost", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in facts.calls.groups:
        cost = "unknown" if group.unpriced == group.calls else usd(group.usd)
        columns = (
            group.purpose, group.model, number(group.calls), big(group.tokens_in), big(group.tokens_out),
            cost, duration(group.p50), duration(group.p99),
        )  # fmt: skip
        table.add_row(*(_text(column) for column in columns))
    return table


def _show_lineage(line: Lineage, asked: str, console: Console) -> None:
    """Seed to leaf; what was dropped stands in its round, with the reason."""
    _show_row(line.seed, None, asked, console)
    parents: Mapping[str, Instruction] = {row.id: row for row in line.line}
    steps: list[tuple[int, int, Instruction, str]] = [(row.round, 1, row, "") for row in line.line[1:]]
    steps += [(d.instruction.round, 0, d.instruction, f"{d.rule}: {reason(d)}") for d in line.dropped]
    for _, _, row, why in sorted(steps, key=lambda step: step[:2]):
        _show_row(row, parents.get(row.parent_id or ""), asked, console, why)
    if line.others:
        console.print(Text(f"\n{line.others} more rows grew from this seed on other branches", style="dim"))


def _show_row(row: Instruction, parent: Instruction | None, asked: str, console: Console, why: str = "") -> None:
    head = Text()
    head.append("\nseed" if parent is None else f"\nround {row.round}  {inert(row.operation)}", "bold")
    head.append(f"  {inert(row.id)}", "dim")
    if row.id.startswith(asked):
        head.append("  <- asked for", "cyan")
    if why:
        head.append(f"  dropped: {one_line(why, 300)}", "bold yellow")
    if row.source and parent is None:
        head.append(f"  {inert(row.source.file)}:{row.source.line}", "dim")
    console.print(head)
    _print_indented(_marked(row, parent, colour=console.is_terminal, style="dim" if why else ""), console)
    if row.response and not why:
        text, left = cut(inert(row.response), _RESPONSE)
        console.print(Text("  response", style="dim"))
        _print_indented(Text(text + _more(left), style="dim"), console)


def _more(left: int) -> str:
    return f" … {left:,} more characters" if left else ""


def _marked(row: Instruction, parent: Instruction | None, *, colour: bool, style: str) -> Text:
    """The row's text; added words in green, or between {+ and +} where colours can't be seen."""
    text, left = cut(inert(row.prompt), _TEXT)
    out = Text(style=style)
    change = compare(cut(inert(parent.prompt), _TEXT)[0], text) if parent else None
    if change is None or change.rewrite:
        out.append(text)
    else:
        for piece in change.pieces:
            if piece.kind == "removed":
                continue
            bare = piece.text.strip()
            if piece.kind == "same" or not bare:
                out.append(piece.text)
                continue
            start = piece.text.index(bare)
            out.append(piece.text[:start])
            out.append(bare if colour else f"{{+{bare}+}}", "bold green" if colour else "")
            out.append(piece.text[start + len(bare) :])
    out.append(_more(left))
    return out


def _print_indented(text: Text, console: Console) -> None:
    for line in text.wrap(console, max(console.width - 4, 20)):
        line.rstrip()
        console.print(Text("    ") + line if line else "", soft_wrap=True)
