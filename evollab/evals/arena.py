"""`evol arena RUNS`: ratings of models from their battles.

OUT/ratings.json   ratings, intervals, who beat whom, rows that were no battles
OUT/ratings.md     the tables, for papers
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.data.files import read_rows
from evollab.data.rows import excerpt
from evollab.evals import arena_table
from evollab.evals.battles import CONFLICTS, Battles, read_battles, settled
from evollab.evals.rating import BOOTSTRAPS, Battle, Rating, RatingAgreement, Ratings, agreement_of_ratings, rate
from evollab.llm.option import option
from evollab.records import EvolError, Rejected
from evollab.runs import whole_file, write_json

_TOLD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaOptions:
    """What `evol arena` is told."""

    anchor: str = option("a model whose rating is fixed; default: the mean of all is 1000", "", metavar="NAME=RATING")
    bootstraps: int = option("draws over the questions that the intervals are made of", BOOTSTRAPS, metavar="N")
    conflict: str = option(
        "two games of one question with the places swapped: one battle, a tie where they disagree; or both count",
        "tie", choices=CONFLICTS,
    )  # fmt: skip
    against: str | None = option(
        "ratings of the same models to compare with: a ratings.json, or rows with model and rating", None,
        metavar="FILE",
    )  # fmt: skip
    strict: bool = option("stop at the first row that is no battle", False)
    seed: int = option("number that draws depend on", 0, metavar="N")
    json: bool = option("print the ratings as JSON instead of tables", False)

    def __post_init__(self) -> None:
        if self.bootstraps < 1:
            raise EvolError(f"--bootstraps {self.bootstraps}: expected 1 or more")
        if self.conflict not in CONFLICTS:
            raise EvolError(f"--conflict {excerpt(self.conflict, 40)}: expected {' or '.join(CONFLICTS)}")
        self.fixed()

    def fixed(self) -> dict[str, float]:
        """The anchor. Raises EvolError where it is no NAME=RATING."""
        if not self.anchor:
            return {}
        name, _, value = self.anchor.rpartition("=")
        try:
            rating = float(value)
        except ValueError:
            rating = float("inf")
        if not name or not abs(rating) < 1e9:
            raise EvolError(f"--anchor {excerpt(self.anchor, 60)}: expected NAME=RATING", "--anchor vicuna-13b=1000")
        return {name: rating}


@dataclass(frozen=True, slots=True)
class Against:
    """Two models: a's wins, ties and losses against b, and the share of the win that a got, in percent."""

    a: str
    b: str
    wins: int
    ties: int
    losses: int
    share: float


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """What came of it. games: verdicts read; undecided: games without one. agreement: with `--against`."""

    files: Sequence[str]
    games: int
    undecided: int
    rejected: Sequence[Rejected]
    ratings: Ratings
    pairs: Sequence[Against]
    conflict: str
    anchor: str
    against: str | None = None
    agreement: RatingAgreement | None = None

    def told(self) -> dict[str, Any]:
        """For JSON; of the rejected rows the first 200."""
        found = dataclasses.asdict(dataclasses.replace(self, rejected=list(self.rejected)[:_TOLD]))
        return found | {"rejected_rows": len(self.rejected)}

    def __str__(self) -> str:
        return arena_table.text(self)


def arena(runs: Sequence[str], options: ArenaOptions, out: Path | None = None) -> ArenaResult:
    """Rate the models in the battles of `runs`, files or folders (see `battles`); write ratings.json and ratings.md
    into `out`, where one is given. Raises EvolError where there are no battles, for an anchor that fought none, and
    for a file to compare with that shares fewer than two models."""
    read = read_battles(runs, strict=options.strict)
    if not read.games:
        raise EvolError(f"none of {read.undecided:,} games has a verdict", "was the judge's reply readable?")
    battles = settled(read.games, options.conflict)
    ratings = rate(battles, anchor=options.fixed(), bootstraps=options.bootstraps, seed=options.seed)
    found = _result(read, battles, ratings, options)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "ratings.json", found.told())
        with whole_file(out / "ratings.md") as file:
            file.write(arena_table.markdown(found).encode())
    return found


def _result(read: Battles, battles: Sequence[Battle], ratings: Ratings, options: ArenaOptions) -> ArenaResult:
    agreement = None
    if options.against is not None:
        agreement = agreement_of_ratings(ratings.ratings, read_ratings(options.against))
        if agreement is None:
            raise EvolError(
                f"--against {options.against}: fewer than two of its models are rated here",
                f"rated here: {', '.join(excerpt(one.model, 40) for one in ratings.ratings[:20])}",
            )
    return ArenaResult(
        read.files, len(read.games), read.undecided, read.rejected, ratings, pairs_of(battles, ratings),
        options.conflict, options.anchor, options.against, agreement,
    )  # fmt: skip


def pairs_of(battles: Sequence[Battle], ratings: Ratings) -> list[Against]:
    """Who beat whom how often, the better model of each pair first."""
    rank = {one.model: at for at, one in enumerate(ratings.ratings)}
    scores: dict[tuple[str, str], list[float]] = {}
    for one in battles:
        forward = rank[one.a] < rank[one.b]
        pair = (one.a, one.b) if forward else (one.b, one.a)
        scores.setdefault(pair, []).append(one.score if forward else 1 - one.score)
    return [
        Against(
            a, b, sum(score > 0.5 for score in some), sum(score == 0.5 for score in some),
            sum(score < 0.5 for score in some), 100 * sum(some) / len(some),
        )
        for (a, b), some in sorted(scores.items(), key=lambda one: (rank[one[0][0]], rank[one[0][1]]))
    ]  # fmt: skip


def read_ratings(file: str) -> list[Rating]:
    """Ratings out of a ratings.json of ours, or of rows with model (or name), rating, and perhaps low and high. Raises
    EvolError for what is neither."""
    rows: list[Mapping[str, Any]] = []
    try:
        whole = orjson.loads(Path(file).read_bytes()) if file.endswith(".json") else None
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvolError(f"--against {file}: {excerpt(str(error), 120)}") from None
    inner = whole.get("ratings") if isinstance(whole, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("ratings"), list):
        rows = [row for row in inner["ratings"] if isinstance(row, dict)]
    else:
        rows = [row.fields for row in read_rows(file, strict=True, reject=lambda _: None)]
    return [_rating(row, file) for row in rows]


def _rating(row: Mapping[str, Any], file: str) -> Rating:
    name = row.get("model", row.get("name"))
    values = [_float(row.get(key)) for key in ("rating", "low", "high")]
    if not isinstance(name, str) or values[0] is None:
        raise EvolError(
            f"--against {file}: expected rows with model and rating, found {', '.join(map(str, row))[:200]}"
        )
    group = row.get("group")
    return Rating(name, values[0], values[1], values[2], values[0], 0, 0, 0, 0, group if isinstance(group, int) else 0)


def _float(value: object) -> float | None:
    """A finite number, written as one or as text; None for anything else."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and abs(found) < float("inf") else None
