"""The score of a model as a share of a reference model's: sum of its marks / sum of the reference's (WizardLM, Xu et
al. 2023, 2304.12244; Vicuna, Chiang et al. 2023). Each answer gets marks in both orders, averaged."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.data.rows import Row
from evollab.evals.judging.asking import judge_of, remember
from evollab.evals.judging.bias import bias_of, length
from evollab.evals.judging.figures import percent, points, ratio
from evollab.evals.judging.games import Games, Match, scored
from evollab.evals.judging.published import chosen_turns, question_of
from evollab.evals.metric import Metric
from evollab.evals.outputs import usual
from evollab.evals.trial import Answer, Given, Mark, Marked, Tools
from evollab.records import EvolError

OWN, REFERENCE, RESULT = "own", "reference", "result"
SCALE = 10.0
_SAID = 4000


def given(row: Row) -> Given | None:
    """An answer in FastChat's form (choices of turns), or in the usual columns. Raises BadFields."""
    fields = row.fields
    if "choices" not in fields:
        return next(usual(row))
    model = fields.get("model_id")
    return Given(
        question_of(fields), None, chosen_turns(fields["choices"]), facts={"model": str(model)} if model else {}
    )


async def grade(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    """`Mark.more`: own and the reference's mean mark, and the result (1 won, 0.5 tie, 0 lost; a tie where the two
    orders disagree). Answers whose question the reference has not answered get no mark, and are counted."""
    judge = judge_of(tools)
    if not tools.reference:
        raise EvolError("this benchmark compares with a reference model's answers", "--reference FILE")
    there = [one for one in answers if tools.reference.get(one.question.id)]
    matches = [match_of(one, tools.reference[one.question.id]) for one in there]
    games = await scored(matches, judge)
    told = dict(zip(map(id, there), games, strict=True))
    bias = bias_of(games, [(length(one.first), length(one.second)) for one in matches])
    tools.facts["judge"] = bias.told()
    _identical(answers, tools)
    return [
        _mark(told[id(one)]) if id(one) in told else Mark(None, failure="no answer of the reference") for one in answers
    ]


def match_of(answer: Answer, reference: tuple[str, ...]) -> Match:
    """The answer against the reference model's. What the question itself says is right is shown to the judge."""
    turns = min(len(answer.question.turns), len(answer.texts), len(reference))
    gold = answer.question.gold
    right = gold.get("reference") if isinstance(gold, dict) else None
    return Match(answer.question.turns[:turns], answer.texts[:turns], reference[:turns], tuple(right or ())[:turns])


def _identical(answers: Sequence[Answer], tools: Tools) -> None:
    note = constant([one.texts for one in answers])
    if note:
        remember(tools, note)


def constant(texts: Sequence[tuple[str, ...]]) -> str:
    """What to say where all answers are the same text, which no honest model gives; "" where they aren't."""
    if len(texts) > 1 and len(set(texts)) == 1:
        return (
            f"all {len(texts):,} answers are the same text: it was written for the judge, not for the questions "
            "(Zheng et al. 2024, 2410.07137), and its score means nothing"
        )
    return ""


def _mark(games: Games) -> Mark:
    said = "\n\n".join(
        f"{order}: {reply[-_SAID:]}"
        for order, reply in zip(("shown first", "shown second"), games.said, strict=True)
        if reply is not None
    )
    if games.means is None:
        return Mark(None, reason=said, failure=games.failure)
    own, other = games.means
    extracted = ", ".join(f"{one:g} : {two:g}" for one, two in games.marks)
    return Mark(own, extracted, said, more={OWN: own, REFERENCE: other, RESULT: games.score})


def metrics(marked: Sequence[Marked]) -> list[Metric]:
    """The ratio first; then the mean marks of both, and the rate of wins with ties half."""
    rows = [
        (answer.question.id, mark.more[OWN] or 0.0, mark.more[REFERENCE] or 0.0, mark.more[RESULT])
        for answer, mark in marked
        if mark.score is not None and OWN in mark.more
    ]
    clusters = [question for question, _, _, _ in rows]
    own, other = [one for _, one, _, _ in rows], [two for _, _, two, _ in rows]
    results = [result for _, _, _, result in rows if result is not None]
    won = percent("wins, ties half", results, clusters)
    won.facts.update(win=results.count(1.0), tie=results.count(0.5), loss=results.count(0.0))
    return [
        ratio("score / reference", own, other, clusters),
        points("own score", own, clusters),
        points("reference's score", other, clusters),
        won,
    ]
