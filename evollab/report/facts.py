"""The numbers of a run, from its files, in one pass and bounded memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab.records import Dropped, EvolError, Instruction
from evollab.report.calls import Calls, read_calls
from evollab.report.files import Line, RunFiles, find, in_use, is_cut, read_at, stream
from evollab.report.lineage import Lineage, assemble, record
from evollab.report.sample import Drops, Lineages, Place
from evollab.report.spread import Spread
from evollab.words import count_words

LINEAGES = 20
REJECTS = 10
_MOST_ROWS_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation in one round: children kept, and dropped by rule."""

    round: int
    operation: str
    kept: int
    dropped: Mapping[str, int]

    @property
    def lost(self) -> int:
        return sum(self.dropped.values())

    @property
    def tried(self) -> int:
        return self.kept + self.lost


@dataclass(frozen=True, slots=True)
class DropExample:
    """A dropped child and its parent, where that stands in the files."""

    dropped: Dropped
    parent: Instruction | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything that is shown of a run. Lengths are words of the whole user turn.

    `state` is what step.json says ("" without one), or "killed" where it says running and no
    process holds the run. `warnings` are findings of ours, `notes` what the run said about itself.
    """

    name: str
    state: str
    why: str
    command: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    versions: Mapping[str, Any]
    times: Mapping[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seeds: int
    kept: int
    dropped: int
    rejected: int
    answered: int
    """Rows (seeds and evolved) with a response."""
    cells: tuple[Cell, ...]
    evolved: Mapping[int, int]
    """How many times a seed was evolved -> seeds."""
    lengths: Mapping[int, Spread]
    """Round -> words; round 0 is the seeds."""
    growth: Mapping[int, Spread]
    """Round -> words more than the parent."""
    added: Mapping[str, Spread]
    """Operation -> words more than the parent."""
    responses: Mapping[int, Spread]
    """Round -> words of the response, where there is one."""
    models: Mapping[str, Mapping[str, int]]
    """Role -> model -> rows."""
    calls: Calls | None
    lineages: tuple[Lineage, ...]
    drops: tuple[DropExample, ...]
    rejects: tuple[tuple[str, int, str, str], ...]
    """The first rejected rows: file, line, reason, beginning."""

    @property
    def rows(self) -> int:
        return self.seeds + self.kept

    @property
    def tried(self) -> int:
        return self.kept + self.dropped

    @property
    def survival(self) -> float | None:
        return self.kept / self.tried if self.tried else None

    @property
    def rounds(self) -> tuple[Cell, ...]:
        """The cells of each round added up, operation ""."""
        return tuple(add_up(number, "", [c for c in self.cells if c.round == number]) for number in self.numbers)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted({cell.round for cell in self.cells}))

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that dropped something, the most frequent first."""
        total = add_up(0, "", self.cells).dropped
        return tuple(sorted(total, key=lambda rule: (-total[rule], rule)))


def add_up(number: int, operation: str, cells: tuple[Cell, ...] | list[Cell]) -> Cell:
    """One cell out of many."""
    dropped: Counter[str] = Counter()
    for cell in cells:
        dropped.update(cell.dropped)
    return Cell(number, operation, sum(cell.kept for cell in cells), dict(dropped))


def collect(run: Path) -> RunFacts:
    """Read a run folder, finished or not. Raises EvolError when it is none, or a file is broken."""
    files = find(run)
    tally = _Tally()
    for group in _groups(files):
        # While files are being written one may be ahead of the other: children whose seed is not
        # there yet would make survival look worse than it is.
        if group.root or not files.partial:
            tally.add(group)
        else:
            tally.homeless += len(group.dropped)
    step = files.step or {}
    rejected, rejects = _rejects(files)
    state = _state(files, step)
    calls = read_calls(files.run)
    return RunFacts(
        name=files.run.resolve().name,
        state=state,
        why=_text(step.get("why")),
        command=_text(step.get("command")),
        config=_mapping(step.get("config")),
        inputs=_mapping(step.get("inputs")),
        versions=_mapping(step.get("versions")),
        times=_mapping(step.get("times")),
        notes=tuple(_text(note) for note in step.get("notes") or () if note),
        warnings=tuple(_warnings(files, state, step, tally, calls)),
        seeds=tally.seeds,
        kept=tally.kept,
        dropped=tally.lost,
        rejected=rejected,
        answered=sum(sum(counts.values()) for counts in tally.responses.values()),
        cells=tally.cells(),
        evolved=dict(sorted(tally.evolved.items())),
        lengths=_spreads(tally.lengths),
        growth=_spreads(tally.growth),
        added={name: Spread.of(counts) for name, counts in sorted(tally.added.items())},
        responses=_spreads(tally.responses),
        models={role: dict(sorted(names.items())) for role, names in sorted(tally.models.items())},
        calls=calls,
        lineages=tuple(_load(files, place) for place in tally.sample.choose(LINEAGES)),
        drops=tuple(_load_drop(files, *places) for places in tally.drops.chosen()),
        rejects=rejects,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """What the pass keeps of a row while its lineage goes by."""

    offset: int
    id: str
    parent: str | None
    round: int
    operation: str
    words: int
    response: int | None
    rule: str
    judged: tuple[str, ...]
    models: Mapping[str, str]


@dataclass(slots=True)
class _Group:
    root: str
    kept: list[_Row]
    dropped: list[_Row]


def _groups(files: RunFiles) -> Iterator[_Group]:
    """Lineage by lineage: both files are in the order of the seeds. Dropped rows whose lineage is
    not (yet) among the kept come last, under an empty root."""
    dropped = ((_root(line.row["instruction"], files.dropped, line), line) for line in _checked(files.dropped))
    pending = next(dropped, None)
    group: _Group | None = None
    for line in stream(files.instructions):
        root = _root(line.row, files.instructions, line)
        if group is None or root != group.root or line.row.get("round") == 0:
            if group is not None:
                yield group
            group = _Group(root, [], [])
            while pending is not None and pending[0] == root:
                group.dropped.append(_row(pending[1], pending[1].row["instruction"], files.dropped))
                pending = next(dropped, None)
        group.kept.append(_row(line, line.row, files.instructions))
    if group is not None:
        yield group
    while pending is not None:
        yield _Group("", [], [_row(pending[1], pending[1].row["instruction"], files.dropped)])
        pending = next(dropped, None)


def _checked(path: Path | None) -> Iterator[Line]:
    for line in stream(path):
        if not isinstance(line.row.get("instruction"), dict) or not isinstance(line.row.get("rule"), str):
            raise EvolError(f"{path}:{line.number}: not a Dropped record (instruction, rule)")
        yield line


def _root(row: dict[str, Any], path: Path | None, line: Line) -> str:
    root = row.get("root_id")
    if not isinstance(root, str):
        raise EvolError(f"{path}:{line.number}: not an Instruction record (no root_id)")
    return root


def _row(line: Line, row: dict[str, Any], path: Path | None) -> _Row:
    text, given, response = row.get("text"), row.get("input") or "", row.get("response")
    name, number, operation = row.get("id"), row.get("round"), row.get("operation")
    if not (
        isinstance(text, str) and isinstance(given, str) and isinstance(response, str | None)
        and isinstance(name, str) and isinstance(number, int) and isinstance(operation, str)
    ):  # fmt: skip
        raise EvolError(
            f"{path}:{line.number}: not an Instruction record (id, round, operation, text, input, response)",
            "was this file written by another version of evollab?",
        )
    return _Row(
        line.offset, name, row.get("parent_id"), number, operation,
        count_words(text) + (count_words(given) if given else 0),
        count_words(response) if response else None,
        line.row.get("rule") or "(none)", tuple(_mapping(row.get("verdicts"))), _mapping(row.get("models")),
    )  # fmt: skip


def _counters() -> defaultdict[Any, Counter[Any]]:
    return defaultdict(Counter)


@dataclass(slots=True)
class _Tally:
    """Running sums of the pass."""

    seeds: int = 0
    kept: int = 0
    lost: int = 0
    homeless: int = 0
    counts: dict[tuple[int, str], Counter[str]] = field(default_factory=_counters)
    evolved: Counter[int] = field(default_factory=Counter[int])
    lengths: dict[int, Counter[int]] = field(default_factory=_counters)
    growth: dict[int, Counter[int]] = field(default_factory=_counters)
    added: dict[str, Counter[int]] = field(default_factory=_counters)
    responses: dict[int, Counter[int]] = field(default_factory=_counters)
    models: dict[str, Counter[str]] = field(default_factory=_counters)
    judged: Counter[str] = field(default_factory=Counter[str])
    sample: Lineages = field(default_factory=Lineages)
    drops: Drops = field(default_factory=Drops)

    def add(self, group: _Group) -> None:
        by_id = {row.id: row for row in group.kept}
        for row in group.kept:
            self.lengths[row.round][row.words] += 1
            if row.response is not None:
                self.responses[row.round][row.response] += 1
            for role, model in row.models.items():
                self.models[role][str(model)] += 1
            if row.round == 0:
                self.seeds += 1
                continue
            self.kept += 1
            self.counts[row.round, row.operation][""] += 1
            for judge in row.judged:
                self.judged[judge] += 1
            if parent := by_id.get(row.parent or ""):
                self.growth[row.round][row.words - parent.words] += 1
                self.added[row.operation][row.words - parent.words] += 1
        for row in group.dropped:
            self.lost += 1
            self.counts[row.round, row.operation][row.rule] += 1
            for judge in row.judged:
                self.judged[judge] += 1
            parent = by_id.get(row.parent or "")
            self.drops.offer(row.rule, row.id, row.offset, parent.offset if parent else None)
        if not group.kept:
            self.homeless += len(group.dropped)
            return
        self.evolved[sum(row.round > 0 for row in group.kept)] += 1
        if len(group.kept) + len(group.dropped) <= _MOST_ROWS_SHOWN and group.kept[0].round == 0:
            self.sample.offer(
                Place(
                    group.root,
                    tuple(row.operation for row in group.kept[1:]),
                    tuple(row.rule for row in group.dropped),
                    group.kept[-1].words,
                    tuple(row.offset for row in group.kept),
                    tuple(row.offset for row in group.dropped),
                )
            )

    def cells(self) -> tuple[Cell, ...]:
        return tuple(
            Cell(number, operation, counts[""], {rule: n for rule, n in sorted(counts.items()) if rule})
            for (number, operation), counts in sorted(self.counts.items())
        )


def _warnings(files: RunFiles, state: str, step: dict[str, Any], tally: _Tally, calls: Calls | None) -> Iterator[str]:
    if files.step is None:
        yield "There is no step.json: the options, versions and state of this run are unknown."
    if state == "stopped":
        yield f"The run stopped early{_because(step)}. The same command goes on from here."
    elif state == "killed":
        yield "The run was killed while it was at work. The same command goes on from here."
    elif state == "running":
        yield "The run is going on: these are the numbers so far."
    unfinished = [path.name for path in (files.instructions, files.dropped) if path and path.suffix == ".part"]
    if files.partial:
        yield f"Not written to the end: {' and '.join(unfinished)}. Rows that are not in them yet are not counted."
    elif any(is_cut(path) for path in (files.instructions, files.dropped)):
        yield "The last line of a file is cut off and was left out."
    if tally.judged["rule"]:
        yield (
            f"A rule on the words added, not a model, compared child and parent in {tally.judged['rule']:,} of "
            f"{tally.kept + tally.lost:,} attempts."
        )
    unanswered = tally.kept - sum(sum(c.values()) for number, c in tally.responses.items() if number)
    if unanswered:
        yield f"{unanswered:,} of {tally.kept:,} evolved rows have no response."
    if tally.homeless:
        counted = "not counted" if files.partial else "counted, but without their parents"
        yield f"{tally.homeless:,} dropped rows belong to seeds that are not among the kept rows ({counted})."
    if calls is None:
        yield "There is no calls.db: what the calls cost and how long they took is unknown."
    elif calls.unpriced:
        models = sorted({group.model for group in calls.groups if group.unpriced})
        yield f"No price is known for {', '.join(models)}: the cost of {calls.unpriced:,} calls is not counted."
    said = {
        (one.get("round"), one.get("operation")): (one.get("tried"), one.get("kept"))
        for one in step.get("survival") or ()
        if isinstance(one, dict)
    }
    found = {(cell.round, cell.operation): (cell.tried, cell.kept) for cell in tally.cells()}
    if state == "complete" and said and said != found:
        yield "step.json and the files disagree on what was kept and dropped. The files are counted here."


def _because(step: dict[str, Any]) -> str:
    why = _text(step.get("why"))
    return f" ({why})" if why else ""


def _state(files: RunFiles, step: dict[str, Any]) -> str:
    state = _text(step.get("state"))
    return "killed" if state == "running" and not in_use(files.run) else state


def _load(files: RunFiles, place: Place) -> Lineage:
    assert files.instructions is not None
    kept = [record(Instruction, read_at(files.instructions, at), files.instructions) for at in place.kept]
    path = files.dropped
    dropped = [record(Dropped, read_at(path, at), path) for at in place.dropped if path]
    return assemble(kept, dropped)


def _load_drop(files: RunFiles, offset: int, parent: int | None) -> DropExample:
    assert files.dropped is not None
    row = None
    if parent is not None and files.instructions is not None:
        row = record(Instruction, read_at(files.instructions, parent), files.instructions)
    return DropExample(record(Dropped, read_at(files.dropped, offset), files.dropped), row)


def _rejects(files: RunFiles) -> tuple[int, tuple[tuple[str, int, str, str], ...]]:
    """How many input rows were rejected, and the first of them: file, line, reason, beginning."""
    count = 0
    first: list[tuple[str, int, str, str]] = []
    for line in stream(files.rejected):
        count += 1
        if count <= REJECTS:
            row, number = line.row, line.row.get("line")
            place = number if isinstance(number, int) else 0
            first.append((_text(row.get("file")), place, _text(row.get("reason")), _text(row.get("text"))))
    return count, tuple(first)


def _spreads(counts: dict[int, Counter[int]]) -> dict[int, Spread]:
    return {number: Spread.of(counts[number]) for number in sorted(counts)}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
