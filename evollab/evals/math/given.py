"""Outputs of maths models that were made elsewhere, as people publish them.

A row needs a response; which problem it answers is told by the problem's text, else by an id; the right answer and the
verdict that was published with it are taken where the row has them. Numbers may be numbers or texts. Known forms:

    id, prompt, response, pred, gold, result          GAIR's Abel
    text (Q: ... A: ...), pred_before, pred_after, GT  Kojima et al.
    problem or question; solution, completion, output, response ...; answer
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import Row, names
from evollab.evals.trial import Given

_RESPONSES = (
    "response", "completion", "output", "generation", "generated_text", "model_output", "model_response",
    "model_answer", "response_text", "outputs", "completions", "responses", "generations", "resps", "filtered_resps",
    "samples", "generated", "reply", "model_generation", "predicted_solution", "full_output", "code",
)  # fmt: skip
_LAST_RESORTS = (
    "pred_before", "prediction", "pred", "model_pred", "predicted_answer", "pred_answer", "solution", "answer",
)  # fmt: skip
"""A bare answer is surely the model's; a solution may be the right one, so it comes behind."""
_PROBLEMS = ("problem", "question", "instruction", "query", "input", "prompt")
_GOLDS = (
    "GT", "gold", "gold_answer", "gt", "gt_answer", "gt_ans", "ground_truth", "reference", "reference_answer", "target",
    "expected", "expected_answer", "label", "correct_answer", "final_answer", "answer", "gt_cot", "solution",
)  # fmt: skip
_IDS = ("unique_id", "id", "idx", "index", "question_id", "task_id", "doc_id", "problem_id")
_VERDICTS = (
    "result", "correct", "is_correct", "score", "accuracy", "acc", "exact_match", "is_solved", "passed", "right",
    "correctness",
)  # fmt: skip
_FACTS = {"subject": "subject", "type": "subject", "level": "level"}
_WRAPPERS = (("### Instruction:\n", "\n\n### Response:"), ("USER: ", " ASSISTANT:"))
_ASKS = re.compile(r"^(?:Question|Problem|Q):", re.MULTILINE)
_ANSWERS = re.compile(r"^(?:Answer|Solution|A):", re.MULTILINE)


def reader(gold_of: Callable[[Any], Any | None]) -> Callable[[Row], list[Given]]:
    """A reader of rows of outputs (`Trial.given`), a sample for each response in a row. gold_of: the right
    answer out of what a row says is right (a solution, an answer, a number), None where there is none in it."""

    def given(row: Row) -> list[Given]:
        """Raises BadFields for a row without a response."""
        fields = row.fields
        if isinstance(fields.get("doc"), dict):  # lm-eval's samples
            fields = {**fields["doc"], **{name: value for name, value in fields.items() if name != "doc"}}
        texts, column, problem = _responses(fields)
        golds = [name for name in _GOLDS if name != column and fields.get(name) is not None]
        gold = next((found for name in golds if (found := gold_of(fields[name])) is not None), None)
        published = _published(fields) if len(texts) == 1 else None  # of several, one verdict says nothing of each
        return [
            Given(
                None if problem else _identity(fields), problem, (text,), gold=gold, published=published,
                facts=_facts(fields),
            )
            for text in texts
        ]  # fmt: skip

    return given


def _responses(fields: dict[str, Any]) -> tuple[list[str], str, str | None]:
    """The responses, the column they were in, and the text of the problem, if the row has it."""
    problem = _problem(fields)
    talk = fields.get("text")
    if isinstance(talk, str):
        asked = _ASKS.match(talk.lstrip())
        answered = _ANSWERS.search(talk) if asked else None
        if asked and answered:
            return [talk[answered.end() :]], "text", talk[: answered.start()].lstrip()[asked.end() :].strip()
        if problem is not None or not any(name in fields for name in _RESPONSES):
            return [talk], "text", problem
    for column in (*_RESPONSES, *_LAST_RESORTS):
        if column in fields and (texts := _texts(fields[column])):
            return texts, column, problem
    if any(column in fields for column in (*_RESPONSES, *_LAST_RESORTS[:-2])):
        return [""], "", problem  # None: the model said nothing
    raise BadFields(
        f"no response: expected a field {', '.join(_RESPONSES[:4])} or the like; the row has {names(fields)}"
    )


def _texts(value: Any) -> list[str]:
    """The responses in a column: a text or a number is one, a list has one in each place (in lists of lists, lm-eval's
    `resps`, the first of each). Empty for null and for anything else; null in a list is a model that said nothing."""
    if isinstance(value, list):
        while len(value) == 1 and isinstance(value[0], list):
            value = value[0]
        firsts = [one[0] if isinstance(one, list) and one else one for one in value]
        if any(isinstance(one, (str, int, float)) for one in firsts):
            return [_text(one) for one in firsts]
        return []
    if isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return [_text(value)]
    return []


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _problem(fields: dict[str, Any]) -> str | None:
    for column in _PROBLEMS:
        value = fields.get(column)
        if not isinstance(value, str) or not value.strip():
            continue
        return _unwrapped(value) if column in ("prompt", "input", "query", "instruction") else value.strip()
    return None


def _unwrapped(prompt: str) -> str:
    """The problem in a prompt: what stands last between the marks of a known form."""
    for opening, closing in _WRAPPERS:
        _, found, behind = prompt.rpartition(opening)
        if found and closing in behind:
            return behind.partition(closing)[0].strip()
    asks = list(_ASKS.finditer(prompt))
    if asks:
        closing_at = _ANSWERS.search(prompt, asks[-1].end())
        return prompt[asks[-1].end() : closing_at.start() if closing_at else None].strip()
    return prompt.strip()


def _identity(fields: dict[str, Any]) -> str | None:
    for name in _IDS:
        value = fields.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return None


def _facts(fields: dict[str, Any]) -> dict[str, str]:
    return {
        fact: str(fields[name]).removeprefix("Level ")
        for name, fact in _FACTS.items()
        if isinstance(fields.get(name), (str, int))
    }


def _published(fields: dict[str, Any]) -> float | None:
    """The verdict that came with the row, 1 or 0; of Kojima's rows by the comparison that their script makes."""
    for name in _VERDICTS:
        value = fields.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, (bool, int, float)) and value in (0, 1):
            return float(value)
    if isinstance(fields.get("pred_after"), str) and isinstance(fields.get("GT"), str):
        return float(fields["pred_after"] == fields["GT"])
    return None
