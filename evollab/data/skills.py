"""The labels that a judge chooses from: kinds of task, skills, kinds of harm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CATEGORIES: Mapping[str, str] = {
    "writing": "a new text: story, letter, essay, advertisement",
    "editing": "a given text made over: corrected, shortened, summed up, translated",
    "extraction": "something found, sorted or labelled in given text or data",
    "coding": "programs, queries, markup, and what is wrong with them",
    "maths": "calculating, solving, proving",
    "reasoning": "puzzles, logic, cause and effect, what would happen if",
    "science": "knowledge of nature, technology, medicine",
    "humanities": "knowledge of history, law, society, the arts",
    "advice": "what somebody should do, or how",
    "planning": "schedules, strategies, the steps to a goal",
    "brainstorming": "many ideas, names or examples",
    "roleplay": "a part to play, a scene to act",
    "chat": "small talk, opinions, questions about the assistant",
}
"""Kinds of task, each with what it holds. The eight of MT-Bench (2306.05685) are among them, STEM as science."""

SKILLS = (
    "Math", "Code Generation", "Writing", "Computer Science", "Reasoning", "Complex Format", "Code Debug",
    "Common-Sense", "Counterfactual", "Multilingual", "Roleplay", "Biology", "Technology", "Ethics", "TruthfulQA",
    "Sport", "Law", "Medicine", "Literature", "Entertainment", "Art", "Music", "Economy", "Physics", "Toxicity",
    "History", "Academic Writing", "Chemistry", "Philosophy",
)  # fmt: skip
"""The 29 skills of the Evol-Instruct testset (2304.12244), most frequent first, by the names it uses; "Writting"
there is Writing here."""

SKILL_WORDS: Mapping[str, str] = {
    "Complex Format": "an intricate layout asked for",
    "Counterfactual": "a world where something were otherwise",
    "TruthfulQA": "resisting a common misbelief",
    "Toxicity": "handling hateful or abusive matter",
}
"""What those are whose names don't say it."""

HARMS = (
    "violence", "weapons", "self-harm", "sexual", "minors", "hate", "harassment", "crime", "drugs", "hacking", "fraud",
    "privacy", "misinformation", "other",
)  # fmt: skip
"""Kinds of what is borderline or unsafe."""
SAFETY = ("safe", "borderline", "unsafe")
LEVELS = {"easy": (1, 4), "medium": (5, 7), "hard": (8, 10)}
"""Levels of difficulty, both ends included."""

_SPELLINGS = {
    "math": "maths", "mathematics": "maths", "code": "coding", "programming": "coding", "logic": "reasoning",
    "stem": "science", "extract": "extraction", "classification": "extraction", "summarisation": "editing",
    "summarization": "editing", "translation": "editing", "rewriting": "editing", "roleplaying": "roleplay",
}  # fmt: skip
_SKILL_SPELLINGS = {
    "maths": "Math", "mathematics": "Math", "writting": "Writing", "codedebugging": "Code Debug",
    "debugging": "Code Debug", "coding": "Code Generation", "programming": "Code Generation", "sports": "Sport",
    "economics": "Economy", "logic": "Reasoning", "truthful": "TruthfulQA",
}  # fmt: skip


def plain(name: str) -> str:
    """A name without case and without all but its letters: how names are compared."""
    return re.sub(r"[^a-z]", "", name.casefold())


def known(names: Iterable[str], spellings: Mapping[str, str]) -> Mapping[str, str]:
    return {**spellings, **{plain(name): name for name in names}}


CATEGORY_NAMES = known(CATEGORIES, _SPELLINGS)
SKILL_NAMES = known(SKILLS, _SKILL_SPELLINGS)
HARM_NAMES = known(HARMS, {})


def level(difficulty: int) -> str:
    """The level of a difficulty from 1 to 10."""
    return next(name for name, (low, high) in LEVELS.items() if low <= difficulty <= high)
