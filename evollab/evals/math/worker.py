r"""The process that does algebra on answers, one question a line.

A question is {"gold": [...], "answer": "...", "compat": false}, the reply {"same": true} or {"failure": "time-out"}.
An answer may make algebra run for ever or take all memory, so each question has a limit of processor time, which an
alarm enforces, and the kernel two seconds later; the process has one of memory. `math_pool.py` starts it, and starts
it again. Nothing that a model wrote is executed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

MEMORY = 2 << 30
_GRACE = 2


class OutOfTime(BaseException):
    """The limit of processor time is reached. Not an Exception, so that no library takes it for its own."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime when the body used `seconds` of processor time; two seconds more, and the process is killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = math.ceil(used.ru_utime + used.ru_stime + seconds) + _GRACE
    resource.setrlimit(resource.RLIMIT_CPU, (hard, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def algebra(golds: list[str], answer: str) -> bool:
    """Whether math-verify takes `answer` for one of `golds`. Raises whatever it raises."""
    from math_verify import parse, verify

    got = parse(rf"\boxed{{{answer}}}", parsing_timeout=None)
    return any(
        verify(parse(rf"\boxed{{{gold}}}", parsing_timeout=None), got, timeout_seconds=None, raise_on_error=True)
        for gold in golds
    )


def reply(question: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The reply to one question; every way to fail is a class of failure."""
    from evollab.evals.math.compat_algebra import symbolic_equal

    try:
        with limited(seconds):
            if question.get("compat"):
                return {"same": symbolic_equal(question["answer"], question["gold"][0])}
            return {"same": algebra(question["gold"], question["answer"])}
    except OutOfTime:
        return {"failure": "time-out"}
    except MemoryError:
        return {"failure": "memory"}
    except RecursionError:
        return {"failure": "too deep"}
    except Exception as error:  # a parser may raise anything on hostile text; it is never "the same"
        return {"failure": type(error).__name__[:60]}


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def main(seconds: float) -> None:
    """Answer questions from standard input until it ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print
    os.dup2(1, 2)
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _out_of_time)
    sys.set_int_max_str_digits(5000)
    _warm(algebra)
    out.write('{"ready": true}\n')
    for line in sys.stdin:
        out.write(json.dumps(reply(json.loads(line), seconds)) + "\n")


def _warm(rule: Callable[[list[str], str], bool]) -> None:
    """Import and build what the first question would wait for."""
    rule([r"\frac{x}{2}"], r"\frac{2x}{4}")
