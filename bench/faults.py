"""What faults cost: a bad server, a limiting server, kills, signals, a full disk, a second process."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.clients import CALLS, Bench
from bench.process import Watched
from bench.table import Figure

FILES = ("instructions.jsonl", "dropped.jsonl", "rejected.jsonl")
ROWS = 1000
LATENCY = {"latency_ms": 50, "latency_sigma": 0.5}


def mix(bench: Bench) -> list[Figure]:
    """300 rows; 5 % 429 with Retry-After 2 s, 5 % 500, 2 % never answered (time-out 10 s), 1 % garbage."""
    rows = 300
    seconds = Figure("fault mix, 300 rows", "s", note="median over servers that draw their faults differently")
    complete = Figure("fault mix, rows complete", "%", target="= 100")
    nulls = Figure("fault mix, nulls stored", "", target="= 0")
    for seed in range(bench.repeat):
        for client in bench.clients():
            out = bench.folder(client)
            with bench.serve(
                **LATENCY, p429=5, p500=5, ptimeout=2, ptrunc=0.5, pempty=0.25, pnull=0.25, retry_after=2, seed=seed
            ) as server:
                process = bench.start(client, server.url, rows, out, timeout=10.0)
                process.wait(400)
            result = client.result(out)
            seconds.runs.setdefault(client.name, []).append(process.wall_s if process.code is not None else 400.0)
            complete.runs.setdefault(client.name, []).append(100 * result.complete / rows)
            nulls.runs.setdefault(client.name, []).append(result.nulls)
    for figure, pick in ((seconds, statistics.median), (complete, min), (nulls, max)):
        figure.values = {name: float(pick(runs)) for name, runs in figure.runs.items()}
    seconds.compare(at_most=1.5)
    complete.met, nulls.met = complete.values["ours"] == 100, nulls.values["ours"] == 0
    return [seconds, complete, nulls]


def limit(bench: Bench) -> list[Figure]:
    """500 rows against a server that lets 3,000 requests a minute pass, as much as it says on no page."""
    rows, allowed = 500, 3000 / 60
    share = Figure("limiting server, share of 3,000 a minute", "")
    refused = Figure("limiting server, refusals for each answer", "")
    for client in bench.clients():
        out = bench.folder(client)
        with bench.serve(**LATENCY, rpm=3000) as server:
            bench.start(client, server.url, rows, out).wait(200)
            stats = server.stats()
        share.values[client.name] = stats["answered_ok"] / max(stats["span_s"], 1e-9) / allowed
        refused.values[client.name] = stats["fault"].get("429_limit", 0) / max(1, stats["answered_ok"])
    share.require(at_least=0.97)
    return [share, refused]


def kill(bench: Bench) -> list[Figure]:
    """SIGKILL after 20, 50 and 80 % of the calls, then the same command again."""
    whole = _undisturbed(bench)
    twice = Figure("SIGKILL, paid twice", "calls", note="the most of three kills; answers that had reached no journal")
    risk = Figure("SIGKILL, the same and unanswered ones", "calls", {}, "<= 64 in flight")
    same = Figure("SIGKILL, files as undisturbed", "of 3", {}, "= 3")
    for name in ("ours", "floor"):
        equal, costs, risks = 0, list[float](), list[float]()
        for share in (0.2, 0.5, 0.8):
            stats, at_kill, out = _interrupted(bench, name, share, [signal.SIGKILL])
            costs.append(stats["paid_twice"])
            risks.append(stats["paid_twice"] + at_kill["lost_answers"])
            equal += name == "ours" and _files(out) == whole
        twice.runs[name], risk.runs[name] = costs, risks
        twice.values[name], risk.values[name] = max(costs), max(risks)
        if name == "ours":
            same.values[name] = equal
    risk.met = max(risk.runs["ours"]) <= 64
    same.met = same.values["ours"] == 3
    return [twice, risk, same]


def signals(bench: Bench) -> list[Figure]:
    """Ctrl-C and SIGTERM after 40 % of the calls, then the same command again; then Ctrl-C twice."""
    whole = _undisturbed(bench)
    figures: list[Figure] = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        took = Figure(f"{number.name}, time to stop", "s", {}, f"exit {code}")
        twice = Figure(f"{number.name}, paid twice", "calls", {}, "= 0")
        for name in ("ours", "floor"):
            stats, at_stop, out = _interrupted(bench, name, 0.4, [number])
            took.values[name] = at_stop["seconds"]
            twice.values[name] = stats["paid_twice"] + at_stop["lost_answers"]
            if name == "ours":
                took.got, took.met = f"exit {at_stop['code']}", at_stop["code"] == code
                twice.got = "same bytes" if _files(out) == whole else "DIFFERENT BYTES"
                twice.met = twice.values[name] == 0 and _files(out) == whole
        figures += [took, twice]
    again = Figure("SIGINT twice, time to stop", "s", {}, "< 1")
    _, at_stop, _ = _interrupted(bench, "ours", 0.0, [signal.SIGINT, signal.SIGINT], latency_ms=8000)
    again.values["ours"] = at_stop["seconds"]
    again.met = at_stop["seconds"] < 1
    return [*figures, again]


def disk(bench: Bench) -> list[Figure]:
    """A run on a full file system, then room and the same command again. Needs root, for the mount."""
    stopped = Figure("full disk, calls paid for nothing", "calls", {}, "= 0")
    mended = Figure("full disk, rows complete after room", "%", {}, "= 100")
    rows = 3000
    with _small_disk(bench.work / "small-disk", megabytes=12) as (mount, grow):
        if not mount:
            stopped.note = "skipped: mounting a tmpfs needs root"
            return [stopped]
        out = Path(mount) / "run"
        ours = bench.clients()[0]
        with bench.serve(**LATENCY) as server:
            process = bench.start(ours, server.url, rows, out)
            code = process.wait(120)
            first = server.stats()
            grow()
            resumed = bench.start(ours, server.url, rows, out)
            resumed.wait(120)
            stats = server.stats()
        result = ours.result(out)
        stopped.values["ours"] = stats["paid_twice"] + first["lost_answers"]
        error = next((line for line in process.said.splitlines() if line.startswith("error:")), "no error line")
        stopped.note = f"exit {code} after {first['answered']:,} of {rows * CALLS:,} calls; {error[:160]}"
        stopped.met = stopped.values["ours"] == 0 and code not in (0, None) and "full" in error
        mended.values["ours"] = 100 * result.complete / rows
        mended.met = result.complete == rows and resumed.code == 0 and _files(out) == _undisturbed(bench, rows)
    return [stopped, mended]


def two(bench: Bench) -> list[Figure]:
    """A second process on a run folder that is in use."""
    figure = Figure("second process on a folder", "exit", {}, "refused, exit 2")
    ours = bench.clients()[0]
    out = bench.folder(ours)
    with bench.serve(**LATENCY) as server:
        first = bench.start(ours, server.url, ROWS, out)
        server.wait_answered(200, first)
        log = bench.work / "log-second.txt"
        log.unlink(missing_ok=True)
        second = Watched(ours.argv(server.url, bench.seeds(ROWS), out, 64, 60.0), log)
        code = second.wait(60)
        first.wait(120)
        stats = server.stats()
    figure.values["ours"] = code
    figure.note = next((line for line in second.said.splitlines() if line.startswith("error:")), second.said[-200:])
    named = str(first.process.pid) in second.said
    figure.met = code == 2 and named and first.code == 0 and stats["paid_twice"] == 0
    return [figure]


def _undisturbed(bench: Bench, rows: int = ROWS) -> list[bytes]:
    """The files of a run that nothing happened to."""
    name = f"undisturbed-{rows}"
    if name not in bench.kept:
        bench.run(bench.clients()[0], rows)
        bench.keep(name)
    return _files(bench.kept[name])


def _files(out: Path) -> list[bytes]:
    step = out / "1-evolve"
    return [(step / name).read_bytes() if (step / name).exists() else b"" for name in FILES]


def _interrupted(
    bench: Bench, name: str, share: float, numbers: list[signal.Signals], **options: object
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """A run that gets signals when `share` of its calls are answered, and then runs to its end.

    Gives the server's counters at the end and at the stop (there with "seconds" that stopping took
    and the exit "code"), and the run folder.
    """
    client = next(client for client in bench.clients() if client.name == name)
    out = bench.folder(client)
    with bench.serve(**{**LATENCY, **options}) as server:
        process = bench.start(client, server.url, ROWS, out)
        if share:
            server.wait_answered(int(share * ROWS * CALLS), process)
        else:
            while server.stats()["inflight"] < 64 and not process.ended.is_set():
                time.sleep(0.02)
        began = time.monotonic()
        for number in numbers:
            if number == signal.SIGKILL:
                process.kill()
            else:
                process.signal(number)
                process.ended.wait(0.3)
        process.wait(60)
        seconds = time.monotonic() - began
        time.sleep(0.2)  # for the server to see the connections go
        at_stop = {**server.stats(), "seconds": seconds, "code": process.code}
        if "latency_ms" not in options:
            again = bench.start(client, server.url, ROWS, out)
            if again.wait(120) != 0:
                raise RuntimeError(f"{name} did not go on after {numbers}:\n{again.said}")
        return server.stats(), at_stop, out


@contextmanager
def _small_disk(mount: Path, *, megabytes: int) -> Iterator[tuple[Path | None, Any]]:
    """A file system of so many megabytes, and a function that makes it large."""
    mount.mkdir(parents=True, exist_ok=True)
    size = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(size, capture_output=True, check=False).returncode != 0:
        yield None, None
        return

    def grow() -> None:
        subprocess.run(["mount", "-o", "remount,size=512m", str(mount)], check=True)

    try:
        yield mount, grow
    finally:
        subprocess.run(["umount", str(mount)], check=False)
        shutil.rmtree(mount, ignore_errors=True)
