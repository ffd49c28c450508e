"""The process that programs are born from: Python with the usual modules loaded, locked in, asked over a socket.

For each program it forks two children: the judge, which gets the test, and the program's own process (the solver),
which is forked before either text has come, so that nothing in its memory tells of the test. It ends both when the
time is over or the judge has spoken, and says how it went. When its socket closes, because the parent has died, it
ends everything and itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, NoReturn

from evollab.sandbox.guards import jail, linux
from evollab.sandbox.languages import Language
from evollab.sandbox.program import LEVELS, Level
from evollab.sandbox.wire import Closed, receive, send

HEADER = struct.Struct("<cdQ")
"""What the parent sends, with the socket to the judge: RUN, seconds, bytes. Or WARM, 0, 0, with none."""
RUN, WARM = b"r", b"w"
MOST_JOB = 1 << 28
"""Bytes of a program with its test."""
SETUP = 30.0
"""Seconds for two processes to be ready, before a program's own time begins."""
_LOOK = 0.02
_MOST_THREADS = 64
_MOST_FILES = 256
_CLEAN = 2.0


def main(descriptor: int, level_name: str, language_name: str, folder: str) -> None:
    """Serve one parent. Answers {"guards": [...]} once ready, or {"unavailable": why}."""
    level = next(one for one in LEVELS if one == level_name)
    control = socket.socket(fileno=descriptor)
    language: Language = importlib.import_module(f"evollab.sandbox.languages.{language_name}").LANGUAGE
    for name in language.warm:
        importlib.import_module(name)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, hard))
    zygote = None
    try:
        parts = jail.guards(level)
        processes = os.open("/proc", os.O_PATH | os.O_DIRECTORY) if sys.platform == "linux" else -1
        if sys.platform == "linux":
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        if level == "full":
            jail.enter()
        zygote = _Zygote(control, language, level, parts, folder, processes)
        send(descriptor, {"guards": parts})
    except (jail.Unavailable, OSError) as error:
        send(descriptor, {"unavailable": str(error)})
    gc.collect()
    gc.freeze()
    with contextlib.suppress(Closed):
        while zygote is not None and zygote.serve():
            pass


class _ParentDied(Exception):
    pass


class _Zygote:
    def __init__(
        self,
        control: socket.socket,
        language: Language,
        level: Level,
        parts: tuple[str, ...],
        folder: str,
        processes: int,
    ) -> None:
        self.control, self.language, self.level, self.parts = control, language, level, parts
        self.processes = processes
        self.cell = jail.Cell(parts, f"{folder}/{os.getpid()}")

    def serve(self) -> bool:
        """One order of the parent's; False when there is no parent any more."""
        data, descriptors, _, _ = socket.recv_fds(self.control, HEADER.size, 1)
        if len(data) != HEADER.size:
            return False
        order, seconds, memory = HEADER.unpack(data)
        if order == WARM:
            for name in self.language.optional:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
            gc.collect()
            gc.freeze()
            send(self.control.fileno(), {"warm": True})
            return True
        try:
            report = self._run(descriptors[0], seconds, memory)
        except _ParentDied:
            return False
        send(self.control.fileno(), report)
        return True

    def _run(self, parent: int, seconds: float, memory: int) -> dict[str, Any]:
        """Fork the pair, watch it, end it."""
        solver_end, judge_end = (one.detach() for one in socket.socketpair())
        started, starting = os.pipe()
        solver = linux.fork(jail.namespaces(self.level))
        if solver == 0:
            self._child(lambda: self._solver(solver_end, memory, seconds))
        judge = os.fork()
        if judge == 0:
            self._child(lambda: self._judge(parent, judge_end, starting))
        for descriptor in (parent, solver_end, judge_end, starting):
            os.close(descriptor)
        how, took = "setup", 0.0
        try:
            how, took = self._watch(started, solver, seconds)
        finally:
            os.close(started)
            ends = [_end(solver, 0.0), _end(judge, 1.0 if how == "done" else 0.0)]
            self._clean()
        return {"how": how, "seconds": took, "solver": ends[0], "judge": ends[1]}

    def _child(self, live: Any) -> NoReturn:
        try:
            if sys.platform == "linux":
                linux.die_with_parent()
            live()
        finally:  # never back into the zygote's loop
            os._exit(1)

    def _solver(self, descriptor: int, memory: int, seconds: float) -> None:
        os.setsid()
        rules = _keep([descriptor], self.cell.descriptors[0])
        self.cell.confine(rules, memory, seconds)
        self.language.solve(3)

    def _judge(self, parent: int, solver: int, starting: int) -> None:
        rules = _keep([parent, solver, starting], self.cell.descriptors[1])
        self.cell.confine_judge(rules)
        job = receive(3, most=MOST_JOB)
        test = self.language.prepare(job["test"])
        os.write(5, b"s")
        verdict, detail = self.language.judge(4, test, job["code"], job["entry"])
        send(3, {"verdict": verdict, "detail": detail.encode("utf-8", "replace").decode()})
        os._exit(0)

    def _watch(self, started: int, solver: int, seconds: float) -> tuple[str, float]:
        """How it ended ("done", "timeout", "threads", "setup"), and the seconds from the start of the test."""
        poll = select.poll()
        poll.register(started, select.POLLIN)
        poll.register(self.control.fileno(), 0)  # a hang-up is always told
        begun, deadline, running = time.monotonic(), time.monotonic() + SETUP, False
        while (left := deadline - time.monotonic()) > 0:
            events = poll.poll(1000 * min(left, _LOOK) + 1)
            if any(descriptor != started for descriptor, _ in events):
                raise _ParentDied
            if events and not os.read(started, 1):
                return ("done" if running else "setup"), time.monotonic() - begun
            if events:
                begun, running = time.monotonic(), True
                deadline = begun + seconds
            elif running and self._threads(solver) > _MOST_THREADS:
                return "threads", time.monotonic() - begun
        return ("timeout" if running else "setup"), time.monotonic() - begun

    def _threads(self, pid: int) -> int:
        """How many threads a process has; 0 where that can't be seen."""
        try:
            file = os.open(f"{pid}/status", os.O_RDONLY, dir_fd=self.processes)
        except OSError:
            return 0
        try:
            text = os.read(file, 4096)
        finally:
            os.close(file)
        return int(text.partition(b"\nThreads:")[2].partition(b"\n")[0] or 0)

    def _clean(self) -> None:
        """End what has run away from its parent (where new processes can't be forbidden), remove the files."""
        if "seccomp" not in self.parts:
            give_up = time.monotonic() + _CLEAN
            with contextlib.suppress(ChildProcessError):
                while time.monotonic() < give_up:
                    for pid in self._children():
                        _end(pid, 0.0)
                    if os.waitpid(-1, os.WNOHANG) == (0, 0):
                        time.sleep(0.001)
        self.cell.clean()

    def _children(self) -> list[int]:
        me = os.getpid()
        with contextlib.suppress(OSError):
            file = os.open(f"{me}/task/{me}/children", os.O_RDONLY, dir_fd=self.processes)
            try:
                return [int(one) for one in os.read(file, 1 << 16).split()]
            finally:
                os.close(file)
        return []


def _keep(descriptors: list[int], rules: int) -> int:
    """Of all open files leave these, as 3, 4 and so on, and nothing to read or to write to as 0, 1, 2.

    `rules`, if any, are left as the last, whose number is given back.
    """
    null = os.open(os.devnull, os.O_RDWR)
    kept = [null, null, null, *descriptors, *([rules] if rules >= 0 else [])]
    high = [os.dup2(one, _MOST_FILES // 2 + place) for place, one in enumerate(kept)]
    for place, one in enumerate(high):
        os.dup2(one, place)
    os.closerange(len(high), _MOST_FILES)
    return len(high) - 1 if rules >= 0 else -1


def _end(pid: int, patience: float) -> int:
    """End a process and its group: its wait status where it ended by itself within these seconds, else -1."""
    give_up = time.monotonic() + patience
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < give_up:
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if done[0]:
        return done[1]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1
