"""What every kind of training sets up in the same way: batches, adapters, where to go on from, who writes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.llm.journal import NO_ROOM
from evollab.records import EvolError
from evollab.runs import STEP, Step, locked, open_folder, read_step
from evollab.train import machine
from evollab.train.launch import zero_stage

if TYPE_CHECKING:
    from peft import LoraConfig

MOST_AT_ONCE = 8
_STATE = "trainer_state.json"


@contextlib.contextmanager
def training_folder(out: Path, name: str, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[Step]:
    """The folder of a training step, for the first process of a launch alone; the others get to read it.

    Raises EvolError where it was made with other settings or data (a checkpoint fits its own alone), belongs
    to another step, or can't be written.
    """
    stage = zero_stage()  # checkpoints of one can't be read by another
    config = orjson.loads(orjson.dumps({**config, "zero": stage} if stage else config))
    try:
        if machine.rank():
            yield Step(out, name, config, inputs, read_step(out))
            return
        if out.is_dir() and not (out / STEP).is_file() and any(out.glob("*/config.json")):
            raise EvolError(f"{out} holds a model that is not of this step's making", "give another --out")
        with locked(out, f"evol {name.replace('-', ' ')}"):
            yield open_folder(out, name, config, inputs, hint="give another --out")
    except OSError as error:
        why = "no room is left" if error.errno in NO_ROOM else error.strerror or str(error)
        raise EvolError(
            f"{out}: can't be written ({why})", "make room, or give another --out; the same command goes on"
        ) from None


def last_checkpoint(folder: Path) -> Path | None:
    """The latest whole checkpoint in a folder of them, None where there is none. One that was being written
    when its writer was killed lacks its state, which is written last."""
    found = []
    for path in folder.glob("checkpoint-*"):
        number = re.fullmatch(r"checkpoint-(\d+)", path.name)
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            orjson.loads((path / _STATE).read_bytes())
            if number:
                found.append((int(number[1]), path))
    return max(found)[1] if found else None


def shares(batch: int, micro: int) -> tuple[int, int]:
    """(rows at once, how often before a step) for each process, so that all together make `batch`.

    micro 0: the largest that divides, up to MOST_AT_ONCE. Raises EvolError where it doesn't come out even.
    """
    world = machine.world_size()
    each, rest = divmod(batch, world)
    if rest or not each:
        raise EvolError(f"--batch {batch} can't be shared by {world} processes", f"--batch {max(1, each) * world}")
    if not micro:
        micro = max(size for size in range(1, min(each, MOST_AT_ONCE) + 1) if each % size == 0)
    if each % micro:
        fit = [size for size in range(1, each + 1) if each % size == 0]
        nearest = min(fit, key=lambda size: abs(size - micro))
        raise EvolError(
            f"--micro-batch {micro} does not divide the {each} rows that each process has of --batch {batch}",
            f"--micro-batch {nearest}",
        )
    return micro, each // micro


def adapters(base: str, rank: int, alpha: float, targets: tuple[str, ...]) -> LoraConfig:
    """LoRA of this rank on the layers named (default: every linear one but the head), on a base."""
    from peft import LoraConfig

    known = str(Path(base).resolve()) if Path(base).is_dir() else base
    make: Any = LoraConfig  # lora_alpha is annotated as int, and works as float
    made: LoraConfig = make(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(targets) or "all-linear",
        task_type="CAUSAL_LM", base_model_name_or_path=known,
    )  # fmt: skip
    return made


@contextlib.contextmanager
def memory_explained() -> Iterator[None]:
    """A GPU without enough memory, as an error with a way out."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).partition("\n")[0][:200]
        raise EvolError(
            f"the GPU has too little memory: {first}",
            "--micro-batch 1, --gradient-checkpointing on, a smaller --max-length, or --lora-rank 16",
        ) from None


def surroundings() -> dict[str, Any]:
    """What trained: device, number of processes, versions; for step.json."""
    import torch

    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    versions = {package: importlib.metadata.version(package) for package in machine.PACKAGES}
    return {"device": name, "processes": machine.world_size(), "threads": torch.get_num_threads(), **versions}
