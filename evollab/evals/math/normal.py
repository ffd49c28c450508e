r"""One form for answers in LaTeX that are written differently: what can be told without algebra.

After the normalisation of the MATH release (Hendrycks et al. 2021, 2103.03874) in what is left out: spaces, \left and
\right, degrees, percent and dollar signs, units in \text, a short left side (x =). Unlike it, nothing here can raise.
"""

from __future__ import annotations

import re
from itertools import pairwise

from evollab.evals.math.number import LONGEST, without_unit

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "∞": r"\infty ", "π": r"\pi ", "≤": r"\le ", "≥": r"\ge ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "≠": r"\ne ", "±": r"\pm ", "°": "", "²": "^2", "³": "^3",
    "\n": " ", "\t": " ", "~": " ", "\u202f": " ", "\xa0": " ",
})  # fmt: skip
_GONE = re.compile(
    r"\\[!,;:]|\\ |\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?|\\(?:displaystyle|limits|quad|qquad)(?![a-zA-Z])"
    r"|\^\s?\{?\s?\\circ\s?\}?|\\?[$%]"
)
_WRAPPED = re.compile(r"\\(?:text|textrm|textbf|textit|mbox|mathrm|mathbf|mathit|operatorname)\s?\{([^{}]{0,200})\}")
_ROOT = re.compile(r"\\sqrt\s*([^\s{\[\\])")
_FRACTION_ARGUMENTS = re.compile(r"\\frac\s*(?:([^\s{\\])|(\{[^{}]*\}))\s*(?:([^\s{\\])|(\{[^{}]*\}))")
_ALIKE = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\leq(?:slant)?(?![a-zA-Z])"), r"\\le "),
    (re.compile(r"\\geq(?:slant)?(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne "),
    (re.compile(r"\\(begin|end)\s?\{[bvBV]?(?:matrix|smallmatrix)\}"), r"\\\1{pmatrix}"),
    (re.compile(r"\\(?:lbrace|\{)"), r"\\{"),
    (re.compile(r"\\(?:rbrace|\})"), r"\\}"),
)
_SLASH = re.compile(r"(-?)(\d{1,100})/(\d{1,100})")
_LEFT = re.compile(r"(?:[a-zA-Z]|[a-zA-Z]\([a-zA-Z]\)|\\[a-z]{2,7})=(?=[^=]+$)")
_LETTER = re.compile(r"\(([A-Za-z])\)")
_POINT = re.compile(r"(?<![\d])\.(?=\d)")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!)\s*(?=\d{3}(?!\d))")
_WORD = re.compile(r"[a-z]{3,}")
_BRACKETS = {"(": ")", "[": "]"}


def normal(text: str) -> str:
    """`text` in the form that answers are compared in; "" where nothing is left. Longer texts than 400 characters are
    only stripped of blanks."""
    if len(text) > LONGEST:
        return "".join(text.split())
    text = text.translate(_SIGNS).strip().rstrip(".").rstrip()
    text = _THOUSANDS.sub("", without_unit(text))
    text = _GONE.sub("", text.replace("\\\\", "\x00")).replace("\x00", "\\\\")
    for pattern, to in _ALIKE:
        text = pattern.sub(to, text)
    text = _WRAPPED.sub(r"\1", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _FRACTION_ARGUMENTS.sub(lambda m: rf"\frac{m[2] or '{' + m[1] + '}'}{m[4] or '{' + m[3] + '}'}", text)
    text = "".join(text.split())
    text = _POINT.sub("0.", _LEFT.sub("", text, count=1) if text.count("=") == 1 else text)
    if match := _SLASH.fullmatch(text):
        text = rf"{match[1]}\frac{{{match[2]}}}{{{match[3]}}}"
    if match := _LETTER.fullmatch(text):
        text = match[1]
    return text.casefold() if text.isalpha() else text


def is_word(form: str) -> bool:
    """Whether a normal form is a word (Evelyn, even), which no algebra can make equal to anything else."""
    return _WORD.fullmatch(form) is not None


def parts(text: str) -> tuple[str, list[str]] | None:
    r"""The brackets and the parts of a tuple, interval or list: (1, 2) gives "()" and 1, 2; 3, 5 gives "" and 3, 5.
    None for what has no commas between brackets, and for thousands."""
    text = text.strip()
    inside, brackets = text, ""
    if len(text) > 2 and text[0] in _BRACKETS and text[-1] in ")]" and _closes_at_end(text):
        inside, brackets = text[1:-1], text[0] + text[-1]
    cuts = [-1, *_commas(inside), len(inside)]
    if len(cuts) < 3:
        return None
    return brackets, [inside[a + 1 : b].strip() for a, b in pairwise(cuts)]


def _closes_at_end(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return at == len(text) - 1
    return False


def _commas(text: str) -> list[int]:
    """Where commas stand outside of brackets and braces."""
    found, depth = [], 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            found.append(at)
    return found
