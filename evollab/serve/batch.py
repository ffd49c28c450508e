"""Continuous batching: answers join and leave between two steps of the model, and all go on together.

One thread owns the model. Each turn it drops what was cancelled, gives free rows to who waits, reads one piece
of new prompts, and makes one token for every answer under way. transformers has a continuous batching of its
own; it has one seed for all and no log-probs of prompts or alternatives, so this small one stands here.
"""

from __future__ import annotations

import asyncio
import collections
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from evollab.serve.chances import Chances
from evollab.serve.engine import Ask, Chance, Delta, EngineFailed, Finish
from evollab.serve.prefixes import Prefixes
from evollab.serve.sampling import adjust, draw
from evollab.serve.slots import Kept, Slots
from evollab.serve.tokentext import TokenTexts
from evollab.serve.writer import Writer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK_CPU = 256
_CHUNK_GPU = 2048
"""Prompt tokens read in one step: answers under way wait for no more than this."""
Deliver = Callable[[Delta | EngineFailed], None]


@dataclass(eq=False, slots=True)
class Job:
    """One answer to be made. ids: the prompt. limit: tokens at most. deliver: called on the event loop.

    offsets: where the text of each prompt token begins; given where log-probs of the prompt are wanted.
    cancelled: nobody wants it any more; its row is freed at the next step.
    """

    ids: list[int]
    ask: Ask
    limit: int
    writer: Writer
    deliver: Deliver
    offsets: list[int] | None = None
    cancelled: bool = False


@dataclass(eq=False, slots=True)
class _Row:
    """An answer that has a row: how much of it is in the cache, what was made, its own chance."""

    job: Job
    length: int
    random: random.Random
    made: list[int] = field(default_factory=list[int])
    counts: collections.Counter[int] = field(default_factory=collections.Counter[int])

    @property
    def unread(self) -> int:
        """Tokens of the prompt that the model has not seen."""
        return len(self.job.ids) - self.length if not self.made else 0


class Batch:
    """The thread and its rows. Rows that make tokens stand before rows whose prompts are being read."""

    def __init__(
        self, model: PreTrainedModel, *, ends: frozenset[int], rows: int, context: int, texts: TokenTexts
    ) -> None:
        """ends: ids that end an answer. rows: answers side by side. context: tokens that a row may have."""
        self._slots = Slots(model, rows, context)
        self._ends, self._most, self._context = ends, rows, context
        self._chances = Chances(texts)
        self._chunk = _CHUNK_GPU if model.device.type == "cuda" else _CHUNK_CPU
        self._prefixes: Prefixes[Kept] = Prefixes(2 * context)
        self._rows: list[_Row] = []
        self._making = 0  # rows[:_making] make tokens, the others are being read
        self._waiting: collections.deque[Job] = collections.deque()
        self._bell = threading.Condition()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._news: list[tuple[Job, Delta | EngineFailed]] = []
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # Called from the event loop

    def submit(self, job: Job) -> None:
        """Queue an answer; its deltas come by `deliver`."""
        with self._bell:
            if self._closed:
                raise EngineFailed("the engine has ended")
            self._waiting.append(job)
            self._bell.notify()

    def cancel(self, job: Job) -> None:
        """Nobody wants the answer any more: its row is free at the next step."""
        with self._bell:
            job.cancelled = True
            self._bell.notify()

    def waiting(self) -> int:
        return len(self._waiting)

    def busy(self) -> int:
        """Rows in use."""
        return len(self._rows)

    def ended(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    def close(self) -> None:
        """End the thread after the step it is in."""
        with self._bell:
            self._closed = True
            self._bell.notify()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._wait():
                    try:
                        self._step()
                    except RuntimeError as error:  # torch's word for everything, memory above all
                        self._fail(error)
                    self._tell()
        finally:
            with self._bell:
                self._closed = True
            self._fail(RuntimeError("the engine has ended"))
            self._tell()

    def _wait(self) -> bool:
        """Until there is something to do. False: closed. While there is nothing, no memory is held for rows."""
        with self._bell:
            if not self._rows and not self._waiting:
                self._slots.reset()
            while not self._closed and not self._rows and not self._waiting:
                self._bell.wait()
            return not self._closed

    def _step(self) -> None:
        self._drop_cancelled()
        self._admit()
        if len(self._rows) > self._making:
            self._read()
        if self._making:
            self._make()

    def _drop_cancelled(self) -> None:
        for place in range(len(self._rows) - 1, -1, -1):
            if self._rows[place].job.cancelled:
                self._leave(place)

    def _admit(self) -> None:
        while len(self._rows) < self._most:
            with self._bell:
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            if job.cancelled:
                continue
            row = _Row(job, 0, random.Random(job.ask.sampling.seed))
            self._rows.append(row)
            if job.offsets is None:
                length, kept = self._prefixes.find(job.ids[:-1])  # the last one must be read: it gives the logits
                if kept is not None:
                    self._slots.put(len(self._rows) - 1, kept, length)
                    row.length = length

    def _read(self) -> None:
        """One piece of the prompts at the head of the queue, several short ones at once."""
        first = self._making
        width = min(self._rows[first].unread, self._chunk)
        last = first + 1
        while last < len(self._rows):
            wider = max(width, min(self._rows[last].unread, self._chunk))
            if wider * (last + 1 - first) > self._chunk:
                break
            width, last = wider, last + 1
        rows = self._rows[first:last]
        starts = [row.length for row in rows]
        tokens = [row.job.ids[row.length : row.length + width] for row in rows]
        whole = any(row.job.offsets is not None for row in rows)
        logits = self._slots.forward(first, tokens, starts, whole=whole)
        ready, behind = [], []
        for number, (row, part) in enumerate(zip(rows, tokens, strict=True)):
            row.length += len(part)
            if row.job.offsets is not None:
                self._score(row.job, row.job.offsets, logits[number, : len(part)], starts[number])
            if not row.unread:
                ready.append(row)
                behind.append(logits[number, len(part) - 1] if whole else logits[number])
        if ready:
            for row in ready:
                self._promote(row)
            self._next(ready, torch.stack(behind))

    def _promote(self, row: _Row) -> None:
        """From the rows that are read to those that make tokens."""
        place, target = self._rows.index(row), self._making
        if place != target:
            other = self._rows[target]
            self._slots.swap(place, target, max(row.length, other.length))
            self._rows[place], self._rows[target] = other, row
        self._making += 1

    def _score(self, job: Job, offsets: Sequence[int], logits: torch.Tensor, start: int) -> None:
        """Hand out log-probs of the prompt's tokens from start + 1 on, by logits (tokens, vocabulary) from
        `start` on; with the first piece the prompt's first token, which has none."""
        following = job.ids[start + 1 : start + 1 + logits.shape[0]]
        known = [self._chances.first(job.ids[0])] if start == 0 else []
        if following:
            known += self._chances.of(logits[: len(following)].float(), following, job.ask.top or 0)
        places = offsets[start + bool(start) :]
        told = tuple(replace(chance, offset=place) for chance, place in zip(known, places, strict=False))
        self._news.append((job, Delta(chances=told)))

    def _make(self) -> None:
        """One token for every row that makes tokens."""
        rows = self._rows[: self._making]
        logits = self._slots.forward(0, [row.made[-1:] for row in rows], [row.length for row in rows], whole=False)
        for row in rows:
            row.length += 1
        self._next(rows, logits)

    def _next(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        """Draw a token for each of `rows` from logits (rows, vocabulary), and end what is at its end."""
        logits = logits.float()
        going = [number for number, row in enumerate(rows) if row.job.limit]
        if len(going) < len(rows):
            for row in rows:
                if not row.job.limit:
                    self._end(row, "length")
            rows, logits = [rows[number] for number in going], logits[going]
        if not rows:
            return
        samplings = [row.job.ask.sampling for row in rows]
        adjusted = adjust(logits, samplings, [row.counts for row in rows])
        ids = draw(adjusted, samplings, [row.random.random() for row in rows])
        wanted = [number for number, row in enumerate(rows) if row.job.ask.top is not None]
        chances: dict[int, Chance] = {}
        for number in wanted:
            (chances[number],) = self._chances.of(
                logits[number : number + 1], [ids[number]], rows[number].job.ask.top or 0
            )
        for number, (row, made) in enumerate(zip(rows, ids, strict=True)):
            self._made(row, made, chances.get(number))

    def _made(self, row: _Row, id: int, chance: Chance | None) -> None:
        row.made.append(id)
        if id in self._ends:
            self._end(row, "stop")
            return
        row.counts[id] += 1
        written = row.job.writer.push(id, chance)
        if written.text or written.chances:
            self._news.append((row.job, Delta(written.text, written.chances, tokens=len(row.made))))
        if written.stopped:
            self._end(row, "stop", flush=False)
        elif len(row.made) >= row.job.limit or len(row.job.ids) + len(row.made) >= self._context:
            self._end(row, "length")

    def _end(self, row: _Row, finish: Finish, *, flush: bool = True) -> None:
        rest = row.job.writer.flush() if flush else None
        text, chances = (rest.text, rest.chances) if rest else ("", ())
        finish = "stop" if rest and rest.stopped else finish
        self._news.append((row.job, Delta(text, chances, finish, tokens=len(row.made))))
        if row.job.offsets is None and self._prefixes.worth(row.length):
            place = self._rows.index(row)
            self._prefixes.keep([*row.job.ids, *row.made][: row.length], self._slots.take(place, row.length))
        self._leave(self._rows.index(row))

    def _leave(self, place: int) -> None:
        """Free a row and close the gap."""
        if place < self._making:
            self._making -= 1
            self._fill(place, self._making)
            place = self._making
        self._fill(place, len(self._rows) - 1)
        self._rows.pop()

    def _fill(self, place: int, source: int) -> None:
        if place != source:
            row = self._rows[source]
            self._slots.move(source, place, row.length)
            self._rows[place] = row

    # What comes out

    def _fail(self, error: RuntimeError) -> None:
        """Everything under way ends with an error; what waits is tried, unless the engine has ended."""
        memory = "out of memory" in str(error)
        message = "out of memory: fewer answers at once (--max-batch) or a shorter context (--context)"
        failed = EngineFailed(message if memory else str(error).partition("\n")[0])
        self._news += [(row.job, failed) for row in self._rows]
        self._rows.clear()
        self._making = 0
        self._slots.reset()
        self._prefixes.clear()
        if self._closed:
            self._news += [(job, failed) for job in self._waiting]
            self._waiting.clear()

    def _tell(self) -> None:
        """All news of a step in one call into the event loop."""
        if not self._news or self._loop.is_closed():
            return
        news, self._news = self._news, []
        self._loop.call_soon_threadsafe(_deliver, news)


def _deliver(news: list[tuple[Job, Delta | EngineFailed]]) -> None:
    for job, what in news:
        if not job.cancelled:
            job.deliver(what)
