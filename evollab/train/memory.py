"""How much memory training needs, by arithmetic: before a machine is rented, not after it ran out.

Bytes for each weight that is trained, with bf16 and AdamW, as the trainers here do it:

- without DeepSpeed (autocast): 4 the weight, 4 its gradient, 8 the two moments, 2 the copy in bf16 that a step makes;
  with several GPUs 4 more, the buffers through which PyTorch exchanges gradients
- with DeepSpeed: 2 the weight, 2 its gradient, and 12 the optimizer's: the weight in float32 and the two moments
  (ZeRO, Rajbhandari et al., 1910.02054, section 3.1). Stage 1 shares the 12 out among the processes, stage 2 the
  gradients too, stage 3 the weights too, of which each process then gathers up to a billion at a time (DeepSpeed's
  `stage3_max_live_parameters`)

Weights that are not trained (under LoRA) have 2 bytes. Activations with gradient checkpointing: for each token, layer
and hidden unit 2 bytes, kept between layers; 34 for the one layer that is computed again (Korthikanti et al.,
2205.05198, equation 2, without the scores of attention, which today's kernels don't keep); and the logits three
times in float32, at most.

`python -m evollab.train.memory` prints a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from evollab.records import EvolError

GIB = 1 << 30
GATHERED = 1_000_000_000
_LAYER = 34


@dataclass(frozen=True, slots=True)
class Size:
    """A transformer of Llama's make, by the numbers of its config.json. keys: hidden units of all key heads
    together; inner: intermediate_size."""

    name: str
    layers: int
    hidden: int
    inner: int
    keys: int
    vocabulary: int = 32_000

    @property
    def parameters(self) -> int:
        """How many weights: embedding and head, attention, gated feed-forward, norms."""
        layer = 2 * self.hidden * (self.hidden + self.keys) + 3 * self.hidden * self.inner + 2 * self.hidden
        return 2 * self.vocabulary * self.hidden + self.layers * layer + self.hidden

    def adapters(self, rank: int) -> int:
        """How many weights LoRA of this rank adds to all linear layers but the head: rank x (inputs + outputs)."""
        layer = 2 * (self.hidden + self.hidden) + 2 * (self.hidden + self.keys) + 3 * (self.hidden + self.inner)
        return rank * layer * self.layers


SIZES = (
    Size("7B", 32, 4096, 11_008, 4096),
    Size("13B", 40, 5120, 13_824, 5120),
    Size("70B", 80, 8192, 28_672, 1024),
)
"""Llama 2."""


@dataclass(frozen=True, slots=True)
class Need:
    """GiB: on each GPU for weights, gradients and optimizer (`states`) and for `activations`; in the memory of all
    machines together (`host`)."""

    states: float
    activations: float
    host: float = 0.0

    @property
    def gpu(self) -> float:
        return self.states + self.activations


def need(
    size: Size, gpus: int, zero: int, *, tokens: int = 2048, micro_batch: int = 1, offload: str = "none",
    lora_rank: int = 0,
) -> Need:  # fmt: skip
    """What training needs on each of `gpus` GPUs with ZeRO stage `zero` (0: without DeepSpeed).

    tokens: length of a row; micro_batch: rows at once (a pair of DPO counts as two). The buffers of communication,
    and what is lost between blocks of memory, are not in it: leave a tenth. Raises EvolError for numbers that are none.
    """
    if gpus < 1 or not 0 <= zero <= 3:
        raise EvolError(f"{gpus} GPUs, ZeRO stage {zero}: expected 1 or more, and 0 to 3")
    trained = size.adapters(lora_rank) if lora_rank else size.parameters
    still = size.parameters if lora_rank else 0
    if not zero:
        states, host = 2.0 * still + trained * (18 + (4 if gpus > 1 else 0)), 0.0
    else:
        weights, gradients, optimizer = 2.0 * (trained + still), 2.0 * trained, 12.0 * trained
        everything = trained + still
        host = 0.0
        if offload != "none":
            host, optimizer = optimizer, 0.0
        if offload == "all":
            host, weights = host + weights, 0.0
        states = optimizer / gpus + gradients / (gpus if zero >= 2 else 1) + weights / (gpus if zero == 3 else 1)
        states += 2.0 * min(everything, GATHERED) if zero == 3 and (gpus > 1 or offload == "all") else 0.0
    rows = tokens * micro_batch
    activations = rows * size.hidden * (2 * size.layers + _LAYER) + 3 * 4 * rows * size.vocabulary
    return Need(states / GIB, activations / GIB, host / GIB)


_SHOWN: tuple[tuple[str, int, int, str, int], ...] = (
    ("1 GPU", 1, 0, "none", 0),
    ("1 GPU, --lora-rank 16", 1, 0, "none", 16),
    ("8 GPUs", 8, 0, "none", 0),
    ("8 GPUs, --zero 1", 8, 1, "none", 0),
    ("8 GPUs, --zero 2", 8, 2, "none", 0),
    ("8 GPUs, --zero 3", 8, 3, "none", 0),
    ("8 GPUs, --zero 3 --offload optimizer", 8, 3, "optimizer", 0),
    ("8 GPUs, --zero 3 --offload all", 8, 3, "all", 0),
    ("4 x 8 GPUs, --zero 3", 32, 3, "none", 0),
)


def table() -> str:
    """GiB on each GPU for SIZES, rows of 2,048 tokens one at a time; with offload also those of the machine."""
    lines = [f"{'GiB on each GPU (+ of the machine)':38}" + "".join(f"{size.name:>12}" for size in SIZES)]
    for name, gpus, zero, offload, rank in _SHOWN:
        found = [need(size, gpus, zero, offload=offload, lora_rank=rank) for size in SIZES]
        cells = [f"{one.gpu:.0f}" + (f" + {one.host:.0f}" if one.host else "") for one in found]
        lines.append(f"{name:38}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
