"""What the calls of a run cost, how long they took and what went wrong, from calls.db and the journal.

Both are only read: the run may be going on in another process. Per call, 24 bytes stay in memory.
"""

from __future__ import annotations

import heapq
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab.inert import cut
from evollab.llm.store import DATABASE, JOURNAL
from evollab.records import EvolError

SHOWN = 10
EXCERPT = 700
BUCKETS = 96
OTHER = "(other)"
_MOST_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Group:
    """The answered calls of one purpose to one model. Latencies in seconds.

    `usd` is the sum over priced calls; `unpriced` counts the calls without a price.
    """

    purpose: str
    model: str
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float
    unpriced: int
    not_ok: Mapping[str, int]
    p50: float
    p90: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Call:
    """One call worth a look. `asked` and `answered` are beginnings of the texts, as they were."""

    purpose: str
    model: str
    status: str
    latency: float
    tokens_in: int
    tokens_out: int
    after: float
    """Seconds from the run's first reply."""
    asked: str
    answered: str


@dataclass(frozen=True, slots=True)
class Calls:
    """All answered calls of a run (`groups`), and the attempts that brought nothing (`failures`:
    purpose, kind -> count). `seconds` is working time: pauses between two sittings are left out."""

    groups: tuple[Group, ...]
    failures: Mapping[tuple[str, str], int]
    failed: tuple[Call, ...]
    slowest: tuple[Call, ...]
    seconds: float
    pauses: int
    pace: tuple[int, ...]
    """Replies in each of BUCKETS equal stretches of the working time."""

    @property
    def count(self) -> int:
        return sum(g.calls for g in self.groups)

    @property
    def tokens_in(self) -> int:
        return sum(g.tokens_in for g in self.groups)

    @property
    def tokens_out(self) -> int:
        return sum(g.tokens_out for g in self.groups)

    @property
    def usd(self) -> float | None:
        """None where no call had a price."""
        return sum(g.usd for g in self.groups) if self.unpriced < self.count else None

    @property
    def unpriced(self) -> int:
        return sum(g.unpriced for g in self.groups)

    @property
    def rate(self) -> float:
        """Replies a second of working time; 0 where that can't be said."""
        return self.count / self.seconds if self.seconds > 0 else 0.0


Where = tuple[str, int]
"""("db" or "journal", rowid or byte offset)."""
Head = tuple[Where, str, str, str, int, int, float | None, float, float]
"""where, purpose, model, status, tokens in, tokens out, cost, latency, at."""


@dataclass(slots=True)
class _Tally:
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    unpriced: int = 0
    not_ok: Counter[str] = field(default_factory=Counter[str])
    latencies: array[float] = field(default_factory=lambda: array("d"))


def read_calls(run: Path) -> Calls | None:
    """The calls of `run`, None where it has neither calls.db nor a journal."""
    if not (run / DATABASE).is_file() and not (run / JOURNAL).is_file():
        return None
    source = _Source(run)
    try:
        return _collect(source)
    except sqlite3.DatabaseError as error:
        raise EvolError(
            f"{run / DATABASE}: can't be read as a store of calls ({error})",
            "if the run is going on, look again in a moment; else restore the file from a copy",
        ) from None
    finally:
        source.close()


def _collect(source: _Source) -> Calls:
    tallies: dict[tuple[str, str], _Tally] = {}
    times: array[float] = array("d")
    slow: list[tuple[float, int, Head]] = []
    broken: list[tuple[float, int, Head]] = []
    earliest = (float("inf"), 0.0)
    for number, head in enumerate(source.heads()):
        _, purpose, model, status, tokens_in, tokens_out, cost, latency, at = head
        group = (purpose, model)
        if group not in tallies and len(tallies) >= _MOST_GROUPS:
            group = (OTHER, OTHER)
        tally = tallies.setdefault(group, _Tally())
        tally.calls += 1
        tally.tokens_in += tokens_in
        tally.tokens_out += tokens_out
        tally.usd += cost or 0.0
        tally.unpriced += cost is None
        tally.latencies.append(latency)
        times.append(at)
        earliest = min(earliest, (at, latency))
        _keep(slow, (latency, -number, head))
        if status != "ok":
            tally.not_ok[status] += 1
            _keep(broken, (at, -number, head))
    failures: Counter[tuple[str, str]] = Counter()
    attempts: list[tuple[float, int, Call]] = []
    for number, (purpose, model, kind, message, latency, at) in enumerate(source.failures()):
        failures[purpose, kind] += 1
        _keep_call(attempts, at, -number, Call(purpose, model, kind, latency, 0, 0, at, "", message[:EXCERPT]))
    times = array("d", sorted(times))
    start = times[0] if times else min((at for at, _, _ in attempts), default=0.0)
    longest = max((max(t.latencies) for t in tallies.values()), default=0.0)
    seconds, pauses, pace = _pace(times, earliest[1], longest)
    failed = [(at, number, _shift(call, start)) for at, number, call in attempts]
    failed += [(at, number, source.call(head, start)) for at, number, head in broken]
    return Calls(
        groups=tuple(_group(*key, tallies[key]) for key in sorted(tallies, key=lambda k: (-tallies[k].calls, k))),
        failures=dict(sorted(failures.items(), key=lambda item: (-item[1], item[0]))),
        failed=tuple(call for _, _, call in sorted(failed, key=lambda f: (-f[0], -f[1], f[2].purpose))[:SHOWN]),
        slowest=tuple(source.call(head, start) for _, _, head in sorted(slow, key=lambda s: (-s[0], -s[1]))),
        seconds=seconds,
        pauses=pauses,
        pace=pace,
    )


def _keep(heap: list[tuple[float, int, Head]], item: tuple[float, int, Head]) -> None:
    """The SHOWN largest; the second field is unique, so heads are never compared."""
    if len(heap) < SHOWN:
        heapq.heappush(heap, item)
    elif item[:2] > heap[0][:2]:
        heapq.heapreplace(heap, item)


def _keep_call(heap: list[tuple[float, int, Call]], at: float, number: int, call: Call) -> None:
    if len(heap) < SHOWN:
        heapq.heappush(heap, (at, number, call))
    elif (at, number) > heap[0][:2]:
        heapq.heapreplace(heap, (at, number, call))


def _shift(call: Call, start: float) -> Call:
    return Call(
        call.purpose, call.model, call.status, call.latency, 0, 0, max(call.after - start, 0.0), "", call.answered
    )


def _group(purpose: str, model: str, tally: _Tally) -> Group:
    ordered = sorted(tally.latencies)

    def at(share: float) -> float:
        return ordered[max(-int(-(len(ordered) * share - 1e-9) // 1), 1) - 1]

    return Group(
        purpose, model, tally.calls, tally.tokens_in, tally.tokens_out, tally.usd, tally.unpriced,
        dict(tally.not_ok), at(0.5), at(0.9), at(0.99), ordered[-1],
    )  # fmt: skip


def _pace(times: array[float], first_latency: float, longest: float) -> tuple[float, int, tuple[int, ...]]:
    """Working seconds, pauses left out, and replies by stretch of the working time.

    A gap is a pause when it is longer than a minute and than twice the longest call: then nobody
    was waiting for a reply.
    """
    if not times:
        return 0.0, 0, ()
    limit = max(60.0, 2 * longest)
    elapsed = first_latency
    pauses = 0
    moments: array[float] = array("d")
    before = times[0]
    for at in times:
        if at - before > limit:
            pauses += 1
        else:
            elapsed += at - before
        before = at
        moments.append(elapsed)
    pace = [0] * BUCKETS
    for moment in moments:
        pace[min(int(moment / elapsed * BUCKETS), BUCKETS - 1) if elapsed > 0 else 0] += 1
    return elapsed, pauses, tuple(pace)


# The casts hold whatever a stranger's file may contain to the types that are counted with.
_HEADS = (
    "select rowid, cast(purpose as text), cast(model as text), cast(status as text), cast(tokens_in as integer), "
    "cast(tokens_out as integer), cast(cost as real), cast(latency as real), cast(at as real) from calls"
)
_FAILURES = (
    "select cast(purpose as text), cast(model as text), cast(kind as text), cast(message as text), "
    "cast(latency as real), cast(at as real) from failures"
)


def _sound(seconds: float | None) -> float:
    """Seconds that can be calculated with; 0 for none, for less, and for the infinite."""
    return seconds if seconds is not None and 0 <= seconds < 1e11 else 0.0


class _Source:
    """calls.db and calls.journal of one run, read-only. Either may be missing."""

    def __init__(self, run: Path) -> None:
        path = run / DATABASE
        self.journal = run / JOURNAL
        self.db: sqlite3.Connection | None = None
        if path.is_file():
            self.db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            self.db.text_factory = lambda raw: raw.decode("utf-8", "replace")

    def close(self) -> None:
        if self.db is not None:
            self.db.close()

    def heads(self) -> Iterator[Head]:
        """Every answered call, once: a crash can leave a call in both files."""
        if self.db is not None:
            self.db.execute("pragma trusted_schema = off")
            for row in self.db.execute(_HEADS):
                rowid, purpose, model, status, tokens_in, tokens_out, cost, latency, at = row
                yield (
                    ("db", rowid), purpose or "", model or "", status or "", tokens_in or 0, tokens_out or 0,
                    cost, _sound(latency), _sound(at),
                )  # fmt: skip
        for offset, line in self._lines(b'{"k":'):
            head = orjson.loads(line[: line.index(b',"q":')] + b"}")
            if self.db is not None and self._has(head["k"]):
                continue
            yield (
                ("journal", offset), head["p"], head["m"], head["s"], head["u"][0], head["u"][1],
                head["c"], head["l"], head["t"],
            )  # fmt: skip

    def _has(self, key: str) -> bool:
        assert self.db is not None
        return self.db.execute("select 1 from calls where key = ?", (bytes.fromhex(key),)).fetchone() is not None

    def failures(self) -> Iterator[tuple[str, str, str, str, float, float]]:
        """Attempts that brought nothing usable: purpose, model, kind, message, latency, at."""
        seen = False
        if self.db is not None:
            for purpose, model, kind, message, latency, at in self.db.execute(_FAILURES):
                seen = True
                yield purpose or "", model or "", kind or "", message or "", _sound(latency), _sound(at)
        for _, line in self._lines(b'{"f":'):
            note = orjson.loads(line)
            key = (bytes.fromhex(note["f"]), note["t"], note["e"])
            if seen and self.db is not None and self.db.execute(
                "select 1 from failures where key = ? and at = ? and kind = ?", key
            ).fetchone():  # fmt: skip
                continue
            yield note["p"], note["m"], note["e"], note["x"], note["l"], note["t"]

    def _lines(self, start: bytes) -> Iterator[tuple[int, bytes]]:
        if not self.journal.is_file():
            return
        offset = 0
        with open(self.journal, "rb") as file:
            for line in file:
                if line.startswith(start) and line.endswith(b"\n"):
                    yield offset, line
                offset += len(line)

    def call(self, head: Head, start: float) -> Call:
        """`head` with the beginnings of what was asked and answered."""
        (kind, place), purpose, model, status, tokens_in, tokens_out, _, latency, at = head
        request: Any = ""
        reply: Any = ""
        if kind == "db" and self.db is not None:
            request, reply = self.db.execute("select request, reply from calls where rowid = ?", (place,)).fetchone()
        elif kind == "journal":
            with open(self.journal, "rb") as file:
                file.seek(place)
                line = orjson.loads(file.readline())
                request, reply = line["q"], line["r"]
        return Call(
            purpose, model, status, latency, tokens_in, tokens_out, max(at - start, 0.0),
            cut(_asked(_parsed(request)), EXCERPT)[0], cut(_answered(_parsed(reply)), EXCERPT)[0],
        )  # fmt: skip


def _parsed(body: Any) -> Any:
    """A body as it was meant: JSON parsed; anything else as text."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if not isinstance(body, str):
        return body
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body


def _asked(body: Any) -> str:
    """The last turn (or the prompt) of a request body; the body's own text where it has neither."""
    match body:
        case {"messages": [*_, {"content": str(text)}]} | {"prompt": str(text)} | str(text):
            return text
        case _:
            return orjson.dumps(body).decode()


def _answered(body: Any) -> str:
    match body:
        case {"choices": [{"message": {"content": str(text)}}, *_]} | {"choices": [{"text": str(text)}, *_]}:
            return text
        case str(text):
            return text
        case _:
            return orjson.dumps(body).decode()
