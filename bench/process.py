"""Starting the server and the clients, and watching from outside what they use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PAGE = os.sysconf("SC_PAGE_SIZE")


class ServerProcess:
    """The scripted server in a process of its own; the options are those of its command line."""

    def __init__(self, script: Path, **options: object) -> None:
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--port", "0", *flags], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[1]

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=60) as response:
            counters: dict[str, Any] = json.load(response)
            return counters

    def wait_answered(self, count: int, client: Watched, limit: float = 300) -> bool:
        """Whether so many answers were given before the client ended or `limit` seconds passed."""
        end = time.monotonic() + limit
        while not client.ended.is_set() and time.monotonic() < end:
            if self.stats()["answered"] >= count:
                return True
            time.sleep(0.02)
        return False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def family(root: int) -> list[int]:
    """`root` and every process that descends from it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:
                continue
            parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


class Watched:
    """A client in a session of its own: CPU by wait4, resident memory of all its processes by /proc.

    cpu_s: user and system seconds of it and of every child it waited for. peak_mb: the largest sum of
    resident memory seen (20 looks a second), or the kernel's own peak of one process if that is more.
    """

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.code: int | None = None
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self.ended = threading.Event()
        with open(log, "ab") as output:
            self.started_at = time.time()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, "OPENAI_API_KEY": "sk-none", **(environment or {})},
            )  # fmt: skip
        self.ended_at = 0.0
        self._watching = [threading.Thread(target=work, daemon=True) for work in (self._wait, self._look)]
        for thread in self._watching:
            thread.start()

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.process.pid, 0)
        self.ended_at = time.time()
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_mb = max(self.peak_mb, usage.ru_maxrss / 1024)
        self.ended.set()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            pages = 0
            for pid in family(self.process.pid):
                try:
                    pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
            self.peak_mb = max(self.peak_mb, pages * _PAGE / 2**20)

    @property
    def wall_s(self) -> float:
        return self.ended_at - self.started_at

    def wait(self, limit: float = 1800) -> int | None:
        """The exit code; after `limit` seconds the client is killed and None is returned."""
        if not self.ended.wait(limit):
            self.kill()
            return None
        for thread in self._watching:
            thread.join()
        return self.code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the client's whole group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL it and all that it started."""
        for pid in family(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.ended.wait(30)

    @property
    def said(self) -> str:
        """The last 4,000 characters that it wrote to the terminal."""
        return self.log.read_text(errors="replace")[-4000:]
