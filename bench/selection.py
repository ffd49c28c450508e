"""Selection on many rows: time and memory of each way, and of the filters.

    python bench/selection.py                 250,000 rows, 10,000 chosen
    python bench/selection.py --rows 50000 --n 2000

The rows are made: instructions of several sentences in the manner of evolved ones, with made-up marks and tags,
one in 500 with an e-mail address. Each way runs in a process of its own, with the hashed embedder (no model)
and without a comparison; the last line is all filters together. Peak memory is the process's (wait4).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORDS = (
    "explain compare design prove outline budget school river engine poem contract server sample theorem garden "
    "rule budget children audience deadline table step error example method paragraph constraint weather market list"
).split()
RUN = (
    "import sys; from pathlib import Path; from evollab.data.select import select; "
    "from evollab.data.selecting import SelectOptions; "
    "select(sys.argv[1], Path(sys.argv[2]), SelectOptions(**eval(sys.argv[3])))"
)


def make(path: Path, rows: int) -> None:
    chance = random.Random(0)
    with path.open("w") as file:
        for number in range(rows):
            said = " ".join(chance.choices(WORDS, k=chance.randint(20, 90)))
            answer = " ".join(chance.choices(WORDS, k=chance.randint(30, 250)))
            if number % 500 == 0:
                answer += f" Write to person{number}@posteo.de."
            marks = {
                "difficulty": chance.randint(1, 10), "quality": chance.randint(1, 10), "ifd": chance.gauss(0.7, 0.2),
                "pass_rate": chance.randint(0, 8) / 8, "tags": [f"t{int(chance.paretovariate(0.7)) % 5000}" for _ in range(4)],
            }  # fmt: skip
            row = {"id": f"r{number}", "instruction": said, "output": answer, "attributes": marks}
            file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--n", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.jsonl"
        make(data, options.rows)
        print(f"{options.rows:,} rows, {data.stat().st_size / 1e6:,.0f} MB, {options.n:,} chosen")
        cases = {
            way: {"how": way, "n": options.n, "compare": "none", "embed": "hashed"}
            for way in ("deita", "instag", "ifd", "passrate", "longest", "random")
        }
        for name, asked in {**cases, "filters": {"filter": ("refusals,toxic,pii",)}}.items():
            start = time.monotonic()
            command = [sys.executable, "-c", RUN, str(data), str(Path(folder) / name), repr(asked)]
            process = subprocess.Popen(command, cwd=ROOT)
            _, status, used = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{name} failed")
            taken, busy = time.monotonic() - start, used.ru_utime + used.ru_stime
            print(f"{name:10} {taken:6.1f} s  {busy:6.1f} s of a core  {used.ru_maxrss / 1024:6,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
