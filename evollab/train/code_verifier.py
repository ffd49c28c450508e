"""`--verifier code`: the program in an answer passes the tests of its row, in the sandbox.

A row says what right is by `test` with `entry_point` (as HumanEval does: `test` defines check(candidate), or asserts
that call the function by name), or by `test_list` with `test_setup_code` or `test_imports` (as MBPP does).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from evollab.data.formats import BadFields
from evollab.data.items import Item
from evollab.evals.code.extract import extract_code
from evollab.evals.code.problem import Problem, mbpp_problem
from evollab.evals.code.syntax import parse
from evollab.records import EvolError
from evollab.sandbox import Outcome, Program, sandbox
from evollab.train import machine

_KEPT = ("prompt", "entry", "setup", "test", "called")


class Runner(Protocol):
    """Runs programs: an open `evollab.sandbox.sandbox`."""

    @property
    def isolation(self) -> str: ...

    def run(self, programs: Sequence[Program]) -> list[Outcome]: ...


class CodeVerifier:
    """By the row's tests. box: runs the programs."""

    def __init__(self, box: Runner) -> None:
        self._box = box
        self.about: dict[str, Any] = {"isolation": box.isolation}

    def reference(self, item: Item, column: str, answer: str | None) -> str | None:
        """The tests of a row, as JSON; None where it has none."""
        try:
            problem = problem_of(item.fields, item.prompt)
        except BadFields:
            return None
        return orjson.dumps({name: getattr(problem, name) for name in _KEPT}).decode()

    def comparable(self, reference: str | None) -> bool:
        return reference is not None

    def __call__(self, answers: Sequence[str], references: Sequence[str | None]) -> list[float]:
        """1 for each answer whose program passes, 0 for the others, also where there is none. Equal programs run once.

        Raises EvolError where the sandbox itself fails: that says nothing of a program.
        """
        programs = [
            None if reference is None else program_of(_problem(reference), answer)
            for answer, reference in zip(answers, references, strict=True)
        ]
        wanted = list(dict.fromkeys(one for one in programs if one is not None))
        outcomes = dict(zip(wanted, self._box.run(wanted), strict=True)) if wanted else {}
        broken = next((one for one in outcomes.values() if one.verdict == "infra_error"), None)
        if broken is not None:
            raise EvolError(
                f"the sandbox failed: {broken.detail[:200]}", "the same command goes on when it works again"
            )
        return [float(one is not None and outcomes[one].verdict == "passed") for one in programs]


def problem_of(fields: Mapping[str, Any], asked: str) -> Problem:
    """The tests of a row. asked: what the user says last, which may be the head of the function. Raises BadFields."""
    if "test_list" in fields:
        return mbpp_problem(fields)
    test, entry = fields.get("test"), fields.get("entry_point")
    if not (isinstance(test, str) and test.strip() and isinstance(entry, str) and entry.isidentifier()):
        raise BadFields("no tests; expected test_list, or test with entry_point")
    texts = [one for one in (fields.get("prompt"), asked) if isinstance(one, str) and f"def {entry}" in one]
    head = next((one for one in texts if parse(one) is not None), "")
    return Problem(prompt=head, entry=entry, test=test, called="def check(" in test)


def program_of(problem: Problem, answer: str) -> Program | None:
    """What is run of an answer; None where there is no code in it."""
    code = extract_code(answer, problem.prompt, problem.entry).code
    if not code.strip():
        return None
    whole = f"{problem.setup}\n{code}" if problem.setup else code
    return Program(whole, problem.test, problem.entry if problem.called else None, problem.timeout)


def _problem(reference: str) -> Problem:
    told = orjson.loads(reference)
    known = {field.name for field in dataclasses.fields(Problem)}
    return Problem(**{name: value for name, value in told.items() if name in known})


@contextlib.contextmanager
def code_verifier(unsafe: bool = False) -> Iterator[CodeVerifier]:
    """The verifier of programs, with a sandbox that ends with the block. unsafe: run them also where they can't be
    isolated. Raises EvolError where they can't, and that was not asked for."""
    workers = max(1, (os.cpu_count() or 1) // machine.world_size())
    with sandbox(workers, unsafe=unsafe) as box:
        yield CodeVerifier(box)
