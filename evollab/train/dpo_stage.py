"""One stage of `train dpo`: a slice of pairs, trained from where the last good stage ended, measured, kept or not."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab.records import EvolError
from evollab.train import checkpoint, machine
from evollab.train.dpo import DpoOptions
from evollab.train.dpo_metrics import stage_folder
from evollab.train.dpo_presets import LOSSES
from evollab.train.launch import deepspeed_settings, join_on_processors
from evollab.train.setup import adapters, last_checkpoint, shares
from evollab.train.stages import hurts, interval

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_COLUMNS = ["prompt_ids", "chosen_ids", "rejected_ids", "chosen_mask", "rejected_mask"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a stage. Losses and margin: means over the pairs of its first and last step. Accuracy and
    ranking: see `dpo_trainer`; those of pairs held out, None without any; intervals are 95 %."""

    kept: bool
    steps: int
    loss_first: float
    loss_last: float
    margin_last: float
    held_out: int
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    interval_before: list[float] | None = None
    interval_after: list[float] | None = None
    ranking_after: float | None = None
    margin_held_out: float | None = None
    loss_held_out: float | None = None


class Stage:
    """A stage that is to be trained. rows: all pairs, and those held out (None: none). pairs: which of all it trains.
    steps: how many each earlier stage took. start: the model that it begins with."""

    def __init__(
        self, options: DpoOptions, out: Path, number: int, start: str, tokenizer: PreTrainedTokenizerBase,
        rows: tuple[Any, Any], pairs: Sequence[int], steps: Mapping[int, int],
    ) -> None:  # fmt: skip
        self.options, self.out, self.number, self.start, self.tokenizer = options, out, number, start, tokenizer
        self.train, self.held_out = rows
        self.pairs, self.steps = pairs, steps
        self.folder = stage_folder(out, number)
        self.seconds = 0.0

    def run(self, interruption: Any, before: float | None) -> Outcome | None:
        """Train, measure, save. before: pair accuracy of the start. None: interrupted, a checkpoint is there."""
        from evollab.train.metrics import Meter

        resume = last_checkpoint(self.folder / "checkpoints")
        meter = Meter()
        # Before the model: under ZeRO-3 the arguments decide how it is loaded.
        trainer = self._trainer(arguments_of(self.options, self.folder, resume), meter, interruption)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        self.seconds = meter.all_seconds
        if interruption.signal is not None:
            return None
        found = self._outcome(trainer, before)
        if found.kept:
            self._save(trainer)
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.free_memory()
        del trainer
        gc.collect()
        return found

    def clear(self) -> None:
        """Take away what only an unfinished stage needs."""
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    # What is put together

    def _trainer(self, arguments: Any, meter: Any, interruption: Any) -> Any:
        import torch
        from transformers import PrinterCallback, set_seed

        from evollab.train.dpo_trainer import PairCollator, Trainer

        options = self.options
        set_seed(options.seed)  # adapters begin at random
        half = machine.precision(options.dtype) == "bf16"
        # Full training keeps its weights in float32 and computes in bf16; under adapters the base stands still.
        model = checkpoint.load_model(
            self.start, dtype=torch.bfloat16 if half and options.lora_rank else None, attention=options.attention
        )
        embeddings: Any = model.get_input_embeddings()
        rows: int = embeddings.num_embeddings
        if len(self.tokenizer) > rows:
            raise EvolError(
                f"{options.base}: its tokenizer has {len(self.tokenizer):,} tokens, the model {rows:,}",
                "a base whose parts belong together",
            )
        samples = self._samples(meter)
        lora = adapters(self.start, options.lora_rank, options.lora_alpha or 0.0, options.lora_targets)
        trainer = Trainer(
            meter, *self._referenced(), model=model, args=arguments, processing_class=self.tokenizer,
            data_collator=PairCollator(self.tokenizer.pad_token_id, 8 if machine.device() == "cuda" else 1),
            peft_config=lora if options.lora_rank else None,
            callbacks=[*self._callbacks(meter), interruption, *samples],
        )  # fmt: skip
        for one in samples:
            one.trainer = trainer
        quiet: Any = trainer.remove_callback
        quiet(PrinterCallback)
        return trainer

    def _referenced(self) -> tuple[Any, Any]:
        """The pairs to train on and those held out, each with the file of its reference.

        The start of this stage is the reference for its own pairs. Where that is the base all along, the first
        stage, which has it at hand, notes it for all pairs. Pairs held out are always measured against the base, so
        that stages can be compared.
        """
        from evollab.train.dpo_trainer import Referenced

        rows = self.out / "rows"
        if self.options.reference == "sft":
            train = Referenced(_plain(self.train), rows / "reference.npy", self.pairs)
        else:
            own = _plain(self.train.select(self.pairs))
            train = Referenced(own, self.folder / "reference.npy", range(len(own)))
        if self.held_out is None:
            return train, None
        return train, Referenced(_plain(self.held_out), rows / "reference-eval.npy", range(len(self.held_out)))

    def _callbacks(self, meter: Any) -> list[Any]:
        from evollab.train.dpo_metrics import Joined
        from evollab.train.metrics import Recorder, tensorboard

        callbacks: list[Any] = [Recorder(self.folder, meter), Joined(self.out, self.steps, self.number)]
        return callbacks + (tensorboard(self.folder) if machine.rank() == 0 else [])

    def _samples(self, meter: Any) -> list[Any]:
        from evollab.train.generations import Asked, Samples

        rows, options = self.train if self.held_out is None else self.held_out, self.options
        chosen = rows.select(range(min(options.samples, len(rows))))
        asked = [Asked(list(row["prompt_ids"]), list(row["chosen_ids"]), row["line"]) for row in chosen]
        return [Samples(self.folder, asked, self.tokenizer, options.sample_tokens, meter)] if asked else []

    # What came of it

    def _outcome(self, trainer: Any, before: float | None) -> Outcome:
        from evollab.train.metrics import read_metrics

        found = self._held_out(trainer)
        trainer.accelerator.wait_for_everyone()
        lines = [line for line in read_metrics(self.folder) if "loss" in line]
        facts: dict[str, Any] = {
            "kept": True, "steps": trainer.state.global_step, "loss_first": lines[0]["loss"],
            "loss_last": lines[-1]["loss"], "margin_last": lines[-1]["margin"], "held_out": 0,
        }  # fmt: skip
        if found:
            assert before is not None
            count, after = len(self.held_out), found["eval_pair_accuracy"]
            facts |= {
                "held_out": count, "accuracy_before": before, "accuracy_after": after,
                # The base's is no measurement: it is so by definition.
                "interval_before": None if self.start == self.options.base else [*interval(before, count)],
                "interval_after": [*interval(after, count)], "ranking_after": found["eval_ranking_accuracy"],
                "margin_held_out": found["eval_margin"], "loss_held_out": found["eval_loss"],
                "kept": not hurts(before, after, count, self.options.stop_drop or 0.0),
            }  # fmt: skip
        return Outcome(**facts)

    def _held_out(self, trainer: Any) -> dict[str, float]:
        """What is measured on pairs held out, after the last step; {} without any. Where an earlier start came that
        far, it is not done again."""
        import torch

        from evollab.train.metrics import read_metrics, summed

        if self.held_out is None:
            return {}
        last = trainer.state.global_step
        known = [one for one in read_metrics(self.folder) if one["step"] == last and "eval_pair_accuracy" in one]
        # All processes must agree, whatever each of them sees on a shared disk.
        agreed = int(summed(torch.tensor([int(bool(known))])).item()) == machine.world_size()
        found: dict[str, float] = known[-1] if agreed else trainer.evaluate()
        return found

    def _save(self, trainer: Any) -> None:
        """The model for the next stage, in float32, and the one that people use. Under ZeRO-3 all processes bring it
        together, the first one writes."""
        options = self.options
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if machine.rank():
            return
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        name = options.format or ""
        if options.lora_rank:
            place = self.folder / "adapter"
            checkpoint.save_model(model, self.tokenizer, place, name, weights=weights)
            model, weights = _merged(self.start, place), None
        if self.number < options.slices:
            checkpoint.save_model(model, self.tokenizer, self.folder / "model", name, weights=weights)
        half = machine.precision(options.dtype)
        checkpoint.save_model(model, self.tokenizer, self.out / "model", name, dtype=half, weights=weights)


def _plain(rows: Any) -> Any:
    return rows.select_columns(_COLUMNS)


def _merged(start: str, adapter: Path) -> Any:
    """The start of a stage with its adapter in it, in float32: in bf16 what a slice taught would be rounded away."""
    from peft import PeftModel
    from transformers.integrations import deepspeed

    forget: Any = deepspeed.unset_hf_deepspeed_config
    forget()  # else ZeRO-3 would part this model among processes that don't load it
    return PeftModel.from_pretrained(checkpoint.load_model(start), str(adapter)).merge_and_unload()


def arguments_of(options: DpoOptions, folder: Path, resume: Path | None) -> Any:
    """TRL's settings. Its defaults (bf16 and gradient checkpointing anywhere, 1,024 tokens) are not ours."""
    from trl.trainer.dpo_config import DPOConfig

    gpu, deepspeed = machine.device() == "cuda", deepspeed_settings()
    micro, times = shares(options.batch or 1, options.micro_batch)
    when = "steps" if options.save_every else "epoch"
    checkpointing = gpu if options.gradient_checkpointing == "auto" else options.gradient_checkpointing == "on"
    made = DPOConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, per_device_eval_batch_size=micro,
        gradient_accumulation_steps=times, learning_rate=options.lr or 0.0, num_train_epochs=options.epochs or 1,
        max_steps=options.max_steps or -1, lr_scheduler_type=options.scheduler or "linear",
        warmup_steps=options.warmup or 0, weight_decay=options.weight_decay,
        optim="adamw_torch_fused" if gpu else "adamw_torch", bf16=machine.precision(options.dtype) == "bf16",
        fp16=False, use_cpu=not gpu, gradient_checkpointing=checkpointing, seed=options.seed, data_seed=options.seed,
        logging_steps=1, logging_nan_inf_filter=False, save_strategy=when, save_steps=options.save_every or 500,
        save_total_limit=options.keep, eval_strategy="steps" if options.save_every and options.eval_share else "no",
        eval_steps=options.save_every or None, restore_callback_states_from_checkpoint=True, report_to=[],
        disable_tqdm=True, push_to_hub=False, remove_unused_columns=False, deepspeed=deepspeed,
        beta=options.beta or 0.0, loss_type=[LOSSES[options.loss or "sigmoid"]], max_length=None,
        precompute_ref_log_probs=True,
    )  # fmt: skip
    if deepspeed and not gpu:
        join_on_processors()
    return made
