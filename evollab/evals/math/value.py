r"""The value of a formula at one point, so that two which differ are told apart without algebra.

Reads what most answers are made of: numbers, \pi, i, one-letter names, + - * / ^, \frac, \sqrt, brackets. Each name has
a fixed positive value, the same in every formula. Formulas that are the same have the same value; so another value
means that they are not, and nothing more is concluded from it. A parser of its own: nothing is executed.
"""

from __future__ import annotations

import math
import re
import string

_SIGN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[a-zA-Z]+|[a-zA-Z]|[-+*/^(){}\[\]]")
_DEPTH = 60
_DIGITS = string.digits + "."
_TIMES = ("*", "\\cdot", "\\times")
_STARTS = re.compile(r"[\d.a-zA-Z({]|\\(?:frac|sqrt|pi)")
_POINTS = {name: 1.1 + 0.9 * math.modf(math.sqrt(2) * (at + 3) ** 2)[0] for at, name in enumerate(string.ascii_letters)}
_CLOSE = 1e-6


def differ(form: str, other: str) -> bool:
    """Whether two normal forms certainly have different values; False where either can't be read."""
    a = value(form)
    b = None if a is None else value(other)
    return a is not None and b is not None and abs(a - b) > _CLOSE * max(1.0, abs(a), abs(b))


def value(form: str) -> complex | None:
    """The value of a normal form (math_normal.normal); None for what can't be read, and for no finite value."""
    signs = _SIGN.findall(form)
    if not signs or "".join(signs) != form:
        return None
    try:
        reader = _Reader(signs)
        found = reader.sum(0)
    except (_NoFormula, ArithmeticError, ValueError):
        return None
    finite = math.isfinite(found.real) and math.isfinite(found.imag)
    return found if finite and reader.at == len(reader.signs) else None


class _NoFormula(Exception):
    pass


class _Reader:
    """Recursive descent over signs. Raises _NoFormula where they are no formula, ArithmeticError without a value."""

    def __init__(self, signs: list[str]) -> None:
        self.signs = signs
        self.parted = -1
        """Where the rest of a number stands of which an argument took the first digit."""
        self.at = 0

    def _peek(self) -> str:
        return self.signs[self.at] if self.at < len(self.signs) else ""

    def _take(self, wanted: str = "") -> str:
        sign = self._peek()
        if not sign or (wanted and sign != wanted):
            raise _NoFormula
        self.at += 1
        return sign

    def sum(self, depth: int) -> complex:
        if depth > _DEPTH:
            raise _NoFormula
        total = self._product(depth)
        while self._peek() in ("+", "-"):
            side = 1 if self._take() == "+" else -1
            total += side * self._product(depth)
        return total

    def _product(self, depth: int) -> complex:
        if self._peek() in ("+", "-"):
            return (1 if self._take() == "+" else -1) * self._product(depth + 1)
        product = self._power(depth)
        while sign := self._peek():
            if sign in _TIMES:
                self._take()
                product *= self._power(depth)
            elif sign == "/":
                self._take()
                product /= self._power(depth)
            elif _STARTS.match(sign):
                if sign == "\\frac" and self.signs[self.at - 1][-1].isdigit():
                    raise _NoFormula  # a mixed number, or a product?
                if sign[0] in _DIGITS and self.signs[self.at - 1][-1] in _DIGITS and self.at != self.parted:
                    raise _NoFormula
                product *= self._power(depth)
            else:
                break
        return product

    def _power(self, depth: int) -> complex:
        if self._peek() == "-":
            self._take()
            return -self._power(depth + 1)
        base = self._one(depth)
        if self._peek() == "^":
            self._take()
            exponent = self._argument(depth)
            if abs(exponent) > 200:
                raise _NoFormula
            return complex(base**exponent)
        return base

    def _one(self, depth: int) -> complex:
        sign = self._take()
        if sign[0].isdigit() or sign[0] == ".":
            return complex(float(sign))
        if sign in ("(", "{"):
            inside = self.sum(depth + 1)
            self._take(")" if sign == "(" else "}")
            return inside
        if sign == "\\frac":
            top = self._argument(depth)
            return top / self._argument(depth)
        if sign == "\\sqrt":
            return self._root(depth)
        if sign == "\\pi":
            return complex(math.pi)
        if sign == "i":
            return 1j
        if sign in _POINTS and sign != "e":
            return complex(_POINTS[sign])
        raise _NoFormula

    def _root(self, depth: int) -> complex:
        degree = 2 + 0j
        if self._peek() == "[":
            self._take()
            degree = self.sum(depth + 1)
            self._take("]")
        inside = self._argument(depth)
        if degree != 2 and inside.real < 0:
            raise _NoFormula  # of a negative number the real root or the principal one may be meant
        return complex(inside ** (1 / degree))

    def _argument(self, depth: int) -> complex:
        """What stands in braces, or one sign: of digits the first (x^12 is x to the 1, times 2)."""
        if self._peek() == "{":
            return self._one(depth + 1)
        sign = self._take()
        if len(sign) > 1 and sign.isdigit():
            self.at -= 1
            self.signs = [*self.signs[: self.at], sign[0], sign[1:], *self.signs[self.at + 1 :]]
            self.at += 1
            self.parted = self.at
            return complex(int(sign[0]))
        self.at -= 1
        return self._one(depth + 1)
