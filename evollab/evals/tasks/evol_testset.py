"""The Evol-Instruct test set: 218 instructions of 29 skills (Xu et al. 2023, 2304.12244)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.judging import ratio as judge_ratio
from evollab.evals.judging.asking import PROMPTS, plain, remember
from evollab.evals.judging.difficulty import number
from evollab.evals.judging.prompts import digest
from evollab.evals.judging.ratio import given
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Answer, Mark, Question, Tools, Trial

ITEMS, SKILLS = 218, 29
LEVELS = {"easy": 80, "medium": 75, "hard": 63}
"""Difficulties 1 to 4, 5 to 7, 8 to 10, and how many of each the whole set has."""
_EASY, _MEDIUM, _HARD = 4, 7, 10
_SPELT = {"Writting": "Writing"}


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(identity(row, "idx"), text(row.fields, "Instruction", "instruction"))


def question(row: Row) -> Question:
    """Facts: skill, level (easy, medium, hard), difficulty (1 to 10)."""
    skill = row.fields.get("Skill", row.fields.get("skill"))
    facts = {"skill": _SPELT.get(skill, skill)} if isinstance(skill, str) and skill else {}
    hardness = number(row.fields.get("Difficulty", row.fields.get("difficulty")))
    if hardness is not None and 1 <= hardness <= _HARD:
        level = "easy" if hardness <= _EASY else "medium" if hardness <= _MEDIUM else "hard"
        facts |= {"level": level, "difficulty": f"{hardness:g}"}
    return Question(identity(row, "idx"), (text(row.fields, "Instruction", "instruction"),), facts=facts)


async def grade(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    odd = other_set({one.question.id: one.question for one in answers}.values())
    if odd:
        remember(tools, odd)
    return await judge_ratio.grade(answers, tools)


def other_set(questions: Iterable[Question]) -> str:
    """What is wrong with a set of 218 questions that is not the published one, "" for the right one and for parts."""
    asked = list(questions)
    if len(asked) != ITEMS:
        return ""
    skills = len({one.facts.get("skill") for one in asked})
    levels = {name: sum(one.facts.get("level") == name for one in asked) for name in LEVELS}
    if (skills, levels) == (SKILLS, LEVELS):
        return ""
    return (
        f"218 questions, but of {skills} skills and {'-'.join(map(str, levels.values()))} by level; the published "
        f"set has {SKILLS} and {'-'.join(map(str, LEVELS.values()))}: this is another set"
    )


TRIAL = Trial(
    question=question,
    prompts=PROMPTS,
    grade=grade,
    grader=f"marks of both answers from 1 to 10 in both orders, own prompt {digest()}",
    sampling=plain,
    metrics=judge_ratio.metrics,
    scale=judge_ratio.SCALE,
    given=given,
    needs_judge=True,
    needs_reference=True,
    reference_files=("evol_testset_reference", "wizardlm_testset_reference"),
    expected=ITEMS,
    groups=("level", "skill", "difficulty"),
)
TASK = Task(
    name="evol_testset",
    about="218 instructions of 29 skills, with difficulties",
    licence="CC-BY-NC-4.0",
    files=("evol_testset", "wizardlm_testset", "wizardlm_testset_218"),
    texts=texts,
    home="github.com/nlpxucan/WizardLM (WizardLM/data/WizardLM_testset.jsonl)",
    trial=TRIAL,
)
