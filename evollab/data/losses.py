"""Rows as token ids, and how likely a causal language model finds them, many at a time."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evollab.data.items import Item
from evollab.data.lossfile import KEY_BYTES, Losses
from evollab.llm.causal import Causal

if TYPE_CHECKING:
    import torch

_LETTERS = 32
"""Letters for a token at most; of longer texts the rest is cut off before it is tokenised."""
_SCORES = {"cpu": 100_000_000, "cuda": 800_000_000}
"""Numbers in the scores of one batch (tokens times vocabulary): 400 MB on a CPU."""


@dataclass(slots=True)
class Tally:
    """What was met. rows; without_response: rows that nothing can be said of; cut_responses, cut_instructions:
    rows longer than --lm-length; computed: texts that the model read now; reused: texts known before."""

    rows: int = 0
    without_response: int = 0
    cut_responses: int = 0
    cut_instructions: int = 0
    computed: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Sequence:
    """Ids that the model reads: a start, `asked` of the instruction, a line break where there is one, then the
    response to the end."""

    ids: array[int]
    asked: int
    answer: int

    @property
    def key(self) -> bytes:
        told = f"{self.asked} {self.answer} ".encode() + self.ids.tobytes()
        return hashlib.blake2b(told, digest_size=KEY_BYTES).digest()


Texts = tuple[Sequence | None, Sequence | None]
"""Instruction and response together, the response alone; None where there is no such text."""


def texts_of(item: Item, model: Causal, length: int, tally: Tally) -> Texts:
    """A row as the model reads it, cut to `length` tokens; both cut alike, so that they can be compared."""
    tally.rows += 1
    response = item.response
    if not response.strip():
        tally.without_response += 1
        return None, None
    before = "\n".join(turn.content for turn in item.messages[:-1])
    letters = _LETTERS * length
    asked = model.encode(before[-letters:]) if before.strip() else []
    answer = model.encode(response[:letters])
    parting = model.encode("\n") if asked else []
    room = length - 1 - len(parting)
    keep = min(len(asked), max(room // 2, room - len(answer)))
    tally.cut_instructions += keep < len(asked) or len(before) > letters
    tally.cut_responses += keep + len(answer) > room or len(response) > letters
    asked, answer = asked[len(asked) - keep :], answer[: room - keep]
    if not answer:  # a response that a tokenizer drops
        tally.without_response += 1
        return None, None
    alone = Sequence(array("i", [model.start, *answer]), 0, len(answer))
    if not asked:
        return None, alone
    return Sequence(array("i", [model.start, *asked, *parting, *answer]), len(asked), len(answer)), alone


def batches(ordered: list[tuple[bytes, Sequence]], model: Causal) -> Iterator[list[tuple[bytes, Sequence]]]:
    """Sequences of about one length, as many as the scores of one batch have room for."""
    tokens = max(1, _SCORES[model.device] // model.model.get_input_embeddings().num_embeddings)
    batch: list[tuple[bytes, Sequence]] = []
    for pair in ordered:
        if batch and (len(batch) + 1) * len(pair[1].ids) > tokens:
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def losses(model: Causal, texts: list[Sequence]) -> list[Losses]:
    """The losses of a batch of sequences: what each would have alone, to 1e-4."""
    import torch

    longest = max(len(text.ids) for text in texts)
    ids = torch.zeros((len(texts), longest), dtype=torch.long)
    mask = torch.zeros((len(texts), longest), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids, dtype=torch.long)
        mask[row, : len(text.ids)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        scores = model.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return [_mean(scores[row], ids[row], text) for row, text in enumerate(texts)]


def _mean(scores: torch.Tensor, ids: torch.Tensor, text: Sequence) -> Losses:
    import torch

    end = len(text.ids)
    each = torch.nn.functional.cross_entropy(scores[: end - 1].float(), ids[1:end], reduction="none").double()
    instruction = each[: text.asked].mean().item() if text.asked else math.nan
    return Losses(instruction, each[end - 1 - text.answer :].mean().item())
