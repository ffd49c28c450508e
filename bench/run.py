#!/usr/bin/env python3
"""Measure evollab beside the floor and its peers, and print one table.

python bench/run.py                         every measure but `full`
python bench/run.py speed replay            some of them
python bench/run.py full                    624,000 calls in one go
python bench/run.py --peer openai=/path/to/python --peer curator=/path/to/python --json out.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import faults, speed, workload
from bench.clients import PEERS, Bench
from bench.table import Figure, render

MEASURES: dict[str, Callable[[Bench], list[Figure]]] = {
    "speed": speed.cpu,
    "throughput": speed.throughput,
    "memory": speed.memory,
    "start": speed.start,
    "replay": speed.replay,
    "mix": faults.mix,
    "limit": faults.limit,
    "kill": faults.kill,
    "signals": faults.signals,
    "disk": faults.disk,
    "two": faults.two,
    "full": speed.full,
}


def evol_command() -> list[str]:
    """The installed command of this environment, or the module where it is not installed."""
    script = Path(sys.executable).with_name("evol")
    return [str(script)] if script.exists() else [sys.executable, "-m", "evollab.cli"]


def find_peers(given: list[str]) -> dict[str, str]:
    """Peer -> interpreter: those that were named, and those that this environment has."""
    found = {name: sys.executable for name, peer in PEERS.items() if importlib.util.find_spec(peer[1])}
    for item in given:
        name, _, python = item.partition("=")
        if name not in PEERS or not Path(python).exists():
            raise SystemExit(f"error: --peer {item}: expected NAME=PYTHON, NAME one of {', '.join(PEERS)}")
        found[name] = python
    return found


def machine() -> str:
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}, load {load}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="an environment with a peer")
    parser.add_argument("--evol", default="", help="our command, when it is not the one of this environment")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is measured; medians are shown")
    parser.add_argument(
        "--server", type=Path, default=Path(__file__).with_name("server.py"), help="another server script"
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--work", type=Path, help="folder for runs (default: a temporary one, removed at the end)")
    given = parser.parse_args()
    if unknown := set(given.measures) - set(MEASURES):
        parser.error(f"no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    chosen = given.measures or [name for name in MEASURES if name != "full"]
    work = given.work or Path(tempfile.mkdtemp(prefix="evollab-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    workload.prompts(work / "prompts.json")
    bench = Bench(
        work.resolve(), shlex.split(given.evol) or evol_command(), given.server, given.repeat, find_peers(given.peer)
    )
    before, figures = machine(), []
    try:
        for name in chosen:
            began = time.monotonic()
            made = MEASURES[name](bench)
            figures += made
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
            print(render(made), file=sys.stderr)
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{before}; medians of {given.repeat}\n\n{render(figures)}")
    if given.json:
        facts = {"machine": before, "repeat": given.repeat, "figures": [figure.as_json() for figure in figures]}
        given.json.write_text(json.dumps(facts, indent=1))
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
