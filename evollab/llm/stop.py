"""How a run ends early: set once, seen by everything that is about to ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from evollab.records import EvolError


class Stopped(Exception):
    """The run is ending: this request was not asked. No fault of the request."""


@dataclass(slots=True)
class Stop:
    """`reason` is empty while the run goes on; `error` is what ends it, when a fault does."""

    reason: str = ""
    error: EvolError | None = None
    exit_code: int = 0

    def because(self, reason: str, error: EvolError | None = None, exit_code: int = 0) -> None:
        """The first reason counts."""
        if not self.reason:
            self.reason, self.error, self.exit_code = reason, error, exit_code

    async def sleep(self, seconds: float) -> None:
        """Wait, but not on when the run is ending (raises Stopped)."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.reason:
                raise Stopped
            await asyncio.sleep(min(left, 0.25))
