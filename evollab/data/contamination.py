"""What decontamination found, weighed and told: which rows are convicted of what, and the account.

decontamination.json:

    rows, kept, rejected      of the data
    removed                   {reason: rows}, see REASONS; a row counts once, by its strongest evidence
    rules                     share, text, embed, similar, verdict: what convicted
    benchmarks                one object for each that was checked:
        name, from, items, unreadable
        hits                  {"8-gram": {"before", "after"}, "13-gram": ..., "similar": ...}: items with a hit in
                              any row, in any row that stays; "similar" where embeddings were made
        items_found           items that convict a row
        rows_removed          rows that go for this benchmark; one may go for several
        reasons               {reason: rows} of these
        examples              at most EXAMPLES, of each reason the strongest: reason, line, id, item, part, and
                              share, longest (words), stretch, or similarity; row_text, item_text
    not_checked               [{"name", "why"}]: wanted, and not to be had
    verdict                   pairs asked, confirmed, split (the two orders differ), passed_over; unparsed replies;
                              failed {class: calls}; null without a model
    notes                     what a person should know
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evollab.data.benchmark import Benchmark, BenchmarkItem
from evollab.data.overlap import GRAM, LONG, Flags, Hits, Index, Numbers
from evollab.data.resemblance import Pair
from evollab.data.rows import excerpt

if TYPE_CHECKING:
    from evollab.data.leak_verdict import Verdicts

REASONS = {
    "covered": "as much of an item's question stands in the row, in 8-grams, as --share asks; all of a short one",
    "13-gram": "13 words or more of an item's question stand in the row in one piece",
    "solution": "as much of an item's solution stands in the row as --share asks, and at least 40 words",
    "same task": "the model of --verdict calls row and item the same task, in both orders",
    "similar": "row and item are as near, by embedding, as --similar asks",
}
"""Why a row goes, the strongest evidence first."""
EXAMPLES = 6
_EXCERPT = 300
_STRETCH = 60
"""Words of a common stretch that are shown, at most."""
_RANK = {reason: rank for rank, reason in enumerate(REASONS)}


@dataclass(slots=True)
class Evidence:
    """What was found before it is weighed. pairs: None where no embeddings were made; verdicts: None where
    no model was asked."""

    hits: Hits
    pairs: Sequence[Pair] | None = None
    verdicts: Verdicts | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The benchmarks as they were searched: by name; all items in a row, with their benchmarks' names."""

    benchmarks: Mapping[str, Benchmark]
    items: Sequence[BenchmarkItem]
    names: Sequence[str]

    @classmethod
    def of(cls, benchmarks: Mapping[str, Benchmark]) -> Checked:
        items = [item for benchmark in benchmarks.values() for item in benchmark.items]
        return cls(benchmarks, items, [name for name, one in benchmarks.items() for _ in one.items])


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a row (0-based) is convicted of holding an item. strength: the share of the item's words, or the
    similarity. facts: the evidence as it is told."""

    row: int
    item: int
    reason: str
    strength: float
    facts: Mapping[str, Any]

    @property
    def order(self) -> tuple[int, float, int, int]:
        return _RANK[self.reason], -self.strength, self.row, self.item

    def told(self, checked: Checked) -> dict[str, Any]:
        """The finding for removed.jsonl."""
        return {"benchmark": checked.names[self.item], "item": checked.items[self.item].id, **self.facts}


def weigh(evidence: Evidence, index: Index) -> dict[int, list[Finding]]:
    """The rows that are convicted, in order, each with its findings, the strongest first."""
    found: dict[int, list[Finding]] = {}
    hits = evidence.hits
    columns = (hits.row, hits.text, hits.covered, hits.run, hits.at)
    for row, text, covered, run, at in zip(*(column[hits.guilty].tolist() for column in columns), strict=True):
        share = round(covered / int(index.own[text]), 4)
        reason = "solution" if text % 2 else "covered" if covered >= index.needed[text] else "13-gram"
        facts = {
            "part": "answer" if text % 2 else "question", "share": share, "longest": run,
            "stretch": index.stretch(text, at, min(run, _STRETCH)),
        }  # fmt: skip
        found.setdefault(row, []).append(Finding(row, text // 2, reason, share, facts))
    near, reason = evidence.pairs or (), "similar"
    if evidence.verdicts is not None:
        near, reason = evidence.verdicts.confirmed, "same task"
    for pair in near:
        facts = {"part": "question", "similarity": pair.similarity}
        found.setdefault(pair.row, []).append(Finding(pair.row, pair.item, reason, pair.similarity, facts))
    return {row: sorted(findings, key=lambda one: one.order) for row, findings in sorted(found.items())}


def benchmark_accounts(
    evidence: Evidence, convicted: Mapping[int, Sequence[Finding]], index: Index, checked: Checked,
    row_facts: Callable[[int], Mapping[str, Any]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The account's part on each benchmark. `row_facts`: line, id and row_text of a row."""
    hits = _items_hit(evidence, index, list(convicted))
    findings: dict[str, list[Finding]] = {name: [] for name in checked.benchmarks}
    for of_row in convicted.values():
        for name in dict.fromkeys(checked.names[one.item] for one in of_row):
            # Of each row the strongest against this benchmark, first.
            findings[name] += [one for one in of_row if checked.names[one.item] == name]
    names = np.array(checked.names)
    return [
        {
            "name": name,
            "from": benchmark.source,
            "items": len(benchmark.items),
            "unreadable": benchmark.unreadable,
            "hits": {
                kind: {"before": int(before[names == name].sum()), "after": int(after[names == name].sum())}
                for kind, (before, after) in hits.items()
            },
            "items_found": len({one.item for one in findings[name]}),
            "rows_removed": len({one.row for one in findings[name]}),
            "reasons": by_reason(_strongest(findings[name])),
            "examples": [
                {"reason": one.reason, **row_facts(one.row), **one.told(checked),
                 "item_text": excerpt(checked.items[one.item].whole, _EXCERPT)}
                for one in _examples(_strongest(findings[name]))
            ],
        }
        for name, benchmark in checked.benchmarks.items()
    ]  # fmt: skip


def by_reason(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each reason, in the order of REASONS."""
    counts = Counter(one.reason for one in findings)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def _strongest(findings: Iterable[Finding]) -> list[Finding]:
    """Of each row the finding that comes first."""
    first: dict[int, Finding] = {}
    for one in findings:
        first.setdefault(one.row, one)
    return list(first.values())


def _examples(findings: Iterable[Finding]) -> list[Finding]:
    """A few findings, of each reason in turn the strongest that is left."""
    turn: Counter[str] = Counter()
    ranked: list[tuple[int, tuple[int, float, int, int], Finding]] = []
    for one in sorted(findings, key=lambda one: one.order):
        ranked.append((turn[one.reason], one.order, one))
        turn[one.reason] += 1
    return [one for *_, one in sorted(ranked, key=lambda part: part[:2])[:EXAMPLES]]


def _items_hit(evidence: Evidence, index: Index, gone: Sequence[int]) -> dict[str, tuple[Flags, Flags]]:
    """For each kind of hit the items that any row has, and any row that stays."""
    count = len(index.lengths) // 2
    hits = evidence.hits
    item = hits.text // 2
    # An item that has to be there as a whole is hit when it is.
    counts = (hits.text % 2 == 0) & (hits.guilty | ~index.whole[hits.text])
    kinds: dict[str, tuple[Numbers, Numbers]] = {}
    for name, length in ((f"{GRAM}-gram", GRAM), (f"{LONG}-gram", LONG)):
        hit = counts & (hits.run >= length)
        kinds[name] = hits.row[hit], item[hit]
    if evidence.pairs is not None:
        near = np.array([(one.row, one.item) for one in evidence.pairs], np.int64).reshape(-1, 2)
        kinds["similar"] = near[:, 0], near[:, 1]
    made: dict[str, tuple[Flags, Flags]] = {}
    for name, (row, item) in kinds.items():
        before, after = np.zeros(count, bool), np.zeros(count, bool)
        before[item] = True
        after[item[~np.isin(row, np.array(gone, np.int64))]] = True
        made[name] = before, after
    return made
