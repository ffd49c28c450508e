r"""Whether two answers to a competition problem are the same, as far as exact rules can tell.

the same normal form                      same
both exact numbers                        same, if they are equal: nothing is rounded; 50 % is both 50 and 0.5
tuples, lists and intervals, part by part same, if the brackets and all parts are
a word against anything else              not the same
a number against a list or a matrix       not the same
all else                                  undecided: algebra has to tell (evals/math/pool.py)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evollab.evals.math.normal import is_word, normal, parts
from evollab.evals.math.number import exact, may_be_list
from evollab.evals.math.value import differ

_MATRIX = re.compile(r"\\begin\{pmatrix\}((?:(?!\\begin|\\end).){1,400})\\end\{pmatrix\}")


def same(gold: str, answer: str) -> bool | None:
    """Whether `answer` is `gold`; None where no exact rule can tell. Never raises."""
    form, other = normal(gold), normal(answer)
    if not form or not other:
        return False
    if form == other:
        return True
    number, mine = exact(gold), exact(answer)
    listed = may_be_list(gold) or may_be_list(answer)
    if number is not None and mine is not None and (number.same(mine) or not listed):
        return number.same(mine)
    if is_word(form) or is_word(other):
        return False
    if not listed and ((number is not None and _many(other)) or (mine is not None and _many(form))):
        return False
    if not listed and differ(form, other):
        return False
    return _part_by_part(form, other)


def _many(form: str) -> bool:
    """Whether a normal form is a list of several things, or a matrix."""
    return "pmatrix" in form or parts(form) is not None


def _part_by_part(form: str, other: str) -> bool | None:
    one, two = _matrix(form), _matrix(other)
    mine, theirs = parts(form), parts(other)
    if one is not None and two is not None:
        if [len(row) for row in one] != [len(row) for row in two]:
            return False
        return _all_same([cell for row in one for cell in row], [cell for row in two for cell in row])
    if mine is None or theirs is None or mine[0] != theirs[0]:
        return None
    if not mine[0]:
        return _as_sets(mine[1], theirs[1])
    return _all_same(mine[1], theirs[1]) if len(mine[1]) == len(theirs[1]) else False


def _all_same(golds: Sequence[str], answers: Sequence[str]) -> bool | None:
    """In brackets and matrices the order counts."""
    verdicts = [same(a, b) for a, b in zip(golds, answers, strict=True)]
    if any(verdict is False for verdict in verdicts):
        return False
    return True if all(verdicts) else None


def _as_sets(golds: Sequence[str], answers: Sequence[str]) -> bool | None:
    """Without brackets it doesn't: each has to be among the others."""
    table = [[same(a, b) for b in answers] for a in golds]
    if any(all(verdict is False for verdict in row) for row in [*table, *zip(*table, strict=True)]):
        return False
    return True if all(any(row) for row in [*table, *zip(*table, strict=True)]) else None


def _matrix(form: str) -> list[list[str]] | None:
    match = _MATRIX.fullmatch(form)
    return [row.split("&") for row in match[1].removesuffix("\\\\").split("\\\\")] if match else None
