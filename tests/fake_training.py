"""Folders as the training verbs leave them, with made numbers: for tests of their page, without a model."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

MACHINE = {"device": "CPU", "processes": 1, "threads": 2, "torch": "2.13.0", "trl": "1.16.0"}
WORDS = ("a", "river", "sorted", "list", "of", "seven", "old", "clocks", "is", "then", "counted", "twice", "by", "hand")


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def write_step(folder: Path, kind: str, **facts: Any) -> None:
    told = {
        "step": kind, "state": "complete", "command": f"evol {kind.replace('-', ' ')} --base smollm2 --data rows.jsonl",
        "config": {"lr": 2e-5, "batch": 8, "epochs": 3, "seed": 0}, "versions": {"evollab": "0.1.0"},
        "inputs": {"data": {"file": "rows.jsonl", "bytes": 12345, "digest": "ab" * 16}, "base": "smollm2@0123"},
        "base": "smollm2", "times": {"seconds": 420.0, "training": 400.5}, "machine": MACHINE, **facts,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "step.json").write_bytes(orjson.dumps(told))


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words)).capitalize() + "."


def write_sft(folder: Path, steps: int = 300, *, looks: int = 6, rising: bool = False) -> Path:
    """rising: the loss on rows held out turns upwards after a third."""
    draw = random.Random(1)
    lines: list[dict[str, Any]] = [{"step": 0, "epoch": 0, "eval_loss": 2.4, "eval_accuracy": 0.5, "eval_runtime": 3.0}]
    for step in range(1, steps + 1):
        part = step / steps
        loss = 1.2 + 1.1 * math.exp(-4 * part)
        lines.append({
            "step": step, "epoch": round(3 * part, 4), "loss": loss + draw.gauss(0, 0.09),
            "grad_norm": 30.0 if step == 3 else 2 + draw.random(), "lr": 2e-5 * min(1, 20 * part) * (1 - part),
            "accuracy": 0.5 + 0.2 * part + draw.gauss(0, 0.02), "tokens": 4000 + draw.randrange(500),
            "seconds": 1.5 * step, "trained_share": 0.4 + draw.random() / 10, "tokens_per_second": 2800 + draw.gauss(0, 90),
        })  # fmt: skip
        if step % max(1, steps // looks) == 0:
            worse = 0.8 * max(0.0, part - 0.33) if rising else 0.0
            lines.append(
                {"step": step, "epoch": 3 * part, "eval_loss": loss + 0.08 + worse, "eval_accuracy": 0.5 + 0.17 * part}
            )
    write_lines(folder / "metrics.jsonl", lines)
    asked = [_text(draw, 14) for _ in range(3)]
    write_lines(folder / "samples.jsonl", (
        {"step": at * steps // 3, "epoch": float(at), "line": 5 + row, "prompt": f"USER: {one} ASSISTANT:",
         "expected": f"Expected {row}: {_text(random.Random(row), 25)}", "text": f"Epoch {at}: {_text(draw, 30)}", "ended": at > 0}
        for at in range(4) for row, one in enumerate(asked)
    ))  # fmt: skip
    write_lines(
        folder / "removed.jsonl",
        [
            {
                "reason": "too_long",
                "line": 9,
                "id": "r9",
                "detail": "900 tokens, 512 at most",
                "row": {"prompt": "long one"},
            }
        ],
    )
    write_lines(folder / "rejected.jsonl", [{"file": "rows.jsonl", "line": 44, "reason": "not JSON", "text": "{torn"}])
    counts = {
        "rows": 500, "train": 430, "held_out": 25, "cut": 60, "rejected": 1, "too_long": 45, "nothing_trained": 0,
        "not_rendered": 0, "tokens": 60_000, "trained_tokens": 27_000, "lines": {"cut": list(range(10, 20)), "too_long": [9]},
    }  # fmt: skip
    write_step(folder, "train-sft", counts=counts, steps=steps, losses={"first": lines[1]["loss"]})
    return folder


def write_dpo(folder: Path, slices: int = 3, undone: Iterable[int] = (2,)) -> Path:
    """Stage-DPO, 20 steps a slice, of which `undone` were undone."""
    draw = random.Random(2)
    lines, stages, gone = list[dict[str, Any]](), list[dict[str, Any]](), set(undone)
    for stage in range(1, slices + 1):
        for at in range(1, 21):
            margin = 0.02 * at * stage + draw.gauss(0, 0.03)
            lines.append({
                "step": 20 * (stage - 1) + at, "stage_step": at, "stage": stage, "epoch": at / 20, "loss": 0.69 - margin / 3,
                "lr": 5e-6 * (1 - at / 20), "pair_accuracy": 0.5 + at / 60, "margin": margin, "reward_chosen": margin / 2,
                "reward_rejected": -margin / 2, "logp_chosen": -90.0 + at, "logp_rejected": -95.0 - at, "tokens": 3000,
                "trained_share": 0.3, "tokens_per_second": 900.0, "grad_norm": 5.0,
            })  # fmt: skip
        kept = stage not in gone
        before, after = (0.5 if stage == 1 else 0.72), (0.72 if kept else 0.41)
        step = 20 * stage
        lines.append(
            {
                "step": step,
                "stage_step": 20,
                "stage": stage,
                "eval_loss": 0.66 - 0.02 * stage,
                "eval_pair_accuracy": after,
                "eval_margin": 0.2,
            }
        )
        stages.append({
            "stage": stage, "pairs": 160, "replayed": 40 * (stage - 1), "start": 0 if stage == 1 else 1, "reference": 0,
            "kept": kept, "steps": 20, "loss_first": 0.6931, "loss_last": 0.61, "margin_last": 0.4, "held_out": 90,
            "accuracy_before": before, "accuracy_after": after, "interval_before": None,
            "interval_after": [after - 0.1, after + 0.09], "ranking_after": 0.7, "margin_held_out": 0.2, "loss_held_out": 0.6,
        })  # fmt: skip
        write_lines(folder / f"stage-{stage}" / "samples.jsonl", (
            {"step": at, "epoch": at / 20, "line": 7, "prompt": "Which clock?", "expected": "The old one.", "text": f"slice {stage}, after {at}: {_text(draw, 12)}", "ended": True}
            for at in (0, 20)
        ))  # fmt: skip
    write_lines(folder / "metrics.jsonl", lines)
    counts = {
        "rows": 570,
        "train": 480,
        "held_out": 90,
        "tokens": 200_000,
        "trained_tokens": 60_000,
        "identical": 0,
        "lines": {},
    }
    write_step(folder, "train-dpo", counts=counts, stages=stages, steps=20 * slices, model_of_stage=1)
    return folder


def write_rleif(folder: Path, steps: int = 80, *, hacking: bool = True) -> Path:
    """hacking: the reward rises while the held-out score falls, and the trainer noted it."""
    draw = random.Random(3)
    lines, looks = list[dict[str, Any]](), list[dict[str, Any]]()
    for step in range(steps + 1):
        part = step / steps
        if step:
            lines.append({
                "step": step, "epoch": part, "loss": draw.gauss(0, 0.02), "reward": 0.3 + 0.4 * part + draw.gauss(0, 0.03),
                "irm": 0.7 + draw.gauss(0, 0.02), "prm": 0.45 + 0.5 * part, "verified": 0.3 + 0.1 * part, "kl": 0.9 * part**2,
                "length": 60 + 90 * part + draw.gauss(0, 6), "ended": 0.9, "reward_std": 0.2, "lr": 1e-6 * (1 - part),
                "grad_norm": 1 + draw.random(), "tokens": 2000, "trained_share": 0.6, "tokens_per_second": 300.0, "novelty_index": part,
            })  # fmt: skip
        if step % (steps // 4) == 0:
            fall = 0.25 * part if hacking else -0.1 * part
            look = {
                "score": 0.5 - fall,
                "change": -fall,
                "low": -fall - 0.06,
                "high": -fall + 0.06,
                "length": 70.0,
                "ended": 0.9,
            }
            bad = hacking and part > 0.4
            lines.append(
                {
                    "step": step,
                    "epoch": part,
                    **{f"eval_{name}": value for name, value in look.items()},
                    "hacking": float(bad),
                }
            )
            answers = [
                {"line": row, "text": f"At {step}: {_text(draw, 25)}", "score": float(row % 2), "ended": True}
                for row in range(2)
            ]
            looks.append(
                {
                    "step": step,
                    **look,
                    "reward_change": 0.4 * part,
                    "hacking": bad,
                    "scores": [0.0, 1.0],
                    "answers": answers,
                }
            )
    write_lines(folder / "metrics.jsonl", lines)
    write_lines(folder / "held-out.jsonl", looks)
    write_lines(folder / "samples.jsonl", (
        {"step": step, "line": step, "prompt": f"How many clocks at {step}?", "text": _text(draw, 20), "ended": True, "reward": 0.5, "advantage": 0.1, "irm": 0.8, "prm": 0.6}
        for step in range(1, steps)
    ))  # fmt: skip
    told = (
        [
            "warning: reward hacking? By step 80 the training reward rose by 0.400 while the held-out score changed by -0.250"
        ]
        if hacking
        else []
    )
    held = {"by": "right answers", "prompts": 2, "first": 0.5, "last": looks[-1]["score"]}
    counts = {"rows": 100, "train": 90, "held_out": 10, "referenced": 10, "too_long": 0, "lines": {}}
    write_step(folder, "train-rleif", counts=counts, steps=steps, warnings=told, held_out=held)
    return folder


def write_reward(folder: Path, kind: str = "train-prm") -> Path:
    lines: list[dict[str, Any]] = []
    for step in range(1, 31):
        lines.append(
            {
                "step": step,
                "loss": 1.1 - step / 40,
                "accuracy": 0.4 + step / 60,
                "wrong": 0.3,
                "wrong_found": step / 31,
                "lr": 1e-5,
                "tokens": 900,
                "trained_share": 0.05,
            }
        )
        if step % 10 == 0:
            lines.append(
                {
                    "step": step,
                    "eval_loss": 1.1 - step / 42,
                    "eval_accuracy": 0.4 + step / 70,
                    "eval_wrong_found": step / 40,
                }
            )
    write_lines(folder / "metrics.jsonl", lines)
    write_step(
        folder,
        kind,
        counts={"rows": 60, "train": 50, "held_out": 10, "lines": {}},
        steps=30,
        held_out={"loss": 0.4, "accuracy": 0.83},
    )
    return folder
