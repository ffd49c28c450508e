"""Starting `evol serve` as a process of its own, from a test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_SERVE = """
import json, sys
from evollab.serve.options import ServeOptions
from evollab.serve.server import serve
sys.exit(serve(sys.argv[1], ServeOptions(**json.loads(sys.argv[2]))))
"""
_CHAT = """
import json, sys
from evollab.records import EvolError
from evollab.serve.options import ChatOptions
from evollab.serve.terminal import chat
try:
    sys.exit(chat(sys.argv[1], ChatOptions(**json.loads(sys.argv[2]))))
except EvolError as error:
    print(f"error: {error.message}", file=sys.stderr)
    sys.exit(2)
"""


def environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if "KEY" not in name and "TOKEN" not in name}
    return {**ours, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1", **more}


def chat_command(model: str, **options: Any) -> list[str]:
    return [sys.executable, "-c", _CHAT, model, json.dumps(options)]


@dataclass
class Server:
    """A running server: its address (ending in /v1) and what it said so far."""

    url: str
    said: list[str]
    process: subprocess.Popen[str]

    def stop(self) -> tuple[int, str]:
        """End it as a person would; the exit code, and all that it said."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        rest = self.process.stderr.read()
        return self.process.wait(60), "".join(self.said) + rest


@contextlib.contextmanager
def started(model: str | Path, env: dict[str, str] | None = None, **options: Any) -> Iterator[Server]:
    """`evol serve MODEL` on a free port of loopback while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(model), json.dumps({"port": 0, **options})],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(**(env or {})),
    )  # fmt: skip
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if address := re.search(r"at (http://\S+/v1)", line):
                yield Server(address[1], said, process)
                break
        else:
            raise AssertionError(f"the server did not start:\n{''.join(said)}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
