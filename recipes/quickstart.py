"""Seeds in, evolved and answered instruction data out, on the model that comes along. No key, no GPU.

    make demo          or: python recipes/quickstart.py [SEEDS]

The model has 135 million parameters. It shows the whole machinery with real weights and real
decoding; for data worth training on, change MODEL.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from evollab.data.analyse import AnalyseOptions, analyse
from evollab.data.export import ExportOptions, export_run
from evollab.evals.contamination import ContaminationOptions, decontaminate
from evollab.evolve.options import EvolveOptions
from evollab.evolve.progress import summary
from evollab.evolve.step import evolve
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.report.analysis import write_analysis
from evollab.report.page import write_report
from evollab.verbs import run

MODEL = "local:smollm2"
SEEDS = Path(__file__).parent / "seeds.jsonl"
OUT = Path("runs/quickstart")
EXAM = Path(__file__).parent / "exam.jsonl"
"""Questions of our own that this recipe's data must not hold, as if a model was to be examined with them."""
CLEAN = ContaminationOptions(against=(str(EXAM), "gsm8k,humaneval,mtbench"), embed="hashed", missing="note")
OPTIONS = EvolveOptions(model=MODEL, rounds=2, reply_tokens=400, temperature=0.5)  # cooler answers go round in circles


def main() -> int:
    seeds = sys.argv[1] if len(sys.argv) > 1 else str(SEEDS)
    started = time.monotonic()
    say(f"evolving {seeds} with {MODEL} into {OUT} (Ctrl-C stops cleanly; the same command goes on)")
    try:
        result = run(evolve(seeds, OUT, OPTIONS))
        say(summary(OUT, result))
        if result.state != "complete":
            return result.exit_code
        # No benchmark may leak in. Those that are neither in $EVOLLAB_BENCHMARKS nor on the hub are named as unchecked.
        clean = run(decontaminate(str(OUT), OUT / "decontamination", CLEAN))
        say(str(clean))
        say(str(run(analyse(str(clean.folder), OUT / "analysis", AnalyseOptions(embed="hashed")))))
        say(str(export_run(clean.folder, OUT / "export", ExportOptions())))
        pages = (write_report(OUT, OUT / "report.html"), write_analysis(OUT / "analysis"))
    except EvolError as error:
        say(f"error: {error.message}\nhint: {error.hint}")
        return error.exit_code
    say(f"done in {time.monotonic() - started:.0f} s; open {pages[0]} and {pages[1]} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
