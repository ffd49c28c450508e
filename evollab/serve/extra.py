"""Packages that an engine needs beyond the core, and what to say where they are missing."""

from __future__ import annotations

import importlib.util

from evollab.records import EvolError

_NEEDS = {
    "transformers": (("torch", "transformers", "numpy"), "serve"),
    "llamacpp": (("xllamacpp",), "local"),
    "vllm": (("vllm",), ""),
    "transformers with an adapter": (("peft",), "train"),
}


def require(engine: str) -> None:
    """Raise EvolError, with the line that mends it, where an engine's packages are not installed."""
    packages, extra = _NEEDS[engine]
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        hint = f"pip install 'evollab[{extra}]'" if extra else f"pip install {' '.join(packages)}"
        raise EvolError(f"the engine {engine} needs {', '.join(missing)}, not installed here", hint)
