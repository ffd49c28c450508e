"""How many tokens a text has: by a tokenizer of the user's choice, else by an estimate that says it is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evollab.data.rows import excerpt
from evollab.records import EvolError

FILE = "tokenizer.json"
_BYTES = 4
_HINT = f"give the {FILE} of a model, or the folder that holds it"


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts tokens. `name` says by what, for people and for analysis.json."""

    name: str
    count: Callable[[str], int]


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES)


ESTIMATE = TokenCounter(f"an estimate: UTF-8 bytes / {_BYTES}", _estimate)
"""Four characters of English are about a token; other scripts take more bytes and more tokens."""


def token_counter(tokenizer: str | None) -> TokenCounter:
    """The tokenizer in a file tokenizer.json, or in a folder that has one; None: ESTIMATE.

    Special tokens in a text count as what they are there, plain text; none are added. Raises EvolError
    where there is no such file, or no tokenizer in it, and without the package tokenizers.
    """
    if tokenizer is None:
        return ESTIMATE
    path = Path(tokenizer).expanduser()
    path = path / FILE if path.is_dir() else path
    told = excerpt(str(path), 200)
    if not path.is_file():
        raise EvolError(f"--tokenizer {told}: there is no such file", _HINT)
    if importlib.util.find_spec("tokenizers") is None:
        raise EvolError("--tokenizer needs the package tokenizers, which is not installed", "pip install tokenizers")
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more exact
        raise EvolError(f"--tokenizer {told}: no tokenizer: {excerpt(str(error), 100)}", _HINT) from None
    loaded.encode_special_tokens = True
    loaded.no_truncation()
    loaded.no_padding()

    def count(text: str) -> int:
        safe = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text to the library
        return len(loaded.encode(safe, add_special_tokens=False).ids)

    return TokenCounter(f"tokenizer {excerpt(path.parent.name or path.name, 60)}", count)
