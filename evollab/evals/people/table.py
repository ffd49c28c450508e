"""The results of a study for people to read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.evals.metric import Metric
from evollab.evals.people.results import PeopleResult
from evollab.inert import one_line

_NAME = 40


def table(result: PeopleResult) -> str:
    """Win, tie and loss by pair of models, the annotators, their agreement and each judge's; model names made inert."""
    parts = [f"{result.judgements:,} judgements of {result.comparisons:,} comparisons"]
    rows = [
        (
            one_line(pair.model_1, _NAME), one_line(pair.model_2, _NAME), f"{pair.wins}/{pair.ties}/{pair.losses}",
            _told(pair.win_rate), _told(pair.win_rate_without_ties),
        )
        for pair in result.pairs
    ]  # fmt: skip
    parts.append(_grid(("model", "against", "win/tie/loss", "win rate, ties half", "without ties"), rows))
    people = [
        (
            one.annotator, f"{one.judged} of {one.of}", str(one.ties),
            "-" if one.left_share is None else f"{100 * one.left_share:.0f} %",
            "-" if one.seconds is None else f"{one.seconds:.0f} s", str(one.comments),
        )
        for one in result.annotators
    ]  # fmt: skip
    parts.append(_grid(("annotator", "judged", "ties", "A preferred", "median time", "comments"), people))
    if result.agreement is not None:
        parts.append(_people(result))
    for judge in result.judges:
        lost = [(judge.strange, "on other answers"), (judge.unparsed, "without a verdict"), (judge.bad, "unreadable")]
        aside = ", ".join(f"{count:,} {words}" for count, words in lost if count)
        parts.append(
            f"judge {one_line(judge.file, 80)} and the majority of people, {judge.n:,} comparisons: "
            f"{_told(judge.agreement)}, kappa {_number(judge.kappa)}; where neither says tie ({judge.decided.n:,}): "
            f"{_told(judge.decided)}" + (f"; rows left out: {aside}" if aside else "")
        )
    return "\n\n".join(parts)


def _people(result: PeopleResult) -> str:
    assert result.agreement is not None
    found = result.agreement
    lines = [
        f"annotators on the {found.n:,} comparisons that several judged: {100 * found.observed:.1f} % the same, "
        f"Krippendorff's alpha {_number(found.krippendorff_alpha)}, Fleiss' kappa {_number(found.fleiss_kappa)}"
    ]
    rows = [
        (" and ".join(one.annotators), f"{one.n:,}", _told(one.agreement), _number(one.kappa)) for one in found.between
    ]
    return "\n".join([*lines, _grid(("two annotators", "n", "the same", "Cohen's kappa"), rows)])


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _told(metric: Metric) -> str:
    if metric.value is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.1f} %"
    return f"{metric.value:.1f} % [{metric.low:.1f}, {metric.high:.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
