"""analysis.json: what `evol analyse` found out about a data set, in the shape that its page reads.

Everything but `name` and `rows` may be left out; the page then leaves out what it would show. Counts and
aggregates only, besides at most `MOST_POINTS` points and a few texts, so that the file stays small whatever the
data set's size. Lists that say "by group" have one entry for each of `groups.names`, in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import orjson

from evollab.records import EvolError
from evollab.report.typed import read_typed

NAME = "analysis.json"
VERSION = 1
MOST_GROUPS = 8
MOST_POINTS = 4000
MOST_CLUSTERS = 40
MOST_BINS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What the rows are told apart by. by: "round" (ordered: the first is the seeds) or another field, such as
    "source" (in no order). names: what to call each, as "seeds", "round 1"; at most 8. rows: how many each has."""

    by: str
    names: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean of `n` values. low, high: its 95 % interval, where there is one."""

    n: int
    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Numbers of some rows. n: how many have one; missing: how many have none. p01 to p99: quantiles.
    counts: how many lie between each two of the `edges` (see Numeric); those beyond count at its ends.
    low, high: the 95 % interval of the mean; left out, the page takes 1.96 standard errors."""

    n: int
    missing: int = 0
    mean: float
    sd: float
    low: float | None = None
    high: float | None = None
    min: float
    p01: float
    p05: float
    p10: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float
    max: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """An attribute that is a number: characters, words, tokens, turns, response_words, repetition, difficulty, …

    edges: ends of the bins, ascending, one more than there are counts; the same for all groups. For whole
    numbers of few values (difficulty) they lie at 0.5, 1.5, …; for long tails (words, perplexity) they may grow
    by a constant factor: then scale is "log", all are above 0, and the axis is logarithmic. about: one sentence on
    what it is, in place of the page's own. by_group: empty where there are no groups, None for a group of which no
    row has one.
    """

    name: str
    about: str = ""
    scale: Literal["linear", "log"] = "linear"
    edges: tuple[float, ...]
    overall: Distribution
    by_group: tuple[Distribution | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a categorical attribute. n: rows that have it. difficulty: of those rows."""

    value: str
    n: int
    by_group: tuple[int, ...] = ()
    difficulty: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Categorical:
    """An attribute that is a word, a list of words (skills, tags) or true/false (has_code, refusal; as "true" and
    "false"). n: rows that have it, n_by_group the same by group; missing: rows that have none. distinct: different
    values there are; values: the most frequent, descending (all, or the first 40). At most 100."""

    name: str
    about: str = ""
    n: int
    missing: int = 0
    n_by_group: tuple[int, ...] = ()
    distinct: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """As `data.agreement.Agreement`: a judge asked twice about `rows` rows."""

    rows: int
    exact: float
    within_one: float | None = None
    overlap: float | None = None
    alpha: float | None = None
    measure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAttribute:
    """As `data.judge_report.AttributeReport`."""

    asked: int
    judged: int
    unparsed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict[str, int])
    values: Mapping[str, int] = field(default_factory=dict[str, int])
    distinct: int = 0
    mean: float | None = None
    deviation: float | None = None
    top_share: float | None = None
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCost:
    """calls and tokens that were paid for; usd: None where a price is unknown."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """As `data.judge_report.JudgeReport.to_json()`, whose other keys are passed over."""

    rows: int
    drawn: int
    twice: int = 0
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    attributes: Mapping[str, JudgedAttribute] = field(default_factory=dict[str, JudgedAttribute])
    cost: JudgeCost | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A row's text in a pair: its beginning (the page cuts at 1,200 characters). id, line: where it stands."""

    text: str
    id: str | None = None
    line: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rows that are alike. kind: one of the names in `Duplicates.kinds`. similarity: 0 to 1."""

    kind: str
    similarity: float | None = None
    stays: Text
    goes: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateKind:
    """exact, near or semantic. rows: those that repeat another row (one of each cluster is no repetition).
    threshold: the similarity from which on it counts."""

    name: str
    rows: int
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Rows that repeat others. rows: those compared. examples: some pairs, at most some 20."""

    rows: int
    kinds: tuple[DuplicateKind, ...]
    examples: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """A benchmark's items that any row holds, and those that any row holds that would stay."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A row and the item that it holds: why it would go, the share of the item's words or the similarity, texts."""

    reason: str
    row_text: str
    item_text: str
    line: int | None = None
    id: str | int | None = None
    item: str | int | None = None
    share: float | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """items: those in it, besides `unreadable`. hits: by the way that found them. items_found: those by which a row
    is convicted. rows_removed: these rows."""

    name: str
    items: int
    unreadable: int = 0
    hits: Mapping[str, Hits]
    items_found: int
    rows_removed: int
    examples: tuple[Leak, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotChecked:
    """A benchmark that was wanted and not to be had."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Benchmark items in the data, as `data.contamination` describes decontamination.json, whose other keys are passed
    over. rows: those compared; kept: those that hold none; removed: the others by reason."""

    rows: int
    kept: int
    removed: Mapping[str, int] = field(default_factory=dict[str, int])
    benchmarks: tuple[Benchmark, ...]
    not_checked: tuple[NotChecked, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways that items were looked for in, in their order."""
        return tuple(dict.fromkeys(way for one in self.benchmarks for way in one.hits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One of the k. size: of all embedded rows. texts: those nearest to its centre, nearest first (three or so).
    name: what it is about, where that is known."""

    size: int
    by_group: tuple[int, ...] = ()
    texts: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Rows on the map, one entry of each list a row, 4,000 at most. x, y: any unit, the same for both. cluster: its
    place in `clusters`; group: its place in `groups.names`, empty without groups. text: its beginning."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    cluster: tuple[int, ...]
    group: tuple[int, ...] = ()
    text: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number on how wide the data is. about: what it is, and which way is wider. by_group: None where unknown.
    (Groups of different size should be cut to one size first; say so in `about`.)"""

    name: str
    about: str = ""
    overall: Estimate | None = None
    by_group: tuple[Estimate | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """Where the texts lie in the space of an embedder. method: how they came on the map, as "t-SNE"; embedded: rows
    that were."""

    embedder: str
    method: str
    embedded: int
    clusters: tuple[Cluster, ...]
    points: Points
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisFacts:
    """All of it. tokens: of prompts and responses, as counted by `counter`. languages: rows by language (as the
    attribute has them). models: what they did ("judge", "embedder", "perplexity") to which it was. usd: what was
    paid, None where unknown. started: ISO 8601. notes: what to know before using the data."""

    version: int = VERSION
    name: str
    rows: int
    rejected: int = 0
    tokens: int | None = None
    counter: str = ""
    languages: Mapping[str, int] = field(default_factory=dict[str, int])
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    started: str = ""
    seconds: float | None = None
    calls: int = 0
    usd: float | None = None
    command: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    groups: Groups | None = None
    numeric: tuple[Numeric, ...] = ()
    categorical: tuple[Categorical, ...] = ()
    judge: Judge | None = None
    duplicates: Duplicates | None = None
    contamination: Contamination | None = None
    breadth: Breadth | None = None

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    def number(self, name: str) -> Numeric | None:
        """The numeric attribute of that name, None where there is none or no row has it."""
        return next((one for one in self.numeric if one.name == name and one.overall.n), None)

    def kind(self, name: str) -> Categorical | None:
        """The categorical attribute of that name, None where there is none or no row has it."""
        return next((one for one in self.categorical if one.name == name and one.n), None)


def read_facts(folder: Path) -> AnalysisFacts:
    """The facts in FOLDER/analysis.json. Raises EvolError where there is none, and for one that is not whole."""
    path = Path(folder) / NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise EvolError(f"{path} does not exist", "make it first: evol analyse DATA --out FOLDER") from None
    except OSError as error:
        raise EvolError(f"{path}: can't be read ({error.strerror})") from None
    return parse_facts(data, str(path))


def parse_facts(data: bytes, place: str) -> AnalysisFacts:
    """The facts in `data`; `place` names it in errors. Raises EvolError for what is no analysis."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{place}: not JSON ({error})", "make it anew: evol analyse DATA --out FOLDER") from None
    version = parsed.get("version", VERSION) if isinstance(parsed, dict) else VERSION
    if version != VERSION:
        raise EvolError(f"{place}: version {version!r:.20}; expected {VERSION}", "make it anew: evol analyse")
    facts = read_typed(AnalysisFacts, parsed, place)
    for problem in _problems(facts):
        raise EvolError(f"{place}: {problem}", "make it anew: evol analyse DATA --out FOLDER")
    return facts


def _problems(facts: AnalysisFacts) -> Iterator[str]:
    """What the types don't say."""
    groups = facts.groups
    size = len(groups.names) if groups else 0
    if groups and len(groups.rows) != size:
        yield f"groups.rows has {len(groups.rows)} entries; expected {size}"
    if size > MOST_GROUPS:
        yield f"{size} groups; expected {MOST_GROUPS} at most"
    for at, one in enumerate(facts.numeric):
        yield from _bad_numeric(one, f"numeric[{at}]", size)
    for at, kinds in enumerate(facts.categorical):
        place = f"categorical[{at}]"
        yield from _uneven(kinds.n_by_group, f"{place}.n_by_group", size)
        for number, value in enumerate(kinds.values):
            yield from _uneven(value.by_group, f"{place}.values[{number}].by_group", size)
    if facts.breadth:
        yield from _bad_breadth(facts.breadth, size)


def _uneven(values: Sequence[Any], place: str, size: int) -> Iterator[str]:
    if values and len(values) != size:
        yield f"{place} has {len(values)} entries; expected one for each of {size} groups"


def _bad_numeric(one: Numeric, place: str, size: int) -> Iterator[str]:
    if len(one.edges) < 2 or any(low >= high for low, high in pairwise(one.edges)):
        yield f"{place}.edges: expected two or more ascending numbers"
    elif one.scale == "log" and one.edges[0] <= 0:
        yield f"{place}.edges: a logarithmic axis begins above 0"
    if len(one.edges) > MOST_BINS + 1:
        yield f"{place}.edges: expected {MOST_BINS} bins at most"
    for told in (one.overall, *one.by_group):
        if told is not None and len(told.counts) != len(one.edges) - 1:
            yield f"{place} has {len(told.counts)} counts for {len(one.edges)} edges; expected one fewer"
    yield from _uneven(one.by_group, f"{place}.by_group", size)


def _bad_breadth(breadth: Breadth, size: int) -> Iterator[str]:
    points = breadth.points
    count = len(points.x)
    for name in ("y", "cluster", "text", "group"):
        held = len(getattr(points, name))
        if held != count and (held or name != "group"):
            yield f"breadth.points.{name} has {held} entries; expected {count}, as x has"
    if count > MOST_POINTS:
        yield f"breadth.points: {count} points; expected {MOST_POINTS} at most"
    if len(breadth.clusters) > MOST_CLUSTERS:
        yield f"breadth.clusters: {len(breadth.clusters)}; expected {MOST_CLUSTERS} at most"
    if any(not 0 <= one < len(breadth.clusters) for one in points.cluster):
        yield "breadth.points.cluster names a cluster that is not there"
    if any(not 0 <= one < size for one in points.group):
        yield "breadth.points.group names a group that is not there"
    for at, cluster in enumerate(breadth.clusters):
        yield from _uneven(cluster.by_group, f"breadth.clusters[{at}].by_group", size)
    for at, measure in enumerate(breadth.measures):
        yield from _uneven(measure.by_group, f"breadth.measures[{at}].by_group", size)
