"""The metrics of all stages in one file, while they are written and after a kill.

Imports transformers: import it inside a verb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evollab.runs import whole_file
from evollab.train.metrics import METRICS, read_metrics


class Joined(TrainerCallback):
    """Writes OUT/metrics.jsonl: the lines of every stage's file, with `stage`, with `stage_step` for the step in
    that stage, and `step` counted over all stages. Stands behind the stage's `Recorder`."""

    def __init__(self, out: Path, steps: Mapping[int, int], stage: int) -> None:
        """steps: how many each stage before this one took."""
        self._out = out
        self._before = {number: sum(steps[one] for one in steps if one < number) for number in [*steps, stage]}
        self._stage = stage
        self._read = 0

    def _lines(self, stage: int, lines: list[dict[str, Any]]) -> Iterator[bytes]:
        for line in lines:
            step = line["step"]
            yield orjson.dumps({**line, "stage": stage, "stage_step": step, "step": self._before[stage] + step}) + b"\n"

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            with whole_file(self._out / METRICS) as file:
                for stage in sorted(self._before):
                    file.writelines(self._lines(stage, read_metrics(self._folder(stage))))
            path = self._folder(self._stage) / METRICS
            self._read = path.stat().st_size if path.exists() else 0

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        path = self._folder(self._stage) / METRICS
        if state.is_world_process_zero and path.exists():
            with open(path, "rb") as file:
                file.seek(self._read)
                lines = [orjson.loads(line) for line in file]
                self._read = file.tell()
            with open(self._out / METRICS, "ab") as file:
                file.writelines(self._lines(self._stage, lines))

    def _folder(self, stage: int) -> Path:
        return stage_folder(self._out, stage)


def stage_folder(out: Path, stage: int) -> Path:
    return out / f"stage-{stage}"
