#!/usr/bin/env python3
"""How many small programs the sandbox runs in a second, and what CPU time one costs, beside a new python for each.

    python bench/sandbox.py [--programs 500] [--workers 2] [--level full]

Prints one line for each way, as tab-separated values: way, programs, seconds, programs a second, CPU ms a program.
CPU time is that of all processes: parent, zygotes, judges and programs. It says more than the seconds where the
machine does other things as well.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evollab.sandbox import Program, sandbox
from evollab.sandbox.program import LEVELS

CODE = "def add(a, b):\n    return a + b\n"
TEST = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"


def cpu() -> float:
    """Seconds of CPU time of this process and of all its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(way: str, count: int, run: Callable[[], None]) -> None:
    before, begun = cpu(), time.perf_counter()
    run()
    seconds, used = time.perf_counter() - begun, cpu() - before
    print(f"{way}\t{count}\t{seconds:.2f}\t{count / seconds:.0f}\t{1000 * used / count:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--programs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--level", choices=LEVELS, default="full")
    options = parser.parse_args()
    programs = [Program(CODE, TEST, "add", 20.0)] * options.programs

    def ours() -> None:
        with sandbox(options.workers, unsafe=True, at_most=options.level) as box:
            assert all(one.verdict == "passed" for one in box.run(programs))

    def plain() -> None:
        for _ in range(options.programs // 10):
            subprocess.run([sys.executable, "-c", f"{CODE}{TEST}check(add)"], check=True)

    measured(f"evollab.sandbox ({options.level}, {options.workers} workers)", options.programs, ours)
    measured("python for each program, not isolated", options.programs // 10, plain)


if __name__ == "__main__":
    main()
