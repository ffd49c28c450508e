"""Deduplication: `evol dedup` beside datasketch and datatrove, on the same rows, with planted duplicates.

    python bench/dedup.py                        250,000 rows ours, 20,000 rows for all
    python bench/dedup.py --rows 50000 --shared 5000 --python /path/to/env/bin/python

The rows are made: seeds, each with four evolved children, one out of the other (a child says what
its parent says, changed a little, and some more). Planted among them, each from a row of its own and
with a root of its own: copies that differ in case, blanks and marks, and rows with words changed until
the Jaccard similarity to their origin, counted on sets of strings, lies between 0.80 and 0.97.

recall      planted pairs of which one row was removed
precision   removed rows that are, counted again, as alike as asked to a row that is said to stay
time        of the whole process: read, compare, write; ours and peers by turns, the best of --repeat
memory      peak resident memory of the process (wait4)

datasketch is used as its documentation shows: a MinHash of 128 permutations for each row, its 5-grams
put in one by one, MinHashLSH.query, then insert; "bulk" hands all n-grams of a row over at once.
It does not verify, and lays its bands out for as few false claims as missed pairs: hence its precision
and recall. datatrove is its four-stage pipeline with its defaults (word 5-grams, 14 bands of 8, no
verification); what is planted is measured in characters, and its claims name no partner, so compare
its time, not its recall; its precision is left out. Peers run in the Python that --python names.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NEAR = 0.8
CHILDREN = 4
SHARE_EXACT, SHARE_NEAR = 0.01, 0.03
_ONSETS = "b c d f g h j k l m n p r s t v w st tr pl br gr sh ch th".split()
_VOWELS = "a e i o u ai ea io ou".split()
_CODAS = ["", "n", "r", "s", "t", "l", "nd", "st", "ck", "m"]
_OPENINGS = (
    "Write a short story about", "Explain to a beginner", "Write a Python function that handles", "Summarise",
    "Compare the advantages of", "Give five examples of", "Design a database schema for", "What is the reason for",
    "Translate the following text about", "Solve the following problem about", "Plan a week of", "Describe",
)  # fmt: skip
_DEMANDS = (
    "Also discuss how {} would change when {} is not available and justify every step of your reasoning.",
    "Make sure that the answer stays below {} words, and mention {} at least twice.",
    "Use a table to compare {} with {}, and conclude with a recommendation.",
    "Assume that the reader knows {} but has never heard of {}.",
    "Take into account the constraints of {}, in particular {}, and name your sources.",
    "Provide a worked example with {} and explain where {} might lead to a wrong result.",
)


def words(draw: random.Random, count: int) -> list[str]:
    """A vocabulary whose words sound unlike one another."""
    made: dict[str, None] = {}
    while len(made) < count:
        syllables = draw.choices((1, 2, 3), (2, 5, 3))[0]
        made[
            "".join(f"{draw.choice(_ONSETS)}{draw.choice(_VOWELS)}{draw.choice(_CODAS)}" for _ in range(syllables))
        ] = None
    return list(made)


class Speech:
    """Says things with words as frequent as words are (Zipf)."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.words = words(draw, 20_000)
        total, self.weights = 0.0, list[float]()
        for place in range(len(self.words)):
            total += 1 / (place + 3)
            self.weights.append(total)

    def some(self, low: int, high: int) -> str:
        return " ".join(self.draw.choices(self.words, cum_weights=self.weights, k=self.draw.randint(low, high)))

    def seed(self) -> str:
        return f"{self.draw.choice(_OPENINGS)} {self.some(8, 60)}."

    def child(self, parent: str) -> str:
        """A few words of the parent changed, a demand more."""
        said = parent.split(" ")
        for _ in range(len(said) // 12):
            said[self.draw.randrange(len(said))] = self.some(1, 2)
        return f"{' '.join(said)} {self.draw.choice(_DEMANDS).format(self.some(2, 9), self.some(2, 9))}"

    def changed(self, text: str) -> tuple[str, float]:
        """`text` with words changed one at a time, down to a similarity drawn from 0.80 to 0.97."""
        aim = self.draw.uniform(NEAR, 0.97)
        said, alike = text.split(" "), 1.0
        best = text
        while True:
            said[self.draw.randrange(len(said))] = self.some(1, 1)
            now = similarity(text, " ".join(said))
            if now < NEAR:
                return best, alike
            best, alike = " ".join(said), now
            if alike <= aim:
                return best, alike

    def copied(self, text: str) -> str:
        return self.draw.choice((str.upper, str.title, lambda said: said.replace(" ", "  ") + "!"))(text.rstrip("."))


def plain(text: str) -> str:
    return " ".join(word.strip(".,;:!?\"'") for word in text.lower().split())


def gram_strings(text: str) -> set[str]:
    said = plain(text)
    return {said[at : at + 5] for at in range(max(1, len(said) - 4))}


def similarity(one: str, other: str) -> float:
    left, right = gram_strings(one), gram_strings(other)
    return len(left & right) / len(left | right)


def make(path: Path, rows: int) -> list[dict[str, Any]]:
    """Write `rows` rows. What was planted: 1-based lines of both rows, kind, similarity."""
    draw = random.Random(250_000)
    speech = Speech(draw)
    lineages: list[list[str]] = []
    count = int(rows * (1 - SHARE_EXACT - SHARE_NEAR))
    while sum(map(len, lineages)) < count:
        line = [speech.seed()]
        for _ in range(CHILDREN):
            line.append(speech.child(line[-1]))
        lineages.append(line)
    written = [(text, f"root{root}", age) for root, line in enumerate(lineages) for age, text in enumerate(line)]
    written = written[:count]
    origins = draw.sample(range(count), rows - count)
    planted: list[tuple[int, str, float]] = []
    for place, origin in enumerate(origins):
        text = written[origin][0]
        if place < rows * SHARE_EXACT:
            made, kind, alike = speech.copied(text), "exact", 1.0
        else:
            (made, alike), kind = speech.changed(text), "near"
        planted.append((origin, kind, alike))
        written.append((made, f"planted{place}", 0))
    order = list(range(len(written)))
    draw.shuffle(order)
    line_of = {row: line for line, row in enumerate(order, 1)}
    answer = speech.some(150, 150)
    with path.open("w", encoding="utf-8") as file:
        for row in order:
            text, root, age = written[row]
            told = {
                "id": f"r{row}", "root_id": root, "parent_id": None, "round": age, "operation": "deepen",
                "domain": "general", "text": text, "input": "", "history": [], "response": answer[: 200 + row % 700],
            }  # fmt: skip
            file.write(json.dumps(told) + "\n")
    return [
        {"origin": line_of[origin], "row": line_of[count + place], "kind": kind, "similarity": alike}
        for place, (origin, kind, alike) in enumerate(planted)
    ]


# Peers: each reads the file, writes "removed line, line that stays" (0: not told)


def datasketch(source: Path, out: Path, *, bulk: bool) -> None:
    from datasketch import MinHash, MinHashLSH  # pyright: ignore[reportMissingImports]

    lsh = MinHashLSH(threshold=NEAR, num_perm=128)
    with source.open(encoding="utf-8") as file, out.open("w") as claims:
        for number, line in enumerate(file, 1):
            made = MinHash(num_perm=128)
            grams = gram_strings(json.loads(line)["text"])
            if bulk:
                made.update_batch([gram.encode() for gram in grams])
            else:
                for gram in grams:
                    made.update(gram.encode())
            if found := lsh.query(made):
                claims.write(f"{number} {found[0]}\n")
            else:
                lsh.insert(number, made)


def datatrove(source: Path, out: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.dedup import (  # pyright: ignore[reportMissingImports]
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.readers import JsonlReader  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.writers import JsonlWriter  # pyright: ignore[reportMissingImports]

    work = out.with_suffix(".work")
    config = MinhashConfig()
    reader = JsonlReader(str(source.parent), glob_pattern=source.name)
    names = {name: str(work / name) for name in ("signatures", "buckets", "remove", "removed", "kept")}
    stages: list[tuple[int, list[Any]]] = [
        (1, [reader, MinhashDedupSignature(output_folder=names["signatures"], config=config)]),
        (config.num_buckets, [MinhashDedupBuckets(names["signatures"], names["buckets"], config=config)]),
        (1, [MinhashDedupCluster(names["buckets"], names["remove"], config=config)]),
        (1, [reader, MinhashDedupFilter(names["remove"], exclusion_writer=JsonlWriter(names["removed"], compression=None)),
             JsonlWriter(names["kept"], compression=None)]),
    ]  # fmt: skip
    for number, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(work / f"log{number}")).run()
    line_of = {json.loads(line)["id"]: n for n, line in enumerate(source.open(encoding="utf-8"), 1)}
    with out.open("w") as claims:
        for file in sorted((work / "removed").glob("*.jsonl")):
            claims.writelines(f"{line_of[json.loads(line)['id']]} 0\n" for line in file.open(encoding="utf-8"))


PEERS = {
    "datasketch": lambda source, out: datasketch(source, out, bulk=False),
    "datasketch bulk": lambda source, out: datasketch(source, out, bulk=True),
    "datatrove": datatrove,
}


# Measuring


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds, peak MiB of a process and what it waited for. Raises where it fails."""
    with tempfile.TemporaryFile() as said:
        clock = time.monotonic()
        process = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - clock
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{command}: exit code {process.returncode}\n{said.read().decode()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def run_ours(source: Path, folder: Path, number: int) -> tuple[tuple[float, float, float], list[tuple[int, int]]]:
    out = folder / f"ours-{source.stem}-{number}"
    # Like the peers it is to make no difference between rows of one seed and others.
    command = [sys.executable, "-m", "evollab.cli", "dedup", str(source), "--near", str(NEAR), "--lineage", str(NEAR)]
    used = measured([*command, "--out", str(out)])
    removed = map(json.loads, (out / "removed.jsonl").open(encoding="utf-8"))
    return used, [(row["line"], row["stays"]["line"]) for row in removed]


def run_peer(
    name: str, python: str, source: Path, folder: Path
) -> tuple[tuple[float, float, float], list[tuple[int, int]]]:
    out = folder / f"{name.replace(' ', '-')}-{source.stem}"
    used = measured([python, str(Path(__file__)), "--peer", name, str(source), str(out)])
    return used, [(int(one), int(other)) for one, other in map(str.split, out.open())]


def has(python: str, module: str) -> bool:
    return not subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode


def quality(source: Path, planted: list[dict[str, Any]], claims: list[tuple[int, int]]) -> Iterator[str]:
    """Recall of both kinds, and precision."""
    removed = {row for row, _ in claims}
    for kind in ("exact", "near"):
        pairs = [pair for pair in planted if pair["kind"] == kind]
        yield f"{sum(pair['row'] in removed or pair['origin'] in removed for pair in pairs) / len(pairs):.4f}"
    told = [(row, stays) for row, stays in claims if stays]
    if not told:
        yield "-"
        return
    wanted = {line for pair in told for line in pair}
    texts = {
        number: json.loads(line)["text"]
        for number, line in enumerate(source.open(encoding="utf-8"), 1)
        if number in wanted
    }
    yield f"{sum(similarity(texts[row], texts[stays]) >= NEAR - 1e-9 for row, stays in told) / len(told):.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="evol dedup beside datasketch and datatrove")
    parser.add_argument("--rows", type=int, default=250_000, help="rows of the large set, for ours alone; 0: none")
    parser.add_argument("--shared", type=int, default=20_000, help="rows of the set that all are measured on")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--folder", type=Path, help="where to keep the rows (default: a folder that goes)")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        name, source, out = arguments.peer
        PEERS[name](Path(source), Path(out))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        return compare(arguments, Path(scratch))


def compare(arguments: argparse.Namespace, folder: Path) -> int:
    head = (
        f"{'':17}{'rows':>9}{'seconds':>9}{'CPU s':>8}{'MiB':>7}{'removed':>9}{'exact':>8}{'near':>8}{'precision':>10}"
    )
    print(f"{head}\n{'':59}  recall  recall")
    shared = folder / "shared.jsonl"
    planted = make(shared, arguments.shared)
    peers = [name for name in PEERS if has(arguments.python, name.split()[0])]
    best: dict[str, tuple[float, float, float]] = {}
    claims: dict[str, list[tuple[int, int]]] = {}
    for number in range(arguments.repeat):
        for name in ("ours", *peers):
            if name == "ours":
                used, claims[name] = run_ours(shared, folder, number)
            elif number and best[name][0] > 60:
                continue
            else:
                used, claims[name] = run_peer(name, arguments.python, shared, folder)
            best[name] = min(best.get(name, used), used)
    for name, used in best.items():
        show(name, shared, arguments.shared, used, planted, claims[name])
    met = True
    for name in peers:
        ratio = best[name][0] / best["ours"][0]
        print(f"{name}: {ratio:.1f} times our time, {best[name][1] / best['ours'][1]:.1f} times our CPU")
        met &= name != "datasketch" or ratio >= 5
    if arguments.rows:
        large = folder / "large.jsonl"
        planted = make(large, arguments.rows)
        used, found = run_ours(large, folder, 0)
        show("ours", large, arguments.rows, used, planted, found)
        recall = float(next(iter(list(quality(large, planted, found))[1:])))
        met &= used[0] < 180 and used[2] < 3 * 1024 and recall >= 0.95
    print("targets met" if met else "targets missed: under 180 s, under 3 GiB, recall 0.95, 5 times datasketch")
    return 0 if met else 1


def show(
    name: str, source: Path, rows: int, used: tuple[float, float, float], planted: list[dict[str, Any]],
    claims: list[tuple[int, int]],
) -> None:  # fmt: skip
    exact, near, precision = quality(source, planted, claims)
    print(
        f"{name:17}{rows:>9,}{used[0]:>9.1f}{used[1]:>8.1f}{used[2]:>7.0f}{len(claims):>9,}{exact:>8}{near:>8}{precision:>10}"
    )


if __name__ == "__main__":
    sys.exit(main())
