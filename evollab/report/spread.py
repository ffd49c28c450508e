"""Distributions of whole numbers, kept whole: quantiles and shapes, not only means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """How often each value occurred, ascending by value. All figures are exact."""

    counts: Mapping[int, int]

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Spread:
        return cls(dict(sorted(counts.items())))

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """NaN where there is nothing."""
        return sum(value * count for value, count in self.counts.items()) / self.n if self.counts else math.nan

    def quantile(self, share: float) -> int:
        """The smallest value with at least `share` of all at or below it; 0 where there is nothing."""
        need = max(math.ceil(self.n * share - 1e-9), 1)
        for value, count in self.counts.items():
            need -= count
            if need <= 0:
                return value
        return 0

    @property
    def median(self) -> int:
        return self.quantile(0.5)
