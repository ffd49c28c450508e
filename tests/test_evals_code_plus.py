"""Tests against a reference solution: types, tolerance, what the problems leave open, limits."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.evals.code import oracle as code_oracle
from evollab.evals.code.oracle import agrees, close, compare, floats, unpacked
from evollab.evals.code.plus import oracle, packed, plus_problem, shown_in, told_in
from evollab.evals.code.shapes import typed

HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def half(x):\n    """ Half of x. """\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "contract": "\n    assert isinstance(x, (int, float)) # $_CONTRACT_$\n",
    "base_input": [[1], [2.5]],
    "plus_input": [[0], [-7], [1e300]],
    "atol": 0,
}
MBPP = {
    "task_id": "Mbpp/900",
    "prompt": '"""\nWrite a function to join two pairs.\nassert join((1, 2), (3, 4)) == (1, 2, 3, 4)\n"""\n',
    "entry_point": "join",
    "canonical_solution": "\ndef join(a, b):\n    return a + b\n",
    "contract": "\n    assert isinstance(a, tuple)\n",
    "assertion": "\nassert join((1, 2), (3, 4)) == (1, 2, 3, 4)\n",
    "base_input": [[[1, 2], [3, 4]]],
    "plus_input": [[[], []], [["x"], [1]]],
    "atol": 0,
}


def passes(source: str, candidate: Callable[..., Any]) -> bool:
    """Whether a test source lets a function pass; as the judge runs it, but here."""
    space: dict[str, Any] = {}
    exec(source, space)
    try:
        space["check"](candidate)
    except (AssertionError, TypeError, ZeroDivisionError):
        return False
    return True


def test_humaneval_plus_of_the_release() -> None:
    problem = plus_problem(HUMANEVAL, mbpp=False)
    assert (problem.entry, problem.called, problem.plus_called) == ("half", True, True)
    assert passes(problem.test, lambda x: x * 0.5)
    assert passes(problem.plus, lambda x: x * 0.5 + 1e-9)  # floats: 1e-6 is near enough
    assert not passes(problem.plus, lambda x: x // 2)
    assert passes(problem.test, lambda x: x / 2 if x > 0 else 1 / 0)
    assert not passes(problem.plus, lambda x: x / 2 if x > 0 else 1 / 0)


def test_mbpp_plus_of_the_release_knows_tuples() -> None:
    problem = plus_problem(MBPP, mbpp=True)
    assert problem.asserts == ("assert join((1, 2), (3, 4)) == (1, 2, 3, 4)",)
    for source in (problem.test, problem.plus):
        assert passes(source, lambda a, b: (*a, *b))
        assert not passes(source, lambda a, b: [*a, *b])


def test_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", ModuleType("numpy"))  # given back after the test
    test = (
        "import numpy as np\n\ndef assertion(out, exp, atol):\n    if out != exp:\n"
        "        assert np.allclose(out, exp, rtol=1e-07, atol=1e-6)\n        np.testing.assert_allclose(out, exp, atol=1)\n"
        "\ndef check(candidate):\n    inputs = [[1], [2.5]]\n    results = [0.5, 1.25]\n"
        "    for inp, exp in zip(inputs, results):\n        assertion(candidate(*inp), exp, 0)\n"
    )
    row = {"task_id": "HumanEval/900", "prompt": HUMANEVAL["prompt"], "entry_point": "half", "test": test}
    problem = plus_problem(row, mbpp=False)
    assert passes(problem.test, lambda x: x / 2 + 1e-8)
    assert not passes(problem.test, lambda x: x)
    assert problem.plus == ""
    hub = plus_problem({
        "task_id": 900, "prompt": "Write it.", "code": "def join(a, b): return a + b", "test_imports": ["import math"],
        "test_list": ["assert join((1,), (2,)) == (1, 2)"], "test": "inputs = [[1]]\nresults = [1]",
    }, mbpp=True)  # fmt: skip
    assert (hub.entry, hub.called, hub.test.split("\n")[0]) == ("join", False, "import math")
    assert hub.plus.endswith("results = [1]")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"canonical_solution": "    return ("}, "don't define 'half'"), ({"atol": "0"}, "atol is a text"),
     ({"plus_input": [1]}, "'plus_input' is a list"), ({"entry_point": "other"}, "don't define 'other'"),
     ({"plus_input": None, "prompt": 7}, "'prompt' is a number")],
)  # fmt: skip
def test_rows_that_are_none(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFields, match=words):
        plus_problem({**HUMANEVAL, **change}, mbpp=False)


def test_rows_of_humaneval_itself_are_not_taken_for_more() -> None:
    with pytest.raises(BadFields, match="is it a row of HumanEval"):
        plus_problem({"prompt": "", "entry_point": "f", "test": "def check(candidate): pass"}, mbpp=False)


def test_any_name_may_be_asked_for() -> None:
    source = oracle("def compare(a):\n    return a\n", "compare", [[1]], 0.0, mbpp=False)
    assert passes(source, lambda a: a)
    assert not passes(source, lambda a: a + 1)


def test_inputs_are_not_shared_with_the_solution() -> None:
    source = oracle("def f(a):\n    return sorted(a)\n", "f", [[[3, 1]]], 0.0, mbpp=False)

    def sorts_in_place(values: list[int]) -> list[int]:
        values.sort()
        return values

    assert passes(source, sorts_in_place)


def test_an_input_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_oracle, "LEAST", 0.05)

    def hangs(x: int) -> int:
        while True:
            x += 1

    with pytest.raises(AssertionError, match="input 0: no result in "):
        compare(hangs, "def f(x): return x", "f", "[[1]]", 0.0, mbpp=False)


def test_inputs_on_which_the_reference_fails_are_none() -> None:
    reference = "def f(x): return 1 / x"
    compare(lambda x: 1 / x, reference, "f", "[[0], [4]]", 0.0, mbpp=False)
    compare(lambda x: 1, reference, "f", "[]", 0.0, mbpp=False)
    with pytest.raises(LookupError, match="fails on all"):
        compare(lambda x: 1, reference, "f", "[[0]]", 0.0, mbpp=False)


@pytest.mark.parametrize(
    ("result", "expected", "same"),
    [
        (1.0000001, 1.0, True), (1, 1.0, False), (1.1, 1.0, False), ([1.0, 2], [1.0, 2.0000001], True),
        ([1.0], [1.0, 1.0], False), ((1.0,), [1.0], False), (math.nan, math.nan, False), (math.inf, math.inf, True),
        ("1", 1.0, False), ([["1"]], [[1.0]], False), (1j, 1j + 1e-9, True), ([[1.0]], [[1.0 + 1e-8]], True),
    ],
)  # fmt: skip
def test_near_enough(result: Any, expected: Any, same: bool) -> None:
    assert close(result, expected, 1e-6) is same


def test_what_counts_as_floats() -> None:
    assert [floats(one) for one in (1.0, [1.0], (1.0, 2.0), [], [1, 1.0], 1, "x", {1.0})] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "given", "result", "expected", "same"),
    [
        ("join", [1], 1, 1, True), ("join", [1], 2, 1, False), ("similar_elements", [], [2, 1, 1], (1, 2), True),
        ("similar_elements", [], [2, 3], (1, 2), False), ("are_equivalent", [], 1, 2, True), ("sum_div", [1], 0, 5, True),
        ("sum_div", [1], 1, 5, False), ("check_str", [], True, "a match", True), ("check_str", [], False, None, True),
        ("check_str", [], "a match", None, False), ("check_str", [], None, None, True),
        ("surface_Area", [3, 4], 35, 33, True), ("surface_Area", [3, 4], 30, 33, False),
        ("digit_distance_nums", [23, 156], 7, 8, True), ("digit_distance_nums", [23, 156], 9, 7, False),
    ],
)  # fmt: skip
def test_what_problems_leave_open(entry: str, given: list[Any], result: Any, expected: Any, same: bool) -> None:
    assert agrees(result, expected, entry, given, 0.01) is same


def test_a_zero_of_a_polynomial_is_one_whichever() -> None:
    reference = "def find_zero(xs): return 1.0"
    compare(lambda xs: -1.0, reference, "find_zero", "[[[-1, 0, 1]]]", 1e-4, mbpp=False)
    with pytest.raises(AssertionError):
        compare(lambda xs: 0.5, reference, "find_zero", "[[[-1, 0, 1]]]", 1e-4, mbpp=False)


def test_prompts_of_mbpp_plus() -> None:
    assert told_in(str(MBPP["prompt"])) == "Write a function to join two pairs."
    assert shown_in(str(MBPP["prompt"])) == ["assert join((1, 2), (3, 4)) == (1, 2, 3, 4)"]


@pytest.mark.parametrize(
    ("asserts", "contract", "inputs", "want"),
    [
        ("assert f((1, 2), [3])", "", [[[4], [5]]], [[(4,), [5]]]),
        ("assert f([(1, 'a')])", "", [[[[2, "b"], []]]], [[[(2, "b"), ()]]]),
        ("assert f({'k': (1,)})", "", [[{"z": [2]}]], [[{"z": (2,)}]]),
        ("assert f([{1}, {2}])", "", [[[[3], []]]], [[[{3}, {}]]]),
        ("assert f((1, (2, (3,))))", "", [[[1, [2, [3, [4]]]]]], [[(1, (2, (3, (4,))))]]),
        ("assert f((1, 2))", "assert isinstance(a, (list, tuple))", [[[1]]], [[[1]]]),
        ("assert f((1, 2))\nassert f([1])", "assert isinstance(a, tuple)", [[[1]]], [[(1,)]]),
        ("assert f(x)", "assert isinstance(b, list)\nassert isinstance(a, tuple)", [[[1], [2]]], [[(1,), [2]]]),
        ("assert f(0, 1j)", "", [["2", "(1+1j)"]], [[2.0, 1 + 1j]]),
        ("assert f(3)", "  assert isinstance(a, (int, complex))", [["2j"]], [[2j]]),
        ("assert set(f([1]))", "", [[[1]]], [[[1]]]),
        ("no python (", "also ( none", [[[1]]], [[[1]]]),
    ],
)  # fmt: skip
def test_types_that_json_has_not(asserts: str, contract: str, inputs: list[Any], want: list[Any]) -> None:
    assert repr(typed(inputs, asserts, "f", contract, ["a", "b"])) == repr(want)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.complex_numbers(allow_nan=False, allow_infinity=False) | st.sets(st.integers(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(values, max_size=3))
def test_inputs_round_trip(inputs: list[Any]) -> None:
    assert unpacked(packed(inputs)) == inputs
    assert repr(type(unpacked(packed([inputs])))) == repr(type([inputs]))
