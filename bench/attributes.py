"""What attributes cost, and whether IFD tells answers from answers to other questions. On rows of your own:

    python bench/attributes.py DATA                     attributes that need no model, on all rows, one core
    python bench/attributes.py DATA --lm smollm2        perplexity and IFD, on --rows of them

attributes    CPU seconds and microseconds a row, all together and each alone; what 250,000 rows would take
likelihoods   rows a second, beside tokens a CPU second; the greatest difference between a text's loss in a batch and
              alone; the area under the ROC of the IFD of rows whose answers were dealt out anew against their own,
              for losses divided (`ifd`) and perplexities divided (as Superfiltering's code has it), and the share of
              both with an IFD of 1 or more

DATA is whatever `evol` reads. Rows with a response are drawn evenly over the file; answers are dealt to the next row.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from evollab.data import likelihood
from evollab.data.attributes import ATTRIBUTES, attributes
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.likelihood import LikelihoodOptions, likelihoods
from evollab.data.losses import Tally, losses, texts_of
from evollab.llm.causal import Causal, open_causal
from evollab.records import Message

CLAIMED = 250_000


def cheap(items: list[Item]) -> None:
    """Attributes that need no model."""
    attributes(items[0])  # the language model of n-grams loads once
    letters = sum(len(turn.content) for row in items for turn in row.messages) / len(items)
    print(f"{len(items):,} rows of {letters:,.0f} characters")
    for names in (tuple(ATTRIBUTES), *((name,) for name in ATTRIBUTES)):
        begun = time.process_time()
        for row in items:
            attributes(row, names=names)
        spent = time.process_time() - begun
        each = spent / len(items)
        label = names[0] if len(names) == 1 else "all"
        print(f"{label:<18} {1e6 * each:7.1f} us a row  {CLAIMED * each:7.1f} s for {CLAIMED:,} rows")


def area(higher: list[float], lower: list[float]) -> float:
    """The chance that one of `higher` is above one of `lower`: the area under the ROC."""
    ordered = sorted([(value, 0) for value in lower] + [(value, 1) for value in higher])
    ranks, at = [0.0] * len(ordered), 0
    ends = [i for i, (one, other) in enumerate(pairwise(ordered), 1) if one[0] != other[0]] + [len(ordered)]
    for end in ends:
        ranks[at:end] = [(at + end + 1) / 2] * (end - at)
        at = end
    total = sum(rank for rank, (_, kind) in zip(ranks, ordered, strict=True) if kind)
    return (total - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower))


def likely(items: list[Item], model: Causal, length: int) -> None:
    """Perplexity and IFD, of the rows and of the rows with answers dealt out anew."""
    mixed = [
        Item(row.data, row.number, row.fields, (*row.messages[:-1], Message("assistant", other.response)), row.id)
        for row, other in zip(items, [*items[1:], items[0]], strict=True)
    ]
    likelihood.open_causal = lambda spec: model
    options = LikelihoodOptions(lm="opened before", lm_length=length)
    found: list[list[dict[str, Any]]] = []
    for number, rows in enumerate((items, mixed)):
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.monotonic(), time.process_time()
            got = likelihoods(rows, options, Path(folder), len(rows))
            found.append(list(got))
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        if not number:
            read = [text for row in rows for text in texts_of(row, model, length, Tally()) if text is not None]
            tokens = sum(len(text.ids) for text in read)
            print(f"{model.identity}, {model.device}: {len(rows) / wall:.2f} rows/s, {tokens / cpu:,.0f} tokens a CPU")
            print(f"second ({tokens / len(rows):.0f} tokens a row in {len(read) / len(rows):.2f} texts); {got.tally}")
    sample = [text for row in items[:16] for text in texts_of(row, model, length, Tally()) if text is not None]
    alone = [losses(model, [text])[0] for text in sample]
    apart = max(
        abs(one - other)
        for pair in zip(losses(model, sample), alone, strict=True)
        for one, other in zip(*pair, strict=True)
        if not math.isnan(one)
    )
    print(f"in a batch and alone: at most {apart:.1e} apart")
    own, other = ([row["ifd"] for row in rows] for rows in found)
    print(f"area under the ROC, losses divided: {area(other, own):.3f}")
    own_p, other_p = ([row["perplexity"] ** (1 - 1 / row["ifd"]) for row in rows] for rows in found)
    print(f"area under the ROC, perplexities divided: {area(other_p, own_p):.3f}")
    shares = [sum(value >= 1 for value in values) / len(values) for values in (own, other)]
    print(f"IFD of 1 or more: {shares[0]:.1%} of the rows, {shares[1]:.1%} of those with other answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--lm")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--length", type=int, default=256)
    options = parser.parse_args()
    items = list(read_items(options.data, RowOptions(), lambda _: None))
    if options.lm is None:
        return cheap(items)
    usable = [row for row in items if row.response.strip() and row.prompt.strip()]
    likely(usable[:: max(1, len(usable) // options.rows)][: options.rows], open_causal(options.lm), options.length)


if __name__ == "__main__":
    main()
