"""Running the step on a scripted model, from a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.evolve.options import EvolveOptions
from evollab.evolve.step import Result, evolve
from evollab.llm.budget import Price
from evollab.llm.providers import scripted as provider
from evollab.llm.scripted import Scripted
from evollab.llm.session import Connection, ModelOptions
from evollab.records import Dropped, Instruction


class Runner:
    """`run(reply, seeds=..., out=..., **options)` evolves with the function `reply` as the model."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked: list[dict[str, Any]] = []
        self._reply: Callable[[dict[str, Any]], Any] = lambda body: ""
        runner = self

        @contextlib.asynccontextmanager
        async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
            def reply(body: dict[str, Any]) -> Any:
                runner.asked.append(body)
                return runner._reply(body)

            yield Connection(f"scripted:{name}", name, Scripted(reply, name), Price(1.0, 2.0))

        monkeypatch.setattr(provider, "connect", connect)

    def seeds(self, *texts: str | dict[str, Any]) -> Path:
        path = self.folder / "seeds.jsonl"
        rows = [{"instruction": text, "input": "", "output": ""} if isinstance(text, str) else text for text in texts]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return path

    def __call__(self, reply: Callable[[dict[str, Any]], Any], seeds: Path, out: str = "run", **options: Any) -> Result:
        self._reply = reply
        self.asked.clear()
        options.setdefault("model", "scripted:model")
        return asyncio.run(evolve(str(seeds), self.folder / out, EvolveOptions(**options)))

    def kept(self, out: str = "run") -> list[Instruction]:
        lines = (self.folder / out / "1-evolve/instructions.jsonl").read_bytes().split(b"\n")
        return [Instruction.from_json(line) for line in lines if line]

    def dropped(self, out: str = "run") -> list[Dropped]:
        lines = (self.folder / out / "1-evolve/dropped.jsonl").read_bytes().split(b"\n")
        return [Dropped.from_json(line) for line in lines if line]

    def files(self, out: str = "run") -> dict[str, bytes]:
        """The files that must be equal whatever happened on the way."""
        folder = self.folder / out / "1-evolve"
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}
