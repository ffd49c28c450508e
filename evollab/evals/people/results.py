"""What came of a study: win, tie and loss for each pair of models, and how far people agree with each other and with a
judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

from evollab.evals.metric import Metric
from evollab.evals.people.comparisons import Comparison, Item, Shown, assignment
from evollab.evals.people.judgements import JUDGEMENTS, Judged, read_judgements
from evollab.evals.people.kappa import cohen, fleiss, krippendorff, observed
from evollab.evals.people.study import models_of, read_annotators, read_comparisons, read_items, settings_of
from evollab.evals.people.verdicts import read_verdicts
from evollab.evals.stats import score_metric, share
from evollab.runs import write_json

RESULTS = "results.json"
_SCORES = {1: 1.0, 0: 0.5, 2: 0.0}


@dataclass(frozen=True, slots=True)
class PairResult:
    """Two models. wins, ties, losses: of `model_1`, by the majority of each comparison's annotators (without one: a
    tie). votes: all judgements, by what they say; `both bad` is among the ties. win_rate: ties count half; of each
    comparison the mean of its annotators. win_rate_without_ties: wins of wins and losses."""

    model_1: str
    model_2: str
    comparisons: int
    wins: int
    ties: int
    losses: int
    votes: dict[str, int]
    win_rate: Metric
    win_rate_without_ties: Metric


@dataclass(frozen=True, slots=True)
class AnnotatorResult:
    """One annotator. left_share: how often answer A won, of the judgements that are no ties: far from a half, the
    side decides. seconds: the median."""

    annotator: str
    judged: int
    of: int
    ties: int
    left_share: float | None
    seconds: float | None
    comments: int


@dataclass(frozen=True, slots=True)
class Between:
    """Two annotators on the comparisons that both judged: the share with the same verdict, and Cohen's kappa."""

    annotators: tuple[str, str]
    n: int
    agreement: Metric
    kappa: float | None


@dataclass(frozen=True, slots=True)
class PeopleAgreement:
    """All annotators, on the `n` comparisons that at least two judged; classes are the one, the other, tie.
    fleiss_kappa: where all of these have as many annotators."""

    n: int
    observed: float
    fleiss_kappa: float | None
    krippendorff_alpha: float | None
    between: list[Between]


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """A judge against the majority of people, on the `n` comparisons that both judged. decided: where neither says tie.
    strange, unparsed, bad: rows of the file that count for nothing (see `verdicts.Verdicts`)."""

    file: str
    n: int
    agreement: Metric
    kappa: float | None
    decided: Metric
    strange: int
    unparsed: int
    bad: int


@dataclass(frozen=True, slots=True)
class PeopleResult:
    """Everything, as `results.json` has it."""

    models: list[str]
    comparisons: int
    judgements: int
    pairs: list[PairResult]
    annotators: list[AnnotatorResult]
    agreement: PeopleAgreement | None
    judges: list[JudgeAgreement]


def results(out: Path, judges: Sequence[str] = ()) -> PeopleResult:
    """The results of the study in `out` so far, written to `results.json` too. `judges`: files of a judge's verdicts.

    Raises EvolError where there is no study, and for files that can't be read.
    """
    comparisons = read_comparisons(out)
    known = {one.id for one in comparisons}
    judged = {key: one for key, one in read_judgements(out / JUDGEMENTS).items() if key[1] in known}
    votes: dict[str, list[int]] = {}
    for (_, comparison), one in sorted(judged.items()):
        votes.setdefault(comparison, []).append(one.preference)
    majorities = {comparison: majority(said) for comparison, said in votes.items()}
    settings = settings_of(out)
    shown = assignment(comparisons, read_annotators(out), settings["each"], settings["seed"])
    items = [replace(item, turns=(), answers={}) for item in read_items(out)] if judges else []
    found = PeopleResult(
        models_of(out), len(comparisons), len(judged), _pairs(comparisons, judged, votes, majorities),
        _annotators(judged, shown), _agreement(judged, votes),
        [_judge(file, comparisons, items, majorities) for file in judges],
    )  # fmt: skip
    write_json(out / RESULTS, asdict(found))
    return found


def majority(votes: Sequence[int]) -> int:
    """The verdict that more annotators gave than any other; 0, a tie, without one."""
    (best, count), *others = Counter(votes).most_common()
    return 0 if others and others[0][1] == count else best


def _pairs(
    comparisons: Sequence[Comparison], judged: Judged, votes: dict[str, list[int]], majorities: dict[str, int]
) -> list[PairResult]:
    found = []
    for model_1, model_2 in dict.fromkeys((one.model_1, one.model_2) for one in comparisons):
        mine = [one.id for one in comparisons if (one.model_1, one.model_2) == (model_1, model_2) and one.id in votes]
        counts = Counter(majorities[one] for one in mine)
        every = Counter(vote for one in mine for vote in votes[one])
        bad = sum(one.bad and (one.model_1, one.model_2) == (model_1, model_2) for one in judged.values())
        scores = [fmean(_SCORES[vote] for vote in votes[one]) for one in mine]
        found.append(
            PairResult(
                model_1,
                model_2,
                len(mine),
                counts[1],
                counts[0],
                counts[2],
                {"win": every[1], "tie": every[0], "loss": every[2], "both bad": bad},
                score_metric("win rate", scores),
                share("win rate without ties", [majorities[one] == 1 for one in mine if majorities[one]]),
            )
        )
    return found


def _annotators(judged: Judged, shown: Mapping[str, Sequence[Shown]]) -> list[AnnotatorResult]:
    found = []
    for annotator, asked in shown.items():
        mine = [one for (who, _), one in judged.items() if who == annotator]
        decided = [one.preference == one.left for one in mine if one.preference]
        took = [one.seconds for one in mine if one.seconds is not None]
        found.append(
            AnnotatorResult(
                annotator,
                len(mine),
                len(asked),
                len(mine) - len(decided),
                round(sum(decided) / len(decided), 4) if decided else None,
                round(median(took), 1) if took else None,
                sum(bool(one.comment) for one in mine),
            )
        )
    return found


def _agreement(judged: Judged, votes: Mapping[str, Sequence[int]]) -> PeopleAgreement | None:
    """None where nothing was judged twice."""
    shared = [said for said in votes.values() if len(said) > 1]
    if not shared:
        return None
    by_annotator: dict[str, dict[str, int]] = {}
    for (annotator, comparison), one in judged.items():
        by_annotator.setdefault(annotator, {})[comparison] = one.preference
    between = []
    for first, second in combinations(sorted(by_annotator, key=_by_number), 2):
        mine, theirs = by_annotator[first], by_annotator[second]
        pairs = [(said, theirs[comparison]) for comparison, said in mine.items() if comparison in theirs]
        if pairs:
            same = share("agreement", [one == other for one, other in pairs])
            between.append(Between((first, second), len(pairs), same, _round(cohen(pairs))))
    equal = len({len(said) for said in shared}) == 1
    return PeopleAgreement(
        len(shared), round(observed(shared), 4), _round(fleiss(shared)) if equal else None,
        _round(krippendorff(shared)), between,
    )  # fmt: skip


def _judge(
    file: str, comparisons: Sequence[Comparison], items: Sequence[Item], majorities: Mapping[str, int]
) -> JudgeAgreement:
    found = read_verdicts(file, comparisons, items)
    pairs = [(said, found.by_comparison[one]) for one, said in majorities.items() if one in found.by_comparison]
    decided = [(one, other) for one, other in pairs if one and other]
    return JudgeAgreement(
        file, len(pairs), share("agreement", [one == other for one, other in pairs]),
        _round(cohen(pairs)),
        share("agreement without ties", [one == other for one, other in decided]),
        found.strange, found.unparsed, found.bad,
    )  # fmt: skip


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _by_number(annotator: str) -> tuple[int, str]:
    """annotator-2 before annotator-10."""
    return len(annotator), annotator
