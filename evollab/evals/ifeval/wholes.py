"""combination, startend, punctuation and change_case: what concerns the response as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evollab.evals.ifeval.lengths import compared
from evollab.evals.ifeval.tongues import is_in
from evollab.evals.ifeval.words import count_capitals


def two_responses(text: str, given: Mapping[str, Any]) -> bool:
    """Two different responses parted by ******; something empty may stand at the ends alone."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def repeat_prompt(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(given["prompt_to_repeat"].strip().lower())


def end_checker(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())


def quotation(text: str, given: Mapping[str, Any]) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def no_comma(text: str, given: Mapping[str, Any]) -> bool:
    return "," not in text


def english_capital(text: str, given: Mapping[str, Any]) -> bool:
    return text.isupper() and is_in("en", text)


def english_lowercase(text: str, given: Mapping[str, Any]) -> bool:
    return text.islower() and is_in("en", text)


def capital_word_frequency(text: str, given: Mapping[str, Any]) -> bool:
    return compared(count_capitals(text), given["capital_relation"], given["capital_frequency"])


def response_language(text: str, given: Mapping[str, Any]) -> bool:
    return is_in(given["language"], text)
