"""How much memory training needs, by arithmetic: before a machine is rented, not after it ran out.

Mixed precision with AdamW keeps 16 bytes for each trained weight: 4 of itself in float32 and 2 in bf16, 2 of
its gradient (4 in float32 training), 8 of the two moments (ZeRO, 1910.02054, section 3.1, with the gradient in
16 bits). ZeRO stage 1 divides the 12 of master weights and moments by the processes, stage 2 gradients too, stage 3
the 2 of the bf16 weights too. Activations with checkpointing: 2 bytes for each token, layer and hidden unit
(what is kept between layers), and one layer's worth of the rest (34 bytes each, Korthikanti et al., 2205.05198,
equation 2, without the attention scores, which today's kernels don't keep), and the logits in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
_WEIGHT, _GRADIENT, _OPTIMIZER = 2, 2, 12
_LAYER = 34


@dataclass(frozen=True, slots=True)
class Size:
    """A model's. parameters: how many weights; layers, hidden, vocabulary: of the transformer."""

    name: str
    parameters: float
    layers: int
    hidden: int
    vocabulary: int


SIZES = (
    Size("7B (Llama-2)", 6.74e9, 32, 4096, 32_000),
    Size("13B (Llama-2)", 13.02e9, 40, 5120, 32_000),
    Size("70B (Llama-2)", 68.98e9, 80, 8192, 32_000),
)


@dataclass(frozen=True, slots=True)
class Need:
    """GiB on each GPU, and in all of the machines' memory together (`host`)."""

    states: float
    activations: float
    host: float = 0.0

    @property
    def gpu(self) -> float:
        return self.states + self.activations


def need(size: Size, gpus: int, zero: int, *, tokens: int = 2048, micro_batch: int = 1, offload: str = "none") -> Need:
    """What full training with bf16, AdamW and gradient checkpointing needs on each of `gpus` GPUs.

    tokens: length of a row; micro_batch: rows at once. Buffers of communication and fragments are not in it: leave
    a tenth. The largest layer, which ZeRO-3 gathers, is.
    """
    weights, gradients, optimizer = (size.parameters * each for each in (_WEIGHT, _GRADIENT, _OPTIMIZER))
    host = 0.0
    optimizer, gradients, weights = (
        optimizer / gpus if zero >= 1 else optimizer,
        gradients / gpus if zero >= 2 else gradients,
        weights / gpus + 2 * weights / size.layers if zero >= 3 else weights,
    )
    if offload != "none":
        host += optimizer * gpus
        optimizer = 0.0
    if offload == "all":
        host += size.parameters * _WEIGHT
        weights = 2 * size.parameters * _WEIGHT / size.layers
    held = tokens * micro_batch * size.hidden
    activations = held * (2 * size.layers + _LAYER) + 3 * 4 * tokens * micro_batch * size.vocabulary
    return Need((weights + gradients + optimizer) / GIB, activations / GIB, host / GIB)
