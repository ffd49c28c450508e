r"""What kind of thing the right answer to a competition problem is, for tables by kind.

The kinds are those of MARIO EVAL (Zhang et al. 2024, 2404.13925): Real, Complex, Vector, Set, Interval, Matrix,
Expression, Equation, Function, Inequality, Others (words, choices, ratios).
"""

from __future__ import annotations

import re

from evollab.evals.math.normal import normal, parts
from evollab.evals.math.number import exact, without_unit

KINDS = (
    "Real", "Complex", "Vector", "Set", "Interval", "Matrix", "Expression", "Equation", "Function", "Inequality",
    "Others",
)  # fmt: skip
_COMMAND = re.compile(r"\\(?!text|overline)[a-zA-Z]+")
_LETTERS = re.compile(r"[a-zA-Z]+")
_OPEN = re.compile(r"\\infty|\\cup|\\in(?:\b|\[|\()|\\mathbb")
_RELATION = re.compile(r"\\l(?:t|e)(?![a-z])|\\g(?:t|e)(?![a-z])|\\[lg]eq|<|>")
_BASED = re.compile(r"[\dA-F]{1,40}_\{?\d{1,2}\}?")
_CURVE = re.compile(r"\s*y\s*=[^=]*x")
_LINE = re.compile(r"\s*[xy]\s*=")


def kind_of(answer: str, problem: str = "") -> str:
    """The kind of an answer; what its form leaves open (a point or an interval) is told by the problem's words."""
    form, asked = normal(answer), problem.casefold()
    if "pmatrix" in form:
        return "Matrix"
    if _CURVE.match(answer):
        return "Function"
    if "=" in form or (_LINE.match(answer) and ("equation" in asked or "asymptote" in asked)):
        return "Equation"
    split = parts(form)
    if _BASED.fullmatch(form) or (exact(answer) is not None and (split is None or "separated by comma" not in asked)):
        return "Real"
    if _RELATION.search(answer):
        return "Inequality"
    if split is not None:
        return _several(form, *split, asked)
    if _OPEN.search(form):
        return "Interval"
    return "Set" if r"\pm" in form or form.startswith(r"\{") else _single(form, answer)


def _several(form: str, brackets: str, each: list[str], asked: str) -> str:
    if brackets in {"(]", "[)"} or _OPEN.search(form):
        return "Interval"
    if not brackets:
        return "Set"
    if len(each) == 2 and (brackets == "[]" or "interval" in asked):
        return "Interval"
    return "Vector"


def _single(form: str, answer: str) -> str:
    names = set(_LETTERS.findall(_COMMAND.sub(" ", without_unit(answer))))
    if not names:
        return "Others" if ":" in form else "Real"
    if re.fullmatch("[A-Z]", form) or r"\text" in without_unit(answer) or any(len(name) > 2 for name in names):
        return "Others"
    return "Complex" if all(set(name) <= {"i"} for name in names) else "Expression"
