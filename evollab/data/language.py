"""The language that a row is written in, as an ISO 639-1 code (639-3 where there is none), "und" when it can't be told.

By py3langid (naive Bayes over byte n-grams, 139 languages, one file of 4.5 MB, offline): it told 60 of 60 sentences
in 20 languages where stop words told 32. Short English orders alone are too little for any such method ("Name 6
different polygons."), so where the prompt is not clear, its response is looked at, too.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import Any

from evollab.records import EvolError

UNKNOWN = "und"
NO_LANGUAGE = "zxx"
"""What py3langid calls a text without language: letters at random, numbers."""
_CLEAR = 0.6
"""From this confidence on a prompt is believed alone."""
_LEAST = 0.25
_LOOK_AT = 300
"""Characters: more of them change no answer and cost time."""
_NO_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[a-zA-Z/][^<>\n]{0,200}>|\\[a-zA-Z]+", re.DOTALL)


def language_of(prompt: str, response: str = "") -> str:
    """The language of a prompt, or where that is not clear, of both. Raises EvolError without py3langid."""
    identifier = _identifier()
    asked = _prose(prompt)
    code, confidence = identifier.classify(asked)
    if confidence < _CLEAR and (answered := _prose(response)):
        together, clearer = identifier.classify(f"{asked}\n{answered}")
        # A translation's response may be clearer than its prompt: then the prompt's own guess stays, if it is one.
        if clearer > confidence or confidence < _LEAST:
            code, confidence = together, clearer
    return str(code) if confidence >= _LEAST and code != NO_LANGUAGE else UNKNOWN


def _prose(text: str) -> str:
    """The beginning of a text without code, markup and addresses."""
    text = text[: 4 * _LOOK_AT]
    if any(sign in text for sign in "`<\\") or "http" in text:
        text = _NO_PROSE.sub(" ", text)
    return text[:_LOOK_AT]


@cache
def _identifier() -> Any:
    if importlib.util.find_spec("py3langid") is None:
        raise EvolError(
            "the attribute language needs py3langid, which is not installed",
            "pip install 'evollab[data]', or name other attributes with --attributes",
        )
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
