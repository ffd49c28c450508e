"""Writes evollab/llm/prices.json from the genai-prices package (its facts, our shape).

    pip install -U genai-prices && python scripts/update_prices.py

Only first-party hosts and flat prices are taken: a price that depends on the length of the prompt
or the hour would have to be guessed at.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from decimal import Decimal
from pathlib import Path

from genai_prices.data import providers

HOSTS = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "google": "generativelanguage.googleapis.com",
    "mistral": "api.mistral.ai",
    "deepseek": "api.deepseek.com",
    "x-ai": "api.x.ai",
    "openrouter": "openrouter.ai",
}


def names(model) -> set[str]:
    clauses = getattr(model.match, "or_", [model.match])
    return {model.id, *(c.equals for c in clauses if hasattr(c, "equals"))}


def main() -> None:
    table: dict[str, dict[str, list[float]]] = {}
    for provider in providers:
        host = HOSTS.get(provider.id)
        if host is None:
            continue
        for model in provider.models:
            price = model.prices[-1].prices if isinstance(model.prices, list) else model.prices
            pair = (price.input_mtok, price.output_mtok)
            if all(isinstance(p, Decimal) for p in pair):
                for name in names(model):
                    table.setdefault(host, {})[name] = [float(p) for p in pair]
    out = {
        "date": datetime.date.today().isoformat(),
        "source": f"genai-prices {importlib.metadata.version('genai-prices')}",
        "usd_per_million_tokens": {host: dict(sorted(models.items())) for host, models in sorted(table.items())},
    }
    path = Path(__file__).parent.parent / "evollab/llm/prices.json"
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(f"{path}: " + ", ".join(f"{host} {len(models)}" for host, models in table.items()))


if __name__ == "__main__":
    main()
