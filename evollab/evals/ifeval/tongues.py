"""language: which language a response is in.

The reference asks langdetect, without a seed, so that its verdict on a short text is left to chance. Ours asks it with
one. Without the package (extra `evals`) py3langid stands in, which saw another language in 6 of 541 published
responses, and the result says so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections import Counter

from evollab.data.language import UNKNOWN, language_of
from evollab.records import EvolError

_LETTER = re.compile(r"[^\W\d_]")
_PIECE = 300
"""Characters that py3langid looks at together."""
_PIECES = 8


def language_detector() -> str:
    """What tells languages here, for the result. Raises EvolError without either package."""
    name = next((one for one in ("langdetect", "py3langid") if importlib.util.find_spec(one) is not None), None)
    if name is None:
        raise EvolError(
            "IFEval has to tell languages, and neither langdetect nor py3langid is installed",
            "pip install 'evollab[evals]'",
        )
    return f"{name} {importlib.metadata.version(name)}"


def is_in(language: str, text: str) -> bool:
    """Whether a response is in this language (ISO 639-1). True where nothing can be told of a
    text, as in the reference. Raises EvolError where neither langdetect nor py3langid is installed."""
    if _LETTER.search(text) is None:
        return True
    if importlib.util.find_spec("langdetect") is None:
        return by_pieces(text) == language
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text)) == language
    except LangDetectException:
        return True


def by_pieces(text: str) -> str:
    """The language of most parts of a text by py3langid (up to eight are looked at); "und" where none can be told."""
    text = " ".join(text.lower().split())  # capitals are no language of their own
    step = max(_PIECE, len(text) // _PIECES)
    found = Counter[str]()
    for at in range(0, max(len(text) - _PIECE // 2, 1), step):
        piece = text[at : at + _PIECE]
        code = language_of(piece)
        if code != UNKNOWN:
            found[code] += len(piece)
    return found.most_common(1)[0][0] if found else UNKNOWN
