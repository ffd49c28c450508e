"""The verb `train prm`: a process reward model, which judges every step of an answer (WizardMath, 2308.09583).

Each step is correct, unsure or wrong; the label stands at the last token of the step. What is written: see
`reward_run`; what is read: see `step_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.chat import Renderer
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.train.reward_files import told
from evollab.train.reward_options import RewardOptions, RewardResult
from evollab.train.reward_run import Task, train_reward
from evollab.train.scoring import STEP_LABELS
from evollab.train.step_rows import LABELS, StepReader, open_steps, write_steps
from evollab.train.steps import StepCoder


@dataclass(frozen=True, kw_only=True)
class PrmOptions(RewardOptions):
    """What a process reward model learns from, and how. None: the preset's value."""

    labels: str = option(
        "what whole numbers mean: three-way (1 correct, 0 unsure, -1 wrong), or binary (1 correct, 0 wrong)",
        "three-way", choices=LABELS,
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.check_all("prm")
        if self.labels not in LABELS:
            raise EvolError(f"--labels {excerpt(self.labels, 40)!r}: expected {', '.join(LABELS)}")


def train_prm(options: PrmOptions, out: Path) -> RewardResult:
    """Train `options.base` to judge the steps of `options.data`, into the folder `out`; OUT/model is a model with an
    output for each of `scoring.STEP_LABELS` at each token, for `scoring.StepScorer`. Goes on where it was interrupted,
    and raises EvolError, as `reward_run.train_reward` says."""
    return train_reward(Task("prm", "answers", "token", STEP_LABELS, _write, _told, open_steps, _parts), options, out)


def _write(options: PrmOptions, source: str, folder: Path, renderer: Renderer) -> dict[str, Any]:
    assert options.max_length is not None
    reader = StepReader(StepCoder(renderer), options.rows, options.max_length, options.too_long, options.labels)
    return write_steps(
        source, folder, reader, allow_unusable=options.allow_unusable, eval_share=options.eval_share, seed=options.seed
    ).to_json()


def _told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    recut = counts["recut"]
    more = [f"note: {recut:,} answers have steps that were cut anew, as scoring would cut them"] if recut else []
    return told(counts, folder) + more


def _parts() -> tuple[Any, Any]:
    from evollab.train.reward_trainer import StepCollator, StepTrainer

    return StepTrainer, StepCollator
