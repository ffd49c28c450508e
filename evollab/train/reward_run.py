"""One start of `train irm` or `train prm`: rows, model and trainer put together, trained, saved.

OUT/step.json        what was asked, what came of it
OUT/rows/            the data as ids
OUT/removed.jsonl    rows that are not trained, with reasons; OUT/rejected.jsonl: unreadable ones
OUT/metrics.jsonl    loss, accuracy and more, a line a step; OUT/tensorboard where that is installed
OUT/checkpoints/     to go on from
OUT/model/           the result: a model with a head, its tokenizer and chat template
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.chat import Renderer, template
from evollab.data.files import input_digest
from evollab.data.rowstep import place_of
from evollab.records import EvolError
from evollab.runs import Step, write_json
from evollab.train import checkpoint, machine
from evollab.train.launch import deepspeed_settings, join_on_processors
from evollab.train.reward_options import RewardOptions, RewardResult
from evollab.train.scoring import FORMAT
from evollab.train.setup import adapters, last_checkpoint, memory_explained, shares, surroundings, training_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Task:
    """What tells the two verbs apart.

    verb: irm or prm. what: what is trained, for people. head: see `checkpoint.load_model`. labels: names of the
    outputs. write: makes OUT/rows of a source by options and gives what became of the rows. told: sentences about that.
    data: the rows to train on, or held out, None where there are none. trainer: its class and collator's.
    """

    verb: str
    what: str
    head: str
    labels: tuple[str, ...]
    write: Callable[[Any, str, Path, Renderer], dict[str, Any]]
    told: Callable[[Mapping[str, Any], Path], list[str]]
    data: Callable[[Path, str], Any]
    trainer: Callable[[], tuple[Any, Any]]


def train_reward(task: Task, options: RewardOptions, out: Path) -> RewardResult:
    """Train `options.base` on `options.data` into the folder `out` (see the top of this file).

    The same call goes on where it was interrupted, from the last checkpoint, on the same loss curve; after the end
    it does nothing. Under a launcher every process calls it, and the first one writes. Raises EvolError for
    everything that a person can mend.
    """
    name = f"train-{task.verb}"
    machine.require(f"train {task.verb}")
    machine.prepare()
    machine.check_gpus()
    if options.lora_rank and _zero() == 3:
        raise EvolError("--lora-rank with --zero 3: parted weights can't take adapters in", "--zero 2")
    options = options.resolved()
    tokenizer = checkpoint.load_tokenizer(options.base)
    tokenizer.chat_template = template(tokenizer, str(options.format))  # every checkpoint carries it
    source = place_of(options.data, None, task.verb).source
    inputs: dict[str, Any] = {"data": input_digest(source), "base": checkpoint.identity(options.base)}
    where = ("base", "data")  # what lies there counts, whatever the path to it
    config = {key: value for key, value in dataclasses.asdict(options).items() if key not in where}
    config["processes"] = machine.world_size()
    with training_folder(out, name, config, inputs) as step:
        before = step.before
        if before is not None and before.get("state") == "complete" and (out / "model").is_dir():
            note = ("note: this was done before; nothing was left to do",)
            return RewardResult(
                out,
                "complete",
                task.what,
                before["counts"],
                before["losses"],
                before["held_out"],
                before["steps"],
                note,
            )
        with memory_explained():
            return _Run(task, options, step, tokenizer, source).run()


def _zero() -> int:
    """The ZeRO stage of this launch, 0 without."""
    settings = deepspeed_settings()
    return int(orjson.loads(Path(settings).read_bytes())["zero_optimization"]["stage"]) if settings else 0


class _Run:
    def __init__(
        self, task: Task, options: RewardOptions, step: Step, tokenizer: PreTrainedTokenizerBase, source: str
    ) -> None:
        self.task, self.options, self.step, self.tokenizer, self.source = task, options, step, tokenizer, source
        self.folder = step.folder
        self.clock = time.monotonic()
        self.precision = machine.precision(options.dtype)

    def run(self) -> RewardResult:
        from evollab.train.metrics import Interruption, Meter, Recorder, tensorboard

        resume = last_checkpoint(self.folder / "checkpoints")
        arguments = self._arguments(resume)  # before the model: under ZeRO-3 they decide how it is loaded
        with arguments.main_process_first():
            counts = self._rows()
        train, held_out = (self.task.data(self.folder, name) for name in ("train", "eval"))
        meter, interruption = Meter(), Interruption()
        callbacks: list[Any] = [Recorder(self.folder, meter), interruption]
        if machine.rank() == 0:
            callbacks += tensorboard(self.folder)
        trainer = self._trainer(arguments, train, held_out, meter, callbacks)
        with interruption.watching():
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        done = interruption.signal is None
        if done:
            self._save(trainer)
        losses, measured = self._measured()
        steps = trainer.state.global_step
        state = "complete" if done else "stopped"
        if machine.rank() == 0:
            times = {"seconds": round(time.monotonic() - self.clock, 2), "training": round(meter.all_seconds, 2)}
            self.step.write(
                state, counts=counts, losses=losses, held_out=measured, steps=steps, times=times,
                base=self.options.base, labels=self.task.labels, machine=surroundings(),
            )  # fmt: skip
        code = 0 if interruption.signal is None else 128 + interruption.signal
        notes = tuple(self.task.told(counts, self.folder))
        return RewardResult(self.folder, state, self.task.what, counts, losses, measured, steps, notes, code)

    def _rows(self) -> dict[str, Any]:
        """What became of the rows; made by the first process, at its first start."""
        kept = self.folder / "rows" / "counts.json"
        if machine.rank() or (self.step.before is not None and kept.is_file()):
            found: dict[str, Any] = orjson.loads(kept.read_bytes())
            return found
        kept.unlink(missing_ok=True)
        counts = self.task.write(
            self.options, self.source, self.folder, Renderer(self.tokenizer, str(self.options.format))
        )
        write_json(kept, counts)
        self.step.write("running", counts=counts, base=self.options.base)
        return counts

    def _arguments(self, resume: Path | None) -> Any:
        from transformers import TrainingArguments

        options, gpu, deepspeed = self.options, machine.device() == "cuda", deepspeed_settings()
        micro, times = shares(options.batch or 1, options.micro_batch)
        held_out = bool(options.eval_share)
        when = "steps" if options.save_every else "epoch"
        checkpointing = gpu if options.gradient_checkpointing == "auto" else options.gradient_checkpointing == "on"
        made = TrainingArguments(
            output_dir=str(self.folder / "checkpoints"), per_device_train_batch_size=micro,
            per_device_eval_batch_size=micro, gradient_accumulation_steps=times, learning_rate=options.lr or 0.0,
            num_train_epochs=options.epochs or 1, max_steps=options.max_steps or -1,
            lr_scheduler_type=options.scheduler or "cosine", warmup_steps=options.warmup or 0,
            weight_decay=options.weight_decay, optim="adamw_torch_fused" if gpu else "adamw_torch",
            bf16=self.precision == "bf16", fp16=False, use_cpu=not gpu, gradient_checkpointing=checkpointing,
            seed=options.seed, data_seed=options.seed, logging_steps=1, logging_nan_inf_filter=False,
            save_strategy=when, save_steps=options.save_every or 500, save_total_limit=options.keep,
            eval_strategy=when if held_out else "no", eval_steps=options.save_every or None,
            eval_on_start=held_out and resume is None, restore_callback_states_from_checkpoint=True, report_to=[],
            disable_tqdm=True, log_level="error", log_level_replica="error", ddp_find_unused_parameters=False,
            push_to_hub=False, remove_unused_columns=False, deepspeed=deepspeed,
        )  # fmt: skip
        if deepspeed and not gpu:
            join_on_processors()
        return made

    def _trainer(self, arguments: Any, train: Any, held_out: Any, meter: Any, callbacks: list[Any]) -> Any:
        from transformers import PrinterCallback, set_seed

        set_seed(self.options.seed)  # the head begins at random, and adapters
        kind, collator = self.task.trainer()
        trainer = kind(
            meter, model=self._model(), args=arguments, processing_class=self.tokenizer, train_dataset=train,
            eval_dataset=held_out,
            data_collator=collator(self.tokenizer.pad_token_id, 8 if machine.device() == "cuda" else 1),
            callbacks=callbacks,
        )  # fmt: skip
        quiet: Any = trainer.remove_callback
        quiet(PrinterCallback)
        return trainer

    def _model(self) -> Any:
        """The base with a head, and with adapters where they are asked for; without dropout, which would make
        rewards a matter of chance."""
        import torch

        options, task = self.options, self.task
        half = self.precision == "bf16" and options.lora_rank
        model: PreTrainedModel = checkpoint.load_model(
            options.base, dtype=torch.bfloat16 if half else None, head=task.head, labels=len(task.labels),
            attention=options.attention,
        )  # fmt: skip
        embeddings: Any = model.get_input_embeddings()
        if len(self.tokenizer) > embeddings.num_embeddings:
            raise EvolError(
                f"{options.base}: its tokenizer has {len(self.tokenizer):,} tokens, the model "
                f"{embeddings.num_embeddings:,}",
                "a base whose parts belong together",
            )
        config: Any = model.config
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: number for number, label in enumerate(task.labels)}
        setattr(config, FORMAT, options.format)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if not options.lora_rank:
            return model
        from peft import get_peft_model

        lora = adapters(options.base, options.lora_rank, options.lora_alpha or 0.0, options.lora_targets)
        head = [name for name in ("score", "classifier") if hasattr(model, name)]
        lora.task_type, lora.modules_to_save, lora.exclude_modules = None, head, head  # the head is trained whole
        return get_peft_model(model, lora)

    def _save(self, trainer: Any) -> None:
        """The model as it is used. Under ZeRO-3 all processes bring it together, the first one writes."""
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if machine.rank():
            return
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if self.options.lora_rank:
            model, weights = model.merge_and_unload(), None
        checkpoint.save_model(
            model, self.tokenizer, self.folder / "model", str(self.options.format), dtype=self.precision,
            weights=weights,
        )  # fmt: skip

    def _measured(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses of the first and last step; the last evaluation."""
        from evollab.train.metrics import read_metrics

        lines = read_metrics(self.folder)
        steps = [line["loss"] for line in lines if "loss" in line]
        held_out = [line for line in lines if "eval_loss" in line][-1:]
        losses = {"first": steps[0], "last": steps[-1]} if steps else {}
        return losses, {
            name.removeprefix("eval_"): value for line in held_out for name, value in line.items() if "eval_" in name
        }
