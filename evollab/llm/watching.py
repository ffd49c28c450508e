"""How long work is watched: one line that renews itself on a terminal, a line now and then elsewhere;
and how a person stops it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable

from evollab.llm.stop import Stop

_TERMINAL_SECONDS = 0.5
_PLAIN_SECONDS = 30.0


def say(text: str) -> None:
    """Words for people: stderr."""
    print(text, file=sys.stderr, flush=True)


def seconds(value: float) -> str:
    """A duration for people: "41 s", "3 min 05 s", "2 h 10 min"."""
    value = int(value)
    if value < 60:
        return f"{value} s"
    minutes, rest = divmod(value, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def money(usd: float, unpriced: bool) -> str:
    return f"${usd:,.4f}" if usd and usd < 0.1 else f"${usd:,.2f}" if not unpriced else "price unknown"


@contextlib.asynccontextmanager
async def watched(line: Callable[[], str], stop: Stop) -> AsyncIterator[None]:
    """Progress, and signals: the first Ctrl-C (or SIGTERM) lets what is in flight land, the second
    ends at once."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None

    def interrupt(number: signal.Signals) -> None:
        if stop.reason:
            main.cancel()
            return
        stop.because(f"interrupted ({number.name})", exit_code=128 + number)
        say("\nstopping: waiting for the replies in flight (once more: at once)")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    watcher = asyncio.create_task(watch(line))
    try:
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def watch(line: Callable[[], str]) -> None:
    """Show `line()` until cancelled; then once more, and leave a clean line."""
    terminal = sys.stderr.isatty()
    try:
        while True:
            await asyncio.sleep(_TERMINAL_SECONDS if terminal else _PLAIN_SECONDS)
            start, end = ("\r\x1b[2K", "") if terminal else ("", "\n")
            print(start + line(), end=end, file=sys.stderr, flush=True)
    finally:
        if terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
