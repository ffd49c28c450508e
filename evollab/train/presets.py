"""The numbers that papers and releases give for supervised fine-tuning, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """batch: conversations for one step, over all processors. warmup: steps from 1 on, below that a part of
    all steps. length: tokens that a conversation may have."""

    format: str
    batch: int
    lr: float
    epochs: float
    length: int
    warmup: float
    scheduler: str = "cosine"


PRESETS: Mapping[str, Preset] = {
    "plain": Preset("vicuna", 64, 2e-5, 3, 2048, 0.03),
    "wizardlm-7b": Preset("wizardlm-7b", 64, 2e-5, 3, 2048, 2),
    "wizardlm-13b": Preset("vicuna", 384, 2e-5, 3, 2048, 50),
    "wizardlm-13b-iclr": Preset("vicuna", 32, 2e-5, 3, 2048, 0.03),
    "wizardcoder-15b": Preset("alpaca", 512, 2e-5, 3, 2048, 30),
    "wizardmath-13b": Preset("alpaca", 128, 2e-5, 3, 2048, 10),
    "auto-evol-mistral-7b": Preset("vicuna", 128, 5e-6, 4, 2048, 0.03),
    "auto-evol-codellama-13b": Preset("vicuna", 192, 2e-5, 3, 2048, 0.03),
    "auto-evol-mixtral": Preset("vicuna", 200, 5e-6, 4, 2048, 0.03),
    "tulu-3-8b": Preset("model", 128, 5e-6, 2, 4096, 0.03, "linear"),
}
"""plain: ours. wizardlm-7b, wizardlm-13b, wizardcoder-15b, wizardmath-13b: the released training commands.
wizardlm-13b-iclr: the paper's appendix (4 on each of 8 GPUs; warm-up is not published, 0.03 is ours).
auto-evol-...: 2406.00770 (warm-up and scheduler are ours). tulu-3-8b: its release's documentation."""
