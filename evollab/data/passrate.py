"""The pass rate: how many of a target model's answers to a row are right, by a rule where that can tell, else by a
judge.

Rows that the target always or never solves teach little; those between are where training and reinforcement learning
gain (AM-Thinking-v1, Phi-4)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evollab import rng
from evollab.data.final_answer import checkable, compare
from evollab.data.judge_parse import read_verdict
from evollab.data.judge_prompts import grade_prompt
from evollab.data.opinions import Passed
from evollab.llm import CallFailed, Model, Request, Sampling
from evollab.llm.stop import Stopped
from evollab.records import Message

ENDING = (
    "\n\nWork it out step by step. Then end with one line of this form, with nothing behind it:\nThe answer is: ..."
)
"""Put below requests whose reference ends in a number or a choice, so that a rule can read the answers.
Its first sentence is there because small models otherwise write the last line alone."""
How = Literal["rule", "judge"]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask how often, and who compares: `judge` None where only rules do. seed: what the seeds sent along are
    drawn from, None to send none. grading: tokens that a reply of the judge may have."""

    model: Model
    samples: int
    sampling: Sampling
    judge: Model | None
    grading: int
    seed: int | None


def how(turns: Sequence[Message], *, judged: bool) -> How | None:
    """How answers to a row can be graded: None without a response to compare with, or where a rule can't and there is
    no judge (`judged` False)."""
    if len(turns) < 2 or turns[-1].role != "assistant" or not turns[-1].content.strip():
        return None
    if checkable(turns[-1].content):
        return "rule"
    return "judge" if judged else None


async def pass_rate(target: Target, turns: Sequence[Message], key: str) -> Passed | None:
    """The grades of `target.samples` answers to the row, None where its answers can't be graded. Never raises for what
    a model did; an answer that can't be read is wrong. key: what the seeds depend on."""
    way = how(turns, judged=target.judge is not None)
    if way is None:
        return None
    asked = list(turns[:-1])
    if way == "rule":
        asked[-1] = replace(asked[-1], content=asked[-1].content + ENDING)
    grades = await asyncio.gather(*(_sample(target, asked, turns, number, key) for number in range(target.samples)))
    return _sum(grades)


async def _sample(target: Target, asked: Sequence[Message], turns: Sequence[Message], number: int, key: str) -> Passed:
    seed = None if target.seed is None else rng.integer(target.seed, key, "pass", number) >> 33
    request = Request(tuple(asked), None, target.sampling, seed, number, purpose="pass")
    try:
        text = (await target.model(request)).text
    except CallFailed as failure:
        if failure.kind == "truncated":  # it was asked for no more tokens than that: no answer in the room it had
            return Passed(wrong=1, none=1)
        return Passed(failed={failure.kind: 1})
    except Stopped:
        return Passed(failed={"stopped": 1})
    match compare(turns[-1].content, text):
        case "right":
            return Passed(right=1)
        case "wrong":
            return Passed(wrong=1)
        case "none":
            return Passed(wrong=1, none=1)
        case "unsure":
            return await _graded(target, turns, text)


async def _graded(target: Target, turns: Sequence[Message], text: str) -> Passed:
    """What the judge says of an answer that a rule can't grade; without a judge it is wrong."""
    if not text.strip() or target.judge is None:
        return Passed(wrong=1, none=int(not text.strip()))
    prompt = grade_prompt(turns[:-1], turns[-1].content, text)
    request = Request((Message("user", prompt),), None, Sampling(0.0, 1.0, target.grading), purpose="grade")
    try:
        verdict = read_verdict((await target.judge(request)).text)
    except CallFailed as failure:
        return Passed(judged=1, failed={failure.kind: 1})
    except Stopped:
        return Passed(failed={"stopped": 1})
    if verdict is None:
        return Passed(judged=1, unparsed=1)
    return Passed(judged=1, right=int(verdict), wrong=int(not verdict))


def _sum(grades: Sequence[Passed]) -> Passed:
    failed = Counter[str]()
    for grade in grades:
        failed.update(grade.failed or {})
    return Passed(
        right=sum(grade.right for grade in grades),
        wrong=sum(grade.wrong for grade in grades),
        none=sum(grade.none for grade in grades),
        unparsed=sum(grade.unparsed for grade in grades),
        judged=sum(grade.judged for grade in grades),
        failed=dict(sorted(failed.items())),
    )
