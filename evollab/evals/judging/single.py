"""Single grading: a mark from 1 to 10 for each turn of an answer (MT-Bench, Zheng et al. 2023, 2306.05685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evollab.evals.judging.asking import judge_of
from evollab.evals.judging.figures import points
from evollab.evals.judging.games import FAILED, UNPARSED
from evollab.evals.judging.parse import read_rating
from evollab.evals.judging.prompts import asked, single_prompt
from evollab.evals.metric import Metric
from evollab.evals.trial import Answer, JudgePrompt, Mark, Marked, Tools

TURN = "turn "
SCALE = 10.0
_SAID = 4000


async def grade(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    """A mark for each turn, "turn 1" and "turn 2" in `Mark.more`; the score is their mean. A turn whose verdict can't
    be read, or whose call failed, has None and no part in the mean."""
    judge = judge_of(tools)
    prompts = [
        JudgePrompt(asked(single_prompt(one.question.turns[: at + 1], one.texts[: at + 1], reference_of(one, tools))))
        for one in answers
        for at in range(_turns(one))
    ]
    replies = iter(await judge(prompts))
    return [_mark([next(replies) for _ in range(_turns(one))]) for one in answers]


def _turns(answer: Answer) -> int:
    return min(len(answer.question.turns), len(answer.texts))


def reference_of(answer: Answer, tools: Tools) -> tuple[str, ...]:
    """What is right: of the file of reference answers, else what the question itself holds; () for neither."""
    found = tools.reference.get(answer.question.id)
    if found:
        return found
    gold = answer.question.gold
    given = gold.get("reference") if isinstance(gold, Mapping) else None
    return tuple(given) if isinstance(given, (list, tuple)) else ()


def _mark(replies: Sequence[str | None]) -> Mark:
    read = [None if reply is None else read_rating(reply) for reply in replies]
    more = {f"{TURN}{at + 1}": value for at, value in enumerate(read)}
    known = [value for value in read if value is not None]
    failure = FAILED if None in replies else UNPARSED if None in read else ""
    told = "\n\n".join(f"turn {at + 1}: {reply[-_SAID:]}" for at, reply in enumerate(replies) if reply is not None)
    extracted = ", ".join("-" if value is None else f"{value:g}" for value in read)
    return Mark(sum(known) / len(known) if known else None, extracted, told, failure, more)


def metrics(marked: Sequence[Marked]) -> list[Metric]:
    """The mean over all turns first, then each turn; where rows are of several models, each model's mean and turns.
    In points, with a bootstrap over the questions: the turns of one question are not drawn apart."""
    models = list(dict.fromkeys(model for answer, _ in marked if (model := model_of(answer))))
    found = _means("score", marked)
    if len(models) > 1:
        for model in models:
            found += _means(f"{model}: score", [one for one in marked if model_of(one[0]) == model], f"{model}: ")
    return found


def _means(name: str, marked: Sequence[Marked], before: str = "") -> list[Metric]:
    turns: dict[str, list[tuple[float, str]]] = {}
    lost = 0
    for answer, mark in marked:
        lost += mark.score is None and not mark.more
        for turn, value in mark.more.items():
            if not turn.startswith(TURN):
                continue
            if value is None:
                lost += 1
            else:
                turns.setdefault(turn, []).append((value, answer.question.id))
    every = [pair for pairs in turns.values() for pair in pairs]
    found = [_points(name, every, lost)]
    if len(turns) > 1:
        found += [_points(f"{before}{turn}", turns[turn], None) for turn in sorted(turns)]
    return found


def _points(name: str, pairs: Sequence[tuple[float, str]], lost: int | None) -> Metric:
    metric = points(name, [value for value, _ in pairs], [question for _, question in pairs])
    metric.facts["marks"] = len(pairs)
    if lost is not None:
        metric.facts["without a mark"] = lost
    return metric


def model_of(answer: Answer) -> str:
    """Whose answer a row of judgements is of, "" where it doesn't say."""
    return answer.given.facts.get("model", "") if answer.given is not None else ""
