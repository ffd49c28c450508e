"""Win rates against a baseline's answers: AlpacaEval 1 (Li et al. 2023) and 2 (Dubois et al. 2024, 2404.04475).

A published annotation holds a preference from 1 (the baseline's answer, output_1) to 2 (the model's, output_2).
AlpacaEval 1 writes 0 or 1.5 for a draw, AlpacaEval 2 any number between, from the judge's log-probabilities. Rows
without one are left out and counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from evollab.data.rows import Row
from evollab.evals.judging.asking import judge_of, remember
from evollab.evals.judging.bias import bias_of, length
from evollab.evals.judging.difficulty import COLUMN, Difficulties, named, number
from evollab.evals.judging.figures import percent
from evollab.evals.judging.games import Games, choices
from evollab.evals.judging.length import Compared, length_controlled
from evollab.evals.judging.ratio import constant, match_of
from evollab.evals.metric import Metric
from evollab.evals.outputs import usual
from evollab.evals.trial import Answer, Given, Mark, Marked, Tools
from evollab.records import EvolError

OWN, OTHER = "characters", "characters of the baseline"
_DRAWS = 200
_SAID = 4000
_TAIL = 0.025


async def grade(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    """1 won, 0.5 tie, 0 lost against the reference's answer, both orders (see `judge_games`)."""
    judge = judge_of(tools)
    if not tools.reference:
        raise EvolError("alpacaeval compares with a baseline's answers", "--reference alpacaeval=FILE")
    there = [one for one in answers if tools.reference.get(one.question.id)]
    matches = [match_of(one, tools.reference[one.question.id]) for one in there]
    games = await choices(matches, judge)
    lengths = [(length(one.first), length(one.second)) for one in matches]
    tools.facts["judge"] = bias_of(games, lengths).told()
    note = constant([one.texts for one in answers])
    if note:
        remember(tools, note)
    marks = {id(one): _mark(game, own, other) for one, game, (own, other) in zip(there, games, lengths, strict=True)}
    return [marks.get(id(one), Mark(None, failure="no answer of the reference")) for one in answers]


def _mark(games: Games, own: int, other: int) -> Mark:
    said = "\n\n".join(reply[-_SAID:] for reply in games.said if reply is not None)
    told = f"{games.forward or '-'}, {games.backward or '-'}"
    return Mark(games.score, told, said, games.failure, {OWN: float(own), OTHER: float(other)})


def given(row: Row) -> Given | None:
    """A published annotation (instruction, output_2, preference), or an answer in the usual columns. Raises
    BadFields."""
    fields = row.fields
    if "preference" not in fields:
        return next(usual(row))
    score, failure = preference(fields["preference"])
    more = {
        name: float(len(text))
        for name, column in ((OWN, "output_2"), (OTHER, "output_1"))
        if isinstance(text := fields.get(column), str)
    }
    asked, text = fields.get("instruction"), fields.get("output_2")
    return Given(
        None,
        asked if isinstance(asked, str) else str(row.number),
        (text if isinstance(text, str) else "",),
        mark=Mark(score, failure=failure, more=more),
        facts=_facts(fields),
    )


def _facts(fields: dict[str, Any]) -> dict[str, str]:
    wanted = {
        "model": "generator_2", "baseline": "generator_1", "annotator": "annotator", "dataset": "dataset",
        "difficulty": COLUMN,
    }  # fmt: skip
    return {name: str(fields[column]) for name, column in wanted.items() if fields.get(column) not in (None, "")}


def preference(value: object) -> tuple[float | None, str]:
    """A published preference as a score from 0 to 1, and the class of what is wrong with it, "" for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
        return None, "no preference"
    found = number(value)
    if found == 0:
        return 0.5, ""  # how AlpacaEval 1 writes a draw
    if found is None or not 1 <= found <= 2:
        return None, "not a preference"
    return found - 1, ""


def metrics(marked: Sequence[Marked]) -> list[Metric]:
    """The win rate first, draws half; then the length-controlled one where the lengths of both answers are known; then
    each model's win rate, where annotations are of several."""
    found = [_win_rate("win rate", marked)]
    controlled = _controlled(marked)
    if controlled is not None:
        found.append(controlled)
    models = dict.fromkeys(one.given.facts.get("model", "") for one, _ in marked if one.given is not None)
    if len(models) > 1:
        for model in models:
            own = [pair for pair in marked if pair[0].given and pair[0].given.facts.get("model", "") == model]
            found.append(_win_rate(f"{model}: win rate", own))
    return found


def _win_rate(name: str, marked: Sequence[Marked]) -> Metric:
    scores = [(mark.score, answer.question.id) for answer, mark in marked if mark.score is not None]
    values = [score for score, _ in scores]
    metric = percent(name, values, [question for _, question in scores])
    if values:  # summed exactly: published rates are equal to the last digit
        metric = dataclasses.replace(metric, value=100 * (math.fsum(values) / len(values)))
    metric.facts.update(
        wins=sum(value > 0.5 for value in values),
        draws=sum(value == 0.5 for value in values),
        losses=sum(value < 0.5 for value in values),
        rows=len(values),
    )
    texts = Counter(answer.texts for answer, _ in marked)
    if len(marked) > 1 and len(texts) == 1 and any(next(iter(texts))):
        metric.facts["warning"] = constant(list(texts.elements()))
    return metric


def _controlled(marked: Sequence[Marked]) -> Metric | None:
    table = named()
    rows = [row for answer, mark in marked if mark.score is not None and (row := _compared(answer, mark, table))]
    if len(rows) < sum(mark.score is not None for _, mark in marked):
        return None
    result = length_controlled(rows, table.gamed, draws=_DRAWS)
    if result is None:
        return None
    low, high, method = _interval(sorted(result.samples))
    name = {"minimal": "length-controlled, minimal", "difficulty": "length-controlled, difficulty"}
    return Metric(
        name=name.get(result.way, "length-controlled win rate"), value=100 * result.rate, low=low, high=high,
        n=len(rows), method=method,
        facts={
            "strength": result.strength, **{f"weight of {term}": value for term, value in result.weights.items()},
            "mean characters": sum(row.own for row in rows) / len(rows),
            "mean characters of the baseline": sum(row.other for row in rows) / len(rows),
            **({"difficulties": table.file} if table.file and result.way != "minimal" else {}),
        },
    )  # fmt: skip


def _interval(rates: Sequence[float]) -> tuple[float | None, float | None, str]:
    """Percentiles of the draws, in percent."""
    low, high = rates[int(_TAIL * len(rates))], rates[int((1 - _TAIL) * len(rates)) - 1]
    if low == high:
        return None, None, "none: the data are too few or too even for the penalty to let go of the model's weight"
    return 100 * low, 100 * high, f"bootstrap over questions, {_DRAWS} refits"


def _compared(answer: Answer, mark: Mark, table: Difficulties) -> Compared | None:
    question, gold = answer.question, answer.question.gold
    own = mark.more.get(OWN)
    other = mark.more.get(OTHER)
    facts = answer.given.facts if answer.given is not None else {}
    if other is None and isinstance(gold, dict) and gold.get("generator") == facts.get("baseline"):
        other = float(len(gold["output"]))  # annotations that hold the model's answer alone
    if mark.score is None or own is None or other is None:
        return None
    difficulty = number(facts.get("difficulty") or question.facts.get("difficulty"))
    if difficulty is None:
        difficulty = table.of(question.id, question.turns[0])
    return Compared(mark.score, int(own), int(other), difficulty)
