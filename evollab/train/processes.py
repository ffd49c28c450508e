"""The processes of a launch: started together, watched, stopped together; one of them talks.

Not torchrun, which kills what has not ended 30 seconds after Ctrl-C (writing a large checkpoint takes longer), and
buries a user's mistake in its own traceback. Processes find each other in the same way as under it: RANK, LOCAL_RANK,
WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment.

Process 0 talks. What others say, and every traceback, goes to LOGS/rank-N.log; of a failure the parent shows the end
of the log of the process that failed first. A process ends when its parent is gone: its stdin closes.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from evollab.llm.watching import say

LOG = "EVOLLAB_LOG"
"""The environment variable that tells a process where its traceback goes."""
_GRACE = 10.0
"""Seconds that the others have to end, once one has failed: they may be about to say the same."""
_POLL = 0.1
_MISTAKE = 2
_TOLD = 15
_TOLD_BYTES = 8_000


def run_all(words: Sequence[str], environments: Sequence[Mapping[str, str]], logs: Path, *, first: int = 0) -> int:
    """Run `python -m WORDS` once for each environment and wait for all; the exit code of the first that failed.

    first: the rank of the first. SIGINT and SIGTERM are passed on, and all are waited for; after the second one, and
    once a process has failed, what has not ended within 10 seconds is killed.
    """
    logs.mkdir(parents=True, exist_ok=True)
    children: list[subprocess.Popen[bytes]] = []
    signals: list[float] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        signals.append(time.monotonic())
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank, environment in enumerate(environments, first):
            children.append(_started(words, environment, logs / f"rank-{rank}.log", rank))
        failed = _wait(children, signals)
    finally:
        _kill(children)
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed is None:
        return 0
    code = children[failed].returncode
    # Process 0 tells its user's mistakes itself.
    if not signals and not (children[0].returncode == code == _MISTAKE and not first):
        _tell(failed + first, code, logs)
    return 128 - code if code < 0 else code


def _started(words: Sequence[str], environment: Mapping[str, str], log: Path, rank: int) -> subprocess.Popen[bytes]:
    with open(log, "wb") as file:
        output: IO[bytes] | None = file if rank else None
        return subprocess.Popen(
            [sys.executable, "-m", __name__, *words], env={**environment, LOG: str(log)}, stdin=subprocess.PIPE,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def _wait(children: Sequence[subprocess.Popen[bytes]], signals: Sequence[float]) -> int | None:
    """Which one failed first, once all have ended; None where none did."""
    failed, since = None, 0.0
    while any(child.poll() is None for child in children):
        if failed is None:
            failed = next((number for number, child in enumerate(children) if child.poll()), None)
            since = time.monotonic()
        limit = signals[1] if len(signals) > 1 else since if failed is not None and not signals else None
        if limit is not None and time.monotonic() - limit > _GRACE:
            _kill(children)
        time.sleep(_POLL)
    return next((number for number, child in enumerate(children) if child.poll()), None) if failed is None else failed


def _kill(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that have not, with what they started."""
    for child in children:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    for child in children:
        child.wait()
        if child.stdin is not None:
            child.stdin.close()


def _tell(rank: int, code: int, logs: Path) -> None:
    """Why a process failed: what it said last."""
    path = logs / f"rank-{rank}.log"
    lines = path.read_bytes()[-_TOLD_BYTES:].decode("utf-8", "replace").splitlines()
    if code == _MISTAKE:
        say("\n".join(lines[next((n for n, line in enumerate(lines) if line.startswith("error: ")), 0) :]))
        return
    if lines:
        say("\n".join(lines[-_TOLD:]))
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code})"
    say(f"error: process {rank} {how}; all that it said: {path}")
    if code == -signal.SIGKILL:
        say("hint: the machine may have too little memory; see the kernel's log")


# In a process


def main() -> None:
    """`python -m evollab.train.processes MODULE WORDS`: run a module as one of a launch."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    sys.excepthook = _into_log
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.killpg(0, signal.SIGKILL)  # with the workers that read data


def _into_log(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
    with open(os.environ[LOG], "a", encoding="utf-8", errors="replace") as file:
        file.writelines(traceback.format_exception(kind, error, trace))


if __name__ == "__main__":
    main()
