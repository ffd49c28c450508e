"""The numbers that papers and releases give for direct preference optimisation, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOSSES: Mapping[str, str] = {
    "sigmoid": "sigmoid", "length-normalised": "sigmoid_norm", "ipo": "ipo", "hinge": "hinge",
}  # fmt: skip
"""Our name for a loss -> TRL's. sigmoid: DPO (2305.18290). length-normalised: the same with every log-probability
divided by the tokens of its answer (Tulu 3, 2411.15124, section 5.1). ipo: 2310.12036. hinge: SLiC (2305.10425)."""


@dataclass(frozen=True, slots=True)
class DpoPreset:
    """batch: pairs for one step, over all processors. warmup: below 1 a part of a stage's steps. length: tokens
    that a prompt with one of its answers may have."""

    format: str
    loss: str
    beta: float
    batch: int
    lr: float
    epochs: float
    length: int
    warmup: float
    scheduler: str = "linear"


DPO_PRESETS: Mapping[str, DpoPreset] = {
    "plain": DpoPreset("vicuna", "sigmoid", 0.1, 32, 5e-7, 1, 2048, 0.1),
    "arena": DpoPreset("vicuna", "sigmoid", 0.3, 32, 5e-7, 2, 2048, 0.1),
    "tulu3": DpoPreset("model", "length-normalised", 5.0, 128, 5e-7, 1, 2048, 0.1),
}
"""plain: ours. arena: Arena Learning, 2407.10627 (beta, lr, epochs; batch, length and warm-up are ours). tulu3: its
release's documentation."""
