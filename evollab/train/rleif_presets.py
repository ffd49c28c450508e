"""The numbers that papers and releases give for reinforcement learning, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RleifPreset:
    """batch: answers for one step, over all processors. beta: weight of the KL divergence from the base. tokens: that
    an answer may have. no_eos: reward of one that has no end, None: as it is scored."""

    format: str
    batch: int
    lr: float
    beta: float
    epochs: float
    tokens: int = 512
    temperature: float = 1.0
    warmup: float = 0.1
    scheduler: str = "linear"
    no_eos: float | None = None


RLEIF_PRESETS: Mapping[str, RleifPreset] = {
    "plain": RleifPreset("vicuna", 64, 1e-6, 0.05, 1),
    "arena": RleifPreset("vicuna", 64, 1e-7, 0.4, 1),
    "tulu3": RleifPreset("model", 224, 3e-7, 0.05, 1, tokens=2048, no_eos=-10.0),
}
"""plain: ours. arena: Arena Learning, 2407.10627 (lr, beta, epochs; the rest is ours), for PPO; WizardMath gives no
numbers. tulu3: lr, beta, temperature and the reward of answers without EOS of its release's documentation, for PPO;
batch and tokens are ours, and its reward for a right answer is 10 where ours is 1."""
