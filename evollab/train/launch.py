"""Training on many GPUs or machines: the DeepSpeed settings are written, the processes started.

    OUT/launch/deepspeed.json    with --zero
    OUT/launch/command.txt       the same launch for torchrun, a line for each machine
    OUT/launch/rank-N.log        what process N said (process 0 says it to you)

Each process runs the same verb, finds RANK and WORLD_SIZE in its environment, and trains its share. DeepSpeed comes
in through the trainers' `deepspeed` setting. Other launchers (torchrun, accelerate, a cluster's) do as well: what
they start trains as one of theirs.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.llm.option import option
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.runs import whole_file, write_json
from evollab.train.processes import run_all

DEEPSPEED = "EVOLLAB_DEEPSPEED"
"""The environment variable that tells each process of a launch its DeepSpeed settings."""
_PORT = 29500
OFFLOADS = ("none", "optimizer", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """On how many processes to train, and how they share the memory."""

    gpus: int = option("processes on this machine, one for each GPU (without GPUs: on its processors)", 1, metavar="N")
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


def check_joined(options: LaunchOptions) -> None:
    """Raise EvolError where another launcher started this process, and not as `options` want it."""
    world, wanted = int(os.environ.get("WORLD_SIZE", "1")), options.gpus * options.nodes
    if wanted > 1 and wanted != world:
        raise EvolError(
            f"--gpus {options.gpus} --nodes {options.nodes}: the launcher that started this made {world} processes",
            "leave the number to it, or run evol without it",
        )
    if zero_stage() != options.zero:
        raise EvolError(
            f"--zero {options.zero}: the launcher that started this gave settings for {zero_stage()}",
            f"set {DEEPSPEED} to the file of settings: --dry-run writes it",
        )


def deepspeed_settings() -> str | None:
    """The DeepSpeed settings of this launch, for the trainers' `deepspeed`; None without."""
    return os.environ.get(DEEPSPEED) or None


def zero_stage() -> int:
    """The ZeRO stage of this launch, 0 without DeepSpeed. Raises EvolError where its settings can't be read."""
    path = deepspeed_settings()
    if path is None:
        return 0
    try:
        return int(orjson.loads(Path(path).read_bytes())["zero_optimization"]["stage"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvolError(
            f"{DEEPSPEED}={path}: no settings of DeepSpeed ({error})", "write them with --dry-run"
        ) from None


def join(arguments: Any) -> Any:
    """Trainer settings, with this process joined to its launch. Comes before a model is loaded: under ZeRO-3
    DeepSpeed shares the weights while they are read, and on a CPU it doesn't find the others by itself."""
    assert arguments.device is not None  # torch joins when it is asked for
    if deepspeed_settings():
        if arguments.device.type == "cuda":
            import deepspeed

            deepspeed.init_distributed(dist_backend="nccl", verbose=False)
        else:
            join_on_processors()
    return arguments


def join_on_processors() -> None:
    """Join this process to DeepSpeed's group, by gloo. On processors accelerate forms the group without DeepSpeed,
    which would then take this process for the only one."""
    import deepspeed

    # All-reduce through shared memory would be compiled first, which takes over a minute and a compiler; gloo does it.
    ops: Any = deepspeed.ops.__compatible_ops__
    ops["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo", auto_mpi_discovery=False, verbose=False)


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


def command(options: LaunchOptions, words: Sequence[str], node: int) -> list[str]:
    """The launch of `evol WORDS` under torchrun on machine `node`, one process for each GPU."""
    host, _, port = options.main.rpartition(":")
    where = ["--standalone"]
    if options.nodes > 1:
        where = ["--nnodes", str(options.nodes), "--node-rank", str(node), "--master-addr", host.strip("[]")]
        where += ["--master-port", port]
    run = [sys.executable, "-m", "torch.distributed.run", *where, "--nproc-per-node", str(options.gpus)]
    return [*run, "-m", "evollab.cli", *words]


def ranks(options: LaunchOptions) -> list[dict[str, str]]:
    """What the environment of each process on this machine says about its place among all."""
    host, _, port = options.main.rpartition(":") if options.nodes > 1 else ("127.0.0.1", "", str(_free_port()))
    first = options.node_rank * options.gpus
    return [
        {
            "RANK": str(first + local), "LOCAL_RANK": str(local), "WORLD_SIZE": str(options.gpus * options.nodes),
            "LOCAL_WORLD_SIZE": str(options.gpus), "GROUP_RANK": str(options.node_rank),
            "MASTER_ADDR": host.strip("[]"), "MASTER_PORT": port,
        }
        for local in range(options.gpus)
    ]  # fmt: skip


def launch(options: LaunchOptions, words: Sequence[str], out: Path) -> int:
    """Run `evol WORDS` in as many processes as `options` say, into `out`; with --dry-run only write the launch into
    `out`/launch and print it. Gives the exit code. Raises EvolError for packages that are missing, for more GPUs
    than there are, and for data from stdin, which processes can't share."""
    gpus = _gpus()
    if not options.dry_run:
        if options.zero and importlib.util.find_spec("deepspeed") is None:
            raise EvolError(f"--zero {options.zero} needs deepspeed, which is not installed", _INSTALL)
        if gpus and options.gpus > gpus:
            raise EvolError(f"--gpus {options.gpus}: this machine has {gpus}", f"--gpus {gpus}")
    if any(word == "-" or word.endswith("=-") for word in words):
        raise EvolError("data from stdin can't be shared by processes", "write it to a file first")
    on_gpu = bool(gpus) or options.dry_run
    environment = _written(options, out, on_gpu)
    lines = [
        shlex.join([*(f"{name}={value}" for name, value in environment.items()), *command(options, rest, node)])
        for node in range(options.nodes)
        for rest in [_placed(words, node)]
    ]
    with whole_file(out / "launch" / "command.txt") as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    if options.dry_run:
        print("\n".join(lines))
        return 0
    environment = {**os.environ, **environment}
    if not gpus:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.gpus)))
    elif options.gpus < gpus:  # else each process would see GPUs that no process is for
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(number) for number in range(gpus))
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(seen.split(",")[: options.gpus])
    first = options.node_rank * options.gpus
    world = options.gpus * options.nodes
    say(f"launching {options.gpus} of {world} processes" if options.nodes > 1 else f"launching {world} processes")
    each = [{**environment, **rank} for rank in ranks(options)]
    return run_all(["evollab.cli", *words], each, out / "launch", first=first)


_INSTALL = "pip install 'evollab[train,deepspeed]'"


def _written(options: LaunchOptions, out: Path, gpu: bool) -> dict[str, str]:
    """Write DeepSpeed's settings; what the environment of every process needs on top of ours."""
    folder = (out / "launch").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if options.zero:
            write_json(folder / "deepspeed.json", deepspeed_config(options.zero, options.offload, gpu=gpu))
    except OSError as error:
        raise EvolError(f"{folder}: can't be written ({error.strerror})", "give another --out") from None
    found = {DEEPSPEED: str(folder / "deepspeed.json")} if options.zero else {}
    return found if gpu else found | {"DS_ACCELERATOR": "cpu"}


def _placed(words: Sequence[str], node: int) -> list[str]:
    """The words of a command for machine `node`, to be run by another launcher."""
    left, kept = list(words), list[str]()
    while left:
        word = left.pop(0)
        if word == "--node-rank":
            kept += [word, str(node)]
            left.pop(0)
        elif word.startswith("--node-rank="):
            kept.append(f"--node-rank={node}")
        elif word != "--dry-run":
            kept.append(word)
    return kept


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def _gpus() -> int:
    """GPUs of this machine, 0 without torch."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
