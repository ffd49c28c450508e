"""The store: every reply that a run paid for, once, under a key that is the whole request.

Replies arrive in the journal (see `journal.py`) and move in bulk into `calls.db`, the SQLite file
that people query, when a run ends or is looked at. Either alone, or both, make the store; a crash
between the two leaves a reply in both, which does no harm.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.llm.journal import Journal, Totals
from evollab.records import EvolError
from evollab.runs import sync_folder

DATABASE = "calls.db"
JOURNAL = "calls.journal"
_SCHEMA = """
create table if not exists calls(
    key blob not null, model text, purpose text, sample integer, request text, reply text,
    status text, tokens_in integer, tokens_out integer, cost real, latency real, at real);
create table if not exists failures(
    key blob, model text, purpose text, kind text, message text, latency real, at real,
    unique (key, at, kind) on conflict ignore);
"""
Row = tuple[Any, ...]
_INDEX = "create unique index if not exists calls_key on calls(key)"
_BATCH = 2000
_READ_AHEAD = 200


@dataclass(frozen=True, slots=True)
class Stored:
    """One kept reply: the body as it was received, and what it was classed as."""

    status: str
    raw: bytes


class Store:
    """The calls of one run folder. One process at a time (see `runs.locked`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / DATABASE
        self.journal = Journal(folder / JOURNAL)
        self.totals = self.journal.totals
        self._reader: sqlite3.Connection | None = None
        self._ahead: dict[bytes, tuple[str, str]] = {}
        if self.path.exists():
            self._reader = _read_only(self.path)
            first = next(iter(self.journal.index), None)
            if first is not None and self._lookup(first) is not None:
                self.absorb()  # an earlier process died between storing the journal and clearing it
                self.totals = self.journal.totals = Totals()
            self._add_totals()

    def _add_totals(self) -> None:
        assert self._reader is not None
        row = self._reader.execute(
            "select count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0),"
            " coalesce(sum(cost), 0) from calls"
        ).fetchone()
        self.totals.calls += row[0]
        self.totals.tokens_in += row[1]
        self.totals.tokens_out += row[2]
        self.totals.usd += row[3]

    def _lookup(self, key: bytes) -> tuple[str, str] | None:
        """(status, reply) in calls.db. What was asked one after the other is asked so again when a run
        is replayed: a miss reads the rows that follow along, which makes a replay five times as fast."""
        if self._reader is None:
            return None
        found = self._ahead.pop(key, None)
        if found is None:
            row = self._reader.execute("select rowid, status, reply from calls where key = ?", (key,)).fetchone()
            if row is None:
                return None
            found = (row[1], row[2])
            following = "select key, status, reply from calls where rowid > ? limit ?"
            for near, status, reply in self._reader.execute(following, (row[0], _READ_AHEAD)):
                self._ahead[near] = (status, reply)
            while len(self._ahead) > 10 * _READ_AHEAD:
                del self._ahead[next(iter(self._ahead))]
        return found

    @property
    def at_risk(self) -> int:
        """Calls that were in flight when an earlier process died, and may be paid a second time."""
        return len(self.journal.asked_in_vain)

    def get(self, key: bytes) -> Stored | None:
        """What was answered to this call, or None when it has to be asked."""
        line = self.journal.read(key)
        if line is not None:
            raw = line["r"]
            return Stored(line["s"], raw.encode() if isinstance(raw, str) else orjson.dumps(raw))
        row = self._lookup(key)
        return None if row is None else Stored(row[0], row[1].encode())

    def put(
        self, key: bytes, *, model: str, purpose: str, sample: int, status: str, request: bytes, raw: bytes,
        tokens: tuple[int, int], cost: float | None, latency: float,
    ) -> None:  # fmt: skip
        """Keep a reply. When this returns, the death of the process can no longer lose it.

        `raw` must be JSON. Raises DiskFull when there was no room for it.
        """
        if b"\n" in raw:
            raw = orjson.dumps(orjson.loads(raw))
        head = b'{"k":"%b","m":%b,"p":"%b","n":%d,"s":"%b","u":[%d,%d],"c":%b,"l":%.3f,"t":%.3f,"z":%d,"q":' % (
            key.hex().encode(),
            orjson.dumps(model),
            purpose.encode(),
            sample,
            status.encode(),
            *tokens,
            b"null" if cost is None else b"%.10g" % cost,
            latency,
            time.time(),
            len(request),
        )
        self.journal.index[key] = self.journal.append(b"%b%b,%b%b}\n" % (head, request, b'"r":', raw))
        self.totals.add(*tokens, cost)

    def failed(self, key: bytes, *, model: str, purpose: str, kind: str, message: str, latency: float) -> None:
        """Note an attempt that brought nothing usable. The call stays unanswered."""
        fields = {"m": model, "p": purpose, "e": kind, "x": message[:500], "l": round(latency, 3), "t": time.time()}
        self.journal.append(b'{"f":"%b",%b\n' % (key.hex().encode(), orjson.dumps(fields)[1:]))

    def absorb(self) -> None:
        """Move the journal into calls.db. Loses nothing at any moment: the journal is cleared only
        when the database has synced. On a full disk the journal simply stays."""
        if self.journal.empty:
            return
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        fresh = not self.path.exists()
        target = self.path.with_name(DATABASE + ".part") if fresh else self.path
        if fresh:
            target.unlink(missing_ok=True)
        try:
            _fill(target, _batches(self.journal.lines()), durable=not fresh)
        except sqlite3.OperationalError as error:
            if "full" not in str(error) and "disk I/O" not in str(error):
                raise EvolError(f"{target}: {error}", f"the replies are safe in {self.journal.path}") from None
            if fresh:
                target.unlink(missing_ok=True)
        else:
            _sync_file(target)
            if fresh:
                os.replace(target, self.path)
                sync_folder(self.path.parent)
            self.journal.clear()
        if self.path.exists():
            self._reader = _read_only(self.path)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self.journal.close()
        if self.journal.empty:
            self.journal.path.unlink(missing_ok=True)


def _read_only(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        db.execute("select key, status, reply, tokens_in, tokens_out, cost from calls limit 1")
    except sqlite3.DatabaseError as error:
        raise EvolError(
            f"{path}: not a store of calls ({error})", "move the file away, or restore it from a copy"
        ) from None
    db.execute("pragma mmap_size=268435456")
    return db


def _fill(path: Path, batches: Iterable[tuple[list[Row], list[Row]]], *, durable: bool) -> None:
    """Insert what is not there yet. `durable`: the file is in use already, so each commit must keep
    it sound even if the machine dies; a new file is worth nothing until it has its name."""
    db = sqlite3.connect(path)
    try:
        db.execute(f"pragma journal_mode={'wal' if durable else 'off'}")
        db.execute(f"pragma synchronous={'normal' if durable else 'off'}")
        db.executescript(_SCHEMA)
        if durable:
            db.execute(_INDEX)
        for calls, failures in batches:
            with db:
                db.executemany("insert or ignore into calls values(?,?,?,?,?,?,?,?,?,?,?,?)", calls)
                db.executemany("insert into failures values(?,?,?,?,?,?,?)", failures)
        with db:
            db.execute(_INDEX)
        if durable:
            db.execute("pragma wal_checkpoint(truncate)")
            db.execute("pragma journal_mode=delete")
    finally:
        db.close()


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _batches(lines: Iterable[bytes]) -> Iterator[tuple[list[Row], list[Row]]]:
    """Journal lines as rows of the two tables, some thousand at a time. Of a reply's line only the head
    is parsed; request and reply are cut out of it as they stand."""
    calls: list[Row] = []
    failures: list[Row] = []
    for line in lines:
        if line.startswith(b'{"k"'):
            middle = line.index(b',"q":')
            head = orjson.loads(line[:middle] + b"}")
            start, end = middle + 5, middle + 5 + head["z"]
            calls.append(
                (
                    bytes.fromhex(head["k"]), head["m"], head["p"], head["n"], line[start:end].decode(),
                    line[end + 5 : -2].decode(), head["s"], *head["u"], head["c"], head["l"], head["t"],
                )
            )  # fmt: skip
        elif line.startswith(b'{"f"'):
            failure = orjson.loads(line)
            failures.append((bytes.fromhex(failure["f"]), *(failure[name] for name in "mpexlt")))
        if len(calls) + len(failures) >= _BATCH:
            yield calls, failures
            calls, failures = [], []
    yield calls, failures


__all__ = ["DATABASE", "JOURNAL", "Store", "Stored", "Totals"]
