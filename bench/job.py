"""What the measured scripts share: their arguments, the three prompts of a row, the results file.

Each is started as

    SCRIPT --base-url URL --seeds FILE --prompts FILE --out FOLDER --concurrency N --timeout S

makes three calls a row (evolve, answer, judge) and leaves FOLDER/results.jsonl with one object for
each finished row: id, evolved, answer, judge. Standard library only: it runs in the peers' environments.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "gpt-4o-mini"  # peers look prices and limits up by name
SAMPLING: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}


@dataclass(frozen=True)
class Job:
    """The arguments, and the prompts they name."""

    base_url: str
    seeds: Path
    out: Path
    concurrency: int
    timeout: float
    evolve: list[str]
    judge: str

    def rows(self) -> Iterator[tuple[int, str]]:
        """(number, instruction with its input) of each seed, read as it goes."""
        with open(self.seeds) as file:
            for line in file:
                seed = json.loads(line)
                yield seed["id"], f"{seed['instruction']}\n\n{seed['input']}".strip()

    def evolve_prompt(self, number: int, text: str) -> str:
        return self.evolve[number % len(self.evolve)].replace("{{instruction}}", text)

    def judge_prompt(self, first: str, second: str) -> str:
        return self.judge.replace("{{first}}", first).replace("{{second}}", second)

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        with open(self.out / "results.jsonl", "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def read_job(description: str | None) -> Job:
    parser = argparse.ArgumentParser(description=description)
    for name in ("base-url", "seeds", "prompts", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=60.0)
    given = parser.parse_args()
    prompts = json.loads(Path(given.prompts).read_text())
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    return Job(
        given.base_url, Path(given.seeds), out, given.concurrency, given.timeout, prompts["evolve"], prompts["judge"]
    )
