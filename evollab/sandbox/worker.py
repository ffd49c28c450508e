"""One zygote, seen from the parent: started, given programs one at a time, started again where it died."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from evollab.sandbox.program import Level, Outcome, Program, Verdict
from evollab.sandbox.wire import receive, send
from evollab.sandbox.zygote import HEADER, MOST_JOB, RUN, SETUP, WARM

_PACKAGE = Path(__file__).resolve().parent
_START = """
import sys, types
top, here, end, *rest = sys.argv[1:]
for name, path in (("evollab", top), ("evollab.sandbox", here)):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from evollab.sandbox.wire import receive, send
from evollab.sandbox.zygote import main
main(int(end), *rest)
"""
"""The zygote loads its own few files, and none of what the package loads for its callers: no foreign package, no path
to the place where evollab is installed."""
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip
"""All that a program sees. The fixed hash seed makes the order of a set the same every time."""
_BEGIN = 60.0
"""Seconds for a zygote to load its modules."""
_GRACE = 10.0
"""Seconds beyond a program's own until its zygote counts as stuck."""
_VERDICTS: tuple[Verdict, ...] = ("passed", "failed", "crashed", "memory", "output_limit")
_KEPT = 400


class NoLevel(Exception):
    """The level that was asked for isn't to be had here; the text says why."""


class Broken(Exception):
    """The zygote died or got stuck. Says nothing about the program."""


class Worker:
    """A zygote at one level of isolation. folder: where programs may write where they get no file system of their own.

    Raises NoLevel, or Broken where it doesn't come up.
    """

    def __init__(self, level: Level, language: str, folder: str) -> None:
        self.lock = threading.Lock()
        mine, its = socket.socketpair()
        with its:
            places = [str(_PACKAGE.parent), str(_PACKAGE)]
            command = [sys.executable, "-s", "-P", "-c", _START, *places, str(its.fileno()), level, language, folder]
            try:
                self.process = subprocess.Popen(
                    command, pass_fds=[its.fileno()], env=_ENVIRONMENT, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
                )  # fmt: skip
            except OSError as error:
                mine.close()
                raise Broken(f"{sys.executable} can't be started: {error.strerror}") from None
        self.control = mine
        self.warm = False
        try:
            told = self._hear(_BEGIN)
        except Broken:
            self.close()
            raise
        if "guards" not in told:
            self.close()
            raise NoLevel(str(told.get("unavailable")))
        self.guards: tuple[str, ...] = tuple(told["guards"])

    def warm_up(self) -> None:
        """Load the modules that not every program needs."""
        if not self.warm:
            self._order(WARM, 0.0, 0)
            self._hear(_BEGIN)
            self.warm = True

    def run(self, program: Program) -> Outcome:
        """Run one program. Raises Broken."""
        mine, its = socket.socketpair()
        with mine:
            with its:
                self._order(RUN, program.timeout, program.memory, its.fileno())
            _patience(mine, SETUP)
            job = {"code": program.code, "test": program.test, "entry": program.entry}
            with contextlib.suppress(OSError):  # the report says why nobody listens
                send(mine.fileno(), job, most=MOST_JOB)
            report = self._hear(program.timeout + SETUP + _GRACE)
            verdict = None
            with contextlib.suppress(OSError, ValueError):  # there is none where the judge was ended
                verdict = receive(mine.fileno())
        return _outcome(program, report, verdict)

    def close(self) -> None:
        """End the zygote and all its children."""
        with self.lock:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.control.close()  # only now: another thread may be reading from it

    def _order(self, order: bytes, seconds: float, memory: int, *descriptors: int) -> None:
        try:
            socket.send_fds(self.control, [HEADER.pack(order, seconds, memory)], descriptors)
        except OSError as error:
            raise Broken(f"the zygote is gone ({error})") from None

    def _hear(self, seconds: float) -> dict[str, Any]:
        _patience(self.control, seconds)
        try:
            told = receive(self.control.fileno())
        except (OSError, ValueError) as error:
            raise Broken(f"the zygote is gone or stuck ({error or type(error).__name__})") from None
        if not isinstance(told, dict):
            raise Broken("the zygote said nothing that makes sense")
        return told


def _patience(one: socket.socket, seconds: float) -> None:
    """Reading and writing raise BlockingIOError after so long without a byte."""
    limit = struct.pack("ll", int(seconds) + 1, 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _outcome(program: Program, report: dict[str, Any], told: Any) -> Outcome:
    """What the zygote saw and what the judge said, taken together. Raises Broken where neither says anything."""
    how, seconds = report["how"], round(float(report["seconds"]), 6)
    if how == "timeout":
        return Outcome("timeout", f"not done after {program.timeout:g} s", seconds)
    if how == "threads":
        return Outcome("crashed", "too many threads", seconds)
    if how == "setup":
        raise Broken("the processes for a program did not come up")
    if isinstance(told, dict) and told.get("verdict") in _VERDICTS:
        return Outcome(told["verdict"], str(told["detail"])[:_KEPT], seconds)
    status = report["judge"]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGSYS):
        return Outcome("crashed", f"the test's process ended by signal {os.WTERMSIG(status)}", seconds)
    raise Broken("the judge ended without a verdict")
