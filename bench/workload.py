"""The job that every client gets: seed files, and the prompts that evollab itself sends."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

_VERBS = ("Write", "Describe", "Explain", "List", "Compare", "Translate", "Summarise", "Classify", "Suggest", "Plan")
_STYLES = (
    "short",
    "formal",
    "cheerful",
    "detailed",
    "simple",
    "persuasive",
    "technical",
    "poetic",
    "neutral",
    "friendly",
)
_FORMS = (
    "story",
    "email",
    "paragraph",
    "recipe",
    "timetable",
    "slogan",
    "poem",
    "review",
    "letter",
    "dialogue",
    "outline",
)
_ABOUT = (
    "a lost umbrella", "renewable energy", "the water cycle", "a job interview", "two prime numbers", "a broken laptop",
    "healthy breakfasts", "city cycling", "remote work", "a sorting algorithm", "a garden in winter", "saving money",
    "a customer complaint", "the human heart", "a visit to a museum", "the history of chess",
)  # fmt: skip
_INPUTS = (
    "", "", "", "Numbers: 4, 8, 15, 16, 23, 42.", "Readers: ten-year-old pupils.",
    "Text: the cat sat by the window and looked at the rain for an hour.",
)  # fmt: skip


def seeds(path: Path, count: int) -> Path:
    """`count` distinct instructions as Alpaca-like JSON lines; the same ones every time."""
    if not path.exists():
        draw = random.Random(7)
        part = path.with_name(path.name + ".part")
        with open(part, "w") as file:
            for number in range(count):
                text = (
                    f"{draw.choice(_VERBS)} a {draw.choice(_STYLES)} {draw.choice(_FORMS)} about {draw.choice(_ABOUT)} "
                    f"and {draw.choice(_ABOUT)} for case {number}."
                )
                row = {"id": number, "instruction": text, "input": draw.choice(_INPUTS), "output": ""}
                file.write(json.dumps(row) + "\n")
        os.replace(part, path)
    return path


def prompts(path: Path) -> Path:
    """The evolving prompts and the judge's, as evollab renders them, for clients that need a copy.

    {"evolve": [text with {{instruction}}, ...], "judge": text with {{first}} and {{second}}}
    """
    from evollab.evolve.domains.general import DOMAIN
    from evollab.evolve.gain import JUDGE_PROMPT
    from evollab.evolve.operation import fill

    evolve: list[str] = []
    for operation in DOMAIN.operations:
        form = operation.formats[0] if operation.formats else None
        parts = {"format": form.name, "before": form.before, "after": form.after} if form else {}
        slots = {"instruction": "{{instruction}}", "context": "", "budget": "10 to 20 words"}
        evolve.append(fill(operation.prompt, **slots, **parts))
    path.write_text(json.dumps({"evolve": evolve, "judge": JUDGE_PROMPT}))
    return path
