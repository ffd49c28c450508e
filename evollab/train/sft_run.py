"""One start of `train sft`: rows, model and trainer put together, trained, saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.chat import Renderer
from evollab.records import EvolError
from evollab.runs import Step, write_json
from evollab.train import checkpoint, machine
from evollab.train.launch import deepspeed_settings, join
from evollab.train.rows import Reader, open_rows, told, write_rows
from evollab.train.setup import adapters, last_checkpoint, shares, surroundings
from evollab.train.sft import SftOptions, SftResult

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Run:
    """One start of training."""

    def __init__(
        self, options: SftOptions, step: Step, tokenizer: PreTrainedTokenizerBase, source: str, held_out: str | None
    ) -> None:
        self.options, self.step, self.tokenizer, self.source, self.held_out = options, step, tokenizer, source, held_out
        self.folder = step.folder
        self.clock = time.monotonic()
        self.precision = machine.precision(options.dtype)

    def run(self) -> SftResult:
        from evollab.train.metrics import Interruption, Meter, Recorder, tensorboard

        resume = last_checkpoint(self.folder / "checkpoints")
        # Before the model: under ZeRO-3 the arguments decide how it is loaded.
        arguments = join(self._arguments(resume))
        with arguments.main_process_first():
            counts = self._rows()
            train, held_out = self._data()
        meter, interruption = Meter(), Interruption()
        samples = self._samples(held_out or train, meter)
        callbacks: list[Any] = [Recorder(self.folder, meter), interruption, *samples]
        if machine.rank() == 0:
            callbacks += tensorboard(self.folder)
        trainer = self._trainer(arguments, train, held_out, meter, callbacks)
        for one in samples:
            one.trainer = trainer
        with interruption.watching():
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        done = interruption.signal is None
        if done:
            self._save(trainer)
        facts = {
            "counts": counts, "losses": self._losses(), "steps": trainer.state.global_step,
            "times": {"seconds": round(time.monotonic() - self.clock, 2), "training": round(meter.all_seconds, 2)},
            "base": self.options.base, "machine": surroundings(),
        }  # fmt: skip
        state = "complete" if done else "stopped"
        if machine.rank() == 0:
            self.step.write(state, **facts)
        code = 0 if interruption.signal is None else 128 + interruption.signal
        return SftResult(
            self.folder, state, counts, facts["losses"], facts["steps"], tuple(told(counts, self.folder)), code
        )

    def _rows(self) -> dict[str, Any]:
        """What became of the rows; made by the first process, at its first start."""
        kept = self.folder / "rows" / "counts.json"
        if machine.rank() or (self.step.before is not None and kept.is_file()):
            found: dict[str, Any] = orjson.loads(kept.read_bytes())
            return found
        options = self.options
        assert options.format is not None
        assert options.max_length is not None
        kept.unlink(missing_ok=True)
        reader = Reader(Renderer(self.tokenizer, options.format), options.rows, options.max_length, options.too_long)
        allowed = options.allow_unusable
        if self.held_out:
            write_rows(self.held_out, self.folder / "held-out", reader, allow_unusable=allowed)
        counts = write_rows(
            self.source, self.folder, reader, allow_unusable=allowed, eval_share=options.eval_share, seed=options.seed
        ).to_json()
        write_json(kept, counts)
        self.step.write("running", counts=counts, base=options.base)
        return counts

    def _data(self) -> tuple[Any, Any]:
        """Rows to train on, packed where that is asked for, and rows held out (None: none)."""
        from evollab.train.sft_trainer import packed

        train = open_rows(self.folder, "train")
        held_out = open_rows(self.folder / "held-out", "train") if self.held_out else open_rows(self.folder, "eval")
        if self.options.packing:
            train = packed(train, self.options.max_length or 0)
        return train, held_out

    def _samples(self, rows: Any, meter: Any) -> list[Any]:
        from evollab.train.generations import Samples, last_answer

        source = open_rows(self.folder, "train") if "line" not in rows.column_names else rows
        chosen = source.select(range(min(self.options.samples, len(source))))
        asked = [last_answer(row["input_ids"], row["mask"], row["line"]) for row in chosen]
        return [Samples(self.folder, asked, self.tokenizer, self.options.sample_tokens, meter)] if asked else []

    def _arguments(self, resume: Path | None) -> Any:
        """TRL's settings. Its defaults (bf16 and gradient checkpointing anywhere, 1,024 tokens) are not ours."""
        from trl.trainer.sft_config import SFTConfig

        options, gpu = self.options, machine.device() == "cuda"
        micro, times = shares(options.batch or 1, options.micro_batch)
        held_out = bool(options.eval_share or options.eval_data)
        when = "steps" if options.save_every else "epoch"
        checkpointing = gpu if options.gradient_checkpointing == "auto" else options.gradient_checkpointing == "on"
        return SFTConfig(
            output_dir=str(self.folder / "checkpoints"), per_device_train_batch_size=micro,
            per_device_eval_batch_size=micro, gradient_accumulation_steps=times, learning_rate=options.lr or 0.0,
            num_train_epochs=options.epochs or 1, max_steps=options.max_steps or -1,
            lr_scheduler_type=options.scheduler or "cosine", warmup_steps=options.warmup or 0,
            weight_decay=options.weight_decay, optim="adamw_torch_fused" if gpu else "adamw_torch",
            bf16=self.precision == "bf16", fp16=False, use_cpu=not gpu, gradient_checkpointing=checkpointing,
            seed=options.seed, data_seed=options.seed, logging_steps=1, logging_nan_inf_filter=False,
            save_strategy=when, save_steps=options.save_every or 500, save_total_limit=options.keep,
            eval_strategy=when if held_out else "no", eval_steps=options.save_every or None,
            eval_on_start=held_out and resume is None, load_best_model_at_end=options.patience is not None,
            metric_for_best_model="eval_loss" if options.patience else None, greater_is_better=False,
            restore_callback_states_from_checkpoint=True, report_to=[], disable_tqdm=True, log_level="error",
            log_level_replica="error", ddp_find_unused_parameters=False, push_to_hub=False,
            remove_unused_columns=False, max_length=None, packing=False, deepspeed=deepspeed_settings(),
            dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip

    def _trainer(self, arguments: Any, train: Any, held_out: Any, meter: Any, callbacks: list[Any]) -> Any:
        import torch
        from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

        from evollab.train.sft_trainer import Collator, Trainer

        options = self.options
        if options.merge and deepspeed_settings():
            raise EvolError(
                "--merge adds adapters to weights that --zero has spread over the processes",
                "leave --merge out: every verb takes the adapter's folder, and merges it when it is loaded",
            )
        set_seed(options.seed)  # adapters begin at random
        half = self.precision == "bf16"
        # Full training keeps its weights in float32 and computes in bf16; under adapters the base stands still.
        model = checkpoint.load_model(
            options.base, dtype=torch.bfloat16 if half and options.lora_rank else None, attention=options.attention
        )
        embeddings: Any = model.get_input_embeddings()
        rows: int = embeddings.num_embeddings
        if len(self.tokenizer) > rows:
            raise EvolError(
                f"{options.base}: its tokenizer has {len(self.tokenizer):,} tokens, the model {rows:,}",
                "a base whose parts belong together",
            )
        if options.patience:
            callbacks.append(EarlyStoppingCallback(options.patience))
        flat = options.packing and (options.attention or "").startswith("flash")
        lora = adapters(options.base, options.lora_rank, options.lora_alpha or 0.0, options.lora_targets)
        columns = ["input_ids", "mask", *(["seq_lengths"] if options.packing else [])]
        trainer = Trainer(
            meter, model=model, args=arguments, processing_class=self.tokenizer,
            train_dataset=train.with_format("numpy", columns=columns),
            eval_dataset=held_out.with_format("numpy", columns=columns[:2]) if held_out is not None else None,
            data_collator=Collator(self.tokenizer.pad_token_id, flat, 8 if machine.device() == "cuda" else 1),
            peft_config=lora if options.lora_rank else None, callbacks=callbacks,
        )  # fmt: skip
        quiet: Any = trainer.remove_callback
        quiet(PrinterCallback)
        return trainer

    def _save(self, trainer: Any) -> None:
        """The model as people use it. Under ZeRO-3 all processes bring it together, the first one writes."""
        options = self.options
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if machine.rank():
            return
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if options.lora_rank and options.merge:
            model, weights = model.merge_and_unload(), None
        checkpoint.save_model(
            model, self.tokenizer, self.folder / "model", options.format or "", dtype=self.precision, weights=weights
        )

    def _losses(self) -> dict[str, float]:
        from evollab.train.metrics import read_metrics

        lines = read_metrics(self.folder)
        steps = [line["loss"] for line in lines if "loss" in line]
        held_out = [line["eval_loss"] for line in lines if "eval_loss" in line]
        found = {"first": steps[0], "last": steps[-1]} if steps else {}
        if held_out:
            # With patience the model of the best evaluation is kept.
            found |= {"eval_first": held_out[0], "eval": min(held_out) if self.options.patience else held_out[-1]}
        return found
