"""Processes of a launch, without any training: who talks, what a failure shows, signals, a parent that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evollab.train.processes import run_all

ROOT = Path(__file__).parent.parent


def start(folder: Path, text: str, count: int = 2, first: int = 0) -> subprocess.Popen[str]:
    """A parent of `count` processes that each run `text`, which knows its `rank`."""
    (folder / "work.py").write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{text}")
    parent = f"""
import os, sys
from pathlib import Path
from evollab.train import processes
from evollab.train.processes import run_all
processes._GRACE = 2.0  # instead of 10: a test need not wait as long
each = [{{**os.environ, "RANK": str({first} + n)}} for n in range({count})]
sys.exit(run_all(["work", "a word"], each, Path({str(folder)!r}) / "logs", first={first}))
"""
    return subprocess.Popen(
        [sys.executable, "-c", parent], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
    )  # fmt: skip


def ran(folder: Path, text: str, count: int = 2, first: int = 0) -> tuple[int, str, str]:
    child = start(folder, text, count, first)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def appears(path: Path) -> str:
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")


def test_one_process_talks(tmp_path: Path) -> None:
    code, out, err = ran(tmp_path, "print(f'I am {rank}, told {sys.argv[1:]}')\n")
    assert (code, out, err) == (0, "I am 0, told ['a word']\n", "")
    assert (tmp_path / "logs" / "rank-1.log").read_text() == "I am 1, told ['a word']\n"


def test_a_mistake_that_all_find_is_told_once(tmp_path: Path) -> None:
    text = "print('error: no such file', file=sys.stderr)\nsys.exit(2)\n"
    assert ran(tmp_path, text) == (2, "", "error: no such file\n")


@pytest.mark.parametrize("first", [0, 4])
def test_a_mistake_that_another_finds_is_told(tmp_path: Path, first: int) -> None:
    text = (
        f"if rank == {first}: time.sleep(60)\n"
        "print('noise\\nerror: too little memory\\nhint: a smaller one', file=sys.stderr)\nsys.exit(2)\n"
    )
    began = time.monotonic()
    assert ran(tmp_path, text, first=first) == (2, "", "error: too little memory\nhint: a smaller one\n")
    assert time.monotonic() - began < 50, "the process that waits for the others was ended"


def test_of_a_failure_the_first_one_is_shown(tmp_path: Path) -> None:
    """Process 0 fails because process 1 is gone: its traceback would hide the cause."""
    text = (
        "if rank == 0:\n    time.sleep(1)\n    raise RuntimeError('connection lost')\nraise ValueError('the cause')\n"
    )
    code, out, err = ran(tmp_path, text)
    assert (code, out) == (1, "")
    assert "ValueError: the cause" in err
    assert "connection lost" not in err
    assert f"process 1 failed (exit code 1); all that it said: {tmp_path / 'logs' / 'rank-1.log'}" in err
    assert "connection lost" in (tmp_path / "logs" / "rank-0.log").read_text()


def test_a_process_that_was_killed_is_named(tmp_path: Path) -> None:
    code, _, err = ran(tmp_path, "if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)\n")
    assert code == 128 + signal.SIGKILL
    assert "process 1 was ended by SIGKILL" in err
    assert "too little memory" in err


_SAVES = """
def came(number, frame):
    time.sleep(1 + 3 * rank)
    open(f'{os.path.dirname(__file__)}/saved-{rank}', 'w').write('whole')
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, came)
open(f'{os.path.dirname(__file__)}/ready-{rank}', 'w').write('yes')
time.sleep(60)
"""


def test_a_signal_reaches_all_and_all_are_waited_for(tmp_path: Path) -> None:
    """Longer than a failure's: a large checkpoint takes its time."""
    child = start(tmp_path, _SAVES)
    for rank in range(2):
        appears(tmp_path / f"ready-{rank}")
    child.terminate()
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (143, "")
    assert [(tmp_path / f"saved-{rank}").exists() for rank in range(2)] == [True, True]


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    text = "open(f'{os.path.dirname(__file__)}/ready-{rank}', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    child = start(tmp_path, text)
    pids = [int(appears(tmp_path / f"ready-{rank}")) for rank in range(2)]
    child.kill()
    child.communicate(timeout=60)
    for _ in range(300):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError("left behind")


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert run_all(["this"], [{**os.environ, "RANK": "0"}], tmp_path) == 0
    assert signal.getsignal(signal.SIGINT) is before
