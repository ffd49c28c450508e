"""The clients under test: how each is started, and how its result is counted."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import workload
from bench.process import ServerProcess, Watched

HERE = Path(__file__).resolve().parent
CALLS = 3
"""Calls that a row takes: evolve, answer, judge."""
PEERS = {
    "openai": ("openai_sdk.py", "openai", "openai SDK + semaphore"),
    "curator": ("peers/curator_evol.py", "bespokelabs", "bespokelabs-curator"),
    "data-designer": ("peers/data_designer_evol.py", "data_designer", "data-designer"),
    "distilabel": ("peers/distilabel_evol.py", "distilabel", "distilabel"),
}
"""Name -> (script, the module it needs, its name in full)."""


@dataclass(frozen=True)
class Result:
    """What a client left: whole rows, rows with a part missing, rows twice, nulls stored as replies."""

    complete: int = 0
    partial: int = 0
    doubled: int = 0
    nulls: int = 0


@dataclass(frozen=True)
class Client:
    """One client: `argv` makes its command out of the address, seeds, folder, concurrency, time-out."""

    name: str
    argv: Callable[[str, Path, Path, int, float], list[str]]
    result: Callable[[Path], Result]
    heavy: bool = False
    """Gets smaller jobs: it takes ten times as long as ours."""


@dataclass
class Bench:
    """Where things are, and how often each figure is taken."""

    work: Path
    evol: list[str]
    server: Path = HERE / "server.py"
    repeat: int = 3
    pythons: dict[str, str] = field(default_factory=dict[str, str])
    """Peer -> interpreter that has it."""
    kept: dict[str, Path] = field(default_factory=dict[str, Path])
    """Finished runs of ours that other measures use again, by name."""

    def serve(self, **options: object) -> ServerProcess:
        return ServerProcess(self.server, **{"equal_pct": 0, **options})

    def seeds(self, count: int) -> Path:
        return workload.seeds(self.work / f"seeds-{count}.jsonl", count)

    def clients(self) -> list[Client]:
        """Ours first, then the floor, then the peers that were found."""
        ours = Client("ours", self.evolve, count_ours)
        return [ours, self._script("floor", "floor.py", sys.executable)] + [
            self._script(name, PEERS[name][0], python, heavy=True) for name, python in self.pythons.items()
        ]

    def evolve(self, url: str, seeds: Path, out: Path, concurrency: int, timeout: float, rounds: int = 1) -> list[str]:
        """Our own command."""
        return [
            *self.evol, "evolve", str(seeds), "--model", "openai:mock", "--base-url", url, "--rounds", str(rounds),
            "--preset", "paper", "--concurrency", str(concurrency), "--timeout", str(timeout), "--out", str(out),
        ]  # fmt: skip

    def _script(self, name: str, script: str, python: str, *, heavy: bool = False) -> Client:
        prompts = self.work / "prompts.json"

        def argv(url: str, seeds: Path, out: Path, concurrency: int, timeout: float) -> list[str]:
            return [
                python, str(HERE / script), "--base-url", url, "--seeds", str(seeds), "--prompts", str(prompts),
                "--out", str(out), "--concurrency", str(concurrency), "--timeout", str(timeout),
            ]  # fmt: skip

        return Client(name, argv, count_results, heavy)

    def folder(self, client: Client | str) -> Path:
        """A fresh run folder for a client."""
        out = self.work / f"run-{client if isinstance(client, str) else client.name}"
        shutil.rmtree(out, ignore_errors=True)
        return out

    def keep(self, name: str) -> Path:
        """Set the run folder of ours that was just made aside, as `name`."""
        self.kept[name] = self.work / f"kept-{name}"
        shutil.rmtree(self.kept[name], ignore_errors=True)
        return (self.work / "run-ours").rename(self.kept[name])

    def start(
        self, client: Client, url: str, rows: int, out: Path, *, concurrency: int = 64, timeout: float = 60.0
    ) -> Watched:
        argv = client.argv(url, self.seeds(rows), out, concurrency, timeout)
        return Watched(argv, self.work / f"log-{out.name}.txt")

    def run(
        self, client: Client, rows: int, *, concurrency: int = 64, timeout: float = 60.0, **options: object
    ) -> tuple[Watched, dict[str, Any], Result]:
        """One whole run of a client against a server of its own: the process, the server's counters,
        what it left. Raises RuntimeError when it failed."""
        out = self.folder(client)
        with self.serve(**options) as server:
            process = self.start(client, server.url, rows, out, concurrency=concurrency, timeout=timeout)
            code = process.wait()
            stats = server.stats()
        result = client.result(out)
        if code != 0:
            raise RuntimeError(f"{client.name} ended with {code}:\n{process.said[-1500:]}")
        return process, stats, result


def count_results(out: Path) -> Result:
    """Count the results.jsonl of a script."""
    path = out / "results.jsonl"
    if not path.exists():
        return Result()
    seen: Counter[int] = Counter()
    whole = nulls = 0
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            seen[int(row["id"])] += 1
            parts = [row.get(name) for name in ("evolved", "answer", "judge")]
            whole += all(parts)
            nulls += parts.count(None)
    return Result(whole, len(seen) - whole, sum(n - 1 for n in seen.values()), nulls)


def count_ours(out: Path) -> Result:
    """Count the lineages of a run folder; a row is whole when its seed has an answered, judged child."""
    path = out / "1-evolve" / "instructions.jsonl"
    if not path.exists():
        return Result()
    seen: Counter[str] = Counter()
    roots: set[str] = set()
    whole = partial = 0
    with open(path, "rb") as file:
        for line in file:
            row = json.loads(line)
            seen[row["id"]] += 1
            if row["round"] == 0:
                continue
            roots.add(row["root_id"])
            good = bool(row["text"] and row["response"] and row["verdicts"])
            whole += good
            partial += not good
    with sqlite3.connect(f"file:{out / 'calls.db'}?mode=ro", uri=True) as database:
        found = database.execute(
            "select count(*) from calls where status = 'ok' and "
            "coalesce(json_extract(reply, '$.choices[0].message.content'), '') = ''"
        ).fetchone()
    database.close()
    return Result(whole, partial, sum(n - 1 for n in seen.values()), int(found[0]))
