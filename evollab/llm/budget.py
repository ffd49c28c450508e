"""Money and caps: what a call costs, how much may still be spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import urlsplit

from evollab.llm.journal import Totals
from evollab.records import EvolError


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million prompt tokens and a million completion tokens."""

    input: float
    output: float

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


FREE = Price(0.0, 0.0)
"""What runs on this machine costs no money."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Ends of a run's spending, over all its starts; None: no end."""

    cost: float | None = None
    calls: int | None = None
    tokens: int | None = None


@cache
def _table() -> Mapping[str, object]:
    table: dict[str, object] = json.loads(resources.files("evollab.llm").joinpath("prices.json").read_text("utf-8"))
    return table


def listed_price(model: str, url: str) -> tuple[Price, str] | None:
    """The price of `model` at the host of `url`, by exact names in the table we carry, and the
    table's date. The same model costs something else elsewhere, so another host is no match."""
    table = _table()
    prices = table["usd_per_million_tokens"]
    assert isinstance(prices, dict)
    entry = prices.get(urlsplit(url).hostname, {}).get(model)
    return None if entry is None else (Price(*entry), str(table["date"]))


def parse_price(text: str) -> Price:
    """`IN,OUT` in dollars for a million tokens ("0.15,0.60"). Raises EvolError."""
    try:
        price = Price(*(float(part) for part in text.split(",", 1)))
        if not (0 <= price.input < 1e6 and 0 <= price.output < 1e6):
            raise ValueError
    except (ValueError, TypeError):
        raise EvolError(
            f"--price {text!r}: expected IN,OUT in dollars for a million tokens", "for example --price 0.15,0.60"
        ) from None
    return price


def estimate_tokens(body: bytes) -> int:
    """Prompt tokens by rule of thumb (4 bytes each), for limits and estimates, never for accounts."""
    return len(body) // 4 + 1


class Budget:
    """Says before each call whether it may still be asked. What is in flight counts as spent: the
    tokens of its prompt by rule of thumb, of its reply by the mean so far."""

    def __init__(self, caps: Caps, totals: Totals) -> None:
        self.caps = caps
        self.totals = totals
        self._calls = 0
        self._tokens = 0.0
        self._cost = 0.0
        self._capped = caps != Caps()

    def reserve(self, prompt_tokens: int, price: Price | None) -> tuple[float, float] | str:
        """Set the expected (tokens, dollars) of one call aside, or say which cap is reached."""
        if not self._capped:
            return (0.0, 0.0)
        spent = self.totals
        reply = spent.tokens_out / spent.calls if spent.calls else 256.0
        tokens = prompt_tokens + reply
        cost = price.cost(prompt_tokens, int(reply)) if price else 0.0
        if self.caps.calls is not None and spent.calls + self._calls + 1 > self.caps.calls:
            return f"--max-calls {self.caps.calls:,}"
        counted = spent.tokens_in + spent.tokens_out + self._tokens
        if self.caps.tokens is not None and counted + tokens > self.caps.tokens:
            return f"--max-tokens {self.caps.tokens:,}"
        if self.caps.cost is not None and spent.usd + self._cost + cost > self.caps.cost:
            return f"--max-cost {self.caps.cost:g}"
        self._calls += 1
        self._tokens += tokens
        self._cost += cost
        return (tokens, cost)

    def release(self, reserved: tuple[float, float]) -> None:
        """Take back what `reserve` gave: the call is over, and counted in the totals if it was paid."""
        if self._capped:
            self._calls -= 1
            self._tokens -= reserved[0]
            self._cost -= reserved[1]
