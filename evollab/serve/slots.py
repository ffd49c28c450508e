"""Keys and values of several answers at once, each in a row of its own, so that answers join and leave freely.

A row is filled from its left end; rows differ in length, and a mask hides what lies behind each one's end.
Nothing is copied from step to step. Rows in use stand together at the top: `move` closes a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STEP = 256
"""Rows grow by this many tokens."""

Kept = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of one sequence, (heads, tokens, size of a head) for each layer."""


class _Place:
    """Where a forward pass reads and writes, told to all layers at once."""

    def __init__(self) -> None:
        self.rows = 0  # allocated
        self.length = 0  # tokens allocated for each row
        self.first = 0
        self.last = 0  # rows first..last-1 take part
        self.top = 0  # columns that may be looked at
        self.where: torch.Tensor  # (rows, 1)
        self.positions: torch.Tensor  # (rows, tokens)


class _Layer:
    """One layer's keys and values, (rows, heads, tokens, size); what transformers' cache asks of a layer."""

    is_compileable = False
    is_sliding = False
    is_croppable = False

    def __init__(self, place: _Place) -> None:
        self._place = place
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def begin(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Take memory for tensors like these."""
        self.keys, self.values = self._empty(keys), self._empty(values)

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self._place.rows, like.shape[1], self._place.length, like.shape[3])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del args, kwargs
        if self.keys is None or self.values is None:
            self.begin(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        place = self._place
        self.keys[place.where, :, place.positions] = key_states.transpose(1, 2)
        self.values[place.where, :, place.positions] = value_states.transpose(1, 2)
        rows = slice(place.first, place.last)
        return self.keys[rows, :, : place.top], self.values[rows, :, : place.top]

    def grow(self) -> None:
        """Take the size that the place says, keeping what there is."""
        if self.keys is None or self.values is None:
            return
        old_keys, old_values = self.keys, self.values
        rows, length = old_keys.shape[0], old_keys.shape[2]
        self.keys = self._empty(old_keys)
        self.keys[:rows, :, :length] = old_keys
        self.values = self._empty(old_values)
        self.values[:rows, :, :length] = old_values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._place.top, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class Slots:
    """The cache of one model and the forward pass over it. To be used within `torch.inference_mode()`."""

    def __init__(self, model: PreTrainedModel, rows: int, context: int) -> None:
        """rows, context: the most there will be; memory is taken as it is needed."""
        config: Any = model.config.get_text_config()
        self._model: Any = model
        self._most_rows, self._context = rows, context
        self._layers = int(config.num_hidden_layers)
        self._windows = _windows(config)
        self._additive = config._attn_implementation == "eager"
        self.reset()

    def reset(self) -> None:
        """Forget everything and give the memory back."""
        self._place = _Place()
        self._held = [_Layer(self._place) for _ in range(self._layers)]
        layers: Any = list(self._held)
        self._cache = Cache(layers=layers)

    def forward(
        self, first: int, tokens: Sequence[Sequence[int]], starts: Sequence[int], *, whole: bool
    ) -> torch.Tensor:
        """Put `tokens` behind what rows first, first + 1, ... hold up to `starts`; their logits.

        whole: logits at every place, (rows, most tokens, vocabulary), meaningless behind a row's own tokens;
        else those behind each row's last token, (rows, vocabulary). Raises RuntimeError (torch's, memory too).
        """
        counts = [len(row) for row in tokens]
        width = max(counts)
        self._reserve(first + len(tokens), max(starts) + width)
        device = self._model.device
        begin = torch.tensor(list(starts), device=device)[:, None]
        place = self._place
        place.first, place.last, place.top = first, first + len(tokens), max(starts) + width
        place.where = torch.arange(first, place.last, device=device)[:, None]
        place.positions = begin + torch.arange(width, device=device)
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens], device=device)
        ends = sorted({count - 1 for count in counts})
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=self._masks(place),
            # behind a row's own tokens positions may pass the last one that the model knows
            position_ids=place.positions.clamp(max=self._context - 1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=0 if whole else torch.tensor(ends, device=device),
        ).logits
        if whole:
            return logits
        return logits[torch.arange(len(tokens), device=device), [ends.index(count - 1) for count in counts]]

    def _masks(self, place: _Place) -> torch.Tensor | dict[str, torch.Tensor]:
        masks = {}
        at = place.positions[:, None, :, None]
        columns = torch.arange(place.top, device=at.device)
        for kind, window in self._windows.items():
            mask = columns <= at
            if window:
                mask &= columns > at - window
            if self._additive:
                dtype = self._model.dtype
                mask = torch.zeros(mask.shape, dtype=dtype, device=at.device).masked_fill_(
                    ~mask, torch.finfo(dtype).min
                )
            masks[kind] = mask
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _reserve(self, rows: int, length: int) -> None:
        place = self._place
        if rows <= place.rows and length <= place.length:
            return
        doubled = 1 << (rows - 1).bit_length()
        place.rows = max(place.rows, min(doubled, max(self._most_rows, rows)))
        place.length = max(place.length, -(-length // _STEP) * _STEP)
        for layer in self._held:
            layer.grow()

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row over another row."""
        if not length:
            return
        self._reserve(max(source, target) + 1, length)
        for layer in self._held:
            if layer.keys is not None and layer.values is not None:
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange two rows, of which the longer has `length` tokens."""
        self._reserve(max(one, other) + 1, length)
        kept = self.take(one, length)
        self.move(other, one, length)
        self.put(other, kept, length)

    def take(self, row: int, length: int) -> Kept:
        """A copy of a row's first `length` tokens."""
        return [
            (layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone())
            for layer in self._held
            if layer.keys is not None and layer.values is not None
        ]

    def put(self, row: int, kept: Kept, length: int) -> None:
        """Begin a row with the first `length` tokens of what was taken."""
        self._reserve(row + 1, length)
        for layer, (keys, values) in zip(self._held, kept, strict=True):
            if layer.keys is None or layer.values is None:
                layer.begin(keys[None], values[None])
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys[row, :, :length] = keys[:, :length]
            layer.values[row, :, :length] = values[:, :length]


def _windows(config: Any) -> dict[str, int]:
    """For each kind of layer how far back it looks, 0 for all the way."""
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if not kinds:
        return {"sliding_attention" if window else "full_attention": window}
    return {kind: window if kind == "sliding_attention" else 0 for kind in kinds}
