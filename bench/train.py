"""Supervised fine-tuning: `evol train sft` beside TRL's SFTTrainer as it comes, on the same rows.

    python bench/train.py                            a model of 0.8 M parameters, made on the spot; CPU
    python bench/train.py --base smollm2 --steps 4   the packaged 135M model, or any folder or hub name
    python bench/train.py --peak-tflops 989          with a GPU: MFU as a share of that peak, memory of the GPU
    python bench/train.py --rows my.jsonl            rows {"instruction", "output"} of your own

The rows are made: one question and one answer each, answers of very different lengths (log-normal). Everybody
trains the same ids, though not in the same order: TRL gets the rows as tokens with a mask, as `evol train sft` writes them.

trl           SFTTrainer with its own defaults (bf16, gradient checkpointing, 1,024 tokens)
trl, fp32     the same without those two: what is left is the trainer
ours          `train_sft` with its own defaults, but --batch as TRL has it
ours, packed  the same with --packing, as many tokens a step: --batch divided by the conversations in a pack

tokens/s      tokens without padding by seconds in training steps (loading and saving don't count); the first step is left out
padding       part of what went through the model that was no token of a row
memory        peak resident memory of the process (on a GPU: of its tensors), above what it had before training
MFU           6 x parameters x tokens/s, as a share of --peak-tflops

Every measure is a process of its own; variants are interleaved (in turn, the order reversed every time), and medians
shown with the least and greatest. On a shared machine trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.texts import prose

VARIANTS = ("trl", "trl, fp32", "ours", "ours, packed")
_BATCH = 8  # SFTConfig's own
_SEED = 42  # SFTConfig's own


def make_rows(path: Path, count: int) -> None:
    """Rows {"instruction", "output"}: answers of 4 to some 400 words, most of them short."""
    draw = random.Random(7)
    with open(path, "w") as file:
        for _ in range(count):
            asked = prose(draw.getrandbits(40), 4, 30)[0]
            length = min(400, max(4, round(draw.lognormvariate(3.2, 1.0))))
            said = prose(draw.getrandbits(40), length, length)[0]
            file.write(json.dumps({"instruction": asked, "output": said}) + "\n")


def make_base(folder: Path) -> str:
    """A Llama of 0.8 M parameters with random weights and the tokenizer of the tests."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    from tests import tiny

    tokenizer = tiny.tokenizer("llama")
    set_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return str(folder)


# In a process of its own


def memory() -> float:
    """Peak so far, MiB: of tensors on a GPU, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(base: str, rows: str, out: str, steps: int, length: int, pack: int) -> dict[str, Any]:
    from evollab.train.sft import SftOptions, train_sft

    before = memory()
    options = SftOptions(
        base=base, data=rows, batch=max(1, _BATCH // pack), max_steps=steps + 1, max_length=length, packing=pack > 1,
        samples=0, seed=_SEED, save_every=10**6,
    )  # fmt: skip
    train_sft(options, Path(out))
    lines = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "loss" in line]
    tokens = sum(line["tokens"] for line in lines[1:])
    seconds = lines[-1]["seconds"] - lines[0]["seconds"]
    return {"tokens": tokens, "seconds": seconds, "first": lines[0]["tokens"], "memory": memory() - before}


def plain_trl(base: str, rows: str, out: str, steps: int, length: int, plain: bool) -> dict[str, Any]:
    """SFTTrainer as its documentation shows it. `plain`: fp32, activations kept."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from evollab.chat import Renderer
    from evollab.records import Message
    from evollab.train.checkpoint import folder_of, load_tokenizer

    before = memory()
    tokenizer = load_tokenizer(base)
    renderer = Renderer(tokenizer, "vicuna")
    data = []
    for line in Path(rows).read_text().splitlines():
        row = json.loads(line)
        made = renderer.render([Message("user", row["instruction"]), Message("assistant", row["output"])])
        data.append({"input_ids": made.ids, "completion_mask": [int(one) for one in made.mask]})

    class Clock(TrainerCallback):
        """Tokens and seconds after the first step, as our own trainer's meter counts them."""

        def __init__(self) -> None:
            self.tokens = self.first = self.padded = 0
            self.began = self.seconds = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now = time.monotonic()
            if state.global_step == 1:
                self.began, self.first, self.tokens, self.padded = now, self.tokens, 0, 0
            self.seconds = now - self.began

    clock = Clock()
    settings: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False} if plain else {}
    trainer = SFTTrainer(
        model=folder_of(base),
        args=SFTConfig(
            output_dir=out, max_steps=steps + 1, max_length=length, report_to=[], save_strategy="no", disable_tqdm=True, data_seed=_SEED,
            use_cpu=not torch.cuda.is_available(), **settings,
        ),
        train_dataset=Dataset.from_list(data), processing_class=tokenizer, callbacks=[clock],
    )  # fmt: skip
    collate = trainer.data_collator

    def counted(examples: Any) -> Any:
        batch = collate(examples)
        clock.padded += batch["input_ids"].numel()
        clock.tokens += int(batch["attention_mask"].sum())
        return batch

    trainer.data_collator = counted
    trainer.train()
    padding = 1 - clock.tokens / clock.padded
    return {
        "tokens": clock.tokens, "seconds": clock.seconds, "first": clock.first, "padding": padding,
        "memory": memory() - before,
    }  # fmt: skip


def child(variant: str, base: str, rows: str, steps: int, length: int, pack: int) -> None:
    import logging

    from evollab.train import machine

    if variant.startswith("ours"):
        machine.prepare()  # as the verb does, before torch is loaded
    import trl.trainer.sft_trainer  # noqa: F401  what imports take counts for nobody

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as out:
        if variant.startswith("ours"):
            found = ours(base, rows, f"{out}/run", steps, length, pack if "packed" in variant else 1)
        else:
            found = plain_trl(base, rows, out, steps, length, "fp32" in variant)
    print("\n" + json.dumps(found), flush=True)


# Outside


def measured(variant: str, options: argparse.Namespace, base: str, rows: Path, pack: int) -> dict[str, Any]:
    arguments = [variant, base, str(rows), str(options.steps), str(options.length), str(pack)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), "--child", *arguments], check=False, cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{variant} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    found["speed"] = found["tokens"] / found["seconds"]
    return found


def lengths_of(base: str, rows: Path, length: int) -> list[int]:
    from evollab.chat import Renderer
    from evollab.records import Message
    from evollab.train.checkpoint import load_tokenizer

    renderer, found = Renderer(load_tokenizer(base), "vicuna"), []
    for line in rows.read_text().splitlines():
        row = json.loads(line)
        made = renderer.render([Message("user", row["instruction"]), Message("assistant", row["output"])])
        found.append(min(length, len(made.ids)))
    return found


def parameters(base: str) -> int:
    from evollab.train.checkpoint import load_model

    return sum(one.numel() for one in load_model(base).parameters())


def table(found: dict[str, list[dict[str, Any]]], size: int, peak: float | None) -> None:
    baseline = statistics.median(one["speed"] for one in found["trl"]) if found.get("trl") else None
    print(
        f"{'variant':<14}{'tokens/s':>10}{'least':>9}{'most':>9}{'x trl':>8}{'memory MiB':>12}{'tokens':>9}{'MFU':>7}"
    )
    for variant, all_ in found.items():
        speeds = [one["speed"] for one in all_]
        speed = statistics.median(speeds)
        held = statistics.median(one["memory"] for one in all_)
        times = f"{speed / baseline:.2f}" if baseline else ""
        share = f"{6 * size * speed / (peak * 1e12):.1%}" if peak else "-"
        print(
            f"{variant:<14}{speed:>10,.0f}{min(speeds):>9,.0f}{max(speeds):>9,.0f}{times:>8}{held:>12,.0f}"
            f"{all_[0]['tokens']:>9,}{share:>7}"
        )
    if "trl" in found:
        print(f"padding of unpacked batches: {statistics.median(one['padding'] for one in found['trl']):.0%}")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        variant, base, rows, *numbers = sys.argv[2:]
        child(variant, base, rows, *map(int, numbers))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="", help="model to train; default: one made on the spot")
    parser.add_argument("--rows", type=Path, help='JSON lines {"instruction", "output"}; default: made')
    parser.add_argument("--steps", type=int, default=8, help="steps that are measured")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--length", type=int, default=1024, help="tokens that a row or a pack may have")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, dense, in the numbers trained with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = options.base or make_base(Path(folder) / "base")
        rows = options.rows or Path(folder) / "rows.jsonl"
        if options.rows is None:
            make_rows(rows, max(64, (options.steps + 1) * _BATCH * 2))
        lengths, size = lengths_of(base, rows, options.length), parameters(base)
        # Packs hold so many conversations that a step of fewer packs sees about as many tokens.
        pack = max(1, min(_BATCH, round(options.length / statistics.mean(lengths))))
        import torch

        where = (
            torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
        )
        print(
            f"{size / 1e6:.1f} M parameters; {len(lengths):,} rows of {statistics.mean(lengths):.0f} tokens "
            f"({min(lengths)} to {max(lengths)}), {_BATCH} a step; {pack} a pack; {where}"
        )
        found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in options.variants}
        for turn in range(options.repeat):
            for variant in options.variants if turn % 2 == 0 else options.variants[::-1]:
                one = measured(variant, options, base, rows, pack)
                found[variant].append(one)
                print(
                    f"  {variant}: {one['speed']:,.0f} tokens/s, {one['memory']:,.0f} MiB", file=sys.stderr, flush=True
                )
        table(found, size, options.peak_tflops)


if __name__ == "__main__":
    main()
