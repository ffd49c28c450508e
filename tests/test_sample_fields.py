"""What rows are counted under, and what is wanted of it: fields, bins, targets, limits, and all that is wrong in them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.mix import Limit, Wish, bounds, keyword, parse_limits, wishes
from evollab.data.slices import check, cut
from evollab.data.strata import Column, Field, Missing, Unusable, label, lookup, number, parse_fields, paths, unknown
from evollab.records import EvolError


def test_fields_and_their_bins() -> None:
    found = parse_fields(["difficulty:1-4,5-7,8+,category", "score:q4", "x:-3--1,0,0.5-1"])
    assert [str(field) for field in found] == ["difficulty:1-4,5-7,8+", "category", "score:q4", "x:-3--1,0,0.5-1"]
    assert [(one.low, one.high) for one in found[0].bins] == [(1, 4), (5, 7), (8, math.inf)]
    assert [(one.low, one.high) for one in found[3].bins] == [(-3, -1), (0, 0), (0.5, 1)]
    assert found[2].quantiles == 4
    assert parse_fields(["source:file,a.b"]) == (Field("source:file"), Field("a.b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a", "named twice"), ("a,,b", "without a name"), ("", "without a name"), ("d:4-1", "ends before it begins"),
        ("d:1-4,3-7", "overlap"), ("d:1-4,1-2", "overlap"), ("d:q1", "2 or more bins"), ("d:5,5", "overlap"),
    ],
)  # fmt: skip
def test_fields_that_can_not_be(text: str, said: str) -> None:
    with pytest.raises(EvolError, match=said):
        parse_fields([text])


def test_a_dotted_path_leads_into_objects_and_a_dotted_name_goes_before() -> None:
    row = {"source": {"file": "a"}, "source.line": 3, "messages": [{"role": "user"}]}
    assert lookup(row, "source.file") == "a"
    assert lookup(row, "source.line") == 3
    for path in ("source.line.x", "messages.role", "nope", "source.nope", ""):
        with pytest.raises(Missing):
            lookup(row, path)
    assert list(paths(row)) == ["source.file", "source.line", "messages"]


def test_values_as_targets_name_them() -> None:
    given = ["math", 3, 3.0, -0.25, True, "3"]
    assert [label(value, "x") for value in given] == ["math", "3", "3", "-0.25", "true", "3"]
    bad = ["", None, [], {}, math.nan, math.inf, "x" * 201]
    for value in bad:
        with pytest.raises(Unusable):
            label(value, "x")


def test_numbers_also_out_of_texts() -> None:
    assert [number(value, "x") for value in (3, 2.5, "4", " 1e2 ")] == [3, 2.5, 4, 100]
    for value in (True, None, "", "many", "nan", "inf", "1_000", math.nan, 10**400, [1]):
        with pytest.raises(Unusable):
            number(value, "x")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_value_has_a_label_or_a_reason(value: Any) -> None:
    for read in (label, number):
        reasons: list[str] = []
        try:
            read(value, "x")
        except Unusable as error:
            reasons.append(str(error))
        assert all(reason.startswith("x is ") for reason in reasons)


def filled(field: str, values: list[Any]) -> Column:
    column = Column(parse_fields([field])[0])
    for value in values:
        column.add(column.read({"x": value}))
    return column


def test_bins_take_their_ends_and_what_they_share_goes_to_the_lower() -> None:
    strata = filled("x:0-0.5,0.5-1,2+", [0.5, 0.51, 1, 2, 1e9, 0]).finish()
    assert [strata.values[code] for code in strata.codes] == ["0-0.5", "0.5-1", "0.5-1", "2+", "2+", "0-0.5"]
    with pytest.raises(Unusable, match=r"in none of the bins 0-0.5, 0.5-1, 2\+"):
        filled("x:0-0.5,0.5-1,2+", [1.5])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 10))
def test_quantiles_have_as_many_rows_each_as_equal_numbers_allow(values: list[float], parts: int) -> None:
    strata = filled(f"x:q{parts}", values).finish()
    groups: dict[int, list[float]] = {}
    for value, code in zip(values, strata.codes, strict=True):
        groups.setdefault(code, []).append(value)
    assert sorted(groups) == list(range(len(strata.values)))
    for code in range(1, len(groups)):
        assert max(groups[code - 1]) < min(groups[code])
    if len(set(values)) == len(values):
        sizes = [len(group) for group in groups.values()]
        assert max(sizes) - min(sizes) <= 1
    assert strata.ranges == [
        f"{min(g):g}" if min(g) == max(g) else f"{min(g):g} to {max(g):g}" for _, g in sorted(groups.items())
    ]


def test_values_stand_in_an_order_of_their_own() -> None:
    assert filled("x", [10, "b", 9, "a", 10]).finish().values == ["9", "10", "a", "b"]
    assert filled("x:8+,1-4", [9, 2]).finish().values == ["8+", "1-4"]


def test_too_many_values_are_refused() -> None:
    with pytest.raises(EvolError, match="more than 1,000 different values") as caught:
        filled("x", list(range(1001)))
    assert "q4" in caught.value.hint


def test_an_unknown_field_tells_those_there_are() -> None:
    error = unknown(Field("dificulty"), ["difficulty", "source.file"], "data.jsonl")
    assert error.message == "data.jsonl: no field dificulty; the fields are difficulty, source.file"
    assert error.hint == "did you mean difficulty?"


def test_keywords() -> None:
    assert keyword("uniform") == Wish(0.0)
    assert keyword("natural") == Wish(1.0)
    assert keyword("natural^0.5") == Wish(0.5)
    assert keyword("target.json") is None
    for text in ("natural^", "natural^-1", "natural^11", "natural^nan", "natural^1e3"):
        with pytest.raises(EvolError, match="natural"):
            keyword(text)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any), st.floats(0, 10))
def test_a_temperature_keeps_the_order_and_sums_to_one(rows: list[int], power: float) -> None:
    shares = Wish(power).over([str(n) for n in range(len(rows))], rows)
    assert math.fsum(shares) == pytest.approx(1)
    for a, b in zip(sorted(zip(rows, shares, strict=True)), sorted(zip(rows, shares, strict=True))[1:], strict=False):
        assert a[1] <= b[1] * (1 + 1e-9)
    assert all(share == 0 for number, share in zip(rows, shares, strict=True) if not number)


def test_powers_are_what_they_say() -> None:
    values, rows = ["a", "b", "c"], [900, 100, 0]
    assert Wish(1.0).over(values, rows) == pytest.approx([0.9, 0.1, 0])
    assert Wish(0.5).over(values, rows) == pytest.approx([0.75, 0.25, 0])
    assert Wish(0.0).over(values, rows) == pytest.approx([0.5, 0.5, 0])
    assert Wish(shares={"a": 1e300, "b": 1e300}).over(values, rows) == [0.5, 0.5, 0]


def written(folder: Path, text: str) -> str:
    (folder / "target.json").write_text(text)
    return str(folder / "target.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"c": {"a": -1}}', "'a': the share is -1, which is negative; expected 0 or more"),
        ('{"c": {"a": NaN}}', "NaN is not JSON"),
        ('{"c": {"a": 1e999}}', "is infinite"),
        ('{"c": {"a": 0, "b": 0.0}}', "the shares sum to nothing"),
        ('{"c": {}}', "the shares sum to nothing"),
        ('{"c": {"a": "much"}}', "the share is a text; expected a number"),
        ('{"c": {"a": true}}', "the share is true"),
        ('{"c": {"a": null}}', "the share is null"),
        ('{"c": {"a": 1, "a": 2}}', "occurs twice"),
        ('{"c": {"": 1}}', "is empty"),
        ('{"c": 3}', "a number; expected {value: share}"),
        ('{"c": "unifrom"}', "expected uniform, natural"),
        ('{"d": {"a": 1}}', "the field d is not among those of --by: c"),
        ('{"c": {"a": 1}, "c:q2": "uniform"}', "the field c:q2 is not among"),
        ("{}", "names no field"),
        ("[]", "expected an object"),
        ('{"c": {"a": 1}', "cut off"),
        ("", "cut off|not JSON"),
    ],
)  # fmt: skip
def test_targets_that_can_not_be(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EvolError, match=said.replace("{", "\\{")):
        wishes(written(tmp_path, text), (Field("c"),))


def test_nan_and_infinity_from_python() -> None:
    for share in (math.nan, math.inf, -math.inf):
        with pytest.raises(EvolError, match="finite"):
            wishes({"c": {"a": share}}, (Field("c"),))


def test_a_target_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="no such file; expected uniform, natural, natural\\^T") as caught:
        wishes("unifrom", (Field("c"),))
    assert caught.value.hint == "did you mean uniform?"
    with pytest.raises(EvolError):
        wishes(str(tmp_path), (Field("c"),))


def test_a_target_names_its_fields_and_leaves_others_free(tmp_path: Path) -> None:
    name = written(tmp_path, json.dumps({"d:1-4,5-10": {"1-4": 1, "5-10": 3}, "c": "natural^0.5"}))
    fields, found = wishes(name, ())
    assert [str(field) for field in fields] == ["d:1-4,5-10", "c"]
    assert found == [Wish(shares={"1-4": 1.0, "5-10": 3.0}), Wish(0.5)]
    _, found = wishes({"d": {"1-4": 1}}, parse_fields(["c,d:1-4,5-10"]))
    assert found == [Wish(), Wish(shares={"1-4": 1.0})]
    assert found[0].free


def test_limits_in_rows_and_percent() -> None:
    limits = parse_limits("cap", ["source.file=*=40", "source.file=a=b.jsonl=12.5%"])
    assert [(one.field.name, one.value, one.amount, one.percent) for one in limits] == [
        ("source.file", "*", 40, False), ("source.file", "a=b.jsonl", 12.5, True),
    ]  # fmt: skip
    assert bounds(limits, ["x", "a=b.jsonl"], 100) == ([0, 0], [40, 12])
    assert Limit("floor", Field("c"), "a", 12.5, True).rows(100) == 13
    assert bounds(parse_limits("quota", ["c=a=7"]), ["a", "b"], 100) == ([7, 0], [7, 100])
    assert bounds(parse_limits("floor", ["c=*=5", "c=b=2"]), ["a", "b"], 100) == ([5, 2], [100, 100])


@pytest.mark.parametrize(
    "text", ["c=a", "c=a=", "c=a=-5", "c=a=101%", "c=a=1.5", "=a=5", "c==5", "c=a=nan", "a,b=x=5", "x" * 5000]
)
def test_limits_that_can_not_be(text: str) -> None:
    with pytest.raises(EvolError, match="expected"):
        parse_limits("floor", [text])


def test_limits_that_exclude_each_other() -> None:
    both = [*parse_limits("floor", ["c=a=50"]), *parse_limits("cap", ["c=*=40"])]
    with pytest.raises(EvolError, match="a: at least 50 rows and at most 40"):
        bounds(both, ["a", "b"], 100)
    with pytest.raises(EvolError, match="--quota c=a=101: more than the 100 rows to draw"):
        bounds(parse_limits("quota", ["c=a=101"]), ["a"], 100)


@given(st.integers(2, 40), st.integers(0, 300), st.booleans(), st.randoms())
def test_slices_are_even_and_disjoint(slices: int, more: int, deal: bool, chance: Any) -> None:
    rows = slices + more
    order = list(range(rows))
    chance.shuffle(order)
    found = cut(rows, slices, order, deal=deal)
    sizes = [found.count(at) for at in range(1, slices + 1)]
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1
    if not deal:
        assert [found[row] for row in order] == sorted(found)


def test_slices_that_can_not_be() -> None:
    for slices, how in ((1, "random"), (501, "random"), (-3, "random"), (None, "difficulty")):
        with pytest.raises(EvolError):
            check(slices, how)
    with pytest.raises(EvolError, match="only 3 rows"):
        cut(3, 4, range(3), deal=False)
