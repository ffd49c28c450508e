"""Children that misbehave on request, in the place of the engine and of the converter.

What to do stands in the "weights": a file of the bytes GGUF and then JSON.
"""

from __future__ import annotations

import ctypes
import http.server
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Report = Callable[[Mapping[str, Any]], None]


def write_plan(path: Path, **plan: Any) -> Path:
    path.write_bytes(b"GGUF" + json.dumps(plan).encode())
    return path


def main(config: dict[str, Any], report: Report) -> None:
    plan = config.get("plan") or json.loads(Path(config["model"]).read_bytes()[4:])
    if "note" in plan:
        facts = {"pid": os.getpid(), "config": config, "environment": dict(os.environ), "path": sys.path}
        part = Path(plan["note"] + ".part")
        part.write_text(json.dumps(facts))
        os.replace(part, plan["note"])
    for line in plan.get("log", []):
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
    globals()[plan["do"]](config, report)


def die(config: dict[str, Any], report: Report) -> None:
    os._exit(3)


def killed(config: dict[str, Any], report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(config: dict[str, Any], report: Report) -> None:
    while True:
        signal.pause()


def hold(config: dict[str, Any], report: Report) -> None:
    """Never again give another thread of this process a turn, as native code may. The folder `held`
    is made while that is so already."""
    sys.setswitchinterval(1000)
    library = ctypes.PyDLL(None)  # its calls keep the interpreter's lock
    library.mkdir(config["plan"]["held"].encode(), 0o700)
    library.pause()


def chatter(config: dict[str, Any], report: Report) -> None:
    os.write(1, b"native code prints to stdout\n")
    print("so does Python", flush=True)
    report({"n": 1})
    report({"n": 2})
    hang(config, report)


def serve(config: dict[str, Any], report: Report, answer: bytes | None = None) -> None:
    if answer is None:
        answer = json.dumps({"data": [{"meta": {"n_ctx": min(config["context"], 1024)}}]}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == f"Bearer {config['token']}"
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer if allowed else b'{"error":{"message":"Invalid API Key"}}')

        def do_POST(self) -> None:
            sys.stderr.write("E asked to die\n")
            sys.stderr.flush()
            os._exit(7)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    report({"url": f"http://127.0.0.1:{server.server_address[1]}"})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hang(config, report)


def nonsense(config: dict[str, Any], report: Report) -> None:
    serve(config, report, b'{"data": "what?"}')
