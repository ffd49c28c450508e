"""Decontamination by n-grams: how fast, beside what one would write first.

    python bench/decontaminate.py                              250,000 rows against 32,000 made items
    python bench/decontaminate.py --rows 20000 --benchmarks DIR   against real sets in DIR (see the how-to)

The rows are made (see bench/dedup.py), so are the items: of every hundred one is the whole text of a row,
one the half of one, and one a row's with every sixth word another.

time     of the whole process: read the items, index them, read the rows, write; the best of --repeat
memory   peak resident memory of the process (wait4)

"plain" keeps a dictionary of tuples of words, as one would write it first, and looks up every n-gram of
every row; it applies the same rules, and the rows that go have to be the same. It reads its rows with json,
without a look at their shape, and writes the kept lines and the numbers of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.dedup import Speech, make, measured

GRAM, LONG, COMMON, SOLUTION = 8, 13, 5, 40
SHARE = 0.5
_WORD = re.compile(r"[^\W_]+")


def make_items(path: Path, rows: Path, count: int) -> None:
    """Write `count` items: new ones, and the three kinds that are in the rows."""
    draw = random.Random(32_000)
    speech = Speech(draw)
    lines = rows.read_bytes().splitlines()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            kind = number % 100
            text = json.loads(lines[draw.randrange(len(lines))])["text"] if kind < 3 else speech.seed()
            said = text.split(" ")
            if kind == 1:
                said = said[: len(said) // 2] + speech.some(len(said) // 2, len(said)).split(" ")
            elif kind == 2:
                said = [speech.some(1, 1) if at % 6 == 0 else word for at, word in enumerate(said)]
            told = {"id": f"i{number}", "question": " ".join(said), "answer": speech.some(5, 60)}
            file.write(json.dumps(told) + "\n")


# What one would write first


class Plain:
    """The rules of evollab.data.overlap, on tuples of words."""

    def __init__(self, texts: Sequence[str], least: int) -> None:
        self.words = [_WORD.findall(text.lower()) for text in texts]
        in_items: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for number, said in enumerate(self.words):
            for gram in grams(said):
                in_items[gram].add(number)
        self.least = least
        common = {gram for gram, numbers in in_items.items() if len(numbers) > COMMON}
        self.whole = set[int]()
        for number, said in enumerate(self.words):
            if sum(self.marked(number, set(grams(said)) - common)) < LONG and least == LONG:
                self.whole.add(number)
        self.items = {
            gram: {number for number in numbers if gram not in common or number in self.whole}
            for gram, numbers in in_items.items()
        }
        self.own = [
            sum(self.marked(number, {gram for gram in grams(said) if number in self.items[gram]}))
            for number, said in enumerate(self.words)
        ]
        self.texts = Counter(" ".join(said) for said in self.words if len(said) < GRAM) if least == LONG else Counter()

    def marked(self, number: int, found: set[tuple[str, ...]]) -> list[bool]:
        """Which words of a text lie in one of the n-grams."""
        said = self.words[number]
        marks = [False] * len(said)
        for at, gram in enumerate(grams(said)):
            if gram in found:
                marks[at : at + GRAM] = [True] * GRAM
        return marks

    def guilty(self, said: list[str]) -> bool:
        """Whether a row's words convict it."""
        shared: dict[int, set[tuple[str, ...]]] = defaultdict(set)
        for gram in grams(said):
            for number in self.items.get(gram, ()):
                shared[number].add(gram)
        for number, found in shared.items():
            own = self.own[number]
            needed = own if number in self.whole else max(math.ceil(SHARE * own), self.least)
            if sum(self.marked(number, found)) >= needed:
                return True
            if self.least == LONG and number not in self.whole and self.runs(number, found, said):
                return True
        return any(
            " ".join(said[at : at + length]) in self.texts
            for length in range(5, GRAM)
            for at in range(len(said) - length + 1)
        ) or (0 < len(said) < 5 and " ".join(said) in self.texts)

    def runs(self, number: int, found: set[tuple[str, ...]], said: list[str]) -> bool:
        """Whether 13 words of the text stand in the row in one piece."""
        whole = [all(gram in found for gram in grams(list(long))) for long in grams(self.words[number], LONG)]
        if not any(whole):
            return False
        row = set(grams(said, LONG))
        return any(good and long in row for good, long in zip(whole, grams(self.words[number], LONG), strict=True))


def grams(said: list[str], size: int = GRAM) -> list[tuple[str, ...]]:
    return list(zip(*(said[at:] for at in range(size)), strict=False))


def plain(source: Path, items: Path, out: Path) -> None:
    told = [json.loads(line) for line in items.open(encoding="utf-8")]
    questions = Plain([item["question"] for item in told], LONG)
    answers = Plain([item["answer"] for item in told], SOLUTION)
    out.mkdir(parents=True)
    with (
        source.open(encoding="utf-8") as file,
        (out / "kept.jsonl").open("w") as kept,
        (out / "gone").open("w") as gone,
    ):
        for number, line in enumerate(file, 1):
            row = json.loads(line)
            turns = [_WORD.findall(row[name].lower()) for name in ("text", "response")]
            if any(index.guilty(said) for said in turns for index in (questions, answers)):
                gone.write(f"{number}\n")
            else:
                kept.write(line)


def ours(source: Path, items: Path, out: Path, folder: str | None) -> None:
    from evollab.evals.contamination import ContaminationOptions, decontaminate

    options = ContaminationOptions(
        against=("all",) if folder else (str(items),),
        benchmarks=folder,
        missing="note" if folder else "stop",
        embed="none",
    )
    print(asyncio.run(decontaminate(str(source), out, options)))


# Measuring


def run(
    who: str, source: Path, items: Path, out: Path, folder: str | None
) -> tuple[tuple[float, float, float], set[int]]:
    command = [sys.executable, str(Path(__file__)), "--who", who, str(source), str(items), str(out)]
    used = measured([*command, *(["--benchmarks", folder] if folder else [])])
    if who == "plain":
        return used, set(map(int, (out / "gone").read_text().split()))
    return used, set(removed(out))


def removed(out: Path) -> Iterator[int]:
    for line in (out / "removed.jsonl").open(encoding="utf-8"):
        yield json.loads(line)["line"]


def main() -> int:
    parser = argparse.ArgumentParser(description="evol decontaminate beside a dictionary of tuples")
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--items", type=int, default=32_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--benchmarks", metavar="DIR", help="real sets in place of made ones; ours alone")
    parser.add_argument("--folder", type=Path, help="where to keep the rows (default: a folder that goes)")
    parser.add_argument("--who", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        rows, items = map(Path, arguments.make[:2])
        make(rows, int(arguments.make[2]))
        make_items(items, rows, int(arguments.make[3]))
        return 0
    if arguments.who:
        who, source, items, out = arguments.who[0], *map(Path, arguments.who[1:])
        plain(source, items, out) if who == "plain" else ours(source, items, out, arguments.benchmarks)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        return compare(arguments, Path(scratch))


def compare(arguments: argparse.Namespace, scratch: Path) -> int:
    rows, items = scratch / "rows.jsonl", scratch / "items.jsonl"
    # In a process of its own: what a process weighs when it starts another counts as the other's peak.
    numbers = [str(arguments.rows), str(arguments.items)]
    subprocess.run([sys.executable, __file__, "--make", str(rows), str(items), *numbers], check=True)
    best: dict[str, tuple[float, float, float]] = {}
    gone: dict[str, set[int]] = {}
    for number in range(arguments.repeat):
        for who in ("ours",) if arguments.benchmarks else ("ours", "plain"):
            used, gone[who] = run(who, rows, items, scratch / f"{who}-{number}", arguments.benchmarks)
            best[who] = min(best.get(who, used), used)
    print(f"{'':8}{'rows':>9}{'seconds':>9}{'CPU s':>8}{'MiB':>7}{'removed':>9}")
    for who, (seconds, cpu, memory) in best.items():
        print(f"{who:8}{arguments.rows:>9,}{seconds:>9.1f}{cpu:>8.1f}{memory:>7.0f}{len(gone[who]):>9,}")
    same = len({frozenset(rows) for rows in gone.values()}) == 1
    if len(best) > 1:
        ratios = [best["plain"][at] / best["ours"][at] for at in range(3)]
        print(f"plain: {ratios[0]:.1f} times our time, {ratios[1]:.1f} times our CPU, {ratios[2]:.1f} times our memory")
        print("the same rows go" if same else f"they differ on {len(gone['ours'] ^ gone['plain'])} rows")
    met = best["ours"][0] < 180 and same
    print("targets met" if met else "targets missed: under 180 s, the same rows")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
