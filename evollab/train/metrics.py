"""What training tells: metrics.jsonl (and TensorBoard), a line of progress, and how a person stops it.

Each line of metrics.jsonl holds the numbers of a step: step, epoch, loss, lr, grad_norm, what else the trainer
logs, and of the steps since the line before: tokens (without padding), trained_share, tokens_per_second; and
seconds, the time spent in training steps so far in this start. Lines of evaluations have eval_loss instead.

Imports transformers: import it inside a verb.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evollab.llm.watching import say, seconds
from evollab.records import EvolError
from evollab.runs import whole_file

METRICS = "metrics.jsonl"
_NAMES = {"learning_rate": "lr", "mean_token_accuracy": "accuracy", "eval_mean_token_accuracy": "eval_accuracy"}
_NOT_TOLD = {
    "epoch", "num_tokens", "eval_num_tokens", "total_flos", "train_loss",
    *(f"{when}_{what}" for when in ("train", "eval") for what in ("runtime", "samples_per_second", "steps_per_second")),
}  # fmt: skip
_TERMINAL_SECONDS = 0.5
_PLAIN_SECONDS = 30.0


class Meter:
    """Counts what goes through the model: tokens without padding, those trained, seconds in training steps."""

    def __init__(self) -> None:
        self.tokens = self.trained = 0
        self.all_tokens = self.all_trained = 0
        self.seconds = self.all_seconds = 0.0
        self._since: float | None = None

    def add(self, tokens: int, trained: int) -> None:
        self.tokens += tokens
        self.trained += trained

    def go(self) -> None:
        """The clock runs (again)."""
        if self._since is None:
            self._since = time.monotonic()

    def pause(self) -> None:
        """What follows is no training: evaluation, saving, generating."""
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
            self._since = None

    def take(self) -> dict[str, float]:
        """The numbers since the last call, over all processes of a launch, which must all call it."""
        running = self._since is not None
        self.pause()
        tokens, trained, spent = self.tokens, self.trained, self.seconds
        self.tokens, self.trained, self.seconds = 0, 0, 0.0
        self.all_seconds += spent
        tokens, trained = summed(torch.tensor([tokens, trained])).tolist()
        self.all_tokens += tokens
        self.all_trained += trained
        if running:
            self.go()
        told: dict[str, float] = {"tokens": tokens, "seconds": round(self.all_seconds, 3)}
        if tokens:
            told |= {"trained_share": round(trained / tokens, 4)}
        return told | ({"tokens_per_second": round(tokens / spent, 1)} if spent and tokens else {})


def summed(numbers: torch.Tensor) -> torch.Tensor:
    """The sums over all processes of a launch, which must all call this; on the CPU."""
    if not _together():
        return numbers
    whole = numbers.to("cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(whole)
    return whole.cpu()


def most(number: int) -> int:
    """The greatest of the numbers of all processes of a launch, which must all call this."""
    if not _together():
        return number
    whole = torch.tensor(number, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(whole, distributed.ReduceOp.MAX)
    return int(whole.item())


def own_rows(accelerator: Any, rows: int) -> int:
    """How many of the `rows` of this process's batch count in an evaluation. Where the last batches don't come out
    even, accelerate fills them with the first rows once more; those stand at the end."""
    state = accelerator.gradient_state
    if not (state.end_of_dataloader and state.remainder > 0):
        return rows
    return int(min(rows, max(0, state.remainder - rows * accelerator.process_index)))


def _together() -> bool:
    """Whether several processes train, and have found each other."""
    return distributed.is_available() and distributed.is_initialized()


def keep_until(path: Path, step: int) -> None:
    """Take from a file of JSON lines those past `step`, and a torn last one: what a resumed run tells again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        with contextlib.suppress(orjson.JSONDecodeError):
            if line.endswith(b"\n") and orjson.loads(line)["step"] <= step:
                kept.append(line)
    with whole_file(path) as file:
        file.writelines(kept)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, [] where it has none yet."""
    path = folder / METRICS
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Recorder(TrainerCallback):
    """Writes metrics.jsonl in `folder`, shows progress, ends a run whose loss is no number."""

    def __init__(self, folder: Path, meter: Meter) -> None:
        self._path = folder / METRICS
        self._meter = meter
        self._began = self._shown = 0.0
        self._first = 0
        self._last: dict[str, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._first = state.global_step
        if state.is_world_process_zero:
            keep_until(self._path, state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.go()
        self._began = self._began or time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._show(state)
        if control.should_evaluate or control.should_save or control.should_training_stop:
            self._meter.pause()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.pause()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        logs = logs or {}
        numbers = {_NAMES.get(name, name): value for name, value in logs.items() if name not in _NOT_TOLD}
        if not numbers:
            return
        if "loss" in logs:
            numbers |= self._meter.take()
            if not math.isfinite(logs["loss"]):
                raise EvolError(
                    f"the loss is {logs['loss']} at step {state.global_step:,}",
                    "a smaller --lr, or --dtype fp32; the last checkpoint is from before",
                )
        self._last |= numbers
        if state.is_world_process_zero:
            row = {"step": state.global_step, "epoch": round(state.epoch or 0, 4), **numbers}
            with open(self._path, "ab") as file:
                file.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and sys.stderr.isatty():
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def _show(self, state: TrainerState) -> None:
        """One line that renews itself on a terminal, a line now and then elsewhere."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - max(self._shown, self._began) < (_TERMINAL_SECONDS if terminal else _PLAIN_SECONDS):
            return
        self._shown = now
        left = (now - self._began) / max(1, state.global_step - self._first) * (state.max_steps - state.global_step)
        parts = [f"step {state.global_step:,} of {state.max_steps:,}"]
        for name, form in (("loss", "{:.4f}"), ("eval_loss", "{:.4f}"), ("lr", "{:.2e}")):
            if name in self._last:
                parts.append(f"{name} {form.format(self._last[name])}")
        if "tokens_per_second" in self._last:
            parts.append(f"{self._last['tokens_per_second']:,.0f} tokens/s")
        line = f"{', '.join(parts)}, {seconds(left)} left"
        start, end = ("\r\x1b[2K", "") if terminal else ("", "\n")
        print(start + line, end=end, file=sys.stderr, flush=True)


class Interruption(TrainerCallback):
    """After a signal: a checkpoint at the end of the step, then the end. `signal` names what came, or is None.

    Processes of a launch hear of it at different moments, and none may stop alone: at the end of each step they
    agree. What comes after the last step counts for none of them.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._heard = 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if _together():
            heard = most(self._heard)
            self.signal = signal.Signals(heard) if heard else None
        if self.signal is not None:
            control.should_save = control.should_training_stop = True

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Listen for Ctrl-C and SIGTERM while the block runs; the second one ends at once."""

        def came(number: int, frame: FrameType | None) -> None:
            if self._heard:
                raise KeyboardInterrupt
            self._heard = number
            if not _together():
                self.signal = signal.Signals(number)
            say("\nstopping: a checkpoint after this step (once more: at once)")

        before = {number: signal.signal(number, came) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def tensorboard(folder: Path) -> list[TrainerCallback]:
    """What writes TensorBoard's files to `folder`/tensorboard; nothing where it is not installed."""
    from transformers.integrations.integration_utils import TensorBoardCallback, is_tensorboard_available

    installed: Any = is_tensorboard_available
    if not installed():
        return []
    from torch.utils.tensorboard.writer import SummaryWriter

    writer: Any = SummaryWriter
    make: Any = TensorBoardCallback
    return [make(writer(log_dir=str(folder / "tensorboard")))]
