"""Figures with intervals: known values, coverage by simulation, what can't be told, questions as clusters."""

from __future__ import annotations

import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.evals.resampling import bootstrap, clustered, expanded_tail, resampled_sums, student, student_cdf
from evollab.evals.stats import mean_interval, ratio_metric, score_metric, share, wilson
from evollab.records import EvolError


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_gives_published_values(right: int, n: int, low: float, high: float) -> None:
    """The last one is Newcombe's (1998, Statistics in Medicine 17, table I)."""
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_holds_the_share_and_is_symmetric(right: int, wrong: int, level: float) -> None:
    n = right + wrong
    low, high = wilson(right, n, level)
    assert 0 <= low <= (right / n if n else 0.5) <= high <= 1
    assert wilson(wrong, n, level) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_refuses_counts_that_cant_be() -> None:
    with pytest.raises(EvolError, match="11 successes of 10"):
        wilson(11, 10)


@pytest.mark.parametrize(
    ("p", "df", "value"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 4, 2.77645), (0.95, 29, 1.69913), (0.995, 1000, 2.58075)],
)
def test_students_quantile_is_the_tables(p: float, df: int, value: float) -> None:
    assert student(p, df) == pytest.approx(value, rel=1e-5)


@given(st.floats(0.55, 0.999), st.integers(1, 399))
def test_students_quantile_is_the_inverse(p: float, df: int) -> None:
    assert student_cdf(student(p, df), df) == pytest.approx(p, abs=1e-9)


def test_a_bootstrap_over_few_is_widened() -> None:
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(5) < 0.0015 < expanded_tail(10) < 0.018 < expanded_tail(30) < 0.025


def test_verdicts_get_wilson_and_scores_a_bootstrap() -> None:
    flags = [True] * 8 + [False] * 2
    metric = share("right", flags)
    assert (metric.value, metric.n, metric.method, metric.unit) == (80.0, 10, "Wilson", "%")
    assert (metric.low, metric.high) == pytest.approx((49.0162, 94.3318), abs=1e-3)
    assert metric.facts["standard error"] == pytest.approx(100 * stdev(map(float, flags)) / math.sqrt(10))
    points = score_metric("score", [7.0, 8.0, 9.5, 3.0], unit="points")
    assert points.value == 6.875
    assert points.method == "bootstrap over questions, 10,000"
    assert points.low is not None
    assert points.high is not None
    assert 3 <= points.low < 6.875 < points.high <= 9.5
    assert score_metric("score", [5.0, 10.0, 6.0], scale=10).value == 70.0


def test_what_cant_be_told_is_none() -> None:
    nothing = score_metric("accuracy", [])
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (None, None, None, 0)
    one = score_metric("score", [7.0], unit="points")
    assert (one.value, one.low, one.high, one.n) == (7.0, None, None, 1)
    alike = score_metric("score", [7.0] * 9, unit="points")
    assert (alike.value, alike.low, alike.high, alike.n) == (7.0, None, None, 9), "no spread is no certainty"
    worst = score_metric("score", [0.0] * 9, unit="points")
    assert (worst.low, worst.high) == (None, None), "a mark of 0 out of 10 is no verdict"
    assert ratio_metric("ratio", [1.0], [0.0]).value is None
    assert ratio_metric("ratio", [4.0, 4.0], [8.0, 8.0]).low is None
    with pytest.raises(EvolError, match="not a finite number"):
        score_metric("score", [0.5, math.nan])
    with pytest.raises(EvolError, match="2 scores with 1 clusters"):
        score_metric("score", [0.0, 1.0], clusters=["a"])


def test_all_right_in_several_samples_counts_questions() -> None:
    metric = share("pass@1", [True] * 40, clusters=[at // 4 for at in range(40)])
    assert (metric.n, metric.method, metric.value) == (10, "Wilson", 100.0)
    assert metric.low == pytest.approx(100 * wilson(10, 10)[0])


def test_samples_of_one_question_are_one_draw() -> None:
    """Four copies of each answer tell no more than one."""
    draw = random.Random(3)
    scores = [draw.random() for _ in range(60)]
    once = score_metric("score", scores)
    copied = score_metric(
        "score", [one for one in scores for _ in range(4)], clusters=[at // 4 for at in range(240)]
    )  # fmt: skip
    blind = score_metric("score", [one for one in scores for _ in range(4)])
    assert copied.n == 60
    assert copied.facts["scores"] == 240
    assert copied.value == pytest.approx(once.value)
    for end in ("low", "high"):
        assert getattr(copied, end) == pytest.approx(getattr(once, end), abs=0.2)
    assert copied.low is not None
    assert blind.low is not None
    assert copied.high is not None
    assert blind.high is not None
    assert copied.high - copied.low > 1.8 * (blind.high - blind.low)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_order_changes_nothing(scores: list[float], draw: random.Random) -> None:
    turned = list(enumerate(scores))
    draw.shuffle(turned)
    again = score_metric("score", [one for _, one in turned], clusters=[at for at, _ in turned], unit="points")
    before = score_metric("score", scores, unit="points")
    assert (again.low, again.high) == (before.low, before.high)
    assert before.high is None or before.high <= max(scores) + 1e-9
    assert before.low is None or before.low >= min(scores) - 1e-9


def test_the_ratio_is_of_sums() -> None:
    metric = ratio_metric("score / reference", [8.0, 2.0, 9.0], [9.0, 8.0, 9.0])
    assert metric.value == pytest.approx(100 * 19 / 26)
    assert metric.unit == "ratio"
    assert metric.n == 3
    assert metric.low is not None
    assert metric.low < 73 < (metric.high or 0)


def test_sums_are_drawn_the_same_either_way() -> None:
    """Few kinds of rows are drawn as counts, many row by row: the same mean and spread."""
    draw = random.Random(1)
    coarse = [float(draw.randrange(11)) for _ in range(300)]
    fine = [one + draw.random() * 1e-6 for one in coarse]
    few, many = (resampled_sums(clustered([values], None))[:, 0] / 300 for values in (coarse, fine))
    expected = float(np.std(coarse)) / math.sqrt(300)
    for drawn in (few, many):
        assert float(drawn.mean()) == pytest.approx(fmean(coarse), abs=5 * expected / 100)
        assert float(drawn.std()) == pytest.approx(expected, rel=0.05)


def test_any_statistic_can_be_resampled() -> None:
    values = [float(at) for at in range(101)]
    medians = bootstrap(values, lambda some: sorted(some)[len(some) // 2], draws=300)
    assert 40 < float(np.quantile(medians, 0.025)) < 50 < float(np.quantile(medians, 0.975)) < 70
    assert (medians == bootstrap(values, lambda some: sorted(some)[len(some) // 2], draws=300)).all()


def _covered(draw: random.Random, n: int, samples: int, times: int) -> float:
    """How often the interval holds the truth: questions of differing difficulty, marks from 1 to 10."""
    held = 0
    for _ in range(times):
        scores, clusters = [], []
        for question in range(n):
            level = draw.gauss(6, 1.5)
            for _ in range(samples):
                scores.append(float(round(level + draw.gauss(0, 1))))
                clusters.append(question)
        found = mean_interval(scores, clusters)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 6 <= found.high
    return held / times


@pytest.mark.parametrize(("n", "samples"), [(5, 2), (20, 1), (40, 3)])
def test_intervals_hold_the_truth(n: int, samples: int) -> None:
    assert 0.9 <= _covered(random.Random(n), n, samples, 150) <= 0.99


def test_wilson_holds_the_truth() -> None:
    draw = random.Random(7)
    for p, n in ((0.05, 40), (0.5, 164), (0.9, 30)):
        held = [low <= p <= high for low, high in (wilson(_hits(draw, p, n), n) for _ in range(1500))]
        assert 0.92 <= fmean(held) <= 0.985


def _hits(draw: random.Random, p: float, n: int) -> int:
    return sum(draw.random() < p for _ in range(n))
