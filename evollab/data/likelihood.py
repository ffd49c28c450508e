"""How likely a small language model finds a response, with and without its instruction: perplexity, IFD, IC-IFD.

L(x) is the mean negative log-likelihood a token, in nats. Q is all that comes before the response (turns parted by a
line break), A the response that ends the conversation. Plain text without a template, as Superfiltering and IC-IFD
have it:

    perplexity  exp(L(A|Q))
    ifd         L(A|Q) / L(A)             Li et al. 2023, "From Quantity to Quality", arXiv 2308.12032
    ic_ifd      L(A|Q) / (L(Q) L(A))      Hui et al. 2024, arXiv 2412.11231

An IFD of 1 or more says that the instruction does not help. That a model of 135M ranks rows nearly as a large one
does is what Superfiltering found (Li et al. 2024, arXiv 2402.00530). Its code divides perplexities and not losses:
that ratio is perplexity ** (1 - 1 / ifd); it passes 1 at the same rows.

The ids of A are the same with and without Q: Q, a line break and A are tokenised apart, and ids are joined. Each text
begins with the tokenizer's BOS (else EOS), so the first token counts as well.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evollab.data.items import Item
from evollab.data.losses import Sequence, Tally, Texts, batches, losses, texts_of
from evollab.data.lossfile import Losses, LossFile
from evollab.llm.causal import BUILT_IN, Causal, open_causal
from evollab.llm.option import option
from evollab.llm.watching import seconds
from evollab.records import EvolError

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "perplexity": "perplexity of the response, given what comes before it",
        "ifd": "loss of the response given the instruction, through its loss alone; 1 or more: it does not help",
        "ic_ifd": "the same, through the loss of the instruction, too",
    }
)
"""Attribute -> what it means."""
WINDOW = 1024
"""Rows that are read ahead, to make batches of equally long texts from."""
SHORTEST = 16
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class LikelihoodOptions:
    """Which model says how likely a response is, and how much of it is looked at."""

    lm: str = option(f"language model: {BUILT_IN}, a folder, or ORG/NAME on the hub", BUILT_IN, metavar="MODEL")
    lm_length: int = option(
        "tokens of a row that the language model reads: where it has more, the response is cut at its end, and an "
        "instruction of more than half of them at its beginning",
        1024, metavar="N",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.lm_length < SHORTEST:
            raise EvolError(f"--lm-length {self.lm_length}: expected {SHORTEST} or more")


class Likelihoods(Iterator[dict[str, Any]]):
    """ATTRIBUTES of one row after the other. `tally` grows with the rows; `identity` names model and precision."""

    def __init__(self, found: Iterator[dict[str, Any]], identity: str, tally: Tally) -> None:
        self._found = found
        self.identity = identity
        self.tally = tally

    def __next__(self) -> dict[str, Any]:
        return next(self._found)


def likelihoods(
    items: Iterable[Item], options: LikelihoodOptions, folder: Path, total: int | None = None
) -> Likelihoods:
    """Perplexity, IFD and IC-IFD of `items`, in their order; None where there is no response (perplexity), or no
    instruction either (the others).

    What was computed is kept in `folder`, batch by batch; a second call over the same rows computes the rest, and
    gives the same numbers as one that was never interrupted. total: rows there are, for the time that is left.
    Reads WINDOW rows ahead. Raises EvolError for what is no model, at once, and for a full disk.
    """
    model = open_causal(options.lm)
    length = min(options.lm_length, model.longest or options.lm_length)
    tally = Tally()
    return Likelihoods(_found(iter(items), model, length, folder, tally, total), model.identity, tally)


def _found(
    items: Iterator[Item], model: Causal, length: int, folder: Path, tally: Tally, total: int | None
) -> Iterator[dict[str, Any]]:
    progress = _Progress(total)
    with LossFile(folder, {"model": model.identity, "length": length, "window": WINDOW}) as known:
        for number in count():
            rows = [texts_of(item, model, length, tally) for item in islice(items, WINDOW)]
            if not rows:
                break
            _compute(number, rows, model, known, tally, progress)
            progress.window(len(rows))
            for row in rows:
                joined, alone = (None if text is None else known.get(text.key) for text in row)
                yield measures(joined, alone)
    progress.end()


def measures(joined: Losses | None, alone: Losses | None) -> dict[str, Any]:
    """ATTRIBUTES out of the losses of instruction and response together, and of the response alone."""
    if alone is None:
        return dict.fromkeys(ATTRIBUTES)
    if joined is None:  # nothing was asked
        return {"perplexity": _rounded(_exp(alone.answer)), "ifd": None, "ic_ifd": None}
    ifd = joined.answer / alone.answer if alone.answer > 0 else math.nan
    ic_ifd = ifd / joined.instruction if joined.instruction > 0 else math.nan
    return {"perplexity": _rounded(_exp(joined.answer)), "ifd": _rounded(ifd), "ic_ifd": _rounded(ic_ifd)}


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _compute(number: int, rows: list[Texts], model: Causal, known: LossFile, tally: Tally, progress: _Progress) -> None:
    """Make sure that the losses of all rows of a window are known.

    Batches are made from all that was not known before this window, also where a part of it was found before
    an interruption: so they are the same batches, and their last digits the same digits.
    """
    wanted: dict[bytes, Sequence] = {}
    for text in (text for row in rows for text in row if text is not None):
        seen = known.window(text.key)
        if seen is None or seen == number:
            wanted[text.key] = text
        else:
            tally.reused += 1
    ordered = sorted(wanted.items(), key=lambda pair: len(pair[1].ids))
    tokens = sum(len(text.ids) for _, text in ordered)
    for batch in batches(ordered, model):
        if all(known.get(key) is not None for key, _ in batch):
            tally.reused += len(batch)
            continue
        found = losses(model, [text for _, text in batch])
        known.add(number, {key: loss for (key, _), loss in zip(batch, found, strict=True)})
        tally.computed += len(batch)
        progress.step(sum(len(text.ids) for _, text in batch) / tokens, len(rows))


class _Progress:
    """A line on stderr: one that renews itself on a terminal, one now and then elsewhere."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._pause = 0.5 if self._terminal else 30.0
        self._started = self._told = time.monotonic()
        self._before = 0
        self._part = self._computed = 0.0

    def step(self, part: float, rows: int) -> None:
        """`part` of the `rows` of a window were computed."""
        self._part += part * rows
        self._computed += part * rows
        if (now := time.monotonic()) - self._told < self._pause:
            return
        self._told = now
        rate = self._computed / (now - self._started)
        done = int(self._before + self._part)
        told = f"likelihoods: {done:,}{f' of {self._total:,}' if self._total else ''} rows, {rate:.2g} rows/s"
        if self._total:
            told += f", {seconds(max(0, self._total - done) / rate)} left"
        start, end = ("\r\x1b[2K", "") if self._terminal else ("", "\n")
        print(start + told, end=end, file=sys.stderr, flush=True)

    def window(self, rows: int) -> None:
        """All rows of a window are known."""
        self._before += rows
        self._part = 0.0

    def end(self) -> None:
        """Leave a clean line."""
        if self._terminal and self._told != self._started:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
