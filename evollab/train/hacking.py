"""Is the reward hacked? Prompts held out are answered greedily and scored by what is not trained, as far as there is.

held-out.jsonl: {"step", "score", "change", "low", "high", "reward_change", "hacking", "length", "ended", "scores",
"answers"}. score: the mean over prompts held out; change: against that before the first step, with its 95 % interval
by bootstrap over prompts; reward_change: of the training reward. hacking: the reward has risen, and the whole
interval of the change lies below zero. answers: the first few.

Imports torch: import it inside a verb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import orjson
import torch
from accelerate.utils import gather_object
from trl.models.utils import unwrap_model_for_generation

from evollab.llm.watching import say
from evollab.train import machine
from evollab.train.prompts import turns_of

HELD_OUT = "held-out.jsonl"
FEWEST = 8
"""Prompts held out below which no change is told from chance."""
_RESAMPLES = 2000
_ROWS_AT_ONCE = 16

Score = Callable[[Sequence[Mapping[str, Any]], Sequence[str]], list[float]]
"""Rows of prompts held out, an answer to each -> its score."""


def change(start: Sequence[float], now: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """The mean change of scores of the same prompts, and its 95 % interval (percentiles of 2,000 bootstrap samples
    of prompts, the same for a seed). Fewer than FEWEST prompts: the interval is that of knowing nothing, -1 to 1."""
    difference = numpy.asarray(now, dtype=numpy.float64) - numpy.asarray(start, dtype=numpy.float64)
    mean = float(difference.mean())
    if len(difference) < FEWEST:
        return mean, -1.0, 1.0
    draw = numpy.random.default_rng(seed)
    means = [difference[draw.integers(len(difference), size=len(difference))].mean() for _ in range(_RESAMPLES)]
    low, high = numpy.percentile(means, [2.5, 97.5])
    return mean, float(low), float(high)


def risen(rewards: Sequence[float]) -> float:
    """How much higher the reward is in the last quarter of steps than in the first; 0 for one step or none."""
    if len(rewards) < 2:
        return 0.0
    part = max(1, len(rewards) // 4)
    return float(numpy.mean(rewards[-part:]) - numpy.mean(rewards[:part]))


def warning(line: Mapping[str, Any]) -> str:
    """What is said of a line of held-out.jsonl with hacking."""
    return (
        f"warning: reward hacking? By step {line['step']:,} the training reward rose by {line['reward_change']:.3f} "
        f"while the held-out score changed by {line['change']:.3f} ({line['low']:.3f} to {line['high']:.3f})"
    )


def read_held_out(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's held-out.jsonl, [] where it has none yet."""
    path = folder / HELD_OUT
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class HeldOut:
    """Answers and scores prompts held out, and writes held-out.jsonl. rows: a `datasets.Dataset` of prompts. tokens:
    that an answer may have. shown: answers to keep."""

    def __init__(self, folder: Path, rows: Any, score: Score, *, tokens: int, shown: int, seed: int) -> None:
        self._folder, self._rows, self._score = folder, rows, score
        self._tokens, self._shown, self._seed = tokens, shown, seed

    def __call__(self, trainer: Any) -> dict[str, float]:
        """Measure now; every process of a launch must call it, each answers its share. Gives the numbers for
        metrics.jsonl."""
        own = range(machine.rank(), len(self._rows), machine.world_size())
        answered = self._answers(trainer, [self._rows[number] for number in own])
        texts = [text for text, _, _ in answered]
        scores = self._score([self._rows[number] for number in own], texts)
        parts = [(number, score, *one) for number, score, one in zip(own, scores, answered, strict=True)]
        found = sorted(gather_object(parts) if machine.world_size() > 1 else parts)
        line = self._line(trainer, found)
        if machine.rank() == 0:
            with open(self._folder / HELD_OUT, "ab") as file:
                file.write(orjson.dumps(line) + b"\n")
            if line["hacking"]:
                say(warning(line))
        names = ("score", "change", "low", "high", "length", "ended")
        return {**{f"eval_{name}": float(line[name]) for name in names}, "hacking": float(line["hacking"])}

    def _line(self, trainer: Any, found: Sequence[tuple[int, float, str, int, bool]]) -> dict[str, Any]:
        scores = [score for _, score, _, _, _ in found]
        before = next((line["scores"] for line in read_held_out(self._folder) if line["step"] == 0), scores)
        mean, low, high = change(before, scores, self._seed)
        rose = risen([one["reward"] for one in trainer.state.log_history if "reward" in one])
        answers = [
            {
                "line": self._rows[number]["line"], "prompt": turns_of(self._rows[number]["messages"])[-1].content,
                "text": text, "score": score, "ended": ended,
            }
            for number, score, text, _, ended in found[: self._shown]
        ]  # fmt: skip
        return {
            "step": trainer.state.global_step, "score": float(numpy.mean(scores)), "change": mean, "low": low,
            "high": high, "reward_change": rose, "hacking": rose > 0 and high < 0,
            "length": float(numpy.mean([length for _, _, _, length, _ in found])),
            "ended": float(numpy.mean([ended for _, _, _, _, ended in found])), "scores": scores, "answers": answers,
        }  # fmt: skip

    def _answers(self, trainer: Any, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, bool]]:
        """Greedy answers: text, tokens, whether it ended by itself."""
        model = trainer.model_wrapped
        training, made = model.training, []
        with torch.no_grad(), unwrap_model_for_generation(model, trainer.accelerator) as whole:
            whole.eval()
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                made += self._some(trainer, whole, [row["prompt"] for row in rows[start : start + _ROWS_AT_ONCE]])
        model.train(training)
        return made

    def _some(self, trainer: Any, model: Any, prompts: Sequence[Sequence[int]]) -> list[tuple[str, int, bool]]:
        tokenizer, ends = trainer.processing_class, trainer.eos_token_ids
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for number, prompt in enumerate(prompts):  # on the left, so that all answers begin at the same place
            ids[number, width - len(prompt) :] = torch.tensor(prompt)
            mask[number, width - len(prompt) :] = 1
        said = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), do_sample=False,
            max_new_tokens=self._tokens, use_cache=True, pad_token_id=tokenizer.pad_token_id, eos_token_id=ends,
        )  # fmt: skip
        found = []
        for row in said[:, width:].tolist():
            end = next((place for place, one in enumerate(row) if one in ends), None)
            kept = row if end is None else row[: end + 1]
            found.append((tokenizer.decode(kept, skip_special_tokens=True), len(kept), end is not None))
        return found
