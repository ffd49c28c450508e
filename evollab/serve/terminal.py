"""`evol chat`: a conversation in the terminal, or with a pipe, one message a line."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import io
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from evollab.inert import inert
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.serve.options import ChatOptions
from evollab.serve.talk import History, Piece, Server, TooLong, answer, find, session

_COMMANDS = {
    "/help": "this list",
    "/reset": "begin anew; the system prompt stays",
    "/system": "TEXT sets the system prompt, nothing shows it, - removes it",
    "/undo": "take back the last question and its answer",
    "/save": "FILE appends the conversation as a row of JSONL that evol reads as data",
    "/quit": "the end (as Ctrl-D)",
}
_SETTLE = 0.1
"""Seconds for the engine to hear that nobody wants the rest of an answer."""


def chat(model: str, options: ChatOptions) -> int:
    """Talk to a checkpoint's folder, a .gguf file, `smollm2`, or the model at an address (http://.../v1).

    Reads messages from the terminal, or one a line from a pipe; answers go to stdout as they are made, all else
    to stderr. Ctrl-C stops an answer, not the program. Returns 0. Raises EvolError; on a terminal only before
    the first message, later it is shown and the conversation goes on.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    with asyncio.Runner() as runner:
        connection = _connected(model, options)
        server, http = runner.run(connection.__aenter__())
        try:
            return Conversation(server, http, options, runner).run()
        finally:
            runner.run(connection.__aexit__(None, None, None))


@contextlib.asynccontextmanager
async def _connected(model: str, options: ChatOptions) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """A server for the model: the one at the address, or our own on loopback while the block runs."""
    if model.startswith(("http://", "https://")):
        async with session(os.environ.get(options.key_env, "").strip()) as http:
            yield await find(model, options.name, http), http
        return
    from evollab.serve.api import Api
    from evollab.serve.server import listening, opened

    token = secrets.token_urlsafe(24)
    async with (
        opened(model, options, say) as engine,
        listening(Api(engine, most_tokens=0, say=say), host="127.0.0.1", port=0, token=token) as url,
        session(token) as http,
    ):
        yield Server(url, engine.name, engine.context), http


class Screen:
    """Text of a model on the terminal: escapes and the like are shown, not obeyed."""

    def __init__(self) -> None:
        self._held = ""

    def write(self, text: str) -> None:
        """Show a piece at once. A carriage return waits for what follows: with a newline it is one line's end."""
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        sys.stdout.write(inert(text.removesuffix("\r") if self._held else text))
        sys.stdout.flush()

    def end(self) -> None:
        """The answer is over."""
        sys.stdout.write(inert(self._held) + "\n")
        sys.stdout.flush()
        self._held = ""


class Conversation:
    """The loop of question and answer."""

    def __init__(
        self, server: Server, http: aiohttp.ClientSession, options: ChatOptions, runner: asyncio.Runner
    ) -> None:
        self._server, self._http, self._runner = server, http, runner
        self._history = History(options.system, server.context)
        self._settings: dict[str, Any] = {"temperature": options.temperature, "top_p": options.top_p}
        if options.max_tokens:
            self._settings["max_tokens"] = options.max_tokens
        if options.seed is not None:
            self._settings["seed"] = options.seed
        self._terminal = sys.stdin.isatty()

    def run(self) -> int:
        """Until the end of the input."""
        if self._terminal:
            with contextlib.suppress(ImportError):  # line editing, where Python has it
                import readline  # noqa: F401
            say(f"{inert(self._server.model)} at {self._server.url}; /help lists commands, Ctrl-D ends")
        while (line := self._line()) is not None:
            if not line.strip():
                continue
            try:
                if line.startswith("/") and not line.startswith("//"):
                    if not self._command(line.strip()):
                        return 0
                else:
                    self._ask(line[1:] if line.startswith("//") else line)
            except KeyboardInterrupt:  # while a command was at work, or between two answers
                if not self._terminal:
                    raise
                say("\n(stopped)")
            except EvolError as error:
                if not self._terminal:
                    raise
                say(f"error: {inert(error.message)}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return 0

    def _line(self) -> str | None:
        """The next message; None at the end."""
        if not self._terminal:
            line = sys.stdin.readline()
            return line.rstrip("\r\n") if line else None
        while True:
            try:
                return input("> ")
            except EOFError:
                say("")
                return None
            except KeyboardInterrupt:
                say("\n(Ctrl-D ends)")

    def _ask(self, text: str) -> None:
        """One question and its answer. A question that gets none is taken back."""
        dropped = self._history.ask(text)
        try:
            while True:
                try:
                    said, ended = self._runner.run(self._answer())
                    break
                except TooLong as error:
                    if not self._history.shorten():
                        raise EvolError(f"this message alone is too long: {error}") from None
                    dropped += 2
        except EvolError:
            self._history.undo()
            raise
        if dropped:
            say(f"(the first {dropped} turns that were still sent no longer fit the context and are left out)")
        if not said:
            self._history.undo()
            say("(no answer)" if ended else "(stopped; the question is taken back)")
            return
        self._history.answered(said, ended.total if ended else 0)
        if ended is None:
            say("(stopped)")
        elif ended.finish == "length":
            say("(cut: --max-tokens, or the context is full)")

    async def _answer(self) -> tuple[str, Piece | None]:
        """What was said, shown as it came, and the last piece; None for that where Ctrl-C stopped it."""
        said: list[str] = []
        ended: list[Piece] = []
        screen = Screen()

        async def listen() -> None:
            async with contextlib.aclosing(
                answer(self._server, self._http, self._history.messages(), self._settings)
            ) as pieces:
                async for piece in pieces:
                    if piece.text:
                        said.append(piece.text)
                        screen.write(piece.text)
                    else:
                        ended.append(piece)

        loop = asyncio.get_running_loop()
        task = asyncio.create_task(listen())
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            await asyncio.wait([task])
        finally:
            loop.remove_signal_handler(signal.SIGINT)
        if said:
            screen.end()
        if task.cancelled():
            await asyncio.sleep(_SETTLE)
            return "".join(said), None
        task.result()  # raises what went wrong
        return "".join(said), ended[-1]

    def _command(self, line: str) -> bool:
        """A line that begins with a slash. False: the end."""
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/quit":
            return False
        if name == "/help":
            say("\n".join(f"{command:8} {words}" for command, words in _COMMANDS.items()))
            say("//...    a message that begins with a slash")
        elif name == "/reset":
            self._history.reset()
        elif name == "/undo":
            if not self._history.undo():
                say("(nothing to take back)")
        elif name == "/system":
            self._system(rest)
        elif name == "/save":
            self._save(rest)
        else:
            near = difflib.get_close_matches(name, _COMMANDS, 1)
            say(
                f"no command {inert(name)}; there are: {', '.join(_COMMANDS)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        return True

    def _system(self, text: str) -> None:
        if text:
            self._history.system = "" if text == "-" else text
        else:
            say(self._history.system or "(no system prompt)")

    def _save(self, name: str) -> None:
        if not name:
            say("/save FILE: which file?")
            return
        rows = [{"role": turn.role, "content": turn.content} for turn in self._history.everything()]
        if not self._history.turns:
            say("(nothing to save)")
            return
        try:
            with open(Path(name).expanduser(), "ab") as file:
                file.write(orjson.dumps({"messages": rows}) + b"\n")
        except OSError as error:
            say(f"can't write {inert(name)}: {error.strerror}")
            return
        say(f"(added to {inert(name)}: {len(self._history.turns)} turns)")
