"""Distributions of attributes: counted right, grouped right, in the shape that the page reads."""

from __future__ import annotations

import math
import statistics
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.distributions import MOST_GROUPS, Distributions
from evollab.report.analysis_facts import AnalysisFacts, parse_facts


def facts(whole: Distributions) -> AnalysisFacts:
    """What the page makes of it: it refuses what has not its shape."""
    return parse_facts(orjson.dumps({"name": "d", "rows": whole.rows, **whole.to_json()}), "here")


def filled(rows: list[tuple[str | None, dict[str, Any]]], by: str = "round") -> AnalysisFacts:
    whole = Distributions(by)
    for group, attributes in rows:
        whole.add(group, attributes)
    return facts(whole)


NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6, width=32))


@given(st.lists(st.tuples(st.sampled_from(["0", "1", "2", None]), st.one_of(st.none(), NUMBERS)), min_size=1))
def test_numbers(rows: list[tuple[str | None, float | None]]) -> None:
    found = filled([(group, {"x": value}) for group, value in rows])
    known = [value for _, value in rows if value is not None]
    one = found.number("x")
    if not known:
        assert one is None
        return
    assert one is not None
    told = one.overall
    assert (told.n, told.missing) == (len(known), len(rows) - len(known))
    assert math.isclose(told.mean, statistics.fmean(known), rel_tol=1e-5, abs_tol=1e-5)
    assert sum(told.counts) == len(known), "what lies beyond the ends counts at the ends"
    assert (told.min, told.max) == (min(known), max(known))
    assert told.p10 <= told.p50 <= told.p90
    if found.groups:
        for name, own in zip(found.groups.names, one.by_group, strict=True):
            number = "0" if name == "seeds" else name.removeprefix("round ")
            values = [value for group, value in rows if group == number and value is not None]
            assert (own is None) == (not values)
            if own is not None:
                assert own.n == len(values)
                assert sum(own.counts) == len(values)


def test_groups_are_rounds_in_their_order() -> None:
    found = filled([(str(number), {"words": number}) for number in (3, 0, 11, 2, 0)])
    assert found.groups is not None
    assert found.groups.names == ("seeds", "round 2", "round 3", "round 11")
    assert found.groups.rows == (2, 1, 1, 1)


def test_many_groups_become_few_the_largest_first() -> None:
    rows = [(f"source {number}", {"kind": "a"}) for number in range(20) for _ in range(number + 1)]
    found = filled(list(rows), by="source")
    assert found.groups is not None
    assert len(found.groups.names) == MOST_GROUPS
    assert found.groups.names[0] == "source 19"
    assert found.groups.names[-1] == "other"
    assert sum(found.groups.rows) == len(rows)
    kinds = found.kind("kind")
    assert kinds is not None
    assert sum(kinds.n_by_group) == len(rows)


def test_one_group_is_none() -> None:
    assert filled([("0", {"x": 1}), ("0", {"x": 2})]).groups is None


def test_words_lists_and_truths_are_counted() -> None:
    rows: list[tuple[str | None, dict[str, Any]]] = [
        ("0", {"tags": ["a", "b", "a"], "refusal": False, "difficulty": 2}),
        ("1", {"tags": ["a"], "refusal": True, "difficulty": 6}),
        ("1", {"tags": [], "refusal": None}),
    ]
    found = filled(rows)
    tags = found.kind("tags")
    assert tags is not None
    assert [(one.value, one.n, one.by_group) for one in tags.values] == [("a", 2, (1, 1)), ("b", 1, (1, 0))]
    assert tags.missing == 1
    mark = tags.values[0].difficulty
    assert mark is not None
    assert (mark.n, mark.mean) == (2, 4.0)
    assert mark.low is not None
    assert math.isclose(mark.mean - mark.low, 1.96 * statistics.stdev([2, 6]) / math.sqrt(2), abs_tol=1e-4)
    refusals = found.kind("refusal")
    assert refusals is not None
    assert {one.value: one.n for one in refusals.values} == {"true": 1, "false": 1}


def test_a_long_tail_gets_a_logarithmic_axis_and_few_whole_numbers_a_bin_each() -> None:
    found = filled(
        [(None, {"tokens": 10 if number % 50 else 4000, "difficulty": number % 10 + 1}) for number in range(500)]
    )
    tokens, difficulty = found.number("tokens"), found.number("difficulty")
    assert tokens is not None
    assert difficulty is not None
    assert tokens.scale == "log"
    assert difficulty.edges == tuple(at + 0.5 for at in range(11))
    assert set(difficulty.overall.counts) == {50}


@pytest.mark.parametrize("value", [math.nan, math.inf, {}, [1, 2], [["a"]], b"x"])
def test_what_is_no_attribute_is_passed_over(value: object) -> None:
    found = filled([("0", {"odd": value, "words": 1}), ("1", {"words": 2})])
    assert [one.name for one in found.numeric] == ["words"]
    assert found.categorical == ()
