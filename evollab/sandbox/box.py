"""The sandbox as the rest of evollab sees it: a pool of zygotes at the strongest isolation that can be had here."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

from evollab.records import EvolError
from evollab.sandbox.program import LEVELS, Level, Outcome, Program
from evollab.sandbox.worker import Broken, NoLevel, Worker

LANGUAGE = "python"
TRIES = 3
"""How often a program is run where the sandbox fails, before it is an infra_error."""
UNSAFE = "--unsafe-sandbox"
_NUMPY = re.compile(r"\bnumpy\b")
_PROBE = Program("def f(x):\n    return x + 1\n", "assert f(1) == 2\n", timeout=20.0)


class Box:
    """Runs programs. isolation: the level in force. guards: its parts. weaker: why no stronger level was to be had."""

    def __init__(self, workers: int, *, unsafe: bool, at_most: Level) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._count = workers
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False
        self.isolation: Level = at_most
        self.weaker: tuple[str, ...] = ()
        try:
            first = self._strongest(unsafe, at_most)
        except BaseException:
            self._remove_folder()
            raise
        self.guards = first.guards
        self._idle.append(first)

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """One outcome for each program, in their order. Raises EvolError where no process can be started at all.

        Programs run side by side, one a worker. When it is interrupted, all of them are ended.
        """
        with self._lock:
            if self._closed:
                raise EvolError("the sandbox is closed", "run programs inside its with block")
            outcomes: list[Outcome | None] = [None] * len(programs)
            places: queue.SimpleQueue[int] = queue.SimpleQueue()
            for place in range(len(programs)):
                places.put(place)
            faults: list[BaseException] = []

            def work() -> None:
                try:
                    with contextlib.suppress(queue.Empty):
                        while not faults:
                            place = places.get_nowait()
                            outcomes[place] = self._one(programs[place])
                except BaseException as error:
                    faults.append(error)

            threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self._count, len(programs)))]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except BaseException as error:
                faults.append(error)
                self.close()
                raise
            if faults:
                raise faults[0]
            return [one for one in outcomes if one is not None]

    def close(self) -> None:
        """End all processes."""
        self._closed = True
        for worker in (*self._busy, *self._idle):
            worker.close()
        self._idle.clear()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _one(self, program: Program) -> Outcome:
        fault = ""
        for _ in range(TRIES):
            if self._closed:
                break
            try:
                worker = self._idle.pop()
            except IndexError:
                worker = self._start(self.isolation)
            self._busy.add(worker)
            try:
                if _NUMPY.search(program.code) or _NUMPY.search(program.test):
                    worker.warm_up()
                outcome = worker.run(program)
            except Broken as error:
                fault = str(error)
                worker.close()
            except BaseException:
                worker.close()
                raise
            else:
                self._idle.append(worker)
                return outcome
            finally:
                self._busy.discard(worker)
        return Outcome("infra_error", fault, 0.0)

    def _start(self, level: Level) -> Worker:
        if level != "full" and self._folder is None:  # at level full each program has a file system of its own
            self._folder = tempfile.TemporaryDirectory(prefix="evol-sandbox-", ignore_cleanup_errors=True)
        folder = self._folder.name if self._folder is not None else ""
        why = ""
        for _ in range(TRIES):
            try:
                return Worker(level, LANGUAGE, folder)
            except Broken as error:
                why = str(error)
        raise EvolError(
            f"the sandbox's process can't be started: {why}", "see whether memory or processes have run out"
        )

    def _strongest(self, unsafe: bool, at_most: Level) -> Worker:
        """A worker at the strongest level at which one comes up and runs a program."""
        reasons: list[str] = []
        for level in LEVELS[LEVELS.index(at_most) :]:
            if level == "rlimits" and not unsafe:
                break
            try:
                worker = self._start(level)
            except NoLevel as error:
                reasons.append(f"{level}: {error}")
                continue
            try:
                outcome = worker.run(_PROBE)
            except Broken as error:
                outcome = Outcome("infra_error", str(error), 0.0)
            if outcome.verdict == "passed":
                self.isolation, self.weaker = level, tuple(reasons)
                return worker
            worker.close()
            reasons.append(f"{level}: a trial program ended with {outcome.verdict} ({outcome.detail})")
        raise EvolError(
            "programs that a model wrote can't be isolated here" + "".join(f"; {one}" for one in reasons),
            f"use Linux 5.13 or later, or a container that allows user namespaces or Landlock; {UNSAFE} runs them "
            "with limits of time and memory only: they can then read and write your files and use the network",
        )


@contextlib.contextmanager
def sandbox(workers: int | None = None, *, unsafe: bool = False, at_most: Level = "full") -> Iterator[Box]:
    """A sandbox for the time of a with block.

    workers: programs that run at once (default: one for each CPU). unsafe: also run where nothing but limits of time
    and memory can be had. at_most: don't try a stronger level than this. Raises EvolError where programs can't be
    isolated, or can't be run at all.
    """
    if workers is not None and workers < 1:
        raise EvolError(f"{workers} workers: expected 1 or more")
    if not hasattr(os, "fork"):
        raise EvolError(f"programs can't be run on {sys.platform}", "use Linux, or WSL on Windows")
    box = Box(workers or _processors(), unsafe=unsafe, at_most=at_most)
    try:
        yield box
    finally:
        box.close()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
