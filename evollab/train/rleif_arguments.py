"""TRL's settings for `train rleif`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evollab.train import machine
from evollab.train.launch import deepspeed_settings, join_on_processors
from evollab.train.rleif import RleifOptions
from evollab.train.setup import shares


def arguments_of(options: RleifOptions, folder: Path, resume: Path | None) -> Any:
    """TRL's settings. Its defaults (bf16 and gradient checkpointing anywhere, GRPO's division by the group's
    deviation) are not ours. beta is 0 there because the reference is our own; see `rleif_trainer`."""
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.rloo_config import RLOOConfig

    gpu, deepspeed = machine.device() == "cuda", deepspeed_settings()
    micro, times = shares(options.batch or 1, options.micro_batch)
    checkpointing = gpu if options.gradient_checkpointing == "auto" else options.gradient_checkpointing == "on"
    looks = "no" if not options.eval_share else "steps" if options.eval_every else "epoch"
    half = machine.precision(options.dtype) == "bf16"
    grpo = options.method == "grpo"
    kind: Any = GRPOConfig if grpo else RLOOConfig
    normalise = {"scale_rewards": options.normalise} if grpo else {"normalize_advantages": options.normalise == "batch"}
    made = kind(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro, gradient_accumulation_steps=times, learning_rate=options.lr or 0.0,
        num_train_epochs=options.epochs or 1, max_steps=options.max_steps or -1,
        lr_scheduler_type=options.scheduler or "linear", warmup_steps=options.warmup or 0,
        weight_decay=options.weight_decay, optim="adamw_torch_fused" if gpu else "adamw_torch",
        bf16=half, fp16=False, use_cpu=not gpu, gradient_checkpointing=checkpointing,
        seed=options.seed, data_seed=options.seed, logging_steps=1, logging_nan_inf_filter=False,
        save_strategy="steps" if options.save_every else "epoch", save_steps=options.save_every or 500,
        save_total_limit=options.keep, eval_strategy=looks, eval_steps=options.eval_every or None,
        eval_on_start=bool(options.eval_share) and resume is None, restore_callback_states_from_checkpoint=True,
        report_to=[], disable_tqdm=True, log_level="error", log_level_replica="error",
        ddp_find_unused_parameters=False, push_to_hub=False, remove_unused_columns=False, deepspeed=deepspeed,
        num_generations=options.generations, num_generations_eval=1, max_completion_length=options.max_tokens,
        temperature=options.temperature, beta=0.0, disable_dropout=True, use_vllm=False,
        use_transformers_continuous_batching=False, **normalise,
    )  # fmt: skip
    if deepspeed and not gpu:
        join_on_processors()
    return made
