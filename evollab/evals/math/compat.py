r"""Verdicts as the WizardMath release's scripts give them, faults and all: `--compat wizardlm`.

Written anew after the behaviour of WizardMath/inference (gsm8k_inference.py, MATH_inference.py, util.py, grader.py).
Known faults, kept here on purpose:

    any exception while an answer is normalised makes it right: x/2, 3/x, 1/0.5, two units in \text{ }, a bare \frac
    two answers that are both None are the same
    0.5 is 50 and 50 is 0.5 (a percent rule), and a ten-thousandth more or less is the same
    GSM8K: numbers are rounded (17.6 is 18), 1,234,567 is read as 1,234 and 1e5 as 1
    without "The answer is: " an answer is wrong
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

MARKER = "The answer is: "
_NUMBER = re.compile(r"[\-+]?\d*[\.,/]?\d+")
Symbolic = Callable[[str, str], bool]
"""What sympy says of an answer and the right one (math_compat_algebra.py, in a pool)."""


def gsm8k_verdict(text: str, gold: str) -> bool | None:
    """gsm8k_inference.py on one response; None where it would have crashed."""
    try:
        right = int(gold.replace(",", ""))
        read = _rounded(text)
    except (ValueError, ArithmeticError):
        return None
    if read is None:
        return False
    return float(read) == float(right) or _close(float(read), float(right))


def _rounded(text: str) -> int | None:
    _, marker, behind = text.rpartition(MARKER)
    match = _NUMBER.search(behind.strip()) if marker else None
    if match is None:
        return None
    top, slash, below = match[0].partition("/")
    if not slash:
        value = float(match[0].replace(",", ""))
        return None if value == math.inf else round(value)
    if not (_is_number(top) and _is_number(below)):
        return None
    if below == "0":
        return round(float(top.replace(",", "")))
    fraction = Fraction(match[0].replace(",", ""))
    return round(fraction.numerator / fraction.denominator)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        try:
            unicodedata.numeric(text)
        except (TypeError, ValueError):
            return False
    return True


def math_verdict(text: str, gold: str | None, symbolic: Symbolic) -> bool:
    """MATH_inference.py on one response. gold: what the last box of the solution holds."""
    _, marker, behind = text.rpartition(MARKER)
    if not marker:
        return False
    answer = behind.partition(".\n")[0].strip()
    return is_equiv(answer.removesuffix(".").strip(), gold, symbolic)


def is_equiv(answer: str | None, gold: str | None, symbolic: Symbolic) -> bool:
    """util.py's is_equiv: what can't be normalised is compared with itself."""
    if answer is None or gold is None:
        return answer is None and gold is None
    try:
        one, other = _stripped(answer), _stripped(gold)
    except (AssertionError, IndexError, ValueError):
        return math_equal(answer, answer, symbolic) or answer == gold
    return math_equal(one, other, symbolic) or one == other


def math_equal(answer: str, gold: str, symbolic: Symbolic) -> bool:
    """grader.py's math_equal: numbers with the percent rule, then text without brackets, then algebra."""
    if (mine := _float(answer)) is not None and (right := _float(gold)) is not None:
        return _close(mine, right)
    if not answer:
        return False
    gold, answer = gold.strip(), answer.strip()
    one, other = answer, gold
    square = answer.startswith("[") and answer.endswith("]")
    round_ = answer.startswith("(") and answer.endswith(")")
    if (square and not gold.startswith("(")) or (round_ and not gold.startswith("[")):
        one, other = one.strip("[]()"), other.strip("[]()")
    without = str.maketrans("", "", "{}()")
    if one.translate(without) == other.translate(without):
        return True
    same_brackets = (square and gold.startswith("[") and gold.endswith("]")) or (
        round_ and gold.startswith("(") and gold.endswith(")")
    )
    if same_brackets:
        parts, rights = answer[1:-1].split(","), gold[1:-1].split(",")
        if len(parts) == len(rights) and all(
            math_equal(part, right_part, symbolic) for part, right_part in zip(parts, rights, strict=True)
        ):
            return True
    return symbolic(answer, gold)


def _float(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _close(mine: float, right: float) -> bool:
    return any(math.isclose(value, mine, rel_tol=1e-4) for value in (right / 100, right, right * 100))


def _stripped(text: str) -> str:
    """util.py's strip_string. Raises what that raises: AssertionError, IndexError, ValueError."""
    for old, new in (
        ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
        ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""),
    ):  # fmt: skip
        text = text.replace(old, new)
    if "\\text{ " in text:
        if text.count("\\text{ ") != 1:
            raise AssertionError
        text = text.partition("\\text{ ")[0]
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    left, _, right = text.partition("=")
    if text.count("=") == 1 and len(left) <= 2:
        text = right
    text = _fractions(_roots(text).replace(" ", ""))
    if text == "0.5":
        text = "\\frac{1}{2}"
    return _slash(text)


def _roots(text: str) -> str:
    first, *rest = text.split("\\sqrt")
    return first + "".join("\\sqrt" + (one if one[0] == "{" else f"{{{one[0]}}}{one[1:]}") for one in rest)


def _fractions(text: str) -> str:
    first, *rest = text.split("\\frac")
    done = first
    for one in rest:
        if one[0] == "{":
            done += "\\frac" + one
        elif len(one) < 2:
            return text
        else:
            done += f"\\frac{{{one[0]}}}" + (one[1:] if one[1] == "{" else f"{{{one[1]}}}{one[2:]}")
    return done


def _slash(text: str) -> str:
    if text.count("/") != 1:
        return text
    top, _, below = text.partition("/")
    a, b = int(top), int(below)
    return f"\\frac{{{a}}}{{{b}}}" if text == f"{a}/{b}" else text
