"""`scripted:FILE.py:FUNCTION`: a Python function, for tests and dry runs. Costs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from evollab.llm.budget import FREE
from evollab.llm.scripted import Scripted, load_script
from evollab.llm.session import Connection, ModelOptions


@contextlib.asynccontextmanager
async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
    del options
    yield Connection(f"scripted:{name}", name.rpartition(":")[2], Scripted(load_script(name), name), FREE)
