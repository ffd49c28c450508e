"""How the model that is measured is reached: opened when it is first needed, closed with the evaluation."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from evollab.evals.contestant import Contestant
from evollab.evals.harness import Scored
from evollab.evals.options import EvalOptions
from evollab.evals.own_server import served
from evollab.llm.session import Opened, Session
from evollab.records import EvolError

_KEY = "EVOL_MEASURED_KEY"
"""The variable of this process that holds the key of a server of our own."""


@dataclass(slots=True)
class Reached:
    """One contestant in one evaluation."""

    who: Contestant
    options: EvalOptions
    opened: Session
    stack: AsyncExitStack
    _server: tuple[str, str] | None = None
    _digest: str = ""

    async def asked(self) -> Opened:
        """Ready to answer. Raises EvolError."""
        if self.who.checkpoint is not None and self._by_transformers():
            url, token = await self._served(self.who.checkpoint)
            os.environ[_KEY] = token
            named = await self._weights(self.who.checkpoint)
            return await self.opened.model("openai:model", at=url, key_env=_KEY, identity=named)
        return await self.opened.model(self.who.spec, at=self.who.at, key_env=self.options.model_key_env)

    async def scores_as(self) -> str:
        """Names the weights that score answers. Raises EvolError for a model whose server can't."""
        if self.who.at:
            return f"{self.who.spec}@{self.who.at}"
        return await self._weights(await self._folder())

    async def scored(self) -> Scored:
        """Ready to score answers by log-likelihood. Raises EvolError."""
        identity = await self.scores_as()
        if self.who.at:
            if not self.options.tokenizer:
                raise EvolError(
                    "multiple choice at an address needs the model's tokenizer", "--tokenizer PATH: a folder or hub id"
                )
            key = os.environ.get(self.options.model_key_env, "").strip() if self.options.model_key_env else ""
            return Scored(
                url=self.who.at, model=self.who.label, tokenizer=self.options.tokenizer, identity=identity, key=key,
                concurrency=self.options.concurrency or 8,
            )  # fmt: skip
        folder = await self._folder()
        url, token = await self._served(folder)
        return Scored(url=url, model="model", tokenizer=str(folder), identity=identity, key=token)

    def _by_transformers(self) -> bool:
        if self.options.engine == "auto":
            return shutil.which("nvidia-smi") is not None
        return self.options.engine == "transformers"

    async def _folder(self) -> Path:
        """The checkpoint as a folder; the packaged model becomes one. Raises EvolError where there is none."""
        if self.who.checkpoint is not None:
            return self.who.checkpoint
        if self.who.spec == "local:smollm2":
            from evollab.llm.causal import smollm2_folder

            return await asyncio.to_thread(smollm2_folder)
        raise EvolError(
            f"{self.who.label}: multiple choice needs log-probs of the prompt, which this model's engine doesn't give",
            "a checkpoint's folder, or the address of evol serve or vLLM with --tokenizer",
        )

    async def _weights(self, folder: Path) -> str:
        if not self._digest:
            from evollab.llm.converted import digest_of

            self._digest = await asyncio.to_thread(digest_of, folder)
        return f"checkpoint:{self.who.label}@{self._digest[:16]} by transformers"

    async def _served(self, folder: Path) -> tuple[str, str]:
        if self._server is None:
            self._server = await self.stack.enter_async_context(served(folder))
        return self._server
