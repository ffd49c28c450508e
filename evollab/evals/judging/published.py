"""MT-Bench rows made elsewhere: judgements with their scores, and answers in FastChat's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind
from evollab.evals.judging.difficulty import number
from evollab.evals.judging.games import UNPARSED
from evollab.evals.judging.parse import HIGHEST, LOWEST
from evollab.evals.judging.single import TURN
from evollab.evals.outputs import usual
from evollab.evals.trial import Given, Mark

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
_FIRST = 81
_EACH = 10
_SAID = 4000


def category(question: str) -> str:
    """MT-Bench's category of a question id: ten each from 81 on; "" for others."""
    place = (int(question) - _FIRST) // _EACH if question.isdecimal() and len(question) < 9 else -1
    return CATEGORIES[place] if 0 <= place < len(CATEGORIES) else ""


def given(row: Row) -> Given | None:
    """A judgement (question_id, score, turn, model), an answer in FastChat's form (question_id, choices of turns), or
    the usual columns. Raises BadFields."""
    fields = row.fields
    if "score" in fields and "question_id" in fields:
        return _judgement(fields)
    if "choices" in fields:
        return Given(question_of(fields), None, chosen_turns(fields["choices"]), facts=_facts(fields))
    return next(usual(row))


def _judgement(fields: Mapping[str, Any]) -> Given:
    turn = number(fields.get("turn", 1))
    if turn is None or not turn.is_integer() or turn < 1:
        raise BadFields(f"turn is {fields.get('turn')!r}; expected 1 or 2")
    score, failure = mark_of(fields["score"])
    said = fields.get("judgment")
    reason = said[-_SAID:] if isinstance(said, str) else ""
    name = f"{TURN}{int(turn)}"
    mark = Mark(score, "" if score is None else f"{score:g}", reason, failure, {name: score})
    return Given(question_of(fields), None, ("",), mark=mark, facts=_facts(fields) | {"turn": str(int(turn))})


def mark_of(value: object) -> tuple[float | None, str]:
    """A published mark; FastChat writes -1 where it could not read one. Second: what is wrong, "" for nothing."""
    found = number(value)
    if found == -1 or value is None:
        return None, UNPARSED
    if found is None or not LOWEST <= found <= HIGHEST:
        return None, "not a mark"
    return found, ""


def question_of(fields: Mapping[str, Any]) -> str:
    """81, "81" and 81.0 are one question."""
    found = number(fields.get("question_id"))
    if found is not None and found.is_integer():
        return str(int(found))
    if isinstance(fields.get("question_id"), str):
        return str(fields["question_id"])
    raise BadFields(f"question_id is {kind(fields.get('question_id'))}; expected a number or a text")


def _facts(fields: Mapping[str, Any]) -> dict[str, str]:
    judge = fields.get("judge")
    told = {
        "model": fields.get("model", fields.get("model_id")),
        "category": category(question_of(fields)),
        "judge": judge[0] if isinstance(judge, list) and judge else judge,
    }
    return {name: str(value) for name, value in told.items() if isinstance(value, str) and value}


def chosen_turns(choices: Any) -> tuple[str, ...]:
    """The turns of the first choice in FastChat's form. Raises BadFields."""
    first = choices[0] if isinstance(choices, list) and choices else None
    turns = first.get("turns") if isinstance(first, dict) else None
    if isinstance(turns, str):
        return (turns,)
    if not isinstance(turns, list) or not turns or not all(isinstance(one, str) for one in turns):
        raise BadFields("choices: expected a list with an object with turns, a list of texts, in it")
    return tuple(turns)
