"""What goes into the sandbox and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["passed", "failed", "timeout", "crashed", "memory", "output_limit", "infra_error"]
Level = Literal["full", "landlock", "rlimits"]
LEVELS: tuple[Level, ...] = ("full", "landlock", "rlimits")
"""From the strongest to the weakest."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a model wrote, and the test that it has to pass.

    code: the model's source; it never runs in the same process as the test. test: source of the benchmark; it calls
    the program's functions by name, or defines `check(candidate)`, which is then called with the function `entry`.
    timeout: wall seconds for the code and its test together. memory: bytes of address space of the program.
    """

    code: str
    test: str
    entry: str | None = None
    timeout: float = 3.0
    memory: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    passed: the test ran to its end. failed: an assertion or an exception. timeout: `timeout` seconds were over.
    crashed: the program's process ended by itself. memory: it ran out of `memory`. output_limit: a result is too
    large to be looked at. infra_error: the sandbox failed, several times; says nothing about the program and must not
    be counted as 0. detail: for people; at most 400 characters, part of it written by the program. seconds: wall time.
    """

    verdict: Verdict
    detail: str
    seconds: float
