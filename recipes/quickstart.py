"""Seeds in, evolved and answered instruction data out, on the model that comes along. No key, no GPU.

    make demo          or: python recipes/quickstart.py [SEEDS]

The model has 135 million parameters. It shows the whole machinery with real weights and real
decoding; for data worth training on, change MODEL.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from evollab.cli import run
from evollab.data.export import ExportOptions, export_run
from evollab.evolve.options import EvolveOptions
from evollab.evolve.progress import summary
from evollab.evolve.step import evolve
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.report.page import write_report

MODEL = "local:smollm2"
SEEDS = Path(__file__).parent / "seeds.jsonl"
OUT = Path("runs/quickstart")
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
        say(str(export_run(OUT, OUT / "export", ExportOptions())))
        page = write_report(OUT, OUT / "report.html")
    except EvolError as error:
        say(f"error: {error.message}\nhint: {error.hint}")
        return error.exit_code
    say(f"done in {time.monotonic() - started:.0f} s; open {page} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
