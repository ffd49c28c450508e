"""What a call costs when nothing goes wrong: CPU, throughput, memory, start, replay, the whole shape."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

from bench.clients import CALLS, Bench, Client
from bench.process import Watched
from bench.table import Figure

LIGHT = 5
"""Heavy clients get a fifth of the rows."""


def _rows(client: Client, rows: int) -> int:
    return rows // LIGHT if client.heavy else rows


def _medians(figure: Figure) -> None:
    for name, runs in figure.runs.items():
        figure.values[name] = statistics.median(runs)


def cpu(bench: Bench) -> list[Figure]:
    """CPU of one call more: the slope between two sizes, so that starting costs nothing here."""
    figure = Figure("client CPU, slope", "ms/call")
    whole = Figure("client CPU, all in", "ms/call", note="9,000 calls (peers 1,800), start and end included")
    for _ in range(bench.repeat):
        for client in bench.clients():
            small, big = _rows(client, 1000), _rows(client, 3000)
            less, _, _ = bench.run(client, small)
            more, _, _ = bench.run(client, big)
            slope = (more.cpu_s - less.cpu_s) / (CALLS * (big - small)) * 1000
            figure.runs.setdefault(client.name, []).append(slope)
            whole.runs.setdefault(client.name, []).append(more.cpu_s / (CALLS * big) * 1000)
    _medians(figure)
    _medians(whole)
    figure.compare(at_most=2.0)
    return [figure, whole]


def throughput(bench: Bench) -> list[Figure]:
    """Calls a second at 50 ms latency, from the first request to the last answer."""
    figures: list[Figure] = []
    for concurrency, rows, share in ((64, 2500, 0.95), (256, 8000, 0.75)):
        figure = Figure(f"throughput, 50 ms, {concurrency} in flight", "calls/s")
        for _ in range(bench.repeat):
            for client in bench.clients():
                count = _rows(client, rows)
                _, stats, _ = bench.run(client, count, concurrency=concurrency, latency_ms=50)
                figure.runs.setdefault(client.name, []).append(stats["answered"] / stats["span_s"])
        _medians(figure)
        figure.compare(at_least=share)
        figure.note = f"the latency allows {concurrency / 0.05:,.0f}"
        figures.append(figure)
    return figures


def memory(bench: Bench) -> list[Figure]:
    """Peak resident memory at 60,000 calls, and what each call more adds up to 180,000."""
    peak = Figure("peak memory at 60,000 calls", "MB", note="peers at 6,000 calls")
    growth = Figure("memory of a call more", "bytes", note="between 60,000 and 180,000 calls (peers 6,000 and 18,000)")
    for client in bench.clients():
        small, big = (2000, 6000) if client.heavy else (20_000, 60_000)
        more, _, _ = bench.run(client, big)
        less, _, _ = bench.run(client, small)
        peak.values[client.name] = less.peak_mb
        growth.values[client.name] = (more.peak_mb - less.peak_mb) * 2**20 / (CALLS * (big - small))
        if client.name == "ours":
            bench.keep("finished")
    peak.require(below=80)
    growth.require(below=300)
    return [peak, growth]


def start(bench: Bench) -> list[Figure]:
    """Seconds from the start of the process to its first request, by the server's clock."""
    figures: list[Figure] = []
    for count in (1000, 52_000, 200_000):
        figure = Figure(f"first request, {count:,} seeds", "s")
        for _ in range(bench.repeat):
            for client in bench.clients():
                if client.heavy and count > 1000:
                    continue
                figure.runs.setdefault(client.name, []).append(_first_request(bench, client, count))
        _medians(figure)
        figure.require(below=0.6)
        figures.append(figure)
    return figures


def _first_request(bench: Bench, client: Client, count: int) -> float:
    bench.seeds(count)
    with bench.serve(latency_ms=5000) as server:
        process = bench.start(client, server.url, count, bench.folder(client))
        while (first := server.stats()["first_request"]) is None and not process.ended.is_set():
            time.sleep(0.05)
        process.kill()
    if first is None:
        raise RuntimeError(f"{client.name} never asked:\n{process.said}")
    return float(first) - process.started_at


def replay(bench: Bench) -> list[Figure]:
    """A finished run of 60,000 calls made again from calls.db, with no server there."""
    ours = bench.clients()[0]
    rows = 20_000
    if "finished" not in bench.kept:
        bench.run(ours, rows)
        bench.keep("finished")
    finished = bench.kept["finished"]
    before = (finished / "1-evolve" / "instructions.jsonl").read_bytes()
    figure = Figure("replay of 60,000 calls", "calls/s")
    processor = Figure("replay, CPU", "ms/call")
    same = True
    for _ in range(bench.repeat):
        shutil.rmtree(finished / "1-evolve")
        again = bench.start(ours, "http://127.0.0.1:9/v1", rows, finished)
        if again.wait(300) != 0:
            raise RuntimeError(f"the replay ended with {again.code}:\n{again.said}")
        figure.runs.setdefault("ours", []).append(rows * CALLS / again.wall_s)
        processor.runs.setdefault("ours", []).append(again.cpu_s / (rows * CALLS) * 1000)
        same = same and (finished / "1-evolve" / "instructions.jsonl").read_bytes() == before
    _medians(figure)
    _medians(processor)
    figure.require(at_least=15_000)
    figure.note = "start and end included; " + ("same bytes as before" if same else "DIFFERENT BYTES")
    return [figure, processor]


def full(bench: Bench) -> list[Figure]:
    """The paper's shape in one go: 52,000 seeds, 4 rounds, 3 calls a child."""
    seeds, rounds = 52_000, 4
    out = bench.folder("full")
    with bench.serve() as server:
        argv = bench.evolve(server.url, bench.seeds(seeds), out, 64, 60.0, rounds)
        process = Watched(argv, bench.work / "log-full.txt")
        code = process.wait(3600)
        stats = server.stats()
    if code != 0:
        raise RuntimeError(f"the full shape ended with {code}:\n{process.said}")
    figures = [
        Figure("full: calls", "", {"ours": stats["requests"]}),
        Figure("full: time", "s", {"ours": process.wall_s}),
        Figure("full: rate", "calls/s", {"ours": stats["requests"] / process.wall_s}),
        Figure("full: after the last answer", "s", {"ours": process.ended_at - stats["last_answer"]}),
        Figure("full: CPU", "ms/call", {"ours": process.cpu_s / stats["requests"] * 1000}),
        Figure("full: peak memory", "MB", {"ours": process.peak_mb}),
        Figure("full: calls.db", "MB", {"ours": (out / "calls.db").stat().st_size / 2**20}),
        Figure("full: rows kept", "", {"ours": _lines(out / "1-evolve" / "instructions.jsonl")}),
        Figure("full: paid twice", "", {"ours": stats["paid_twice"]}),
    ]
    figures[0].target, figures[0].met = "= 624,000", stats["requests"] == seeds * rounds * CALLS
    figures[7].target, figures[7].met = "= 260,000", figures[7].values["ours"] == seeds * (rounds + 1)
    return figures


def _lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
