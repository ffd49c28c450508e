"""The algebra of the WizardMath scorer (grader.py: symbolic_equal), without what it executes.

The script hands a model's text to sympy's parse_expr, which is Python's eval. Here only text that is arithmetic with
names goes there: no attributes, strings, brackets or calls but of mathematical functions. All else counts as not
parsed, as it does there nearly always. The script's parse_latex needs an antlr runtime that its instructions don't
install, so it fails, and is passed over; so here.

Runs in a worker of `math_pool.py`, under its limits.
"""

from __future__ import annotations

import builtins
import io
import math
import tokenize
from typing import Any

_CALLED = frozenset(
    "sqrt cbrt root sin cos tan cot sec csc asin acos atan acot sinh cosh tanh log ln exp Abs sign floor ceiling "
    "factorial binomial gcd lcm Rational Integer Float Max Min re im conjugate gamma abs max min pow round".split()
)
_OPERATORS = frozenset("+ - * / ** // % ( ) , = == != < > <= >= ! ^ & | ~ :".split())
_KEYWORDS = frozenset(("lambda", "for", "yield", "await", "async", "import", "exec", "del"))


def symbolic_equal(answer: str, gold: str) -> bool:
    """Whether sympy finds the difference of the two to be nothing, or their values within a thousandth."""
    from sympy import simplify

    a, b = _parsed(answer), _parsed(gold)
    try:
        if simplify(a - b) == 0:
            return True
    except Exception:  # noqa: S110 - the script goes on after whatever it was
        pass
    try:
        return math.isclose(_value(a), _value(b), rel_tol=1e-3)
    except Exception:  # as above
        return False


def _parsed(text: str) -> Any:
    """The expression, or the text itself where it is none."""
    from sympy.parsing.sympy_parser import parse_expr

    if not harmless(text):
        return text
    try:
        return parse_expr(text)
    except Exception:  # whatever it was, it is not parsed
        return text


def _value(thing: Any) -> Any:
    """The value of an expression; of a text that was not parsed, what sympy makes of it on a second try (x^2 as a
    power)."""
    from sympy import N, sympify

    if isinstance(thing, str):
        if not harmless(thing):
            raise ValueError
        return sympify(thing).evalf()
    return N(thing)


def harmless(text: str) -> bool:
    """Whether eval of what sympy makes of `text` can do nothing but arithmetic."""
    try:
        tokens = [
            token for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline)
            if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
        ]  # fmt: skip
    except (tokenize.TokenError, SyntaxError):
        return False
    for at, token in enumerate(tokens):
        behind = tokens[at + 1].string if at + 1 < len(tokens) else ""
        if token.type == tokenize.NAME:
            if "__" in token.string or token.string in _KEYWORDS or (behind == "(" and not _callable(token.string)):
                return False
        elif token.type == tokenize.OP:
            if token.string not in _OPERATORS or (token.string == ")" and behind == "("):
                return False
        elif token.type != tokenize.NUMBER and token.string != "!":  # which Python 3.11 calls an error
            return False
    return True


def _callable(name: str) -> bool:
    """Whether a call of `name` is a mathematical function, or an unknown one that stays a symbol."""
    import sympy

    return name in _CALLED or not (hasattr(sympy, name) or hasattr(builtins, name))
