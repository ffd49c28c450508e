"""Programs that mean harm: each gets one of the verdicts that its first line allows, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from evollab.records import EvolError
from evollab.sandbox import Level, Program, sandbox
from evollab.sandbox.selftest import selftest

FOLDER = Path(__file__).parent / "fixtures" / "hostile"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "hostile"
CANARY = Path("/tmp/sandbox-canary")
TEST = "def check(candidate):\n    assert candidate(2,3) == 5\n    assert candidate(-1,1) == 0\n"
MOST_PROCESSES = 500
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are isolated on Linux only")


@contextmanager
def capped() -> Iterator[None]:
    """Processes started in here can't become more than some hundred, should a guard fail. Skips where that can't be."""
    if os.geteuid():
        soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        count = sum(
            len(list(p.glob("task/*"))) for p in Path("/proc").glob("[0-9]*") if p.stat().st_uid == os.geteuid()
        )
        resource.setrlimit(resource.RLIMIT_NPROC, (count + MOST_PROCESSES, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
        return
    top = next((p for p in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if (p / "cgroup.procs").exists()), None)
    cell = Path(f"{top}/evol-test-{os.getpid()}")
    try:
        cell.mkdir()
        (cell / "pids.max").write_text(str(MOST_PROCESSES))
    except OSError as error:
        with suppress(OSError):
            cell.rmdir()
        pytest.skip(f"the number of processes can't be capped: {error}")
    own = Path("/proc/self/cgroup").read_text().splitlines()
    mine = next((line.split(":")[2] for line in own if "pids" in line.split(":")[1].split(",") or line[0] == "0"), "/")
    (cell / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        assert top is not None
        Path(f"{top}{mine}/cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def canary() -> Iterator[None]:
    """What some programs try to change, unharmed afterwards."""
    ours = not CANARY.exists()
    (CANARY / "victim").mkdir(parents=True, exist_ok=True)
    (CANARY / "victim" / "file").write_text("still here")
    before = sorted(CANARY.rglob("*"))
    yield
    assert sorted(CANARY.rglob("*")) == before
    assert (CANARY / "victim" / "file").read_text() == "still here"
    if ours:
        shutil.rmtree(CANARY)


def held(level: Level, programs: dict[str, tuple[str, list[str]]], test: str) -> None:
    try:
        report = selftest(at_most=level)
    except EvolError as error:
        pytest.skip(str(error))
    if report.isolation != level:
        pytest.skip(f"{report.weaker}")
    assert report.safe, "a fork bomb is not tried where one fork gets through"
    with capped():
        opened = sandbox(2, at_most=level)
        box = opened.__enter__()
    try:
        names = list(programs)
        with canary():
            outcomes = box.run([Program(programs[name][0], test, "add", 2.0) for name in names])
        wrong = {n: o for n, o in zip(names, outcomes, strict=True) if o.verdict not in programs[n][1]}
        assert not wrong
        assert box.isolation == level
        good = Program("def add(a, b):\n    return a + b\n", test, "add", 20.0)
        assert box.run([good])[0].verdict == "passed"
    finally:
        opened.__exit__(None, None, None)
        with suppress(OSError):
            next(Path("/sys/fs/cgroup").glob(f"**/evol-test-{os.getpid()}")).rmdir()


@pytest.mark.parametrize("level", ["full", "landlock"])
def test_hostile_programs(level: Level) -> None:
    programs = {}
    for path in sorted(FOLDER.glob("*.txt")):
        code = path.read_text()
        programs[path.stem] = (code, code.split("\n")[0].removeprefix("# expect: ").split())
    assert len(programs) >= 40
    held(level, programs, TEST)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no hostile programs at {SHARED}")
@pytest.mark.parametrize("level", ["full", "landlock"])
def test_more_hostile_programs(level: Level) -> None:
    expected = json.loads((SHARED / "expected.json").read_text())
    programs = {name: ((SHARED / f"{name}.py").read_text(), told["expected"]) for name, told in expected.items()}
    held(level, programs, (SHARED / "TEST.py").read_text())
