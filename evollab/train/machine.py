"""What training runs on: the packages, the processor, the number format, this process among others."""

from __future__ import annotations

import importlib.util
import os
import warnings
from typing import Any

from evollab.records import EvolError

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "peft", "trl")
INSTALL = "pip install 'evollab[train]'"
DTYPES = ("auto", "bf16", "fp32")


def require(verb: str, packages: tuple[str, ...] = PACKAGES) -> None:
    """Raise EvolError where a package that `verb` needs is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise EvolError(f"evol {verb} needs {', '.join(missing)}, not installed here", INSTALL)


def prepare() -> None:
    """Settings of the libraries, before any of them is imported: no telemetry, no bars and no chatter of
    theirs. What the environment says counts more."""
    for name, value in (
        ("HF_HUB_DISABLE_TELEMETRY", "1"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1"), ("TOKENIZERS_PARALLELISM", "false"),
        ("TRANSFORMERS_VERBOSITY", "error"), ("DATASETS_VERBOSITY", "error"),
        ("TRL_EXPERIMENTAL_SILENCE", "1"), ("TQDM_DISABLE", "1"),
    ):  # fmt: skip
        os.environ.setdefault(name, value)
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other spin for milliseconds by default. Where another program wants their core, a
        # token then takes seven times as long; GNU's OpenMP reads this when torch is loaded.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed says at length that it found no GPU
    import datasets
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    if os.environ["TRANSFORMERS_VERBOSITY"] == "error":  # in case it was imported before
        quiet.set_verbosity_error()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|transformers|trl|accelerate|peft)\b")


def device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def precision(dtype: str) -> str:
    """`bf16` or `fp32` for one of DTYPES: auto takes bf16 on a GPU that has it. Raises EvolError for bf16
    where it would be emulated."""
    import torch

    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "bf16" and torch.cuda.is_available() and not able:
        raise EvolError("--dtype bf16: this GPU has no bfloat16", "--dtype fp32")
    return ("bf16" if able else "fp32") if dtype == "auto" else dtype


def check_gpus() -> None:
    """Raise EvolError where one process sees several GPUs: it would use one, or slow all down."""
    import torch

    if world_size() == 1 and torch.cuda.device_count() > 1:
        raise EvolError(
            f"one process sees {torch.cuda.device_count()} GPUs",
            f"--gpus {torch.cuda.device_count()}, or CUDA_VISIBLE_DEVICES=0 for one of them",
        )


def rank() -> int:
    """This process among those of a launch, 0 for the first or only one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))
