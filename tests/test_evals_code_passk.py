"""pass@k against counting all draws."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.evals.code.passk import pass_at_k, pass_metrics, uneven
from evollab.evals.trial import Answer, Mark, Marked, Question
from evollab.records import EvolError


def marked(*rows: tuple[str, float | None], more: dict[str, float | None] | None = None) -> list[Marked]:
    return [(Answer(Question(name, ("",)), ("",)), Mark(score, more=more or {})) for name, score in rows]


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_counts_all_draws(numbers: tuple[int, int, int]) -> None:
    n, c, k = numbers
    draws = list(combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(min(draw) < c for draw in draws) / len(draws), abs=1e-12)


def test_large_numbers() -> None:
    assert pass_at_k(200, 0, 100) == 0.0
    assert pass_at_k(200, 101, 100) == 1.0
    assert pass_at_k(200, 2, 100) == pytest.approx(1 - (100 * 99) / (200 * 199))
    assert pass_at_k(20_000, 1, 100) == pytest.approx(100 / 20_000)


@pytest.mark.parametrize("numbers", [(5, 6, 1), (5, -1, 1), (5, 1, 6), (5, 1, 0)])
def test_numbers_that_cannot_be(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(EvolError, match="expected 0 <= right <= samples"):
        pass_at_k(*numbers)


def test_one_sample_each_is_a_share_with_wilsons_interval() -> None:
    (found,) = pass_metrics(marked(("a", 1.0), ("b", 0.0), ("c", 1.0), ("d", 1.0)))
    assert (found.name, found.value, found.n, found.method) == ("pass@1", 75.0, 4, "Wilson")
    assert found.facts["samples"] == 1
    assert found.low is not None
    assert found.high is not None
    assert 30 < found.low < 75 < found.high < 96


def test_as_many_k_as_there_are_samples() -> None:
    rows = [(name, float(at < right)) for name, right in (("a", 0), ("b", 3), ("c", 10)) for at in range(10)]
    one, ten = pass_metrics(marked(*rows))
    assert (one.name, ten.name, one.n, ten.n) == ("pass@1", "pass@10", 3, 3)
    assert one.value == pytest.approx(100 * (0 + 0.3 + 1) / 3)
    assert ten.value == pytest.approx(200 / 3)
    assert one.facts["samples"] == 10


def test_the_sample_that_could_not_be_run_is_no_wrong_one() -> None:
    (found,) = pass_metrics(marked(("a", 1.0), ("a", None), ("b", 1.0), ("b", 1.0)))
    assert (found.value, found.facts["samples"]) == (100.0, "1 to 2")
    (none,) = pass_metrics(marked(("a", None)))
    assert (none.value, none.n) == (None, 0)


def test_further_rules_have_figures_of_their_own() -> None:
    plus, base = pass_metrics([*marked(("a", 0.0), more={"base": 1.0}), *marked(("b", 1.0), more={"base": 1.0})])
    assert [(one.name, one.value) for one in (plus, base)] == [("pass@1", 50.0), ("base pass@1", 100.0)]


def test_says_who_has_other_numbers_of_samples() -> None:
    assert uneven([answer for answer, _ in marked(("a", 1.0), ("b", 1.0))]) == ""
    some = marked(*(("a", 1.0), ("a", 1.0), ("b", 1.0), ("c", 1.0), ("c", 1.0)))
    assert uneven([answer for answer, _ in some]) == (
        "not all questions have 2 samples: b 1; pass@k goes up to the fewest"
    )
    many = marked(
        ("z", 1.0), ("z", 1.0), *((f"q{at}", 1.0) for at in range(3)), *[(f"r{at % 8}", 1.0) for at in range(16)]
    )
    assert uneven([answer for answer, _ in many]).count(" 1") == 3
