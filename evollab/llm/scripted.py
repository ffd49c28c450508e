"""Models that are a Python function: for tests, dry runs and recipes.

The function gets the request body as a dictionary (as an endpoint would) and returns the reply's
text, or a whole response body as a dictionary, or raises CallFailed. It may be async. It should
depend on nothing but its argument; then a run is the same byte for byte at any concurrency.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from evollab.llm.wire import Answer
from evollab.records import EvolError

Script = Callable[[dict[str, Any]], str | dict[str, Any] | Awaitable[str | dict[str, Any]]]


class Scripted:
    """A function in the place of an endpoint."""

    key_variable = ""
    has_key = False

    def __init__(self, script: Script, name: str) -> None:
        self._script = script
        self.url = f"scripted:{name}"

    def redact(self, text: str) -> str:
        return text

    async def send(self, body: bytes, *, plain: bool) -> Answer:
        del plain
        result = self._script(orjson.loads(body))
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, str):
            words_in, words_out = body.count(b" ") + 1, result.count(" ") + 1
            result = {
                "choices": [{"message": {"role": "assistant", "content": result}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": words_in, "completion_tokens": words_out},
            }
        status = result.pop("status", 200)
        return Answer(status, result.pop("retry_after", None), orjson.dumps(result))

    async def close(self) -> None:
        pass


def load_script(name: str) -> Script:
    """`package.module:function` or `path/to/file.py:function`. Raises EvolError."""
    place, _, function = name.rpartition(":")
    if not place or not function:
        raise EvolError(
            f"scripted:{name}: expected scripted:MODULE:FUNCTION or scripted:FILE.py:FUNCTION",
            "for example scripted:./my_model.py:reply",
        )
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None or not Path(place).is_file():
                raise EvolError(f"scripted:{name}: there is no file {place}")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except ImportError as error:
        raise EvolError(f"scripted:{name}: {error}") from None
    script: Script | None = getattr(module, function, None)
    if not callable(script):
        there = ", ".join(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise EvolError(f"scripted:{name}: {place} has no function {function}; it has {there or 'none'}")
    return script
