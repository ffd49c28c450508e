"""A child process that never outlives us: how it is started, heard, stopped, and how it notices our death.

Both ends are here. The parent writes one JSON line to the child's stdin and keeps that pipe open; the child
ends when it closes, which the kernel does however the parent dies. On Linux the kernel also kills the child
directly, because native code may keep Python from noticing the pipe.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

_LINES = 200
_LINE_BYTES = 500
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)(_|$)", re.IGNORECASE)
_STAMP = re.compile(r"^[\d.]{5,20} (?=[A-Z] )")
_PR_SET_PDEATHSIG = 1


class Child:
    """A running child. Start it from a thread that lives as long as the child should: on Linux the
    kernel ties the child to the thread that made it."""

    def __init__(self, module: str, config: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        """Run `main(config, report)` of `module` in a fresh Python. `environment` is added to ours, from
        which keys and passwords are left out: a child that reads model files needs none.

        The module is run as a file, so it may import no neighbours; -P keeps Python from importing a
        json.py that lies in the user's folder."""
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        ours = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, spec.origin],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ours, **(environment or {})},
            start_new_session=True,  # Ctrl-C in the terminal is for us; we then stop the child
        )
        self._log: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._listener = threading.Thread(target=self._listen, name=f"log of {module}", daemon=True)
        self._listener.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; `hear` and `ended` will tell
            self._process.stdin.write(json.dumps(dict(config)).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        """Keep the last lines of what the child says; always reading, so that it never blocks."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while line := pipe.readline(_LINE_BYTES):
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    self._log.append("".join(c if c.isprintable() else "?" for c in text))

    def hear(self) -> dict[str, Any] | None:
        """Block until the child's next report. None: it ended without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline(1 << 16)
        return json.loads(line) if line else None

    def ended(self) -> str:
        """Empty while the child runs, else how it ended ("exit code 1", "killed by SIGKILL")."""
        code = self._process.poll()
        if code is None:
            return ""
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def stop(self) -> str:
        """Ask it to end, make it end, and say how it ended. May be called again."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join(1.0)
        process.stdout.close()
        return self.ended()

    def words(self, count: int = 5) -> str:
        """The last distinct lines of the child's log, indented, one to a line."""
        return _indented(self._distinct()[-count:])

    def complaints(self, count: int = 3) -> str:
        """The first distinct error lines (llama.cpp names the cause first), or else the last lines."""
        lines = self._distinct()
        return _indented([line for line in lines if line.startswith("E ")][:count] or lines[-count:])

    def _distinct(self) -> list[str]:
        return list(dict.fromkeys(_STAMP.sub("", line) for line in self._log.copy()))


def _indented(lines: list[str]) -> str:
    return "\n".join("  " + line for line in lines)


def _live(file: str) -> None:
    """The child's side: tie our life to the parent's, then run main(config, report) of `file`.

    `report(dict)` sends one JSON line to the parent. Everything else printed here goes to the log.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # the parent is gone already
        os._exit(0)
    threading.Thread(target=_until_closed, daemon=True).start()
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # native code prints to stdout; reports must stay alone on theirs

    def report(value: Mapping[str, Any]) -> None:
        reports.write(json.dumps(dict(value)).encode() + b"\n")

    runpy.run_path(file, run_name="child")["main"](json.loads(line), report)


def _until_closed() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # nothing here is worth saving; native threads may not want to be joined


if __name__ == "__main__":
    _live(sys.argv[1])
