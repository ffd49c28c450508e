"""keywords: words that must, may not, or must so often be in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evollab.evals.ifeval.lengths import compared


def existence(text: str, given: Mapping[str, Any]) -> bool:
    return all(_found(word, text) for word in given["keywords"])


def frequency(text: str, given: Mapping[str, Any]) -> bool:
    """Parts of longer words count."""
    found = len(re.findall(re.escape(given["keyword"].strip()), text, re.IGNORECASE))
    return compared(found, given["relation"], given["frequency"])


def forbidden_words(text: str, given: Mapping[str, Any]) -> bool:
    """Whole words alone."""
    return not any(
        re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None for word in given["forbidden_words"]
    )


def letter_frequency(text: str, given: Mapping[str, Any]) -> bool:
    found = text.lower().count(given["letter"].strip().lower())
    return compared(found, given["let_relation"], given["let_frequency"])


def _found(word: str, text: str) -> bool:
    # Keywords are data: the reference takes them for regular expressions, which in its own data makes no difference.
    return re.search(re.escape(word), text, re.IGNORECASE) is not None
