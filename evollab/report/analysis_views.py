"""What the analysis page says about the facts: sentences, tables, pairs. Numbers are worked out here, not in the
template."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evollab.data.skills import LEVELS, SAFETY
from evollab.inert import one_line
from evollab.report.analysis_cells import column
from evollab.report.analysis_charts import between, interval, neat
from evollab.report.analysis_facts import AnalysisFacts, Categorical, Contamination, Estimate, Pair, Text, Value
from evollab.report.attributes import FLAGS, KINDS, UNSHOWN, flag_title, rank
from evollab.report.echoes import echoes
from evollab.report.figures import big, percent, usd
from evollab.report.marked import side_by_side

_PAIR = 1200
_EXAMPLES = 24
_ORDERS = {"level": tuple(LEVELS), "safety": SAFETY}
_TRUE_FALSE = {"true", "false"}
_GRAM, _LOOSE = 8, 4
"""Words of a run that is marked between a row and a benchmark's item: as n-gram matching counts, and fewer
where another way found the pair."""


def shares(n: int, of: int) -> tuple[float, float, float]:
    """A share with its 95 % interval (Wilson's); (0, 0, 1) of nothing."""
    if of <= 0:
        return 0.0, 0.0, 1.0
    share, z = min(max(n / of, 0.0), 1.0), 1.96
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def narrow(share: float) -> str:
    """Per cents, with a digit behind the point where they are few."""
    return f"{share * 100:.1f}%" if 0.0005 <= share < 0.0995 else percent(share)


@dataclass(frozen=True, slots=True)
class Share:
    """A line of a table of shares. length: of its bar. ends: its interval. cells: share and bar of each group."""

    name: str
    n: int
    share: float
    ends: str
    length: float
    cells: tuple[tuple[str, Markup], ...]
    difficulty: Estimate | None = None


def share_rows(one: Categorical, most: int = 40) -> list[Share]:
    """The values of an attribute, most frequent first (levels in their order); bars on one scale from zero."""
    order = _ORDERS.get(one.name)
    values = (
        sorted(one.values, key=lambda value: order.index(value.value)) if order and _within(one, order) else one.values
    )
    return _table([(value.value, value, one) for value in values[:most]])


def _within(one: Categorical, order: Sequence[str]) -> bool:
    return all(value.value in order for value in one.values)


def flag_rows(facts: AnalysisFacts) -> list[Share]:
    """The attributes that are true or false, as the share of rows in which they are true."""
    held = [one for one in facts.categorical if is_flag(one)]
    held.sort(key=lambda one: rank(one.name, FLAGS))
    nothing = Value(value="true", n=0)
    return _table(
        [
            (flag_title(one.name), next((value for value in one.values if value.value == "true"), nothing), one)
            for one in held
        ]
    )


def is_flag(one: Categorical) -> bool:
    return bool(one.values) and {value.value for value in one.values} <= _TRUE_FALSE


def _table(lines: Sequence[tuple[str, Value, Categorical]]) -> list[Share]:
    found = [
        (name, value, shares(value.n, one.n), [shares(n, of)[0] for n, of in _cells(value, one)])
        for name, value, one in lines
    ]
    longest = max([0.0, *(share for _, _, overall, cells in found for share in (overall[0], *cells))]) or 1.0
    return [
        Share(
            name,
            value.n,
            share,
            f"{low * 100:.1f}\u2013{high * 100:.1f}",
            share / longest,
            tuple((narrow(cell), column(cell / longest, at)) for at, cell in enumerate(cells)),
            value.difficulty,
        )
        for name, value, (share, low, high), cells in found
    ]


def _cells(value: Value, one: Categorical) -> Iterator[tuple[int, int]]:
    held = value.by_group or (0,) * len(one.n_by_group)
    return zip(held, one.n_by_group, strict=True)


def kinds(facts: AnalysisFacts) -> list[Categorical]:
    """The categorical attributes that have a table of their own, in the order of the page."""
    held = [
        one for one in facts.categorical if one.n and not is_flag(one) and one.name not in ("tags", "skills", *UNSHOWN)
    ]
    return sorted(held, key=lambda one: rank(one.name, KINDS))


def lead(facts: AnalysisFacts) -> str:
    """The data set in a sentence or two."""
    told = f"{facts.rows:,} rows"
    names = _names(facts)
    if len(names) > 1:
        rounds = f"{len(names) - 1} round{'' if len(names) == 2 else 's'} of evolution"
        evolved = facts.groups is not None and facts.groups.by == "round" and names[0] == "seeds"
        told += f": seeds and {rounds}" if evolved else f" in {len(names)} groups"
    if facts.languages:
        total = sum(facts.languages.values()) or 1
        some = [f"{one_line(name, 24)} {percent(n / total)}" for name, n in list(facts.languages.items())[:3]]
        more = len(facts.languages) - len(some)
        told += f". Languages: {', '.join(some)}" + (f" and {more} more" if more else "")
    told += "."
    if facts.rejected:
        told += f" {facts.rejected:,} more could not be read."
    return told


def risen(facts: AnalysisFacts) -> str:
    """How far mean difficulty moved from the first group to the last, with its interval."""
    one = facts.number("difficulty")
    spreads = (
        [(name, spread) for name, spread in zip(_names(facts), one.by_group, strict=False) if spread] if one else []
    )
    if len(spreads) < 2:
        return ""
    (first, start), (last, end) = spreads[0], spreads[-1]
    step = end.mean - start.mean
    told = f"From {one_line(first, 20)} to {one_line(last, 20)}: " + f"{step:+.2f}".replace("-", "\u2212")
    ends = interval(start), interval(end)
    if ends[0] and ends[1]:
        half = math.hypot(ends[0][1] - ends[0][0], ends[1][1] - ends[1][0]) / 2
        told += f" (95 % interval {neat(round(step - half, 2))} to {neat(round(step + half, 2))})"
    return told


def _names(facts: AnalysisFacts) -> tuple[str, ...]:
    return facts.groups.names if facts.groups else ()


@dataclass(frozen=True, slots=True)
class Card:
    title: str
    value: str
    more: str


def cards(facts: AnalysisFacts) -> list[Card]:
    """The six figures that matter most, of those there are."""
    found: list[Card | None] = [
        Card(
            "Rows", big(facts.rows), f"{facts.rejected:,} could not be read" if facts.rejected else "all could be read"
        )
    ]
    if facts.tokens is not None:
        each = f"{facts.tokens / facts.rows:,.0f} a row" if facts.rows else ""
        found.append(
            Card("Tokens", big(facts.tokens), f"{each}, by {one_line(facts.counter, 40)}" if facts.counter else each)
        )
    found += [_mean(facts, "difficulty", "Difficulty")]
    if facts.duplicates and facts.duplicates.rows:
        again = sum(one.rows for one in facts.duplicates.kinds)
        each = ", ".join(f"{one.rows:,} {one_line(one.name, 20)}" for one in facts.duplicates.kinds)
        found.append(Card("Repeats", narrow(again / facts.duplicates.rows), each))
    if facts.contamination:
        hit = sum(one.items_found for one in facts.contamination.benchmarks)
        items = sum(one.items for one in facts.contamination.benchmarks)
        told = f"of {items:,} benchmark items, in {facts.contamination.rows - facts.contamination.kept:,} rows"
        found.append(Card("Test items found", big(hit), told))
    found += [_mean(facts, "quality", "Quality"), _mean(facts, "response_words", "Words of a response")]
    if facts.calls:
        found.append(Card("Cost", usd(facts.usd), f"{facts.calls:,} calls"))
    found += [_mean(facts, "words", "Words of a row")]
    return [one for one in found if one is not None][:6]


def _mean(facts: AnalysisFacts, name: str, title: str) -> Card | None:
    one = facts.number(name)
    if one is None:
        return None
    value = f"{one.overall.mean:.2f}" if one.overall.mean <= 10 else f"{one.overall.mean:,.1f}"
    return Card(title, value, f"mean; 95 % interval {between(one.overall)}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair side by side: what it is (kind), how alike, and for each side what it is and its text."""

    kind: str
    score: str
    left: tuple[str, Markup]
    right: tuple[str, Markup]


def pairs(examples: Sequence[Pair], names: Sequence[str]) -> list[Shown]:
    """Rows that repeat others, what differs marked."""
    found: list[Shown] = []
    for one in _mixed(examples):
        left, right = side_by_side(one.stays.text, one.goes.text, _PAIR)
        found.append(
            Shown(
                one.kind,
                "" if one.similarity is None else f"{one.similarity:.3f}".rstrip("0").rstrip("."),
                (_where(one.stays, names), left),
                (_where(one.goes, names), right),
            )
        )
    return found


def _mixed(examples: Sequence[Pair]) -> list[Pair]:
    """One of each kind in turn, so that the first few show all kinds."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int, Pair]] = []
    for at, one in enumerate(examples):
        turns.append((seen[one.kind], at, one))
        seen[one.kind] += 1
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])][:_EXAMPLES]


def leaks(found: Contamination) -> list[Shown]:
    """Benchmark items and the rows that hold them, of each benchmark in turn, what both say marked."""
    turns = [
        (turn, at, benchmark.name, one)
        for at, benchmark in enumerate(found.benchmarks)
        for turn, one in enumerate(benchmark.examples)
    ]
    shown: list[Shown] = []
    for _, _, name, one in sorted(turns, key=lambda turn: turn[:2])[:_EXAMPLES]:
        score = "" if one.share is None else f"{percent(one.share)} of its words"
        if one.similarity is not None:
            score = f"similarity {one.similarity:.2f}"
        left, right = echoes(one.item_text, one.row_text, _LOOSE if one.share is None else _GRAM, _PAIR)
        told = [one_line(name, 40), *([one_line(str(one.item), 40)] if one.item is not None else [])]
        row = Text(text="", id=None if one.id is None else str(one.id), line=one.line)
        shown.append(Shown(one.reason, score, (" \u00b7 ".join(told), left), (_where(row, ()), right)))
    return shown


def _where(one: Text, names: Sequence[str]) -> str:
    """Which row it is."""
    told = [one_line(names[one.group], 20)] if one.group is not None and 0 <= one.group < len(names) else []
    told += [f"line {one.line:,}"] if one.line is not None else []
    told += [one_line(one.id, 40)] if one.id else []
    return " \u00b7 ".join(told)
