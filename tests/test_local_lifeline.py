"""Children live exactly as long as they should, whatever they do and however we die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evollab.llm.lifeline import Child

FAKE = "tests.fake_engine"
ROOT = Path(__file__).parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(do: str, **plan: Any) -> Child:
        started.append(Child(FAKE, {"plan": {"do": do, **plan}}, {"EVOLLAB_EXTRA": "given"}))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of `condition`; fails when there is none for far too long."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"  # dead, and nobody asked how


def test_reports_come_alone_and_in_order(child: Callable[..., Child]) -> None:
    one = child("chatter")
    assert one.hear() == {"n": 1}
    assert one.hear() == {"n": 2}
    assert one.ended() == ""
    assert one.stop() == "exit code 0"
    assert "native code prints to stdout" in one.words()
    assert "so does Python" in one.words()


def test_a_child_that_dies_says_nothing_and_leaves_its_words(child: Callable[..., Child]) -> None:
    one = child("die", log=["0.00.1 I loading", "0.00.2 E first cause", "0.00.3 E then this", "0.00.4 E first cause"])
    assert one.hear() is None
    assert one.stop() == "exit code 3"
    assert one.stop() == "exit code 3"  # twice does no harm
    assert one.complaints(1) == "  E first cause"
    assert one.words(2) == "  E first cause\n  E then this"


def test_a_killed_child_is_said_to_be_killed(child: Callable[..., Child]) -> None:
    one = child("killed")
    assert one.hear() is None
    assert one.stop() == "killed by SIGKILL"


@linux
def test_a_stubborn_child_is_killed(child: Callable[..., Child], tmp_path: Path) -> None:
    one = child("hold", held=str(tmp_path / "held"))
    wait_for((tmp_path / "held").exists)
    assert one.stop() == "killed by SIGKILL"


def test_the_log_is_bounded_and_inert(child: Callable[..., Child]) -> None:
    one = child("die", log=["x" * 200_000, *(f"line {n}" for n in range(3000)), "\x1b[31mred\x07"])
    assert one.hear() is None
    one.stop()
    assert len(one._log) <= 200
    assert max(map(len, one._log)) <= 500
    assert one.words(1) == "  ?[31mred?"
    assert one.complaints(1) == one.words(1)  # no error lines: the last ones


def test_a_child_gets_no_keys_and_imports_nothing_from_the_folder(
    child: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf-secret")
    monkeypatch.setenv("aws_secret_access_key", "secret")
    monkeypatch.setenv("DB_PASSWORD", "secret")
    note = tmp_path / "note"
    one = child("die", note=str(note))
    assert one.hear() is None
    assert one.stop() == "exit code 3", one.words()
    seen = json.loads(note.read_text())
    assert "secret" not in json.dumps(seen["environment"])
    assert seen["environment"]["EVOLLAB_EXTRA"] == "given"
    assert seen["environment"]["PATH"] == os.environ["PATH"]
    assert not {"", str(tmp_path), str(ROOT / "evollab" / "llm")} & set(seen["path"])


@linux
@pytest.mark.parametrize("do", ["hang", "hold"])
def test_no_child_outlives_a_killed_parent(do: str, tmp_path: Path) -> None:
    note, held = tmp_path / "note", tmp_path / "held"
    plan = {"do": do, "note": str(note), "held": str(held)}
    script = f"""
import time
from evollab.llm.lifeline import Child
child = Child({FAKE!r}, {{"plan": {plan!r}}})
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        wait_for((held if do == "hold" else note).exists)
        pid = json.loads(note.read_text())["pid"]
        assert alive(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not alive(pid))


@linux
def test_the_pipe_alone_ends_a_child(child: Callable[..., Child], tmp_path: Path) -> None:
    """Where the kernel does not tie processes together, the closed pipe must do."""
    note = tmp_path / "note"
    one = child("hang", note=str(note))
    wait_for(note.exists)
    assert one._process.stdin is not None
    one._process.stdin.close()
    wait_for(one.ended)
    assert one.ended() == "exit code 0"


@linux
def test_ctrl_c_in_the_terminal_does_not_reach_the_child(child: Callable[..., Child]) -> None:
    one = child("chatter")
    one.hear()
    assert os.getpgid(one.pid) != os.getpgid(0)
    assert os.getsid(one.pid) != os.getsid(0)
