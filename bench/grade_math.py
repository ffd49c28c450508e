"""Grading MATH: our rules and pool beside math-verify used plainly, on the same responses in one run.

    python bench/grade_math.py FILE                MATH test rows (problem, solution), for example 5,000
    python bench/grade_math.py FILE --workers 2 --limit 500

Each problem gets one response: by turns its own solution, its answer written another way (\\dfrac for \\frac, blanks,
\\left and \\right), the answer of another problem of the same kind, and a text without an answer. math-verify is used
as its documentation shows: parse and verify, in the main thread of one process, its own time limits on.

items/s     whole responses graded, start of our processes included; CPU of all processes, for machines that are shared
agreement   share of responses on which both say the same
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import time
from collections import Counter

from evollab.data.files import read_rows
from evollab.evals.math.competition import marks
from evollab.evals.math.kind import kind_of
from evollab.evals.math.markers import boxes


def responses(file: str, limit: int | None) -> list[tuple[str, str, str]]:
    """(what sort of response, right answer, response) for each row of a file."""
    rows = [row.fields for row in read_rows(file, reject=print)]
    rows = [row for row in rows if boxes(row["solution"])][:limit]
    answers = [boxes(row["solution"])[-1] for row in rows]
    by_kind: dict[str, list[str]] = {}
    for answer in answers:
        by_kind.setdefault(kind_of(answer), []).append(answer)
    draw = random.Random(0)
    made = []
    for at, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        other = answer.replace("\\dfrac", "\\frac").replace("\\frac", "\\dfrac").replace("+", " + ")
        if "\\left" not in other:
            other = other.replace("(", "\\left( ").replace(")", " \\right)")
        wrong = draw.choice([one for one in by_kind[kind_of(answer)] if one != answer] or ["0"])
        sort, text = (
            ("own", row["solution"]),
            ("rewritten", f"Therefore the final answer is $\\boxed{{{other}}}$."),
            ("other", f"After some work, $x$ is found.\n\nThe answer is: ${wrong}$."),
            ("none", "I can't tell."),
        )[at % 4]
        made.append((sort, answer, text))
    return made


def plainly(rows: list[tuple[str, str, str]]) -> list[bool]:
    from math_verify import parse, verify

    return [bool(verify(parse(f"\\boxed{{{gold}}}"), parse(text))) for _, gold, text in rows]


def now() -> tuple[float, float]:
    """The clock, and processor time of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def since(begun: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = now()
    return wall - begun[0], cpu - begun[1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--limit", type=int)
    options.add_argument("--repeat", type=int, default=2, help="runs of each, by turns; the best counts")
    options.add_argument("--show", type=int, default=0, help="print so many responses on which they differ")
    given = options.parse_args()
    logging.disable(logging.CRITICAL)
    rows = responses(given.file, given.limit)
    plainly(rows[:8])  # imports and patterns
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "math-verify": []}
    ours: list[bool] = []
    theirs: list[bool] = []
    for _ in range(given.repeat):
        begun = now()
        ours = [mark.score == 1 for mark in marks([((gold,), text) for _, gold, text in rows], given.workers)]
        times["ours"].append(since(begun))
        begun = now()
        theirs = plainly(rows)
        times["math-verify"].append(since(begun))
    best = {name: (min(wall for wall, _ in taken), min(cpu for _, cpu in taken)) for name, taken in times.items()}
    for name, (wall, cpu) in best.items():
        print(f"{name:12} {len(rows) / wall:8,.0f} items/s   {wall:6.1f} s and {cpu:6.1f} s CPU for {len(rows):,}")
    print(
        f"ratio        {best['math-verify'][0] / best['ours'][0]:8.1f}   of CPU {best['math-verify'][1] / best['ours'][1]:.1f}"
    )
    print(f"agreement    {sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(rows):8.4f}")
    for sort in ("own", "rewritten", "other", "none"):
        told = Counter((a, b) for (name, _, _), a, b in zip(rows, ours, theirs, strict=True) if name == sort)
        print(f"{sort:12} right by ours and theirs {told[True, True]}, ours alone {told[True, False]}, "
              f"theirs alone {told[False, True]}, neither {told[False, False]}")  # fmt: skip
    differ = [row for row, a, b in zip(rows, ours, theirs, strict=True) if a != b]
    for sort, gold, text in differ[: given.show]:
        print(f"  {sort}: {gold!r} <- {text[-160:]!r}")


if __name__ == "__main__":
    main()
