"""What the model says while it is trained: the same few prompts before the first step and after every epoch.

samples.jsonl: {"step", "epoch", "line", "prompt", "expected", "text", "ended"}; ended: it stopped by itself.

Imports transformers: import it inside a verb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evollab.train.metrics import Meter, keep_until

SAMPLES = "samples.jsonl"


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt: its ids, the ids of the answer in the data, the row's line."""

    ids: list[int]
    expected: list[int]
    line: int


def last_answer(ids: Sequence[int], mask: Sequence[int], line: int) -> Asked:
    """The last answer of a row as the expected one, all before it as the prompt."""
    end = len(mask)
    while end and not mask[end - 1]:
        end -= 1
    start = end
    while start and mask[start - 1]:
        start -= 1
    return Asked(list(ids[:start]), list(ids[start:end]), line)


class Samples(TrainerCallback):
    """Writes samples.jsonl in `folder`. `trainer` must be set before training begins."""

    def __init__(
        self, folder: Path, asked: Sequence[Asked], tokenizer: PreTrainedTokenizerBase, tokens: int, meter: Meter
    ) -> None:
        self._path = folder / SAMPLES
        self._asked = asked
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._meter = meter
        self.trainer: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            keep_until(self._path, state.global_step)
        if state.global_step == 0:
            self._write(state)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.pause()
        self._write(state)

    def _write(self, state: TrainerState) -> None:
        """Every process generates, for under ZeRO-3 a model is whole only among all; the first one writes."""
        import torch
        from trl.models.utils import unwrap_model_for_generation

        model = self.trainer.model_wrapped
        training = model.training
        rows = []
        with torch.no_grad(), unwrap_model_for_generation(model, self.trainer.accelerator) as whole:
            whole.eval()
            for asked in self._asked:
                said = self._generate(whole, asked.ids)
                rows.append(self._row(state, asked, said))
        model.train(training)
        if state.is_world_process_zero:
            with open(self._path, "ab") as file:
                file.writelines(orjson.dumps(row) + b"\n" for row in rows)

    def _generate(self, model: Any, ids: list[int]) -> list[int]:
        import torch

        given = torch.tensor([ids], device=model.device)
        room = getattr(model.config, "max_position_embeddings", None) or len(ids) + self._tokens
        if room <= len(ids):
            return []
        made = model.generate(
            input_ids=given, attention_mask=torch.ones_like(given), do_sample=False,
            max_new_tokens=min(self._tokens, room - len(ids)),
            use_cache=True, pad_token_id=self._tokenizer.pad_token_id, eos_token_id=self._tokenizer.eos_token_id,
        )  # fmt: skip
        said: list[int] = made[0, len(ids) :].tolist()
        return said

    def _row(self, state: TrainerState, asked: Asked, said: list[int]) -> dict[str, Any]:
        eos = self._tokenizer.eos_token_id
        prompt, expected, text = (
            self._tokenizer.decode([one for one in ids if one != eos]) for ids in (asked.ids, asked.expected, said)
        )
        return {
            "step": state.global_step, "epoch": round(state.epoch or 0, 4), "line": asked.line, "prompt": prompt,
            "expected": expected, "text": text, "ended": said[-1:] == [eos],
        }  # fmt: skip
