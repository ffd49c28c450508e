"""A pool of processes that do algebra on answers, each under a hard limit of time and memory.

A question that runs out of time costs its worker at most a few seconds; a worker that dies is started again. What fails
is never "the same", and is counted by its class.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evollab.records import EvolError

SECONDS = 5.0
"""Processor time for one question."""
_PATIENCE = 12.0
"""Times the limit after which, on the clock, a worker is given up: it has no processor, or waits for something."""
_WORTH_A_WORKER = 40
"""Questions that take longer than a further process takes to start."""
_PACKAGES = Path(__file__).parents[3]
_PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from evollab.evals.math.worker import main
main(float(sys.argv[2]))
"""
"""Found even where evollab is not installed; -P keeps a sympy.py in the user's folder out."""
_ENVIRONMENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Question:
    """Is `answer` one of `golds`? compat: by the rules of the WizardMath release instead of math-verify."""

    golds: tuple[str, ...]
    answer: str
    compat: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """same: False wherever it could not be told. failure: why not: time-out, memory, the class of an exception."""

    same: bool
    failure: str = ""


class Pool:
    """Workers that answer questions; made by `pool()`. Safe to use from any number of threads."""

    def __init__(self, workers: int, seconds: float) -> None:
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()  # so that one which runs goes first
        self._workers = [_Worker(seconds) for _ in range(workers)]
        for worker in self._workers:
            self._free.put(worker)
        self._known: dict[Question, Verdict] = {}

    def one(self, question: Question) -> Verdict:
        """The verdict on one question. Blocks until a worker is free, then at most a minute."""
        known = self._known.get(question)
        if known is None:
            worker = self._free.get()
            try:
                known = worker.ask(question)
            finally:
                self._free.put(worker)
            if len(self._known) < 200_000:
                self._known[question] = known
        return known

    def all(self, questions: Sequence[Question]) -> list[Verdict]:
        """The verdicts, in the order of the questions; equal questions are asked once."""
        wanted = list(dict.fromkeys(questions))
        busy = min(len(self._workers), -(-len(wanted) // _WORTH_A_WORKER))
        with ThreadPoolExecutor(max(busy, 1)) as threads:
            verdicts = dict(zip(wanted, threads.map(self.one, wanted), strict=True))
        return [verdicts[question] for question in questions]

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()


@contextmanager
def pool(workers: int = 2, *, seconds: float = SECONDS) -> Iterator[Pool]:
    """Open a pool; its processes start with the first question. Raises EvolError where math-verify is not installed."""
    if find_spec("math_verify") is None:
        raise EvolError(
            "maths answers are compared by math-verify, which is not installed", "pip install 'evollab[evals]'"
        )
    opened = Pool(max(workers, 1), seconds)
    try:
        yield opened
    finally:
        opened.close()


class _Worker:
    """One process, started when it is needed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: Question) -> Verdict:
        line = json.dumps({"gold": question.golds, "answer": question.answer, "compat": question.compat})
        process = self._process if self._process is not None and self._process.poll() is None else self._start()
        late = threading.Timer(self._seconds * _PATIENCE, process.kill)
        late.start()
        try:
            reply = _exchange(process, line)
        finally:
            late.cancel()
        if reply is None:
            self.stop()
            return Verdict(False, "time-out")
        return Verdict(reply.get("same") is True, str(reply.get("failure", "")))

    def _start(self) -> subprocess.Popen[str]:
        """A process that is ready. Raises EvolError where it does not start."""
        self.stop()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(_PACKAGES), str(self._seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            bufsize=1, env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )  # fmt: skip
        self._process = process
        if process.stdout is None or "ready" not in process.stdout.readline():
            self.stop()
            raise EvolError(
                "the process that compares maths answers does not start",
                "is math-verify whole? pip install --force-reinstall 'evollab[evals]'",
            )
        return process

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _exchange(process: subprocess.Popen[str], line: str) -> dict[str, Any] | None:
    """The reply to a line; None from a process that died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        got: Any = json.loads(process.stdout.readline())
    except (OSError, ValueError):
        return None
    return got if isinstance(got, dict) else None
