"""The verb `train irm`: an instruction reward model, which ranks instructions (WizardMath, 2308.09583).

Its score says how good an instruction is to learn from, by whatever its data grades. What is written: see
`reward_run`; what is read: see `grades`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.chat import Renderer
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.train.reward_files import told
from evollab.train.reward_options import RewardOptions, RewardResult
from evollab.train.reward_run import Task, train_reward

LABELS = ("reward",)


@dataclass(frozen=True, kw_only=True)
class IrmOptions(RewardOptions):
    """What an instruction reward model learns from, and how. None: the preset's value."""

    score: str | None = option(
        "field with the grade of a row, also of those that evol analyse leaves: quality, difficulty, ...", None,
        metavar="FIELD",
    )  # fmt: skip
    group: str = option("field that says which graded rows are compared with each other", "root_id", metavar="FIELD")
    least_gap: float = option("by how much two grades must differ to make a pair", 0.0, metavar="G")
    margin: float = option(
        "m of the loss, by how much the better logit should lead; rows with a margin of their own keep it", 0.0,
        metavar="M",
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.check_all("irm")
        if not self.group:
            raise EvolError("--group is empty; expected the name of a field", "--group root_id")
        if not (math.isfinite(self.least_gap) and self.least_gap >= 0):
            raise EvolError(f"--least-gap {self.least_gap:g}: expected 0 or more")
        if not math.isfinite(self.margin):
            raise EvolError(f"--margin {self.margin:g}: expected a number")


def train_irm(options: IrmOptions, out: Path) -> RewardResult:
    """Train `options.base` to rank the instructions of `options.data`, into the folder `out`; OUT/model is a model
    with one output, for `scoring.InstructionScorer`. Goes on where it was interrupted, and raises EvolError, as
    `reward_run.train_reward` says."""
    task = Task("irm", "pairs", "sequence", LABELS, _write, _told, _open, _parts)
    return train_reward(task, options, out)


def _write(options: IrmOptions, source: str, folder: Path, renderer: Renderer) -> dict[str, Any]:
    from evollab.train.grades import GradeReader, write_grades

    assert options.max_length is not None
    reader = GradeReader(
        renderer, options.rows, options.max_length, options.too_long, options.score, options.group, options.least_gap,
        options.margin,
    )  # fmt: skip
    return write_grades(
        source, folder, reader, allow_unusable=options.allow_unusable, eval_share=options.eval_share, seed=options.seed
    ).to_json()


def _told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    silent = counts.get("groups_without_pairs", 0)
    more = [f"note: {silent:,} of {counts['groups']:,} groups have no two grades that differ"] if silent else []
    return told(counts, folder) + more


def _open(folder: Path, name: str) -> Any:
    from evollab.train.grades import open_grades

    return open_grades(folder, name)


def _parts() -> tuple[Any, Any]:
    from evollab.train.reward_trainer import PairCollator, PairTrainer

    return PairTrainer, PairCollator
