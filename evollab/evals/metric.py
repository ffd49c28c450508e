"""A figure with its interval: what every measurement comes down to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["%", "points", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure.

    value: in `unit`: "%" from 0 to 100, "points" on the judge's scale, "ratio" of two scores in percent.
    None where nothing could be measured. low, high: of the interval of `level` (0.95), None where there is
    none. n: questions that count. method: how the interval was made ("Wilson", "bootstrap over questions, 10,000").
    facts: further figures that belong to it (standard error, samples a question).
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: Unit = "%"
    method: str = ""
    level: float = 0.95
    facts: dict[str, float | int | str | None] = field(default_factory=dict[str, float | int | str | None])
