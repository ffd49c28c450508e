"""Figures of judged benchmarks, each with an interval over the questions."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.evals.metric import Metric


def points(name: str, marks: Sequence[float], questions: Sequence[str]) -> Metric:
    """The mean mark, on the judge's scale; marks of one question are drawn together."""
    from evollab.evals.stats import score_metric

    return score_metric(name, marks, clusters=questions, unit="points")


def percent(name: str, scores: Sequence[float], questions: Sequence[str] | None = None) -> Metric:
    """The mean of scores from 0 to 1, in percent."""
    from evollab.evals.stats import score_metric

    return score_metric(name, scores, clusters=questions)


def ratio(name: str, own: Sequence[float], other: Sequence[float], questions: Sequence[str]) -> Metric:
    """Sum of `own` / sum of `other`, in percent."""
    from evollab.evals.stats import ratio_metric

    return ratio_metric(name, own, other, clusters=questions)
