"""MultiArith: problems in words of several steps (Roy and Roth 2015, 1608.01413), as Kojima et al. 2022 ask them."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.math.tasks import number_gold, words_trial
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Question

_ANSWERS = ("answer", "final_ans", "final_answer", "lSolutions")


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(_identity(row), _problem(row), _gold(row))


def question(row: Row) -> Question:
    return Question(_identity(row), (_problem(row),), _gold(row))


def _identity(row: Row) -> str:
    return identity(row, "iIndex", "id")


def _problem(row: Row) -> str:
    return text(row.fields, "question", "sQuestion").strip()


def _gold(row: Row) -> str:
    """The right number: a number, a text, or a list of one number, as the makers' file has it."""
    for column in _ANSWERS:
        value = row.fields.get(column)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        gold = number_gold(value)
        if gold is not None:
            return gold
    raise BadFields(f"no number in a field {', '.join(_ANSWERS)}")


TASK = Task(
    name="multiarith",
    about="600 problems in words of several steps",
    licence="none stated",
    hub=("ChilleD/MultiArith:train", "ChilleD/MultiArith:test"),
    files=("multiarith", "multi_arith"),
    texts=texts,
    trial=words_trial(question, 600),
    home="github.com/wangxr14/Algebraic-Word-Problem-Solver",
)
