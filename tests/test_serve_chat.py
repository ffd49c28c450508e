"""`evol chat`: what is sent and left out, commands, pipes, Ctrl-C, and text that would act on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import select
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.records import EvolError, Message
from evollab.serve import terminal
from evollab.serve.events import Broken, events
from evollab.serve.options import ChatOptions
from evollab.serve.talk import History, Piece, Server, TooLong, answer, find, session
from tests.serving import chat_command, environment, started

# What is sent


def talked(history: History, *texts: str, total: int = 0) -> None:
    for text in texts:
        history.ask(text)
        history.answered(text.upper(), total)


def test_a_history() -> None:
    history = History("Be brief.")
    talked(history, "a", "b")
    assert [one.content for one in history.messages()] == ["Be brief.", "a", "A", "b", "B"]
    assert history.undo()
    assert [one.content for one in history.messages()] == ["Be brief.", "a", "A"]
    history.ask("c")
    assert history.undo(), "a question without an answer, too"
    assert len(history.turns) == 2
    history.reset()
    assert history.messages() == [Message("system", "Be brief.")]
    assert not history.undo()


def test_old_turns_make_room() -> None:
    history = History("", context=400)
    for number in range(6):
        history.ask(f"question {number} " + "x" * 150)
        history.answered("y" * 60, 0)
    sent = history.messages()
    assert len(sent) < len(history.turns) == 12
    assert sent[0].role == "user"
    assert sent[-1] == history.turns[-1]
    assert history.everything() == history.turns, "nothing is forgotten, only not sent"


def test_what_the_server_counted_is_believed() -> None:
    history = History("", context=1000)
    history.ask("short")
    history.answered("short", 700)  # many more tokens than characters tell
    assert history.ask("next") == 0, "a quarter of the context is left"
    history.answered("short", 760)
    assert history.ask("next") == 2
    assert [one.content for one in history.messages()] == ["next", "short", "next"]


@given(
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300), st.integers(0, 300)), max_size=12),
    st.integers(64, 500),
)
@settings(max_examples=100, deadline=None)
def test_what_is_sent_is_always_a_conversation(turns: list[tuple[str, str, int]], context: int) -> None:
    history = History("", context)
    for question, said, total in turns:
        history.ask(question)
        sent = history.messages()
        assert sent[-1] == Message("user", question)
        assert [one.role for one in sent] == [("user", "assistant")[n % 2] for n in range(len(sent))]
        history.answered(said, total)
        if total % 5 == 0:
            history.undo()


def test_a_last_question_is_never_left_out() -> None:
    history = History("", context=64)
    assert history.ask("x" * 10_000) == 0
    assert not history.shorten()
    assert len(history.messages()) == 1


# What comes back


class Stream:
    """The bytes of a reply in given pieces."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def iter_any(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


async def read(*parts: bytes) -> list[Any]:
    content: Any = Stream(*parts)
    return [value async for value in events(content)]


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_events_over_any_cut(values: list[dict[str, str]], cuts: st.DataObject) -> None:
    raw = b": a comment\r\n\r\n" + b"".join(b"data: " + orjson.dumps(value) + b"\n\n" for value in values)
    raw += b"data: [DONE]\n\ndata: never\n\n"
    places = sorted(cuts.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    parts = [raw[start:end] for start, end in zip([0, *places], [*places, len(raw)], strict=True)]
    assert asyncio.run(read(*parts)) == values


@pytest.mark.parametrize("raw", [b"data: {\n", b"data: [1]\n", b"data: " + b"x" * (5 << 20)])
def test_broken_events(raw: bytes) -> None:
    with pytest.raises(Broken):
        asyncio.run(read(raw))


@contextlib.asynccontextmanager
async def stranger(reply: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """A server that isn't ours."""
    app = web.Application()

    async def handle(request: web.Request) -> web.StreamResponse:
        made: web.StreamResponse = await reply(request)
        return made

    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def from_stranger(status: int, body: bytes, work: Callable[[str, Any], Any]) -> Any:
    async def reply(request: web.Request) -> web.Response:
        assert request.headers.get("Authorization") == "Bearer k"
        return web.Response(status=status, body=body, headers={"Location": "http://127.0.0.1:1/"})

    async def main() -> Any:
        async with stranger(reply) as url, session("k") as http:
            return await work(url, http)

    return asyncio.run(main())


async def collected(url: str, http: Any) -> list[Piece]:
    server = Server(url, "m", 0)
    return [piece async for piece in answer(server, http, [Message("user", "Hi")], {})]


def test_an_answer_in_pieces() -> None:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"delta": {"content": "Par"}}]},
        {"choices": [{"delta": {"content": "is"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"total_tokens": 9}},
    ]
    raw = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    assert from_stranger(200, raw, collected) == [Piece("Par"), Piece("is"), Piece(finish="stop", total=9)]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, b'{"error":{"code":"context_length_exceeded","message":"too long"}}', TooLong, "too long"),
        (400, b'{"error":{"message":"This model\'s maximum context length is 5"}}', TooLong, "maximum"),
        (400, b'{"error":{"message":"bad"}}', EvolError, "refused with HTTP 400: bad"),
        (401, b"no", EvolError, "HTTP 401"),
        (302, b"", EvolError, "HTTP 302"),
        (200, b"data: nonsense\n\n", EvolError, "not JSON"),
        (200, b'data: {"error":{"message":"gone"}}\n\n', EvolError, "gone"),
    ],
)
def test_refusals(status: int, body: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        from_stranger(status, body, collected)


def test_finding_a_model() -> None:
    def found(body: bytes, name: str = "", status: int = 200) -> Server:
        made: Server = from_stranger(status, body, lambda url, http: find(url, name, http))
        return made

    listed = b'{"data":[{"id":"a","meta":{"n_ctx":512}},{"id":"b","max_model_len":2048}]}'
    assert (found(listed).model, found(listed).context) == ("a", 512)
    assert (found(listed, "b").model, found(listed, "b").context) == ("b", 2048)
    with pytest.raises(EvolError, match="has no model 'c'; there are: a, b"):
        found(listed, "c")
    for nonsense in (b"", b"[]", b'{"data":[]}', b'{"data":{}}', b'{"data":[{"id":"a","max_model_len":"x"}]}'):
        with pytest.raises(EvolError, match="gives no list of models"):
            found(nonsense)
    with pytest.raises(EvolError, match="HTTP 401") as caught:
        found(b"", status=401)
    assert "--key-env" in caught.value.hint

    async def nobody() -> None:
        async with session("") as http:
            await find("http://127.0.0.1:9/v1", "", http)

    with pytest.raises(EvolError, match=r"127\.0\.0\.1:9") as caught:
        asyncio.run(nobody())
    assert "end in /v1" in caught.value.hint


# What is shown


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\x1b[31mb"], "a\u241b[31mb\n"),
        (["a\r", "\nb"], "a\nb\n"),
        (["100 %\r", "50 %"], "100 %\u240d50 %\n"),
        (["\u202eabc\x07\x9b"], "<U+202E>abc\u2407\\x9b\n"),
        (["x\r"], "x\u240d\n"),
    ],
)
def test_text_that_acts_is_shown(pieces: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = terminal.Screen()
    for piece in pieces:
        screen.write(piece)
    screen.end()
    assert capsys.readouterr().out == shown


# The whole program, against a scripted server


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Any]]]:
    """`scripted(lines, replies)` holds a conversation; gives the exit code and the bodies that were sent."""

    def hold(lines: str, replies: list[Any], **options: Any) -> tuple[int, list[Any]]:
        bodies: list[Any] = []

        async def reply(request: web.Request) -> web.StreamResponse:
            if request.method == "GET":
                return web.json_response({"data": [{"id": "m", "max_model_len": options.get("context", 0)}]})
            bodies.append(await request.json())
            said = replies.pop(0)
            if isinstance(said, int):
                message = "context_length_exceeded" if said == 400 else "out of order"
                return web.json_response({"error": {"message": message}}, status=said)
            text, finish = said if isinstance(said, tuple) else (said, "stop")
            raw = b"".join(
                b"data: " + orjson.dumps({"choices": [{"delta": {"content": char}}]}) + b"\n\n" for char in text
            )
            raw += b"data: " + orjson.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}) + b"\n\n"
            return web.Response(body=raw + b"data: [DONE]\n\n", content_type="text/event-stream")

        @contextlib.asynccontextmanager
        async def connected(model: str, given: ChatOptions) -> AsyncIterator[Any]:
            async with stranger(reply) as url, session("") as http:
                yield await find(url, given.name, http), http

        monkeypatch.setattr(terminal, "_connected", connected)
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return terminal.chat("m", ChatOptions(**options)), bodies

    return hold


def test_a_pipe(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, bodies = scripted("Hi\n\n//path\nlast", ["Hello\nyou", "two", "three"], system="Brief.", seed=3, max_tokens=9)
    assert code == 0
    told = capsys.readouterr()
    assert told.out == "Hello\nyou\ntwo\nthree\n"
    assert told.err == ""
    assert bodies[0]["messages"] == [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}]
    assert (bodies[0]["temperature"], bodies[0]["top_p"], bodies[0]["seed"], bodies[0]["max_tokens"]) == (
        0.7,
        0.95,
        3,
        9,
    )
    assert [one["content"] for one in bodies[2]["messages"][1:]] == ["Hi", "Hello\nyou", "/path", "two", "last"]


def test_commands(scripted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "said.jsonl"
    lines = [
        "/system", "/system Be a pirate.", "/system", "/undo", "/save", f"/save {path}", "Hi", "again", "/undo", f"/save {path}",
        "/help", "/rest", "/reset", "new", f"/save {path}", f"/save {tmp_path}/no/such", "/system -", "plain", "/quit", "never",
    ]  # fmt: skip
    code, bodies = scripted("\n".join(lines), ["a", "b", "c", "d"])
    assert code == 0
    assert len(bodies) == 4
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [[one["content"] for one in row["messages"]] for row in rows] == [
        ["Be a pirate.", "Hi", "a"], ["Be a pirate.", "new", "c"],
    ]  # fmt: skip
    assert [one["role"] for one in bodies[3]["messages"]] == ["user", "assistant", "user"]
    said = capsys.readouterr().err
    for words in (
        "(no system prompt)", "Be a pirate.", "(nothing to take back)", "which file?", "(nothing to save)", "2 turns",
        "/undo    take back", "no command /rest; there are: /help", "did you mean /reset?", "No such file or directory",
    ):  # fmt: skip
        assert words in said, words


def test_old_turns_are_left_out_with_a_word(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, bodies = scripted("a\nb\nc\n", ["A", "B", 400, 400, "C"])
    assert code == 0
    assert [len(body["messages"]) for body in bodies] == [1, 3, 5, 3, 1]
    assert "(the first 4 turns that were still sent no longer fit" in capsys.readouterr().err


def test_cut_and_empty_answers(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, bodies = scripted("a\nb\nc\n", [("A", "length"), "", "C"])
    said = capsys.readouterr().err
    assert "(cut: " in said
    assert "(no answer)" in said
    assert [one["content"] for one in bodies[2]["messages"]] == ["a", "A", "c"], "a question without an answer goes"


def test_errors_end_a_pipe(scripted: Any) -> None:
    with pytest.raises(EvolError, match="out of order"):
        scripted("a\n", [500])
    with pytest.raises(EvolError, match="this message alone is too long"):
        scripted("a\n", [400])


def test_options() -> None:
    for wrong in ({"temperature": 3}, {"top_p": 0}, {"max_tokens": -1}, {"context": 3}):
        with pytest.raises(EvolError, match="expected"):
            ChatOptions(**wrong)


# Real processes


def test_a_checkpoint_by_pipe_and_by_address(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `serve`")
    tiny = pytest.importorskip("tests.tiny")
    folder = tiny.checkpoint(tmp_path / "tiny", "bytes")
    options = {"seed": 1, "max_tokens": 12, "temperature": 1.0, "top_p": 1.0}

    def said(model: str, **more: Any) -> str:
        done = subprocess.run(
            chat_command(model, **options, **more), input="Add 12 and 30.\nAnd now?\n", capture_output=True, text=True,
            env=environment(EVOL_TOKEN="t"), timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    own = said(str(folder))
    assert own
    with started(folder, {"EVOL_TOKEN": "t"}, token_env="EVOL_TOKEN") as server:
        assert said(server.url, key_env="EVOL_TOKEN") == own
        wrong = subprocess.run(
            chat_command(server.url, key_env="NOTHING"), input="a\n", capture_output=True, text=True, env=environment(),
            timeout=120, check=False,
        )  # fmt: skip
        assert wrong.returncode == 2
        assert "HTTP 401" in wrong.stderr


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, environment(TERM="dumb"))
        self.seen = ""

    def until(self, words: str) -> str:
        """Read until `words` stand there; what came since the last time."""
        self.while_(lambda: words not in self.seen)
        before, _, self.seen = self.seen.partition(words)
        return before

    def while_(self, condition: Callable[[], bool]) -> None:
        """Read for as long as `condition` holds."""
        end = time.monotonic() + 120
        while condition():
            assert time.monotonic() < end, f"waited too long; saw {self.seen[-500:]!r}"
            if select.select([self._handle], [], [], 1)[0]:
                try:
                    self.seen += os.read(self._handle, 1 << 16).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"it ended; saw {self.seen[-500:]!r}") from None

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def press(self, key: str, words: str) -> None:
        """Press a key until `words` stand there. A signal that comes in the instant between a prompt's showing and
        its waiting for input is not seen by Python before the next one; people press again."""
        for _ in range(60):
            self.type(key)
            end = time.monotonic() + 2
            while time.monotonic() < end and words not in self.seen:
                if select.select([self._handle], [], [], 0.1)[0]:
                    self.seen += os.read(self._handle, 1 << 16).decode("utf-8", "replace")
            if words in self.seen:
                break
        self.until(words)

    def ended(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self._handle, 1 << 16):
                pass
        os.close(self._handle)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_ctrl_c_stops_the_answer_not_the_program(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `serve`")
    tiny = pytest.importorskip("tests.tiny")
    tokenizer = tiny.tokenizer("bytes")
    folder = tmp_path / "tiny"
    model = tiny.model(tokenizer, length=100_000)
    model.generation_config.eos_token_id = model.config.eos_token_id = tiny.VOCABULARY - 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shown = Terminal(chat_command(str(folder), temperature=0.0, context=100_000, max_batch=1))
    shown.until("Ctrl-D ends")
    shown.until("> ")
    shown.type("Tell me everything.\n")
    shown.until("\n")
    shown.while_(lambda: len(shown.seen) < 40)  # it is running; with its 100,000 tokens it would go on for minutes
    shown.type("\x03")
    shown.until("(stopped)")
    shown.until("> ")
    shown.press("\x03", "(Ctrl-D ends)")
    shown.until("> ")
    shown.type("/undo\n/undo\n")
    shown.until("(nothing to take back)")
    shown.until("> ")
    shown.type("again\n")  # one row only: the first answer's is free
    shown.until("again")
    shown.until("\n")
    shown.while_(lambda: len(shown.seen) < 40)  # the echo comes before input() returns: wait for the answer itself
    shown.type("\x03")
    shown.until("(stopped)")
    shown.until("> ")
    shown.type("\x04")
    assert shown.ended() == 0
