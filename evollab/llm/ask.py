"""From a request to a kept reply: the store first, then limits, budget, sending, retries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from evollab.llm import CallFailed, Failure, Reply, Request, call_id
from evollab.llm.budget import Budget, Price, estimate_tokens
from evollab.llm.journal import DiskFull
from evollab.llm.limits import Limiter
from evollab.llm.openai import Unreachable
from evollab.llm.stop import Stop, Stopped
from evollab.llm.store import Store
from evollab.llm.wire import Answer, error_message, is_content_filter, parse, stop_error, verdict
from evollab.records import EvolError

TRIES = 8
"""How often one request is sent before it counts as failed; refusals (429) have their own count."""
_REFUSALS = 100
_FIRST_TRIES = 3
_BAD_ROWS = 8
_LOST_CALLS = 16
_PARSED_ANSWERS = ("truncated", "content_filter")


class Sender(Protocol):
    """What a provider must offer: one request body out, one answer back (Unreachable when none came)."""

    key_variable: str

    @property
    def url(self) -> str: ...
    @property
    def has_key(self) -> bool: ...
    def redact(self, text: str) -> str: ...
    def send(self, body: bytes, *, plain: bool) -> Awaitable[Answer]: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class Tally:
    """What this start of the run asked (not what it found in the store)."""

    asked: int = 0
    kept: int = 0
    found: int = 0
    retries: int = 0
    failed: int = 0
    latency: float = 0.0
    """Seconds that the kept replies took, summed."""
    by_kind: dict[str, int] = field(default_factory=dict[str, int])


class Asker:
    """A `Model`: callable with a Request, gives a Reply that is on disk already.

    identity: names the weights behind the calls, part of every call's key.
    model: the name sent to the server.
    Raises CallFailed (this request), Stopped (the run ends), EvolError (nothing can be asked).
    """

    def __init__(
        self, identity: str, model: str, sender: Sender, *, store: Store, limiter: Limiter, budget: Budget,
        price: Price | None, stop: Stop, tally: Tally, extra: Mapping[str, Any] | None = None,
        limit: str = "max_tokens",
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.identity = identity
        self.model = model
        self.sender = sender
        self.price = price
        self.extra = extra
        self.limit = limit
        self._check = check
        self._store = store
        self._limiter = limiter
        self._budget = budget
        self._stop = stop
        self._tally = tally
        self._asking: dict[bytes, asyncio.Future[Reply]] = {}
        self._successes = 0
        self._bad_rows = 0
        self._lost = 0

    async def __call__(self, request: Request) -> Reply:
        body = request.body(self.model, self.extra, self.limit)
        key = call_id(self.identity, body, request.sample)
        kept = self._store.get(key)
        if kept is not None:
            self._tally.found += 1
            return parse(kept.raw)
        twin = self._asking.get(key)
        if twin is not None:  # two equal requests in flight are one call
            return await asyncio.shield(twin)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asking[key] = future
        try:
            reply = await self._ask(key, body, request)
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else Stopped())
            future.exception()  # a future nobody waits for is no news
            raise
        else:
            future.set_result(reply)
            return reply
        finally:
            del self._asking[key]

    async def _ask(self, key: bytes, body: bytes, request: Request) -> Reply:
        plain = request.prompt is not None
        prompt_tokens = estimate_tokens(body)
        tries = refusals = 0
        announced = False
        while True:
            reached = True
            if not self._limiter.at_once():
                await self._limiter.enter(prompt_tokens + request.sampling.max_tokens)
            reserved = None
            try:
                if self._stop.reason:
                    raise Stopped
                reserved = self._reserve(prompt_tokens)
                if not announced:
                    self._intend(key)
                    announced = True
                started = time.perf_counter()
                self._tally.asked += 1
                try:
                    answer = await self.sender.send(body, plain=plain)
                except Unreachable as error:
                    kind: Failure = "timeout" if error.timeout else "server"
                    message, wait, reached = str(error), None, error.timeout
                    self._limiter.strained()
                    self._alive()
                else:
                    outcome = self._receive(key, body, request, answer, time.perf_counter() - started)
                    if isinstance(outcome, Reply):
                        return outcome
                    kind, message, wait = outcome
            finally:
                self._limiter.leave()
                if reserved is not None:
                    self._budget.release(reserved)
            self._note(key, request, kind, message, time.perf_counter() - started)
            if kind == "rate_limit":
                refusals += 1
            else:
                tries += 1
            if tries >= TRIES or refusals >= _REFUSALS:
                raise self._give_up(kind, message)
            if not reached and self._successes == 0 and tries >= _FIRST_TRIES:
                self._end(
                    EvolError(
                        f"no answer from {self.sender.url}: {message}",
                        "check --base-url and that the server is up; nothing was asked",
                    )
                )
            self._tally.retries += 1
            backoff = min(30.0, 0.25 * 2 ** (tries + refusals)) * random.uniform(0.5, 1.5)
            await self._stop.sleep(backoff if wait is None else wait)

    def _reserve(self, prompt_tokens: int) -> tuple[float, float]:
        reserved = self._budget.reserve(prompt_tokens, self.price)
        if isinstance(reserved, str):
            self._stop.because(f"{reserved} reached")
            raise Stopped
        return reserved

    def _intend(self, key: bytes) -> None:
        try:
            self._store.journal.intend(key)
        except DiskFull as error:
            self._stop.because("the disk is full", error)
            raise Stopped from None

    def _receive(
        self, key: bytes, body: bytes, request: Request, answer: Answer, latency: float
    ) -> Reply | tuple[Failure, str, float | None]:
        """Keep what came. A usable reply, or (class, message, seconds to wait) when it has to be asked
        again; raises CallFailed when asking again can't help."""
        match verdict(answer):
            case "ok":
                try:
                    reply = parse(answer.body)
                except CallFailed as failure:
                    if failure.kind not in _PARSED_ANSWERS:
                        self._limiter.succeeded()
                        return failure.kind, failure.message, None
                    self._keep(key, body, request, answer.body, failure.kind, failure.reply, latency)
                    raise
                self._keep(key, body, request, answer.body, "ok", reply, latency)
                return reply
            case "refused":
                self._limiter.refused(answer.retry_after)
                return "rate_limit", error_message(answer.body), answer.retry_after
            case "retry":
                self._limiter.strained()
                message = f"HTTP {answer.status}: {self.sender.redact(error_message(answer.body))}"
                return "server", message, answer.retry_after
            case "row":
                raise self._bad_row(key, request, answer, latency)
            case "stop":
                self._end(self._refusal(answer))

    def _refusal(self, answer: Answer) -> EvolError:
        sender = self.sender
        error = stop_error(
            answer, model=self.model, url=sender.url, key_variable=sender.key_variable, has_key=sender.has_key
        )
        return EvolError(sender.redact(error.message), error.hint)

    def _keep(
        self, key: bytes, body: bytes, request: Request, raw: bytes, status: str, reply: Reply | None, latency: float
    ) -> None:
        tokens = (reply.tokens_in, reply.tokens_out) if reply else (0, 0)
        try:
            self._store.put(
                key, model=self.identity, purpose=request.purpose, sample=request.sample, status=status, request=body,
                raw=raw, tokens=tokens, cost=self.price.cost(*tokens) if self.price else None, latency=latency,
            )  # fmt: skip
        except DiskFull as error:
            self._end(error)
        if self._store.journal.full:
            self._stop.because("the disk is full", DiskFull(self._store.path))
        self._limiter.succeeded()
        self._successes += 1
        self._lost = 0
        self._tally.kept += 1
        self._tally.latency += latency

    def _bad_row(self, key: bytes, request: Request, answer: Answer, latency: float) -> CallFailed:
        """The class of a 4xx that is this row's own fault; when nothing but such replies ever came,
        it is no row's fault and the run ends."""
        message = f"HTTP {answer.status}: {self.sender.redact(error_message(answer.body))}"
        kind: Failure = "content_filter" if is_content_filter(answer.body) else "bad_request"
        self._note(key, request, kind, message, latency)
        self._bad_rows += kind == "bad_request"
        if self._successes == 0 and self._bad_rows >= _BAD_ROWS:
            self._end(
                EvolError(
                    f"{self.sender.url} refuses every request: {message}",
                    "it takes no field of some name: take that out with --extra-body NAME=null, or --no-seed",
                )
            )
        return CallFailed(kind, message)

    def _give_up(self, kind: Failure, message: str) -> Exception:
        self._tally.failed += 1
        self._tally.by_kind[kind] = self._tally.by_kind.get(kind, 0) + 1
        self._lost += 1
        if self._lost >= _LOST_CALLS:
            error = EvolError(
                f"{self.sender.url} gave nothing usable for {self._lost} requests in a row, each tried "
                f"{TRIES} times: {message}",
                "every reply so far is kept; run the same command again when the server is well",
            )
            self._stop.because("the server does not answer", error)
            return Stopped()
        return CallFailed(kind, message)

    def _note(self, key: bytes, request: Request, kind: Failure, message: str, latency: float) -> None:
        try:
            self._store.failed(
                key, model=self.identity, purpose=request.purpose, kind=kind, message=message, latency=latency
            )
        except DiskFull as error:
            self._stop.because("the disk is full", error)

    def _alive(self) -> None:
        """End the run when the engine behind the address is known to be dead."""
        try:
            self._check()
        except EvolError as error:
            self._end(error)

    def _end(self, error: EvolError) -> NoReturn:
        self._stop.because(error.message, error)
        raise Stopped
