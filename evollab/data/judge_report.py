"""What a judge did, in numbers: what it gave, how far its marks tell rows apart, how far it agrees with itself, what
it could not do, what it cost."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evollab.data.agreement import Agreement, Scale, agreement
from evollab.data.judge_options import JudgeOptions
from evollab.data.opinions import LASTING, Opinions, Passed
from evollab.data.skills import LEVELS, level
from evollab.llm.session import Opened, Session

SCALES: Mapping[str, Scale] = {
    "category": "nominal", "skills": "sets", "difficulty": "interval", "quality": "interval", "safety": "nominal",
    "tags": "sets",
}  # fmt: skip
LEAST_ALPHA = 0.667
"""Below this no conclusion should be drawn, not even a tentative one (Krippendorff, Content Analysis, 2004)."""
MOST_TOP_SHARE = 0.7
LEAST_DEVIATION = 0.7
MOST_UNPARSED = 0.05
_FEW_ROWS = 10
_FEW_PAIRS = 8
_LISTED = 200
"""Values of an attribute that the report lists; all are counted."""


@dataclass(slots=True)
class Counts:
    """Kept while the work goes on. rows: of the data; drawn: to be asked about; together: rows whose difficulty is
    marked with their lineage's; twice: rows judged a second time; cut: replies that ended at their limit."""

    rows: int = 0
    drawn: int = 0
    together: int = 0
    twice: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class AttributeReport:
    """One attribute over all rows it was asked for: asked = judged + unparsed + failed.

    unparsed: whole replies without a verdict on it. failed: rows without one because the call failed, by class.
    values: how many rows have each, most frequent first, 200 at most of `distinct`. mean, deviation (standard, of the
    rows there are): of marks. entropy: of the values, in bits. top_share: share of the rows with the most frequent.
    """

    asked: int
    judged: int
    unparsed: int
    failed: Mapping[str, int]
    values: Mapping[str, int]
    distinct: int
    mean: float | None
    deviation: float | None
    entropy: float | None
    top_share: float | None
    agreement: Agreement | None


@dataclass(frozen=True, slots=True)
class PassReport:
    """The pass rate over all rows. rows: with a rate; ungraded: drawn rows without a response that answers could be
    compared with; solved and unsolved: rows with all or no answers right; answers: right, wrong, none (of the wrong,
    those that come to no final answer), unparsed (verdicts), judged (compared by the judge). rates: rows by rate."""

    rows: int
    ungraded: int
    mean: float | None
    solved: int
    unsolved: int
    answers: Mapping[str, int]
    failed: Mapping[str, int]
    rates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """Everything that is known about the judging; `to_json` for files. unfinished: rows that wait for calls which
    failed and may succeed another time. cut: replies that ended at --reply-tokens. strays: labels on no list."""

    rows: int
    drawn: int
    together: int
    twice: int
    cut: int
    strays: int
    unfinished: int
    models: Mapping[str, str]
    attributes: Mapping[str, AttributeReport]
    levels: Mapping[str, int]
    pass_rate: PassReport | None
    cost: Mapping[str, Any]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        told = [f"judged {self.drawn:,} of {self.rows:,} rows ({', '.join(self.models.values()) or 'no model'})"]
        told += [f"  {name:<10} {_line(one)}" for name, one in self.attributes.items()]
        if self.pass_rate is not None:
            one = self.pass_rate
            rate = "none" if one.mean is None else f"{one.mean:.0%} on average"
            told.append(
                f"  pass rate  {rate} over {one.rows:,} rows; all right in {one.solved:,}, none in {one.unsolved:,}; "
                f"{one.ungraded:,} rows have nothing to compare with"
            )
        told += [f"note: {warning}" for warning in self.warnings]
        return "\n".join(told)


@dataclass(slots=True)
class _Tally:
    """One attribute while rows are counted."""

    scale: Scale
    asked: int = 0
    judged: int = 0
    unparsed: int = 0
    failed: Counter[str] = field(default_factory=Counter[str])
    values: Counter[Any] = field(default_factory=Counter[Any])
    pairs: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]])

    def add(self, value: Any, failed: str) -> None:
        self.asked += 1
        if value is None:
            if failed:
                self.failed[failed] += 1
            else:
                self.unparsed += 1
            return
        self.judged += 1
        self.values.update(value if self.scale == "sets" else [value])

    def report(self) -> AttributeReport:
        ordered = sorted(self.values.items(), key=lambda one: (-one[1], str(one[0])))
        mean = deviation = entropy = None
        if self.judged:
            total = self.values.total()
            entropy = round(sum(n / total * math.log2(total / n) for n in self.values.values()), 4)
            if self.scale == "interval":
                mean = sum(value * n for value, n in ordered) / total
                deviation = round(math.sqrt(sum((value - mean) ** 2 * n for value, n in ordered) / total), 4)
                mean = round(mean, 4)
        return AttributeReport(
            self.asked, self.judged, self.unparsed, dict(sorted(self.failed.items())),
            {str(value): n for value, n in ordered[:_LISTED]}, len(ordered), mean, deviation, entropy,
            round(ordered[0][1] / self.judged, 4) if ordered else None, agreement(self.pairs, self.scale),
        )  # fmt: skip


def make_report(
    opinions: Opinions, counts: Counts, options: JudgeOptions, opened: Session, judge: Opened | None,
    answering: Opened | None,
) -> JudgeReport:  # fmt: skip
    """Count everything, in the order of the rows."""
    tallies = {name: _Tally(SCALES[name]) for name in options.what} if judge else {}
    passes = _Passes()
    levels, strays, unfinished = Counter[str](), 0, 0
    for row in range(len(opinions)):
        first, waits = dict[str, Any](), False
        for opinion in opinions.of(row):
            for name in opinion.asked:
                tallies[name].add(opinion.found.get(name), opinion.failed)
            first |= opinion.found
            strays += opinion.strays
            waits |= opinion.unfinished
        for opinion in opinions.of(row, 1):
            for name in opinion.asked:
                if name in first and name in opinion.found:
                    tallies[name].pairs.append((first[name], opinion.found[name]))
            waits |= opinion.unfinished
        if "difficulty" in first:
            levels[level(first["difficulty"])] += 1
        passed = opinions.passed(row)
        if passed is not None:
            passes.add(passed)
            waits |= passed.unfinished
        unfinished += waits
    attributes = {name: tally.report() for name, tally in tallies.items()}
    found = passes.report(counts.drawn) if answering else None
    return JudgeReport(
        rows=counts.rows, drawn=counts.drawn, together=counts.together, twice=counts.twice, cut=counts.cut,
        strays=strays, unfinished=unfinished,
        models={role: one.ask.identity for role, one in (("judge", judge), ("target", answering)) if one},
        attributes=attributes, levels={name: levels[name] for name in LEVELS if levels[name]}, pass_rate=found,
        cost=_cost(opened), warnings=tuple(_warnings(attributes, found, counts, options, judge)),
    )  # fmt: skip


@dataclass(slots=True)
class _Passes:
    """The pass rates while rows are counted."""

    rows: int = 0
    seen: int = 0
    answers: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    failed: Counter[str] = field(default_factory=Counter[str])
    rates: Counter[float] = field(default_factory=Counter[float])

    def add(self, passed: Passed) -> None:
        self.seen += 1
        for name in ("right", "wrong", "none", "unparsed", "judged"):
            self.answers[name] += getattr(passed, name)
        self.failed.update(passed.failed or {})
        if passed.rate is not None:
            self.rows += 1
            self.rates[passed.rate] += 1

    def report(self, drawn: int) -> PassReport:
        total = sum(rate * n for rate, n in sorted(self.rates.items()))
        return PassReport(
            self.rows, drawn - self.seen, round(total / self.rows, 4) if self.rows else None, self.rates[1.0],
            self.rates[0.0], dict(self.answers), dict(sorted(self.failed.items())),
            {f"{rate:g}": n for rate, n in sorted(self.rates.items())},
        )  # fmt: skip


def _cost(opened: Session) -> dict[str, Any]:
    """What the store of the run has paid in all its starts, and what this start asked."""
    paid, tally = opened.store.totals, opened.tally
    return {
        "calls": paid.calls, "tokens_in": paid.tokens_in, "tokens_out": paid.tokens_out,
        "usd": None if opened.unpriced else round(paid.usd, 6), "unpriced": opened.unpriced,
        "retries": tally.retries, "asked_now": tally.asked, "found_in_store": tally.found,
    }  # fmt: skip


def _warnings(
    attributes: Mapping[str, AttributeReport], passed: PassReport | None, counts: Counts, options: JudgeOptions,
    judge: Opened | None,
) -> list[str]:  # fmt: skip
    told = []
    if judge is not None and judge.connection.small:
        told.append(f"{judge.name} is a small model: what it says tries the work out; it doesn't describe the data")
    for name, one in attributes.items():
        told += _doubts(name, one)
    if counts.cut:
        told.append(f"{counts.cut:,} replies of the judge ended at --reply-tokens {options.reply_tokens:,}")
    judged = any(one.judged for one in attributes.values())
    if judged and not any(one.agreement for one in attributes.values()):
        told.append("no row was judged twice, so nothing is known of the judge's agreement with itself")
    if passed is not None and not passed.rows:
        told.append("no row got a pass rate: responses to compare with are missing, or no judge is there to compare")
    return told


def _doubts(name: str, one: AttributeReport) -> list[str]:
    told = []
    if one.asked and one.unparsed / one.asked > MOST_UNPARSED:
        told.append(f"{name}: {one.unparsed:,} of {one.asked:,} replies hold no verdict that can be read")
    if one.failed:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in one.failed.items())
        lasting = "" if set(one.failed) <= set(LASTING) else "; the same command asks for what may still come"
        told.append(f"{name}: missing after calls that failed ({kinds}){lasting}")
    if one.judged >= _FEW_ROWS and one.mean is not None and one.top_share is not None and one.deviation is not None:
        top = next(iter(one.values))
        if one.top_share >= MOST_TOP_SHARE or one.deviation < LEAST_DEVIATION:
            told.append(
                f"{name}: the judge gives {top} to {one.top_share:.0%} of the rows (standard deviation "
                f"{one.deviation:.2f}); such marks hardly tell rows apart"
            )
    both = one.agreement
    if both is not None and both.rows >= _FEW_PAIRS and both.alpha is not None and both.alpha < LEAST_ALPHA:
        told.append(
            f"{name}: the judge hardly agrees with itself ({both.measure} {both.alpha:.2f} over {both.rows:,} rows; "
            f"conclusions need {LEAST_ALPHA:g})"
        )
    return told


def _line(one: AttributeReport) -> str:
    """An attribute in one line: what it holds, what is missing, how far the judge agrees with itself."""
    top = ", ".join(f"{value} {n:,}" for value, n in list(one.values.items())[:5])
    marks = "" if one.mean is None else f"mean {one.mean:.1f}, sd {one.deviation:.1f}; "
    missing = one.asked - one.judged
    both = one.agreement
    agreed = ""
    if both is not None:
        share = both.exact if both.overlap is None else both.overlap
        known = "not defined" if both.alpha is None else f"{both.alpha:.2f}"
        agreed = f"; judged twice: {share:.0%} the same, alpha {known} ({both.rows:,} rows)"
    return f"{one.judged:,} rows; {marks}{top}{f'; {missing:,} missing' if missing else ''}{agreed}"
