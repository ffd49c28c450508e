"""The sandbox: verdicts, both forms of test, what passes between test and program, deaths of its processes."""

from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evollab.records import EvolError
from evollab.sandbox import Box, Program, sandbox, worker
from evollab.sandbox.guards import jail
from evollab.sandbox.program import Level

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
SLOW = 20.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are isolated on Linux only")


@pytest.fixture(scope="module")
def opened() -> Iterator[Box]:
    try:
        opening = sandbox(2)
        box = opening.__enter__()
    except EvolError as error:
        pytest.skip(str(error))
    yield box
    opening.__exit__(None, None, None)


def verdict(box: Box, code: str, test: str, entry: str | None = None, timeout: float = SLOW) -> str:
    (outcome,) = box.run([Program(code, test, entry, timeout)])
    assert len(outcome.detail) <= 400
    assert outcome.seconds >= 0
    return outcome.verdict


CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


def test_verdicts(opened: Box) -> None:
    assert verdict(opened, "def f(x):\n    return x + 1\n", CHECK, "f") == "passed"
    assert verdict(opened, "def f(x):\n    return x\n", CHECK, "f") == "failed"
    assert verdict(opened, "def g(x):\n    return x\n", CHECK, "f") == "failed"
    assert verdict(opened, "def f(x:\n", CHECK, "f") == "failed"
    assert verdict(opened, "def f(x):\n    return x + 1\n", "def check(c: assert", "f") == "failed"
    assert verdict(opened, "def f(x):\n    while True: pass\n", CHECK, "f", 0.3) == "timeout"
    assert verdict(opened, "while True: pass\n", CHECK, "f", 0.3) == "timeout"
    assert verdict(opened, "def f(x):\n    return x + 1\n", "while True: pass", "f", 0.3) == "timeout"
    assert verdict(opened, "import os\nos._exit(0)\n", CHECK, "f") == "crashed"
    assert verdict(opened, "def f(x):\n    return [0] * (1 << 40)\n", CHECK, "f") == "memory"
    assert verdict(opened, "def f(x):\n    return 'x' * (1 << 26)\n", CHECK, "f") == "output_limit"


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def f(x):\n    return x + 1\n", "assert f(1) == 2"),
        ("import math\ndef f(x):\n    return math.pi\n", "assert math.isclose(f(1), 3.14159, rel_tol=1e-4)"),
        ("def sum(a, b):\n    return a + b\n", "assert sum(1, 2) == 3"),
        ("def check(n):\n    return n == 5\n", "assert check(5) == True\nassert not check(4)"),
        ("def f(l):\n    l.append(1)\n    l[0].append(2)\n", "i = []\nx = [i]\nf(x)\nassert x == [[2], 1] and x[0] is i"),
        ("def f(g, l):\n    return [g(x) for x in l]\n", "assert f(lambda x: x * 2, [1, 2]) == [2, 4]"),
        ("def f(g):\n    return g(3)\n", "def h(n):\n    return n and n + f(lambda x: h(n - 1))\nassert h(3) == 6"),
        ("def f():\n    n = 0\n    while True:\n        yield n\n        n += 1\n", "g = f()\nassert [next(g) for _ in range(1000)] == list(range(1000))"),
        ("def f(it):\n    return sum(it)\n", "assert f(x for x in range(10)) == 45"),
        ("def f():\n    return lambda x: x + 1\n", "assert f()(1) == 2"),
        ("def f(x):\n    raise ValueError('no', x)\n", "try:\n    f(1)\n    assert False\nexcept ValueError as e:\n    assert e.args == ('no', 1)"),
        ("class E(KeyError): pass\ndef f(x):\n    raise E(x)\n", "try:\n    f(1)\n    assert False\nexcept LookupError as e:\n    assert e.args == (1,)"),
        ("class P:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == o.x\n    def up(s): s.x += 1; return s\n    def __len__(s): return 7\n    def __repr__(s): return 'P!'\n",
         "p = P(1)\nassert p.up().x == 2 and p == P(2) and p != P(3) and isinstance(p, P) and not isinstance(1, P)\np.x = 9\nassert p.x == 9 and len(p) == 7 and repr(p) == 'P!'"),
        ("from collections import *\ndef f():\n    return Counter('aab'), OrderedDict(a=1), deque([1]), defaultdict(int, a=1)\n", "import collections\nassert f() == (collections.Counter(a=2, b=1), {'a': 1}, collections.deque([1]), {'a': 1})"),
        ("from dataclasses import dataclass\n@dataclass\nclass D:\n    x: 'int' = 3\n", "assert D().x == 3"),
        ("import asyncio\nasync def g(): return 4\ndef f(): return asyncio.run(g())\n", "assert f() == 4"),
        ("import re\ndef f(s): return re.match('a(b)', s)\n", "assert f('ab').group(1) == 'b' and f('x') is None"),
        ("import enum\nclass E(enum.IntEnum):\n    A = 3\ndef f(): return E.A\n", "assert f() == 3"),
        ("def f(x): return x\n", "for v in (1 << 80, -0.0, float('inf'), 1j, b'x', None, ..., {(1, 2): {3}}, range(3), '\\ud800\\n', frozenset([1]), int):\n    assert f(v) == v and type(f(v)) is type(v)"),
    ],
)  # fmt: skip
def test_what_passes_through(opened: Box, code: str, test: str) -> None:
    (outcome,) = opened.run([Program(code, test, timeout=SLOW)])
    assert outcome.verdict == "passed", outcome.detail


def test_a_program_replaces_nothing_that_the_test_uses(opened: Box) -> None:
    lies = "def abs(x):\n    return 0\nclass math:\n    isclose = staticmethod(lambda *a: True)\ndef f(x):\n    return 100\n"
    assert verdict(opened, lies, "assert abs(f(1) - 2) < 1e-6") == "failed"
    assert verdict(opened, lies, "assert math.isclose(f(1), 2)") == "failed"
    assert verdict(opened, lies + "def check(c): pass\n", CHECK, "f") == "failed"
    assert verdict(opened, lies, "assert abs(f(1) - 2) < 1e-6", "f") == "failed"


def test_same_bytes_whatever_the_workers(opened: Box) -> None:
    programs = [
        Program(f"import random\ndef f(x):\n    raise ValueError(list({{'a', 'b', 'cd', x}}), random.random() + {n})\n", CHECK, "f", SLOW)
        for n in range(12)
    ]  # fmt: skip
    with sandbox(1) as one:
        alone = [(o.verdict, o.detail) for o in one.run(programs)]
    assert [(o.verdict, o.detail) for o in opened.run(programs)] == alone
    assert len(set(alone)) == 12


def test_a_dead_zygote_is_replaced(opened: Box) -> None:
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.extend(opened.run([Program("import time\ndef f(x):\n    time.sleep(1)\n    return 2\n", CHECK, "f", SLOW)]))
    )  # fmt: skip
    thread.start()
    time.sleep(0.3)
    for one in opened._busy:
        one.process.kill()
    thread.join()
    assert [one.verdict for one in outcomes] == ["passed"]


def test_a_sandbox_that_always_fails_gives_no_verdict(opened: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, program: Program) -> None:
        raise worker.Broken("gone")

    monkeypatch.setattr(worker.Worker, "run", broken)
    assert verdict(opened, "def f(x):\n    return 2\n", CHECK, "f") == "infra_error"
    monkeypatch.undo()
    assert verdict(opened, "def f(x):\n    return 2\n", CHECK, "f") == "passed"


def children(pid: int) -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found |= {int(path.name)} | children(int(path.name))
    return found


ENDLESS = """
from evollab.sandbox import Program, sandbox
with sandbox(2) as box:
    box.run([Program("def f():\\n    while True: pass", "f()", timeout=100)] * 2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_it(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], env=environment, stderr=subprocess.DEVNULL)
    born: set[int] = set()
    give_up = time.monotonic() + 60
    while len(born) < 6 and time.monotonic() < give_up:  # two zygotes, each with judge and solver
        time.sleep(0.05)
        born = children(process.pid)
    assert len(born) == 6
    process.send_signal(number)
    process.wait(30)
    while (left := [pid for pid in born if Path(f"/proc/{pid}").exists()]) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not left


def test_refused_where_nothing_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError) as refused, sandbox(1, at_most="rlimits"):
        pass
    assert "--unsafe-sandbox" in refused.value.hint
    with sandbox(1, unsafe=True, at_most="rlimits") as box:
        assert box.isolation == "rlimits"
        assert verdict(box, "def f(x):\n    return 2\n", CHECK, "f") == "passed"
    with pytest.raises(EvolError, match="0 workers"), sandbox(0):
        pass
    with pytest.raises(EvolError, match="is closed"):
        box.run([])
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(EvolError, match="can't be started"), sandbox(1):
        pass


def test_an_unknown_machine_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    levels: tuple[Level, ...] = ("full", "landlock")
    for level in levels:
        with pytest.raises(jail.Unavailable, match="system calls"):
            jail.guards(level)
    assert "seccomp" not in jail.guards("rlimits")


def test_as_a_plain_user() -> None:
    if os.geteuid():
        pytest.skip("all the other tests are this one")
    python = "/usr/bin/python3"
    import orjson

    command = (
        "from evollab.sandbox import selftest\n"
        "for level in ('full', 'landlock'):\n"
        "    s = selftest(at_most=level)\n"
        "    assert s.safe and s.isolation == level, s.lines()\n"
        "print('held')"
    )
    plain = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python]
    places = f"{ROOT}:{Path(orjson.__file__).parent.parent}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ready = subprocess.run(
            [*plain, "-c", "import evollab.records"], env=environment, capture_output=True, check=False
        )
    except OSError as error:
        pytest.skip(f"no setpriv: {error}")
    if ready.returncode:
        pytest.skip(f"a plain user has no Python that can load evollab here: {ready.stderr[-200:]!r}")
    done = subprocess.run([*plain, "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr


def rows(name: str) -> list[dict[str, str]]:
    with lzma.open(DATA / f"{name}.jsonl.xz") as file:
        return [json.loads(line) for line in file]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmarks at {DATA}")
@pytest.mark.parametrize("name", ["HumanEval", "HumanEvalPlus"])
def test_solutions_of_humaneval_pass(opened: Box, name: str) -> None:
    items = rows(name)
    outcomes = opened.run(
        [Program(r["prompt"] + r["canonical_solution"], r["test"], r["entry_point"], 60.0) for r in items]
    )
    assert {r["task_id"]: o for r, o in zip(items, outcomes, strict=True) if o.verdict != "passed"} == {}
    wrong = opened.run([Program(r["prompt"] + "    return None\n", r["test"], r["entry_point"], 60.0) for r in items])
    assert [o.verdict for o in wrong].count("passed") == 0


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmarks at {DATA}")
def test_solutions_of_mbpp_pass(opened: Box) -> None:
    items = {r["task_id"]: r for name in ("mbpp", "wizardcoder_mbpp_test") for r in rows(name)}
    programs = [
        Program(r["code"], "\n".join([r["test_setup_code"], *r["test_list"]]), None, 60.0) for r in items.values()
    ]
    outcomes = opened.run(programs)
    assert {key: o for key, o in zip(items, outcomes, strict=True) if o.verdict != "passed"} == {}


def test_numpy_in_both_processes(opened: Box) -> None:
    pytest.importorskip("numpy")
    code = "import numpy as np\ndef f(x):\n    return np.asarray(x) * 2, np.float64(1.5), np.mean(x)\n"
    test = (
        "import numpy as np\na, b, c = f(np.arange(3))\nassert np.array_equal(a, [0, 2, 4]) and b == 1.5 and c == 1.0"
    )
    (outcome,) = opened.run([Program(code, test, timeout=SLOW)])
    assert outcome.verdict == "passed", outcome.detail


def test_a_test_of_many_megabytes(opened: Box) -> None:
    test = f"x = {'y' * 20_000_000!r}\nassert f(1) == 2"
    assert verdict(opened, "def f(x):\n    return x + 1\n", test) == "passed"


def test_many_threads_may_use_it_in_turn(opened: Box) -> None:
    program = Program("def f(x):\n    return x + 1\n", CHECK, "f", SLOW)
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.extend(o.verdict for o in opened.run([program] * 3))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["passed"] * 12
