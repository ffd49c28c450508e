#!/usr/bin/env python3
"""A scripted server that speaks the OpenAI protocol, for measuring clients and for breaking them.

One process, one core, plain asyncio protocols. Every answer is a pure function of the request body,
so a client that starts again gets the same texts. Faults are drawn from the request body and how
often it came, so they do not depend on the order of requests, and a retry gets a new draw.

    POST /v1/chat/completions, /v1/completions      GET /v1/models
    GET  /stats     what was asked and answered     GET /repeats   requests that were paid for twice
    POST /reset     forget all of it                POST /config   change options, as a JSON object

    python bench/server.py --port 0 --latency-ms 50 --p429 5        prints its address first
    with serving(Options(equal_pct=100)) as server: ...             in a thread, for tests
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import hashlib
import math
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import texts

T = TypeVar("T")


@dataclass(slots=True)
class Options:
    """How to answer and how to misbehave. `p...` and `..._pct` are percentages."""

    latency_ms: float = 0.0  # how long a reply takes
    latency_sigma: float = 0.0  # 0: always as long; else log-normal with this sigma and the same mean
    rpm: float = 0.0  # requests a minute (0: no limit); more get a 429 that says when to come again
    tpm: float = 0.0  # tokens a minute, counted as prompt + max_tokens
    burst: float = 1.0  # how many seconds' worth of either limit may be used at once
    max_inflight: int = 0  # 429 above so many requests at a time (0: no limit)
    retry_after: float = 2.0  # seconds that a drawn 429 asks for
    retry_after_header: str = "seconds"  # seconds, ms, date or none
    p429: float = 0.0
    p500: float = 0.0
    p503: float = 0.0
    ptimeout: float = 0.0  # never answered: held, then closed
    timeout_hold_s: float = 600.0
    ptrunc: float = 0.0  # 200 and a body whose JSON stops in the middle
    pcut: float = 0.0  # 200 and a connection closed in the middle of the body
    pempty: float = 0.0  # 200 and no choices
    pnull: float = 0.0  # 200 and null content
    plength: float = 0.0  # 200, half the text, finish_reason "length"
    p400: float = 0.0  # content filter; the same request gets it every time
    fault_after: int = 0  # no faults before this many requests
    status: int = 0  # answer everything with this HTTP status (0: don't)
    equal_pct: float = 0.0  # judge: finds no difference
    sorry_pct: float = 0.0  # answer: a short apology
    leak_pct: float = 0.0  # evolve: opens with the marker
    copy_pct: float = 0.0  # evolve: the given prompt as it is
    long_pct: float = 0.0  # evolve: some 150 words more than asked for
    blank_pct: float = 0.0  # evolve: nothing but a line end
    words_min: int = 60
    words_max: int = 120
    equal_text: str = "Equal"
    not_equal_text: str = "Not Equal"
    judge_marker: str = "Not Equal|not equal"  # a request with one of these is for the judge
    evolve_marker: str = "#Rewritten Prompt#|#Created Prompt#|#Rewritten Instruction#|#Created Instruction#"
    key: str = ""  # the key that requests must carry ("": any)
    keep: int = 0  # remember the last so many request bodies for `Running.requests`
    seed: int = 0


_TRANSIENT = ("p429", "p500", "p503", "ptimeout", "ptrunc", "pcut", "pempty", "pnull", "plength")
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests",
            500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_PAID = 1 << 32
"""`Counters.seen` holds how often a request came in its low bits, how often it was paid above them."""


@dataclass(slots=True)
class Counters:
    """What happened since the start or the last reset. Times are unix seconds."""

    first_request: float | None = None
    last_request: float | None = None
    last_answer: float | None = None
    requests: int = 0
    answered: int = 0  # whole 200 answers written to an open connection
    answered_ok: int = 0  # usable ones among them
    paid_twice: int = 0  # usable answers to a body that had got one before
    repeats: int = 0  # bodies that had come before, whatever they got
    lost_answers: int = 0  # the client hung up before its answer was ready
    inflight: int = 0
    max_inflight: int = 0
    connections: int = 0
    connections_total: int = 0
    bad_request: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ra_honoured: int = 0  # came back no earlier than Retry-After asked
    ra_early: int = 0
    kind: dict[str, int] = field(default_factory=lambda: {"evolve": 0, "judge": 0, "answer": 0})
    fault: dict[str, int] = field(default_factory=dict[str, int])
    seen: dict[bytes, int] = field(default_factory=dict[bytes, int])
    promised: dict[bytes, float] = field(default_factory=dict[bytes, float])
    repeated: list[bytes] = field(default_factory=list[bytes])

    def snapshot(self) -> dict[str, Any]:
        hidden = ("seen", "promised", "repeated")
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in hidden}
        usage = resource.getrusage(resource.RUSAGE_SELF)
        span = (self.last_answer or 0.0) - (self.first_request or 0.0)
        return values | {
            "distinct_requests": len(self.seen),
            "distinct_answered": sum(n >= _PAID for n in self.seen.values()),
            "span_s": max(0.0, span) if self.last_answer and self.first_request else 0.0,
            "server_cpu_s": usage.ru_utime + usage.ru_stime,
            "now": time.time(),
            "pid": os.getpid(),
        }


def _response(status: int, value: object, headers: str = "") -> bytes:
    body = orjson.dumps(value)
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\nContent-Type: application/json\r\n{headers}"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body)


def _error(status: int, message: str, code: str, headers: str = "") -> bytes:
    return _response(status, {"error": {"message": message, "type": code, "code": code}}, headers)


@dataclass(slots=True)
class _Job:
    """One request on its way: its body and what was read from it."""

    body: bytes
    digest: bytes
    text: str
    model: str
    kind: str
    plain: bool
    fault: str = ""


class Server:
    """The options in force, the counters, and the answers. Used from one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counters = Counters()
        self.bodies: deque[bytes] = deque(maxlen=options.keep)
        self.open: set[asyncio.Transport] = set()
        self._configured()

    def configure(self, changes: dict[str, Any]) -> None:
        """Change options by name. Raises KeyError on an unknown one, ValueError on a wrong value."""
        known = {f.name for f in dataclasses.fields(Options)}
        for name, value in changes.items():
            if name not in known:
                raise KeyError(name)
            setattr(self.options, name, type(getattr(self.options, name))(value))
        self._configured()

    def reset(self) -> None:
        fresh = Counters()
        fresh.inflight, fresh.connections = self.counters.inflight, self.counters.connections
        self.counters = fresh
        self.bodies.clear()
        self._configured()

    def _configured(self) -> None:
        o = self.options
        self.judge_markers = o.judge_marker.split("|")
        self.evolve_markers = o.evolve_marker.split("|")
        self.salt = str(o.seed).encode()
        self._faults = [(name, getattr(o, name)) for name in _TRANSIENT if getattr(o, name) > 0]
        self.faulty = bool(self._faults) or o.p400 > 0
        self._filled_at = time.monotonic()
        self._level = [o.rpm / 60 * o.burst, o.tpm / 60 * o.burst]
        if self.bodies.maxlen != o.keep:
            self.bodies = deque(self.bodies, maxlen=o.keep)

    def wait_needed(self, tokens: int) -> float:
        """Seconds until the limits have room for a request (0: now, and it is counted)."""
        o = self.options
        now = time.monotonic()
        passed, self._filled_at = now - self._filled_at, now
        wait = 0.0
        asked = ((o.rpm / 60, 1.0), (o.tpm / 60, float(tokens)))
        for i, (rate, amount) in enumerate(asked):
            if rate:
                self._level[i] = min(max(amount, rate * o.burst), self._level[i] + passed * rate)
                wait = max(wait, (amount - self._level[i]) / rate)
        if wait <= 0:
            for i, (rate, amount) in enumerate(asked):
                self._level[i] -= amount if rate else 0.0
        return max(0.0, wait)

    def draw_fault(self, digest: bytes, attempt: int) -> str:
        if self._faults:
            draw = hashlib.blake2b(b"%b%d" % (digest, attempt), digest_size=8, key=self.salt).digest()
            left = int.from_bytes(draw, "little") / 2**64 * 100
            for name, percent in self._faults:
                if left < percent:
                    return name
                left -= percent
        return "p400" if digest[31] * 256 + digest[30] < self.options.p400 * 655.36 else ""

    def delay(self, digest: bytes) -> float:
        """Seconds that the answer to this request takes."""
        mean, sigma = self.options.latency_ms / 1000, self.options.latency_sigma
        if not mean or not sigma:
            return mean
        first = (int.from_bytes(digest[:6], "little") + 1) / (2**48 + 1)
        second = int.from_bytes(digest[6:12], "little") / 2**48
        normal = math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
        return mean * math.exp(sigma * normal - sigma * sigma / 2)

    def say(self, job: _Job) -> tuple[str, int]:
        """The text of the reply, and its number of words."""
        o = self.options
        number = int.from_bytes(job.digest[:24], "little")
        lot = (job.digest[28] * 256 + job.digest[29]) / 655.36
        if job.kind == "judge":
            return (o.equal_text, 1) if lot < o.equal_pct else (o.not_equal_text, 2)
        if job.kind == "answer":
            if lot < o.sorry_pct:
                return "I'm sorry, but I can't help with that.", 8
            return texts.prose(number, o.words_min, o.words_max)
        text = texts.completion(job.text, number) if job.plain else texts.rewriting(job.text, number)
        if lot < (bound := o.leak_pct):
            text = f"#Rewritten Prompt#:\n{text}"
        elif lot < (bound := bound + o.copy_pct):
            text = texts.given_prompt(job.text)
        elif lot < (bound := bound + o.long_pct):
            text = f"{text} {texts.prose(number, 150, 160)[0]}"
        elif lot < bound + o.blank_pct:
            text = "\n"
        return text, text.count(" ") + 1

    def reply(self, job: _Job) -> bytes:
        """The whole HTTP answer to a request that gets one; counts it."""
        counters = self.counters
        if job.fault == "p500" or job.fault == "p503":
            return _error(int(job.fault[1:]), "the server had an error", "server_error")
        if job.fault == "p400":
            return _error(400, "the request was filtered", "content_filter")
        text, words = self.say(job)
        finish = "stop"
        if job.fault == "plength":
            text, finish = text[: len(text) // 2], "length"
        tokens_in, tokens_out = len(job.body) // 4, words * 4 // 3
        content = b"null" if job.fault == "pnull" else orjson.dumps(text)
        shape = b'"text":%b' if job.plain else b'"message":{"role":"assistant","content":%b}'
        choice = b'{"index":0,%b,"finish_reason":"%b"}' % (shape % content, finish.encode())
        body = (
            b'{"id":"%b","object":"chat.completion","created":%d,"model":%b,"choices":[%b],'
            b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
        ) % (
            job.digest[:12].hex().encode(),
            1700000000,  # the clock is no part of an answer
            orjson.dumps(job.model),
            b"" if job.fault == "pempty" else choice,
            tokens_in,
            tokens_out,
            tokens_in + tokens_out,
        )
        counters.answered += 1
        counters.prompt_tokens += tokens_in
        counters.completion_tokens += tokens_out
        if job.fault in ("", "plength"):
            counters.answered_ok += 1
            key = job.digest[:16]
            before = counters.seen.get(key, 1)
            counters.seen[key] = before + _PAID
            if before >= _PAID:
                counters.paid_twice += 1
                if len(counters.repeated) < 100:
                    counters.repeated.append(job.body)
        if job.fault == "ptrunc":
            body = body[: len(body) // 2]
        whole = _OK % (len(body), body)
        return whole[: len(whole) - len(body) // 2] if job.fault == "pcut" else whole


class _Connection(asyncio.Protocol):
    """One client connection: requests one after the other, kept alive."""

    __slots__ = ("buffer", "busy", "closed", "last", "server", "timer", "transport")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None
        self.busy = self.closed = self.last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.server.open.add(self.transport)
        self.server.counters.connections += 1
        self.server.counters.connections_total += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.server.open.discard(self.transport)
        self.server.counters.connections -= 1
        if self.timer is not None:
            self.timer.cancel()
        if self.busy:
            self.server.counters.inflight -= 1
            self.server.counters.lost_answers += 1

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        self._next()

    def _next(self) -> None:
        while self.buffer and not self.busy and not self.closed:
            head, blank, rest = self.buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            low = head.lower()
            at = low.find(b"\r\ncontent-length:")
            length = int(low[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.last = b"\r\nconnection: close" in low
            method, path, _ = head.split(b" ", 2)
            self._route(method, path.decode("latin-1").partition("?")[0], rest[:length], head)

    def _route(self, method: bytes, path: str, body: bytes, head: bytes) -> None:
        server = self.server
        if path.endswith("/completions") and method == b"POST":
            self._ask(body, head, plain=not path.endswith("/chat/completions"))
        elif path.endswith("/models"):
            names = [{"id": name, "object": "model"} for name in ("mock", "gpt-4o-mini")]
            self._send(_response(200, {"object": "list", "data": names}))
        elif path == "/stats":
            self._send(_response(200, server.counters.snapshot() | {"options": dataclasses.asdict(server.options)}))
        elif path == "/repeats":
            self._send(_response(200, [orjson.loads(one) for one in server.counters.repeated]))
        elif path == "/reset":
            server.reset()
            self._send(_response(200, {}))
        elif path == "/config":
            try:
                server.configure(orjson.loads(body or b"{}"))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                self._send(_error(400, f"{type(error).__name__}: {error}", "bad_config"))
            else:
                self._send(_response(200, dataclasses.asdict(server.options)))
        else:
            self._send(_error(404, f"nothing at {path}", "not_found"))

    def _send(self, data: bytes) -> None:
        self.transport.write(data)
        if self.last:
            self.transport.close()

    def _ask(self, body: bytes, head: bytes, *, plain: bool) -> None:
        """Take a request: count it, refuse it, or answer it now or later."""
        server, o, counters = self.server, self.server.options, self.server.counters
        now = time.time()
        try:
            request = orjson.loads(body)
            text = request["prompt"] if plain else _text(request["messages"])
            model = str(request.get("model", ""))
            room = int(request.get("max_tokens") or request.get("max_completion_tokens") or 256)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            counters.bad_request += 1
            self._send(_error(400, f"not a request: {error!r}", "invalid_request_error"))
            return
        counters.first_request = counters.first_request or now
        counters.last_request = now
        counters.requests += 1
        if o.keep:
            server.bodies.append(body)
        digest = hashlib.blake2b(body, digest_size=32, key=server.salt).digest()
        attempt = counters.seen.get(digest[:16], 0)
        counters.seen[digest[:16]] = attempt + 1
        attempt &= _PAID - 1
        counters.repeats += attempt > 0
        if counters.promised:
            self._came_back(digest[:16], now)
        kind = "evolve" if plain else texts.kind_of(text, server.judge_markers, server.evolve_markers)
        counters.kind[kind] += 1
        if o.key and f"authorization: bearer {o.key}".lower().encode() not in head.lower():
            self._send(_error(401, "Incorrect API key provided", "invalid_api_key"))
            return
        if o.status:
            self._send(_error(o.status, f"told to answer {o.status}", "told_to"))
            return
        wait = server.wait_needed(len(body) // 4 + room) if o.rpm or o.tpm else 0.0
        if wait > 0 or (o.max_inflight and counters.inflight >= o.max_inflight):
            self._refuse(digest, now, wait or o.retry_after, "429_limit" if wait else "429_inflight")
            return
        fault = ""
        if server.faulty and counters.requests > o.fault_after:
            fault = server.draw_fault(digest, attempt)
            if fault == "p429":
                self._refuse(digest, now, o.retry_after, fault)
                return
            if fault:
                counters.fault[fault] = counters.fault.get(fault, 0) + 1
        self.busy = True
        counters.inflight += 1
        counters.max_inflight = max(counters.max_inflight, counters.inflight)
        job = _Job(body, digest, text, model, kind, plain, fault)
        delay = server.delay(digest)
        if fault == "ptimeout":
            self.timer = asyncio.get_running_loop().call_later(o.timeout_hold_s, self.transport.close)
        elif delay > 0:
            self.timer = asyncio.get_running_loop().call_later(delay, self._answer_later, job)
        else:
            self._answer(job)

    def _answer_later(self, job: _Job) -> None:
        self.timer = None
        self._answer(job)
        self._next()

    def _answer(self, job: _Job) -> None:
        self.busy = False
        self.server.counters.inflight -= 1
        self._send(self.server.reply(job))
        self.server.counters.last_answer = time.time()
        if job.fault == "pcut":
            self.transport.close()

    def _refuse(self, digest: bytes, now: float, wait: float, why: str) -> None:
        """Answer 429, saying when to come again in the style that was chosen."""
        counters, style = self.server.counters, self.server.options.retry_after_header
        counters.fault[why] = counters.fault.get(why, 0) + 1
        promised, header = float(math.ceil(wait)), f"Retry-After: {math.ceil(wait)}\r\n"
        if style == "ms":
            promised, header = wait, f"retry-after-ms: {math.ceil(wait * 1000)}\r\n"
        elif style == "date":  # whole seconds: the moment named may be almost one early
            promised, header = promised - 1, f"Retry-After: {formatdate(now + promised, usegmt=True)}\r\n"
        elif style == "none":
            promised, header = 0.0, ""
        if header:
            counters.promised[digest[:16]] = now + promised
        self._send(_error(429, "Rate limit reached for requests", "rate_limit_exceeded", header))

    def _came_back(self, key: bytes, now: float) -> None:
        due = self.server.counters.promised.pop(key, None)
        if due is not None and now >= due - 0.05:
            self.server.counters.ra_honoured += 1
        elif due is not None:
            self.server.counters.ra_early += 1


def _text(messages: list[dict[str, Any]]) -> str:
    """What kinds are told apart by, and what is rewritten: the system message and the last one."""
    last = messages[-1]["content"]
    if not isinstance(last, str):
        last = "\n".join(part.get("text", "") for part in last)
    if len(messages) > 1 and messages[0]["role"] == "system":
        return f"{messages[0]['content']}\n{last}"
    return last


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # slower, otherwise the same
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _hang_up(server: Server, listening: asyncio.Server) -> None:
    """Close the door and every open connection."""
    listening.close()
    for transport in list(server.open):
        transport.abort()
    while server.open:  # noqa: ASYNC110 - each leaves the set once its socket is closed
        await asyncio.sleep(0.001)


@dataclass(frozen=True, slots=True)
class Running:
    """A server in a thread. The functions may be called from any other thread."""

    base_url: str
    stop: Callable[[], None]
    stats: Callable[[], dict[str, Any]]
    reset: Callable[[], None]
    configure: Callable[..., None]
    requests: Callable[[], list[dict[str, Any]]]
    """The last `Options.keep` request bodies."""


def start(options: Options | None = None, *, port: int = 0) -> Running:
    """Serve on loopback in a daemon thread until `stop` is called; `port` 0 takes a free one."""
    server = Server(options or Options())
    loop = _new_loop()
    address: Future[int] = Future()

    def serve() -> None:
        try:
            listening = loop.run_until_complete(loop.create_server(lambda: _Connection(server), "127.0.0.1", port))
        except OSError as error:
            address.set_exception(error)
        else:
            address.set_result(listening.sockets[0].getsockname()[1])
            loop.run_forever()
            loop.run_until_complete(_hang_up(server, listening))
        loop.close()

    thread = threading.Thread(target=serve, name="scripted-server", daemon=True)
    thread.start()

    def call(function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)

    return Running(
        f"http://127.0.0.1:{address.result(10)}/v1",
        stop,
        lambda: call(lambda: server.counters.snapshot()),  # noqa: PLW0108 - a reset makes new counters
        lambda: call(server.reset),
        lambda **changes: call(lambda: server.configure(changes)),
        lambda: call(lambda: [orjson.loads(body) for body in server.bodies]),
    )


@contextlib.contextmanager
def serving(options: Options | None = None) -> Iterator[Running]:
    """`start` for a with statement."""
    running = start(options)
    try:
        yield running
    finally:
        running.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    for option in dataclasses.fields(Options):
        flag = "--" + option.name.replace("_", "-")
        parser.add_argument(flag, type=type(option.default), default=option.default)
    values = vars(parser.parse_args())
    port = values.pop("port")
    server = Server(Options(**values))
    loop = _new_loop()
    listening = loop.run_until_complete(
        loop.create_server(lambda: _Connection(server), "127.0.0.1", port, backlog=4096)
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, loop.stop)
    print(f"serving http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    loop.run_forever()
    loop.run_until_complete(_hang_up(server, listening))
    loop.close()


if __name__ == "__main__":
    main()
