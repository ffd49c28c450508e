"""Training on many GPUs or machines: the DeepSpeed settings are written, the launch is printed and run.

    OUT/launch/deepspeed.json    with --zero
    OUT/launch/command.txt       what was run, for one machine; on several, run it on each with its --node-rank

The launcher is torchrun; each process it starts runs the same verb, finds RANK and WORLD_SIZE in its
environment, and trains its share. DeepSpeed comes in through the trainers' `deepspeed` setting.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.llm.option import option
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.runs import whole_file, write_json

DEEPSPEED = "EVOLLAB_DEEPSPEED"
"""The environment variable that tells each process of a launch its DeepSpeed settings."""
_PORT = 29500
OFFLOADS = ("none", "optimizer", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """On how many processes to train, and how they share the memory."""

    gpus: int = option(
        "processes on this machine, one for each GPU (where there is none: on its processors)", 1, metavar="N"
    )
    nodes: int = option("machines; run the same command on each, with its own --node-rank", 1, metavar="N")
    node_rank: int = option("number of this machine, from 0", 0, metavar="N")
    main: str = option("address of machine 0 for the others, as HOST:PORT", "", metavar="HOST:PORT")
    zero: int = option(
        "DeepSpeed ZeRO: what processes share instead of copying: 1 the optimizer's state, 2 gradients too, 3 weights "
        "too; 0: without DeepSpeed", 0, choices=(0, 1, 2, 3),
    )  # fmt: skip
    offload: str = option(
        "what --zero keeps in the machine's memory instead of the GPU's: none, optimizer, all", "none",
        choices=OFFLOADS,
    )  # fmt: skip
    dry_run: bool = option("write the launch and print it; run nothing", False)

    def __post_init__(self) -> None:
        for name, least in (("gpus", 1), ("nodes", 1), ("node_rank", 0)):
            if getattr(self, name) < least:
                raise EvolError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected {least} or more")
        if self.zero not in (0, 1, 2, 3):
            raise EvolError(f"--zero {self.zero}: expected 0, 1, 2 or 3")
        if self.offload not in OFFLOADS:
            raise EvolError(f"--offload {self.offload!r}: expected {', '.join(OFFLOADS)}")
        if self.offload != "none" and not self.zero:
            raise EvolError("--offload is DeepSpeed's, and --zero is 0", "add --zero 3")
        if self.offload == "all" and self.zero != 3:
            raise EvolError(f"--offload all moves the weights, which --zero {self.zero} does not share", "--zero 3")
        if self.node_rank >= self.nodes:
            raise EvolError(f"--node-rank {self.node_rank}: expected 0 to {self.nodes - 1}, there are {self.nodes}")
        if self.nodes > 1:
            host, colon, port = self.main.rpartition(":")
            if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
                raise EvolError(
                    f"--main {self.main!r}: expected HOST:PORT, the address of machine 0", f"--main 10.0.0.1:{_PORT}"
                )

    @property
    def many(self) -> bool:
        """Whether a launcher is needed at all."""
        return self.gpus * self.nodes > 1 or bool(self.zero) or self.dry_run


def launched() -> bool:
    """Whether this process is one of a launch."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def deepspeed_settings() -> str | None:
    """The DeepSpeed settings of this launch, for the trainers' `deepspeed`; None without."""
    return os.environ.get(DEEPSPEED) or None


def join(arguments: Any) -> Any:
    """Trainer settings, with this process joined to its launch. Comes before a model is loaded: under ZeRO-3
    DeepSpeed shares the weights while they are read, and on a CPU it doesn't find the others by itself."""
    assert arguments.device is not None  # torch joins when it is asked for
    if deepspeed_settings():
        import deepspeed

        deepspeed.init_distributed(dist_backend="nccl" if arguments.device.type == "cuda" else "gloo", verbose=False)
    return arguments


def deepspeed_config(zero: int, offload: str = "none", *, gpu: bool = True) -> dict[str, Any]:
    """DeepSpeed's settings for a ZeRO stage. What "auto" stands at is filled in by the trainer from its own
    settings, so that batch size, precision and clipping are said in one place only."""
    shared: dict[str, Any] = {"stage": zero, "overlap_comm": gpu, "contiguous_gradients": True}
    if zero == 3:
        shared |= {
            "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto", "stage3_gather_16bit_weights_on_model_save": True,
        }  # fmt: skip
    place = {"device": "cpu", "pin_memory": gpu}
    if offload != "none":
        shared["offload_optimizer"] = place
    if offload == "all":
        shared["offload_param"] = place
    return {
        "zero_optimization": shared, "bf16": {"enabled": "auto"}, "gradient_clipping": "auto",
        "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
        "zero_allow_untested_optimizer": True, "steps_per_print": 1_000_000_000, "wall_clock_breakdown": False,
    }  # fmt: skip


def command(options: LaunchOptions, words: Sequence[str]) -> list[str]:
    """The launch of `evol WORDS`, one process for each GPU of this machine."""
    host, _, port = options.main.rpartition(":")
    where = ["--standalone"]
    if options.nodes > 1:
        where = ["--nnodes", str(options.nodes), "--node-rank", str(options.node_rank)]
        where += ["--master-addr", host, "--master-port", port]
    run = [sys.executable, "-m", "torch.distributed.run", *where, "--nproc-per-node", str(options.gpus)]
    return [*run, "-m", "evollab.cli", *words]


def launch(options: LaunchOptions, words: Sequence[str], out: Path) -> int:
    """Write the launch of `evol WORDS` into `out`/launch, print it, and run it unless told not to. Gives the
    exit code. Raises EvolError for packages that are missing, and for more GPUs than there are."""
    if options.zero and importlib.util.find_spec("deepspeed") is None and not options.dry_run:
        raise EvolError(f"--zero {options.zero} needs deepspeed, which is not installed", _INSTALL)
    gpus = _gpus()
    if gpus and options.gpus > gpus and not options.dry_run:
        raise EvolError(f"--gpus {options.gpus}: this machine has {gpus}", f"--gpus {gpus}")
    folder = out / "launch"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {}
    if options.zero:
        settings = folder / "deepspeed.json"
        write_json(settings, deepspeed_config(options.zero, options.offload, gpu=bool(gpus) or options.dry_run))
        environment[DEEPSPEED] = str(settings)
    if not gpus:
        environment |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.gpus))}
    words = command(options, words)
    shown = shlex.join([*(f"{name}={value}" for name, value in environment.items()), *words])
    with whole_file(folder / "command.txt") as file:
        file.write(f"{shown}\n".encode())
    if options.dry_run:
        print(shown)
        return 0
    say(f"launching: {shown}")
    return _run(words, {**os.environ, **environment})


_INSTALL = "pip install 'evollab[train,deepspeed]'"


def _run(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run the launcher; Ctrl-C and SIGTERM reach it, so that the processes save a checkpoint first."""
    child = subprocess.Popen(words, env=environment, start_new_session=True)

    def pass_on(number: int, _: Any) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _gpus() -> int:
    """GPUs of this machine, 0 without torch."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
