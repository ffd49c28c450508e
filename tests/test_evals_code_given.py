"""Programs made elsewhere: the rows of other harnesses."""

from __future__ import annotations

from typing import Any

import pytest

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.code.given import given_programs, reader
from evollab.evals.tasks import humaneval, humaneval_plus, mbpp, mbpp_plus

OWN = {"prompt": "def f():\n", "entry_point": "f", "test": "def check(candidate): pass"}


def read(fields: dict[str, Any], reading: Any = humaneval.READING) -> list[tuple[str | None, str]]:
    return [(one.id, one.texts[0]) for one in given_programs(Row(1, fields), reading)]


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"task_id": "HumanEval/3", "completion": "    return 1"}, [("HumanEval/3", "    return 1")]),
        ({"task_id": "HumanEval/3", "solution": "x"}, [("HumanEval/3", "x")]),
        ({"task_id": "HumanEval_3", "generations": ["x", "y"]}, [("HumanEval/3", "x"), ("HumanEval/3", "y")]),
        ({"task_id": 3, "output": "x"}, [("HumanEval/3", "x")]),
        ({"id": "openai_humaneval/test/3", "response": "x", "code": "no"}, [("HumanEval/3", "x")]),
        ({"position": 7, "generations": ["x"]}, [("HumanEval/7", "x")]),
        ({"doc": {"task_id": "HumanEval/3"}, "resps": [["x", "y"]]}, [("HumanEval/3", "x"), ("HumanEval/3", "y")]),
        ({"prompt": "def f():", "completion": "x", "completions": None}, [(None, "x")]),
        ({"task_id": "HumanEval/3", "completion": None, "code": "x"}, [("HumanEval/3", "x")]),
    ],
)
def test_rows_of_harnesses(fields: dict[str, Any], want: list[tuple[str | None, str]]) -> None:
    assert read(fields) == want


def test_the_ids_of_each_benchmark() -> None:
    assert read({"task_id": "Mbpp/11", "solution": "x"}, mbpp.READING) == [("11", "x")]
    assert read({"position": 1, "generations": ["x"]}, mbpp.READING) == [("12", "x")]
    assert read({"task_id": 11, "solution": "x"}, mbpp_plus.READING) == [("Mbpp/11", "x")]
    assert read({"task_id": "HumanEval/11", "solution": "x"}, humaneval_plus.READING) == [("HumanEval/11", "x")]
    with pytest.raises(BadFields, match="numbers have gaps, so rows need task_id"):
        read({"position": 1, "generations": ["x"]}, mbpp_plus.READING)


def test_a_row_may_say_what_is_right_and_what_was_published() -> None:
    row = OWN | {"task_id": "HumanEval/79", "responses": ["```\nx\n```"], "source_codes": ["x"], "is_solved": True}
    (found,) = given_programs(Row(1, row), humaneval.READING)
    assert (found.texts, found.published, found.text) == (("```\nx\n```",), 1.0, OWN["prompt"])
    assert found.gold == humaneval.READING.problem(OWN)
    (other,) = given_programs(Row(1, row), humaneval_plus.READING)
    assert other.gold is None  # its tests are not those of HumanEval+
    (none,) = given_programs(Row(1, row | {"test": "def check(:"}), humaneval.READING)
    assert none.gold is None  # what is no Python tests nothing
    two = given_programs(Row(1, row | {"responses": ["a", "b"]}), humaneval.READING)
    assert [one.published for one in two] == [None, None]  # of which of them?


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task_id": "HumanEval/3"}, "no program: expected a column completion"),
        ({"task_id": "HumanEval/3", "code": "x", "test_list": []}, "no program"),
        ({"completion": "x"}, "neither an id"),
        ({"task_id": "HumanEval", "completion": "x"}, "neither an id"),
        ({"task_id": True, "completion": "x"}, "neither an id"),
        ({"task_id": 1, "completion": 5}, "'completion' is a number"),
        ({"task_id": 1, "completion": ["x", None]}, "'completion' holds null"),
        ({"task_id": 1, "completion": []}, "'completion' is an empty list"),
        ({"task_id": 1, "completion": [[[["x"]]]]}, "'completion' holds a list"),
    ],
)
def test_dirt_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFields, match=words):
        read(fields)


def test_a_trial_reads_a_sample_for_each_program() -> None:
    read_row = reader(humaneval.READING)
    assert [one.texts for one in read_row(Row(1, {"task_id": 1, "completion": "x"}))] == [("x",)]
    assert [one.texts for one in read_row(Row(1, {"task_id": 1, "completion": ["x", "y"]}))] == [("x",), ("y",)]
