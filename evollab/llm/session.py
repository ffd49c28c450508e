"""One start of a run: its store, its caps, its models, opened and closed together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evollab.llm.ask import Asker, Sender, Tally
from evollab.llm.budget import FREE, Budget, Caps, Price, parse_price
from evollab.llm.limits import Limiter, Limits
from evollab.llm.option import option
from evollab.llm.stop import Stop
from evollab.llm.store import Store
from evollab.plugs import find
from evollab.records import EvolError

_THIS_MACHINE = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How models are reached and what they may cost. None of it changes what a run makes."""

    base_url: tuple[str, ...] = option(
        "address of an OpenAI-compatible endpoint (.../v1); repeat it to balance several of one model; "
        "default: $OPENAI_BASE_URL, else OpenAI's own",
        (),
        metavar="URL",
    )
    key_env: str = option("environment variable that holds the key", "OPENAI_API_KEY", metavar="NAME")
    concurrency: int = option("requests in flight at most; 0: 64, for a local model its slots", 0, metavar="N")
    rpm: float = option("requests a minute that the provider allows; 0: no limit of ours", 0.0, metavar="N")
    tpm: float = option("tokens a minute that the provider allows; 0: no limit of ours", 0.0, metavar="N")
    timeout: float = option("seconds to wait for one reply", 180.0, metavar="S")
    price: str | None = option(
        "dollars for a million prompt and completion tokens, as IN,OUT, for every model behind an address",
        None,
        metavar="IN,OUT",
    )
    max_cost: float | None = option("stop cleanly before the run has cost this many dollars", None, metavar="USD")
    max_calls: int | None = option("stop cleanly before more calls than this were paid for", None, metavar="N")
    max_tokens: int | None = option("stop cleanly before more tokens than this were paid for", None, metavar="N")

    def __post_init__(self) -> None:
        for name in ("concurrency", "rpm", "tpm"):
            if getattr(self, name) < 0:
                raise EvolError(f"--{name} {getattr(self, name)}: expected 0 or more")
        for name in ("timeout", "max_cost", "max_calls", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected more than 0")


@dataclass(frozen=True, slots=True)
class Connection:
    """What a provider gives: the seam for one model.

    identity: names the weights, part of every call's key. model: the name sent along.
    slots: requests it can take at once (None: as many as the options say). price: None if unknown.
    small: a model that needs the tail shape and is no judge, unless `qualify` found otherwise.
    extra: fields that every request to it carries. limit: its name for the most tokens of a reply.
    check: raises EvolError when the provider died.
    """

    identity: str
    model: str
    sender: Sender
    price: Price | None = None
    slots: int | None = None
    small: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limit: str = "max_tokens"
    check: Callable[[], None] = lambda: None


Connect = Callable[[str, ModelOptions], AbstractAsyncContextManager[Connection]]
"""What a provider file holds under the name `connect`."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to be asked, and how it came."""

    name: str
    ask: Asker
    connection: Connection
    limiter: Limiter


@dataclass(slots=True)
class Session:
    """Everything that asking needs in one run folder."""

    store: Store
    options: ModelOptions
    stop: Stop = field(default_factory=Stop)
    tally: Tally = field(default_factory=Tally)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    models: dict[str, Opened] = field(default_factory=dict[str, Opened])
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _budget: Budget | None = None

    async def model(self, name: str, *, at: str = "", key_env: str = "", identity: str = "") -> Opened:
        """Open `provider:rest`, or give it again when it is open. `at`: the one address where this model is, whatever
        the options say of the others; it gets the key in `key_env` ("" for none), never another's. `identity`: names
        its weights, where the caller knows better than by name and address. Raises EvolError."""
        place = f"{name}@{at}" if at else name
        if place in self.models:
            return self.models[place]
        provider, colon, rest = name.partition(":")
        if not colon or not rest:
            raise EvolError(
                f"model {name!r}: expected PROVIDER:NAME",
                "for example openai:gpt-4o-mini, local:smollm2, local:./model.gguf or scripted:./my.py:reply",
            )
        connect: Connect = find("evollab.llm.providers", provider, "connect", "provider")
        options = replace(self.options, base_url=(at,), key_env=key_env) if at else self.options
        connection = await self._stack.enter_async_context(connect(rest, options))
        if at:  # the same name may stand for other weights there
            own = urlsplit(at).hostname in _THIS_MACHINE
            price = FREE if own else connection.price
            named = identity or f"{connection.identity}@{at}"
            connection = replace(connection, identity=named, price=price)
        given = parse_price(options.price) if options.price else None
        price = connection.price if given is None or connection.price == FREE else given
        if options.max_cost is not None and price is None:
            raise EvolError(
                f"--max-cost needs a price, and the price of {name} at {connection.sender.url} is not known",
                "give it with --price IN,OUT (dollars for a million prompt and completion tokens)",
            )
        if self._budget is None:
            self._budget = Budget(Caps(options.max_cost, options.max_calls, options.max_tokens), self.store.totals)
        limits = Limits(options.concurrency or connection.slots or 64, options.rpm, options.tpm, options.timeout)
        limiter = Limiter(limits, self.stop)
        ask = Asker(
            connection.identity, connection.model, connection.sender, store=self.store, limiter=limiter,
            budget=self._budget, price=price, stop=self.stop, tally=self.tally,
            extra={**connection.extra, **self.extra}, limit=connection.limit, check=connection.check,
        )  # fmt: skip
        self.models[place] = Opened(place, ask, connection, limiter)
        return self.models[place]

    @property
    def unpriced(self) -> list[str]:
        return [name for name, opened in self.models.items() if opened.ask.price is None]


@contextlib.asynccontextmanager
async def session(
    folder: Path, options: ModelOptions, extra: Mapping[str, Any] | None = None
) -> AsyncIterator[Session]:
    """Open the store in `folder`; on the way out close the models, move the journal into calls.db.
    `extra`: fields to add to every request body."""
    store = Store(folder)
    opened = Session(store, options, extra=extra or {})
    try:
        async with opened._stack:
            yield opened
    finally:
        store.absorb()
        store.close()
