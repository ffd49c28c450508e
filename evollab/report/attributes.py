"""How attributes are called on a page, and what each is, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evollab.inert import one_line


@dataclass(frozen=True, slots=True)
class Known:
    """title: as a heading. about: what it is."""

    title: str
    about: str = ""


NUMBERS: Mapping[str, Known] = {
    "words": Known("Words", "Of the whole conversation."),
    "response_words": Known("Words of the response"),
    "tokens": Known("Tokens", "Of the whole conversation."),
    "response_tokens": Known("Tokens of the response"),
    "characters": Known("Characters", "Of the whole conversation."),
    "turns": Known("Turns", "How often the user speaks."),
    "repetition": Known("Repetition", "Share of the response in runs of 5 words that stood in it before."),
    "lexical_diversity": Known("Lexical diversity", "Different words in 50 running ones of the response."),
    "nn_similarity": Known("Similarity to the nearest row", "Cosine of the two embeddings; 1 is the same text."),
    "perplexity": Known("Perplexity", "How surprising a small model finds the response."),
    "ifd": Known(
        "IFD", "Loss on the response with the prompt over loss without it. From 1 on the prompt doesn't help."
    ),
    "ic_ifd": Known("IC-IFD", "IFD that also counts against prompts which are hard to read themselves."),
    "difficulty": Known("Difficulty", "A judge's mark, 1 to 10."),
    "quality": Known("Quality", "A judge's mark for the response, 1 to 10."),
    "pass_rate": Known("Pass rate", "Share of the target's answers that are right."),
}
"""In the order in which they are shown; others come after."""
UNSHOWN = frozenset({"cluster"})
"""Attributes that only name something."""
KINDS: Mapping[str, Known] = {
    "category": Known("Categories", "What kind of task it is, by a judge."),
    "skills": Known("Skills", "The 29 skills of the Evol-Instruct testset, by a judge; a row may need several."),
    "language": Known("Languages", "Of the prompt (ISO 639); und: can't be told."),
    "answer_format": Known("Format of the answer asked for"),
    "level": Known("Levels", "Easy: difficulty 1 to 4, medium: 5 to 7, hard: 8 to 10."),
    "safety": Known("Safety", "By a judge."),
    "tags": Known("Tags", "Given freely by a judge."),
}
FLAGS: Mapping[str, str] = {
    "has_code": "code", "has_math": "mathematics", "has_table": "a table", "has_url": "a web address",
    "refusal": "a refusal", "moralising": "moralising",
}  # fmt: skip
"""Attributes that are true or false, as "Rows with …"."""


def number_title(name: str) -> Known:
    return NUMBERS.get(name) or Known(_spelt(name))


def kind_title(name: str) -> Known:
    return KINDS.get(name) or Known(_spelt(name))


def flag_title(name: str) -> str:
    return FLAGS.get(name) or _spelt(name.removeprefix("has_")).lower()


def _spelt(name: str) -> str:
    flat = one_line(name, 40).replace("_", " ").strip()
    return flat[:1].upper() + flat[1:] or "Unnamed"


def rank(name: str, known: Mapping[str, object]) -> int:
    """The place of a name among the known ones; others come last, in their order."""
    return list(known).index(name) if name in known else len(known)
