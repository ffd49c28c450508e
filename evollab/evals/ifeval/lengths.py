"""length_constraints: words, sentences, paragraphs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evollab.evals.ifeval.words import count_sentences, count_words

LESS = "less than"
AT_LEAST = "at least"
_RULER = re.compile(r"\s?\*\*\*\s?")


def compared(found: int, relation: str, wanted: int) -> bool:
    """Whether a count stands in the relation that an instruction wants ("less than", "at least")."""
    return found < wanted if relation == LESS else found >= wanted


def number_words(text: str, given: Mapping[str, Any]) -> bool:
    return compared(count_words(text), given["relation"], given["num_words"])


def number_sentences(text: str, given: Mapping[str, Any]) -> bool:
    return compared(count_sentences(text), given["relation"], given["num_sentences"])


def number_paragraphs(text: str, given: Mapping[str, Any]) -> bool:
    """Paragraphs parted by ***; an empty one may stand at the ends alone."""
    parts = [bool(part.strip()) for part in _RULER.split(text)]
    return all(parts[1:-1]) and sum(parts) == given["num_paragraphs"]


def nth_paragraph_first_word(text: str, given: Mapping[str, Any]) -> bool:
    """So many paragraphs parted by an empty line, and the nth begins with this word."""
    paragraphs = text.split("\n\n")
    count = sum(bool(part.strip()) for part in paragraphs)
    nth = given["nth_paragraph"]
    if not 1 <= nth <= count or count != given["num_paragraphs"]:
        return False
    # The nth counts empty parts, too, though their number doesn't: so the reference has it.
    words = paragraphs[nth - 1].split()
    if not words:
        return False
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return first.lower() == str(given["first_word"]).lower()
