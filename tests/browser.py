"""A headless Chromium for page tests, spoken to over a pipe: no port, no driver, no network.

Run as a program it takes a picture of the top of a page:
    python -m tests.browser runs/first/report.html docs/img/report.png [HEIGHT]
"""

from __future__ import annotations

import base64
import fcntl
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

PATH = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """One page of a fresh Chromium. `events` holds everything that it reported, in order."""

    def __init__(self, profile: Path) -> None:
        assert PATH is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (theirs_in, theirs_out)]
        for end in (theirs_in, theirs_out):
            os.close(end)
        # Chromium's ends of the pipes are fixed: it reads from 3 and writes to 4.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, high), PATH, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=high, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in high:
            os.close(end)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        try:
            self._session = self._attach()
        except RuntimeError:
            self._close()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def _attach(self) -> str:
        targets = self._ask("Target.getTargets", session=None)["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self._ask("Target.attachToTarget", session=None, targetId=page["targetId"], flatten=True)
        session: str = attached["sessionId"]
        return session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        os.close(self._out)  # the end of the pipe ends the browser
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], 60)[0]:
                raise RuntimeError("Chromium has said nothing for a minute")
            block = os.read(self._in, 1 << 16)
            if not block:
                raise RuntimeError("Chromium has died")
            self._buffer += block
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = orjson.loads(message)
        return parsed

    def _ask(self, method: str, *, session: str | None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, orjson.dumps(message) + b"\0")
        while True:
            got = self._read()
            if got.get("id") == self._number:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']}")
                result: dict[str, Any] = got["result"]
                return result
            if "method" in got:
                self.events.append(got)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._ask(method, session=self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, run as the debugger (the page's policy does not apply)."""
        return self.do("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a file in a window of this size and wait until it is loaded and laid out."""
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)
        self.events.clear()
        self.do("Page.navigate", url=path.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            got = self._read()
            if "method" in got:
                self.events.append(got)
        self.evaluate("document.body.offsetHeight")

    def picture(
        self, path: Path, *, whole: bool = True, scale: float = 1.0, clip: dict[str, float] | None = None
    ) -> None:
        """A PNG of the page, or of the rectangle `clip` (x, y, width, height in CSS pixels)."""
        if clip is None and whole:
            size = self.do("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000)}
        more = {"clip": {**clip, "scale": scale}} if clip else {}
        data = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True, **more)["data"]
        path.write_bytes(base64.b64decode(data))


def _main(page: str, picture: str, height: str = "1500") -> None:
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as one:
        one.open(Path(page), width=1280, height=int(height))
        one.picture(Path(picture), clip={"x": 0, "y": 0, "width": 1280, "height": int(height)})


if __name__ == "__main__":
    _main(*sys.argv[1:])
