"""The tests of HumanEval+ and MBPP+: inputs on which a solution must agree with the reference solution.

Rows of the release files hold inputs and a reference (`plus_problem`); rows of the hub hold a test source with inputs
and results in it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import kind
from evollab.evals.code.problem import Problem, entry_in, texts_in
from evollab.evals.code.shapes import typed
from evollab.evals.code.syntax import definition, parse
from evollab.evals.task import text

TIMEOUT = 120.0
"""Seconds for a source of tests. What ends a solution that hangs is the limit for a single input
(`oracle.LEAST`): some inputs keep the reference itself busy for seconds."""
_NUMPY = """
import sys, types
def _near(out, exp, rtol, atol):
    if isinstance(exp, (list, tuple)) and isinstance(out, (list, tuple)):
        return len(out) == len(exp) and all(_near(a, b, rtol, atol) for a, b in zip(out, exp))
    return bool(out == exp) or abs(out - exp) <= atol + rtol * abs(exp)
def allclose(a, b, rtol=1e-05, atol=1e-08):
    return _near(a, b, rtol, atol)
def assert_allclose(actual, desired, rtol=1e-07, atol=0):
    assert _near(actual, desired, rtol, atol)
_numpy = types.ModuleType("numpy")
_numpy.allclose, _numpy.ndarray = allclose, type("ndarray", (), {})
_numpy.float64, _numpy.float32 = float, float
_numpy.testing = types.SimpleNamespace(assert_allclose=assert_allclose)
sys.modules["numpy"] = _numpy
"""
"""What the hub's tests use of numpy; numpy itself takes longer to import than most tests take to run."""


def plus_problem(fields: Mapping[str, Any], mbpp: bool) -> Problem:
    """A row of HumanEval+ or MBPP+. Raises BadFields."""
    if "plus_input" in fields and "base_input" in fields:
        return _release(fields, mbpp)
    if "inputs = " not in str(fields.get("test", "")):
        raise BadFields("neither base_input and plus_input nor a test with inputs; is it a row of HumanEval or MBPP?")
    return _hub(fields, mbpp)


def _release(fields: Mapping[str, Any], mbpp: bool) -> Problem:
    prompt, entry = text(fields, "prompt"), text(fields, "entry_point")
    contract = text(fields, "contract") if "contract" in fields else ""
    reference = prompt + text(fields, "canonical_solution", "code")
    tree = parse(reference)
    target = definition(tree, entry) if tree is not None else None
    if not isinstance(target, ast.FunctionDef):
        raise BadFields(f"prompt and canonical_solution together don't define {entry!r}")
    asserts = text(fields, "assertion") if "assertion" in fields else ""
    atol = fields.get("atol", 0)
    if isinstance(atol, bool) or not isinstance(atol, (int, float)):
        raise BadFields(f"atol is {kind(atol)}; expected a number")
    names = [one.arg for one in target.args.args]
    sources = []
    for column in ("base_input", "plus_input"):
        inputs = _inputs(fields[column], column)
        given = typed(inputs, asserts, entry, contract, names) if mbpp else inputs
        sources.append(oracle(reference, entry, given, float(atol), mbpp))
    return Problem(
        prompt="" if mbpp else prompt, entry=entry, test=sources[0], called=True, plus=sources[1], plus_called=True,
        asserts=tuple(shown_in(prompt)) if mbpp else (), timeout=TIMEOUT, plus_timeout=TIMEOUT,
    )  # fmt: skip


def _hub(fields: Mapping[str, Any], mbpp: bool) -> Problem:
    prompt, test = text(fields, "prompt"), _NUMPY + text(fields, "test")
    if not mbpp:
        return Problem(
            prompt=prompt, entry=text(fields, "entry_point"), test=test, called=True, timeout=TIMEOUT,
        )  # fmt: skip
    asserts = texts_in(fields, "test_list")
    imports = "\n".join(texts_in(fields, "test_imports")) if "test_imports" in fields else ""
    return Problem(
        entry=entry_in(asserts, text(fields, "code", "canonical_solution")), test="\n".join([imports, *asserts]),
        plus=test, asserts=tuple(asserts), plus_timeout=TIMEOUT,
    )  # fmt: skip


def _inputs(found: Any, column: str) -> list[list[Any]]:
    if isinstance(found, dict) and not found:  # so the release says that there are none
        return []
    if not isinstance(found, list) or not all(isinstance(one, list) for one in found):
        raise BadFields(f"field {column!r} is {kind(found)}; expected a list of lists of arguments")
    return found


def shown_in(prompt: str) -> list[str]:
    """The asserts in a prompt of MBPP+, which is a docstring."""
    return [line for line in prompt.split("\n") if line.startswith("assert ")]


def told_in(prompt: str) -> str:
    """What a prompt of MBPP+ asks, in words."""
    tree = parse(prompt)
    words = (ast.get_docstring(tree) if tree is not None else None) or prompt
    return "\n".join(line for line in words.split("\n") if not line.startswith("assert ")).strip()


def oracle(reference: str, entry: str, inputs: Sequence[Sequence[Any]], atol: float, mbpp: bool) -> str:
    """A test source whose check(candidate) compares with `reference`, the source of `entry`."""
    given = (reference, entry, packed(inputs), atol, mbpp)
    return (
        "def check(candidate):\n"
        "    oracle = {'__name__': 'oracle'}\n"  # of its own: the solution's functions may have any name
        f"    exec({_oracle()!r}, oracle)\n"
        f"    oracle['compare'](candidate, {', '.join(map(repr, given))})\n"
    )


@cache
def _oracle() -> str:
    return resources.files("evollab.evals.code").joinpath("oracle.py").read_text("utf-8")


def packed(inputs: Sequence[Any]) -> str:
    """Inputs as JSON, what JSON hasn't got in objects of one key (`oracle.unpacked`)."""
    return json.dumps([_packed(one) for one in inputs], separators=(",", ":"))


def _packed(value: Any) -> Any:
    if isinstance(value, list):
        return [_packed(one) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_packed(one) for one in value]}
    if isinstance(value, set):
        return {"set": sorted((_packed(one) for one in value), key=repr)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"dict": [[_packed(key), _packed(part)] for key, part in value.items()]}
    return value
