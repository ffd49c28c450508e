"""TRL's RLOOTrainer and GRPOTrainer on our prompts and reward: where ids come from, what is rewarded and measured.

TRL would render the prompts itself, from text; here they come as finished ids. It sums reward functions; ours is one,
a product. It loads the reference by the name in the base's config, which for an adapter is another model; ours is
handed over. Its sampler orders the second epoch otherwise after a kill; ours doesn't. The losses are TRL's.

Imports TRL, which takes seconds: import it inside a verb.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from transformers import Trainer as Plain
from trl.models.utils import prepare_deepspeed
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import RepeatSampler, add_fused_lm_head

from evollab.train import machine
from evollab.train.generations import SAMPLES
from evollab.train.metrics import Meter
from evollab.train.prompts import turns_of
from evollab.train.rewards import FACTORS, Factors, Rewards

_NAMES = {
    "reward": "reward", "reward_std": "reward_std", "kl": "kl", "entropy": "entropy",
    "completions/mean_length": "length", "completions/clipped_ratio": "truncated", **{name: name for name in FACTORS},
}  # fmt: skip
"""What TRL logs -> what metrics.jsonl has. Other numbers of its are left out."""


class Rewarding:
    """Answers as TRL hands them over -> rewards. instruction: r_I of each prompt by its number, None without.
    no_eos: the reward of an answer that has no end, None: as it is scored."""

    def __init__(self, rewards: Rewards, instruction: Sequence[float] | None, no_eos: float | None) -> None:
        self._rewards, self._instruction, self._no_eos = rewards, instruction, no_eos
        self.last: list[tuple[str, bool, Factors]] = []
        """Text, whether it ended, and factors of the answers of this process that were rewarded last."""

    def factors(
        self, rows: Sequence[Mapping[str, Any]], answers: Sequence[str], instruction: Sequence[float] | None
    ) -> list[Factors]:
        """The factors of an answer to each row (of rows/train.arrow or eval.arrow)."""
        known = [None if instruction is None else instruction[row["number"]] for row in rows]
        turns = [turns_of(row["messages"]) for row in rows]
        return self._rewards(turns, answers, [row["reference"] for row in rows], known)

    def __call__(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
        found = self.factors(rows, answers, self._instruction)
        if self._no_eos is not None:
            found = [one if end else replace(one, reward=self._no_eos) for one, end in zip(found, ended, strict=True)]
        self.last = list(zip(answers, ended, found, strict=True))
        return [one.reward for one in found]


class Order(RepeatSampler):
    """TRL's order of prompts, but that of an epoch depends on the seed and its number alone, not on those before."""

    def set_epoch(self, epoch: int) -> None:
        self.generator.manual_seed((self.seed or 0) + epoch)


class Policy:
    """What RLOO and GRPO share. Stands before TRL's class among the bases.

    held_out: called for an evaluation with the trainer, gives the numbers for metrics.jsonl. reference: the model that
    the KL divergence is measured from, None where adapters can be switched off, or beta is 0. out: where samples.jsonl
    goes, `samples` answers a step.
    """

    args: Any
    state: Any
    control: Any
    accelerator: Any
    callback_handler: Any
    eos_token_ids: list[int]
    model: Any
    ref_model: Any
    train_dataset: Any
    _metrics: Any
    _logs: Any

    def __init__(
        self, meter: Meter, rewarding: Rewarding, held_out: Callable[[Any], dict[str, float]] | None,
        reference: Any, beta: float, out: Path, samples: int, **settings: Any,
    ) -> None:  # fmt: skip
        self.meter, self._rewarding, self._held_out = meter, rewarding, held_out
        self._samples, self._out = samples, out
        above: Any = super()
        above.__init__(reward_funcs=[self._rewarded], **settings)
        self.beta = beta
        if reference is not None:
            self.ref_model = self._prepared(reference)

    def _prepared(self, reference: Any) -> Any:
        """The reference, ready to give log-probabilities, in the same way as TRL prepares its own."""
        reference.eval()
        add_fused_lm_head(reference, temperature=self.args.temperature)
        if self.accelerator.state.deepspeed_plugin is not None:
            return prepare_deepspeed(reference, self.accelerator)
        return self.accelerator.prepare_model(reference, evaluation_mode=True)

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Nothing: the ids are finished."""
        return [list(ids) for ids in prompts], None, {}

    def _get_train_sampler(self, dataset: Any = None) -> Order:
        return Order(
            data_source=self.train_dataset if dataset is None else dataset, mini_repeat_count=self.args.num_generations,
            batch_size=self.args.generation_batch_size // self.args.num_generations,
            repeat_count=self.args.num_iterations * self.args.steps_per_generation, shuffle=True, seed=self.args.seed,
        )  # fmt: skip

    def _rewarded(
        self, prompts: Any, completions: list[str], completion_ids: list[list[int]], log_metric: Any, **columns: Any
    ) -> list[float]:
        """The one reward function. columns: those of the rows, and what TRL adds."""
        names = ("messages", "reference", "number", "line")
        rows = [{name: columns[name][place] for name in names} for place in range(len(completions))]
        ended = [ids[-1] in self.eos_token_ids for ids in completion_ids]
        rewards = self._rewarding(rows, completions, ended)
        for name in FACTORS:
            values = [getattr(factors, name) for _, _, factors in self._rewarding.last]
            if values and values[0] is not None:
                log_metric(name, statistics.fmean(values))
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        above: Any = super()
        made: dict[str, Any] = above._generate_and_score_completions(inputs)
        if machine.rank() == 0 and self._samples:
            self._tell(inputs)
        return made

    def _tell(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Append the first answers of this step to samples.jsonl."""
        advantages = list(self._logs["advantages"])  # of all processes, this one's first
        with open(self._out / SAMPLES, "ab") as file:
            for row, (text, ended, factors), advantage in list(
                zip(inputs, self._rewarding.last, advantages, strict=False)
            )[: self._samples]:
                told = {
                    "step": self.state.global_step + 1, "line": row["line"],
                    "prompt": turns_of(row["messages"])[-1].content, "text": text, "ended": ended,
                    "reward": factors.reward, "advantage": advantage,
                    **{name: value for name in FACTORS if (value := getattr(factors, name)) is not None},
                }  # fmt: skip
                file.write(orjson.dumps(told) + b"\n")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        answers = int(inputs["completion_mask"].sum())
        self.meter.add(int(inputs["prompt_mask"].sum()) + answers, answers)
        above: Any = super()
        return above.compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Answers to prompts held out, instead of TRL's sampled ones with a loss that tells nothing."""
        assert self._held_out is not None
        found = self._held_out(self)
        tell: Any = Plain.log
        tell(self, found)  # TRL's would empty the numbers of the training step
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        for kept in self._metrics.values():
            named = {name: kept[theirs] for theirs, name in _NAMES.items() if theirs in kept}
            kept.clear()
            kept.update(named)
        above: Any = super()
        above.log(logs, start_time)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL's would name the base model's folder and link to services."""


class Rloo(Policy, RLOOTrainer):
    """REINFORCE with the mean of the other answers as the baseline (2402.14740)."""


class Grpo(Policy, GRPOTrainer):
    """The group's mean as the baseline, a loss over tokens (2402.03300)."""
