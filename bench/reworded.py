"""What decontamination finds of test items in other words, and what it takes for such.

    python bench/reworded.py FOLDER                        MiniLM (a few minutes)
    python bench/reworded.py FOLDER --embed hashed
    python bench/reworded.py FOLDER --verdict local:./model.gguf --pairs 60

FOLDER holds the reworded test sets of lm-sys/llm-decontaminator (Yang et al. 2023, 2311.04850) as
decontam_*.jsonl.xz, and beside them gsm8k_test, HumanEval, mmlu_test, gsm8k_train, code_alpaca_new, each
.jsonl or .jsonl.xz.

The reworded sets name no items. They are in the order of the test sets, of which FOLDER may hold a part:
they are put beside the items by order and common words (for GSM8K the answers have to be equal, too). What
has no item here, or is empty, is left out.

For each way of looking the table gives recall (the share of the reworded rows that go for the item they
came from), how many rows of two training sets go, and precision (of the rows that go, those that are
reworded). The training sets are no clean negatives: some of their rows do ask what an item asks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import lzma
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from evollab.data.benchmark import BenchmarkItem
from evollab.data.decontaminate import question_of
from evollab.data.decontaminate_options import DOUBTFUL
from evollab.data.embed import embedder
from evollab.data.leak_verdict import ask_about
from evollab.data.overlap import Index, Item, Search, words
from evollab.data.resemblance import Pair, about, gist, near_pairs
from evollab.data.rows import Row
from evollab.data.vectors import embed_texts, vector_cache
from evollab.evals.sources import find_task
from evollab.llm.session import ModelOptions, session

SUBJECTS = ("abstract_algebra", "high_school_us_history", "sociology")
LANGUAGES = ("python", "js", "c")
TRAINING = {"gsm8k_train": ("question",), "code_alpaca_new": ("instruction", "input")}
STEPS = {True: (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9), False: (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)}
"""The similarities that are tried, by whether the embedder sees meaning."""
_SHARE = 0.5
_WIDE = 13


@dataclass
class Rows:
    """All rows in one list with the item that each rewords (None for training rows), and all items."""

    items: list[BenchmarkItem] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    own: list[int | None] = field(default_factory=list)
    sets: list[tuple[str, range]] = field(default_factory=list)
    """Name of each set of rows, and which rows it is; the training sets last."""

    def add(self, name: str, texts: Sequence[str], own: Sequence[int | None]) -> None:
        self.sets.append((name, range(len(self.texts), len(self.texts) + len(texts))))
        self.texts += texts
        self.own += own

    def add_items(self, task: str, rows: Sequence[dict[str, Any]]) -> int:
        """Where the items begin."""
        begin = len(self.items)
        found = [find_task(task).texts(Row(number, row)) for number, row in enumerate(rows, 1)]
        self.items += [item for item in found if item is not None]
        return begin


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    for path in (folder / f"{name}.jsonl.xz", folder / f"{name}.jsonl"):
        if path.is_file():
            data = path.read_bytes()
            return [json.loads(line) for line in (lzma.decompress(data) if path.suffix == ".xz" else data).splitlines()]
    raise SystemExit(f"{folder}: no {name}.jsonl or {name}.jsonl.xz")


def aligned(items: Sequence[str], rows: Sequence[str], least: float) -> dict[int, int]:
    """Item -> row, both in one order, for the greatest sum of common words (Dice, less `least`)."""
    one, other = [set(words(text)) for text in items], [set(words(text)) for text in rows]
    alike = [[max(0.0, 2 * len(a & b) / (len(a) + len(b) or 1) - least) for b in other] for a in one]
    best = [[0.0] * (len(rows) + 1) for _ in range(len(items) + 1)]
    for i in range(len(items) - 1, -1, -1):
        for j in range(len(rows) - 1, -1, -1):
            both = alike[i][j] + best[i + 1][j + 1] if alike[i][j] else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], both)
    found, i, j = dict[int, int](), 0, 0
    while i < len(items) and j < len(rows):
        if alike[i][j] and best[i][j] == alike[i][j] + best[i + 1][j + 1]:
            found[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def gather(folder: Path, most: int) -> Rows:
    """The reworded rows with their items, then `most` rows of each training set (0: all)."""
    rows = Rows()
    tests, said = read(folder, "gsm8k_test"), [row["text"] for row in read(folder, "decontam_rephrase_gsm8k")]
    begin = rows.add_items("gsm8k", tests)
    asked = [text.partition("\nAnswer:")[0].removeprefix("Question: ") for text in said]
    right, given = ([_number(text) for text in texts] for texts in ([row["answer"] for row in tests], said))
    pairs = aligned([row["question"] for row in tests], asked, 0.2)
    pairs = {item: row for item, row in pairs.items() if right[item] == given[row]}
    rows.add("gsm8k", [asked[row] for row in pairs.values()], [begin + item for item in pairs])
    tests = read(folder, "HumanEval")
    begin = rows.add_items("humaneval", tests)
    place = {int(row["task_id"].rpartition("/")[2]): begin + number for number, row in enumerate(tests)}
    for language in LANGUAGES:
        told = enumerate(row["text"] for row in read(folder, f"decontam_humaneval_{language}"))
        whole = [(text, place[number]) for number, text in told if number in place and text.strip()]
        rows.add(f"code: {language}", [text for text, _ in whole], [item for _, item in whole])
    mmlu = read(folder, "mmlu_test")
    for subject in SUBJECTS:
        tests = [row for row in mmlu if row["subject"] == subject]
        begin = rows.add_items("mmlu", tests)
        texts = [row["text"] for row in read(folder, f"decontam_{subject}_test_rephrase_english_filtered_question")]
        # Of history the passage was left out in rewording: the last line is what is asked.
        pairs = aligned([row["question"].strip().rpartition("\n")[2] for row in tests], texts, 0.2)
        rows.add(subject, [texts[row] for row in pairs.values()], [begin + item for item in pairs])
    for name, columns in TRAINING.items():
        texts = ["\n\n".join(row[column] for column in columns if row[column]) for row in read(folder, name)]
        texts = texts[: most or None]
        rows.add(name, texts, [None] * len(texts))
    return rows


def _number(text: str) -> str:
    return text.rpartition("####")[2].strip().replace(",", "")


def by_words(rows: Rows) -> dict[int, set[int]]:
    """Row -> the items that convict it by n-grams."""
    search = Search(Index([Item(0, question_of(item), item.answer) for item in rows.items], _SHARE))
    for text in rows.texts:
        search.add([text])
    hits = search.hits()
    found: dict[int, set[int]] = defaultdict(set)
    for row, text in zip(hits.row[hits.guilty].tolist(), hits.text[hits.guilty].tolist(), strict=True):
        found[row].add(text // 2)
    return found


def near(rows: Rows, embed: str) -> list[Pair]:
    """All pairs from the least similarity of STEPS on."""
    made = embedder(embed)
    items = embed_texts([about(item) for item in rows.items], made, vector_cache())
    texts = embed_texts(map(gist, rows.texts), made, vector_cache(), total=len(rows.texts))
    return near_pairs(items, texts, np.arange(len(rows.texts)), STEPS[made.meaning][0])


def show(rows: Rows, label: str, caught: dict[int, set[int]]) -> None:
    """One line of the table."""
    cells, right, gone = "", 0, 0
    for _, numbers in rows.sets:
        if rows.own[numbers[0]] is None:
            count = sum(bool(caught.get(row)) for row in numbers)
            cells += f"{count:>{_WIDE}}"
        else:
            count = sum(rows.own[row] in caught.get(row, ()) for row in numbers)
            cells += f"{count / len(numbers):>{_WIDE}.3f}"
            right += count
        gone += count
    print(f"{label:16}{cells}{right / max(gone, 1):>11.3f}")


def table(rows: Rows, embed: str, pairs: Sequence[Pair]) -> None:
    print(f"{'':16}" + "".join(f"{name[: _WIDE - 1]:>{_WIDE}}" for name, _ in rows.sets) + f"{'precision':>11}")
    print(f"{'rows':16}" + "".join(f"{len(numbers):>{_WIDE}}" for _, numbers in rows.sets))
    copied = by_words(rows)
    show(rows, "n-grams", copied)
    steps = STEPS[embedder(embed).meaning]
    for both in (False, True):
        for step in steps:
            caught: dict[int, set[int]] = defaultdict(set)
            for pair in pairs:
                if pair.similarity >= step:
                    caught[pair.row].add(pair.item)
            for row, items in copied.items() if both else ():
                caught[row] |= items
            show(rows, f"{'both' if both else embed} {step:g}", caught)


async def verdicts(rows: Rows, pairs: Sequence[Pair], model: str, count: int, options: ModelOptions) -> None:
    """Ask about pairs drawn from the near ones, half of them reworded, half training rows."""
    draw = random.Random(0)
    reworded = [pair for pair in pairs if rows.own[pair.row] == pair.item]
    other = [pair for pair in pairs if rows.own[pair.row] is None]
    drawn = draw.sample(reworded, min(count // 2, len(reworded))) + draw.sample(other, min(count // 2, len(other)))
    # Each pair as an item of its own, so that every one is asked about.
    asked = {number: [Pair(pair.row, number, pair.similarity)] for number, pair in enumerate(drawn)}
    with tempfile.TemporaryDirectory() as folder:
        async with session(Path(folder), options) as opened:
            found = await ask_about(
                asked,
                lambda row: rows.texts[row],
                lambda number: rows.items[drawn[number].item].whole,
                opened,
                model,
                256,
            )
            paid = opened.store.totals
    said = {pair.item for pair in found.confirmed}
    right = sum(rows.own[drawn[number].row] is not None for number in said)
    total = sum(rows.own[pair.row] is not None for pair in drawn)
    print(
        f"{model}: {total} reworded pairs, {right} confirmed; {len(drawn) - total} pairs with training rows, "
        f"{len(said) - right} confirmed; {len(found.split)} split, {found.unparsed} replies of {paid.calls} without a "
        f"verdict, failed {found.failed}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="reworded test items: what is found, what is taken for one")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--embed", default="minilm", metavar="EMBEDDER")
    parser.add_argument("--training", type=int, default=0, metavar="N", help="rows of each training set (default: all)")
    parser.add_argument("--verdict", metavar="MODEL", help="ask this model about near pairs")
    parser.add_argument("--pairs", type=int, default=60, metavar="N")
    parser.add_argument("--base-url", default=None, metavar="URL")
    arguments = parser.parse_args()
    rows = gather(arguments.folder, arguments.training)
    pairs = near(rows, arguments.embed)
    table(rows, arguments.embed, pairs)
    if arguments.verdict:
        least = DOUBTFUL[embedder(arguments.embed).meaning]
        options = ModelOptions(base_url=(arguments.base_url,) if arguments.base_url else ())
        near_enough = [pair for pair in pairs if pair.similarity >= least]
        asyncio.run(verdicts(rows, near_enough, arguments.verdict, arguments.pairs, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
