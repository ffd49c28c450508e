"""A small benchmark of our own, as users write theirs: `evol eval MODEL tests/eval_task.py`."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, text
from evollab.evals.trial import Answer, JudgePrompt, Mark, Prompt, Question, Tools, Trial
from evollab.llm import Sampling
from evollab.records import Message


def question(row: Row) -> Question | None:
    if row.fields.get("skip"):
        return None
    facts = {"continent": str(row.fields.get("continent", "none"))}
    return Question(str(row.number), (text(row.fields, "country"),), text(row.fields, "capital"), facts)


async def grade(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    tools.facts["graded by"] = "equality"
    marks = []
    for answer in answers:
        said = answer.texts[-1].strip()
        if not said:
            marks.append(Mark(0.0, failure="no answer"))
        else:
            right = float(said == answer.question.gold)
            marks.append(Mark(right, said, "the same" if right else "another", more={"lower": float(said.islower())}))
    return marks


async def judged(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    assert tools.judge is not None
    prompts = [JudgePrompt((Message("user", f"judge: {one.texts[-1]} or {one.question.gold}?"),)) for one in answers]
    replies = await tools.judge(prompts)
    return [Mark(None, failure="unparsed") if reply not in ("0", "1") else Mark(float(reply)) for reply in replies]


def ask(asked: Question, said: Sequence[str]) -> tuple[Message, ...]:
    return (Message("user", f"The capital of {asked.turns[0]}?"),)


def plain(asked: Question, said: Sequence[str]) -> str:
    return f"Country: {asked.turns[0]}\nCapital:"


TRIAL = Trial(
    question=question,
    prompts={"chat": Prompt("a question", ask), "plain": Prompt("a text to go on with", plain, ("\n",))},
    grade=grade,
    grader="equality 1",
    sampling=lambda asked: Sampling(0.0, 1.0, 16),
    expected=6,
    groups=("continent",),
)
TASK = Task(
    name="capitals",
    about="six capitals",
    licence="Apache-2.0",
    files=("capitals",),
    texts=lambda row: BenchmarkItem(str(row.number), text(row.fields, "country")),
    trial=TRIAL,
)
