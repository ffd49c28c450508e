"""How fast to ask: requests in flight, requests and tokens a minute, and who waits after a refusal.

The rules, measured against servers that refuse in different ways:
* a refused request (429) waits its own Retry-After and gives its place to others meanwhile;
* everybody waits only when at least 8 of the last 32 answers were 429;
* the number in flight shrinks when overload goes on (429, 5xx, time-outs), never below an eighth
  of what was asked for, and grows back with success, so steady faults can't stall a run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from evollab.llm.stop import Stop

_WINDOW = 32
_CROWDED = 8
_SHRINK = 0.8
_GIVE_WAY = 0.4
"""Places given up for a single refusal: with _GROW it settles where a few in a hundred are refused."""
_GROW = 1.0
"""Places won back in the time that one round of requests takes."""
_PAUSE = 1.0
"""Seconds that everybody waits when a server that is full doesn't say for how long."""
_FLOOR = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows: `concurrency` requests in flight, `rpm` requests and `tpm` tokens a
    minute (0: no limit of our own), `timeout` seconds for one request."""

    concurrency: int = 64
    rpm: float = 0
    tpm: float = 0
    timeout: float = 120


class _Bucket:
    """A token bucket that holds one second's worth; `take` says how long to wait first (seconds)."""

    def __init__(self, per_minute: float) -> None:
        self.rate = per_minute / 60
        self.level = max(1.0, self.rate)
        self.at = time.monotonic()

    def take(self, amount: float) -> float:
        now = time.monotonic()
        self.level = min(max(1.0, self.rate), self.level + (now - self.at) * self.rate)
        self.at = now
        self.level -= amount  # may go below zero: later takers wait the debt out
        return max(0.0, -self.level / self.rate)


class Limiter:
    """Hands out places: `await enter(tokens)`, then `leave()`, whatever happened in between."""

    def __init__(self, limits: Limits, stop: Stop) -> None:
        self.limits = limits
        self._stop = stop
        self.allowed: float = limits.concurrency
        self.in_flight = 0
        self._floor = min(limits.concurrency, max(1, limits.concurrency // _FLOOR))
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = _Bucket(limits.rpm) if limits.rpm else None
        self._tokens = _Bucket(limits.tpm) if limits.tpm else None
        self._refused = deque([False] * _WINDOW, maxlen=_WINDOW)
        self._overloaded = deque([False] * _WINDOW, maxlen=_WINDOW)
        self._gate = 0.0
        self._shrunk_at = 0.0

    def at_once(self) -> bool:
        """Take a place if there is one and nothing has to be waited for: `enter` without a coroutine."""
        if self.in_flight >= int(self.allowed) or self._waiting or self._requests or self._tokens or self._gate:
            return False
        self.in_flight += 1
        return True

    async def enter(self, tokens: int) -> None:
        """Wait for a place. `tokens`: what the request may cost at most, for the per-minute limit."""
        if self.in_flight >= int(self.allowed) or self._waiting:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place  # `_wake` counts it as in flight before it resolves
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.leave()
                raise
        else:
            self.in_flight += 1
        if self._requests or self._tokens or self._gate:
            try:
                await self._hold(tokens)
            except BaseException:
                self.leave()
                raise

    async def _hold(self, tokens: int) -> None:
        wait = self._requests.take(1) if self._requests else 0.0
        if self._tokens:
            wait = max(wait, self._tokens.take(tokens))
        if wait > 0:
            await self._stop.sleep(wait)
        while self._gate and (wait := self._gate - time.monotonic()) > 0:
            await self._stop.sleep(wait)
        self._gate = 0.0

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.in_flight < int(self.allowed):
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def succeeded(self) -> None:
        self._refused.append(False)
        self._overloaded.append(False)
        if self.allowed < self.limits.concurrency:
            self.allowed = min(self.limits.concurrency, self.allowed + _GROW / self.allowed)
            self._wake()

    def refused(self, retry_after: float | None) -> None:
        """A 429. `retry_after` is what the server asked for, in seconds."""
        self._refused.append(True)
        if sum(self._refused) >= _CROWDED:
            self._gate = max(self._gate, time.monotonic() + (_PAUSE if retry_after is None else retry_after))
            self._shrink()
        else:
            self.allowed = max(self._floor, self.allowed - _GIVE_WAY)

    def strained(self) -> None:
        """A 5xx, a broken connection or a time-out."""
        self._overloaded.append(True)
        if sum(self._overloaded) >= _CROWDED:
            self._shrink()

    def _shrink(self) -> None:
        now = time.monotonic()
        if now - self._shrunk_at >= 1.0:  # one burst of refusals is one sign, not thirty
            self._shrunk_at = now
            self.allowed = max(self._floor, self.allowed * _SHRINK)

    @property
    def state(self) -> str:
        """For the progress line: what holds us back at the moment."""
        held = f"{self.in_flight}/{int(self.allowed)} in flight"
        return f"{held}, all waiting for the server" if self._gate > time.monotonic() else held
