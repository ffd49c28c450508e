"""Does the sandbox hold here? Small programs try what they must not be able to do."""

from __future__ import annotations

from dataclasses import dataclass

from evollab.sandbox.box import sandbox
from evollab.sandbox.program import Level, Program, Verdict

_TEST = "assert f() == 'done'"


@dataclass(frozen=True, slots=True)
class Trial:
    """One small program. does: what it tries. expected, got: verdicts."""

    does: str
    expected: Verdict
    got: Verdict
    detail: str

    @property
    def held(self) -> bool:
        return self.got == self.expected


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What is in force, and what small programs came to. weaker: why no stronger level could be had."""

    isolation: Level
    guards: tuple[str, ...]
    weaker: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def safe(self) -> bool:
        return all(trial.held for trial in self.trials)

    def lines(self) -> list[str]:
        """For people: a line for the level, and one for each program."""
        head = [f"isolation {self.isolation}: {', '.join(self.guards)}", *(f"not {reason}" for reason in self.weaker)]
        marks = {True: "ok", False: "NOT HELD"}
        return head + [f"{marks[one.held]}  {one.does}: {one.got} {one.detail}".rstrip() for one in self.trials]


def selftest(*, unsafe: bool = False, at_most: Level = "full") -> SelfTest:
    """Run the small programs at the strongest level that can be had. Raises EvolError as `sandbox` does."""
    programs = [Program(f"def f():\n{_indented(body)}\n", _TEST, timeout=time) for _, body, _, time in _TRIALS]
    with sandbox(1, unsafe=unsafe, at_most=at_most) as box:
        outcomes = box.run(programs)
        trials = (
            Trial(does, expected, outcome.verdict, outcome.detail[:80])
            for (does, _, expected, _), outcome in zip(_TRIALS, outcomes, strict=True)
        )
        return SelfTest(box.isolation, box.guards, box.weaker, tuple(trials))


def _indented(body: str) -> str:
    return "\n".join(f"    {line}" for line in body.split("\n"))


_TRIALS: tuple[tuple[str, str, Verdict, float], ...] = (
    ("computes", "return 'do' + 'ne'", "passed", 20.0),
    ("writes a file of its own", "open('a', 'w').write('x')\nreturn open('a') and 'done'", "passed", 20.0),
    ("never ends", "while True: pass", "timeout", 0.3),
    ("takes 2 GiB", "bytearray(1 << 31)\nreturn 'done'", "memory", 20.0),
    ("answers with 32 MiB", "return 'x' * (1 << 25)", "output_limit", 20.0),
    ("starts a process", "import os\nif os.fork() == 0: os._exit(0)\nreturn 'done'", "failed", 20.0),
    ("opens a socket", "import socket\nsocket.socket()\nreturn 'done'", "failed", 20.0),
    ("reads /etc", "import os\nos.listdir('/etc')\nreturn 'done'", "failed", 20.0),
    ("writes beside its folder", "open('/var/tmp/evol-selftest', 'w')\nreturn 'done'", "failed", 20.0),
    ("signals its parent", "import os\nos.kill(os.getppid() or 2, 0)\nreturn 'done'", "failed", 20.0),
    ("ends its process with 0", "import os\nos._exit(0)", "crashed", 20.0),
    ("is equal to everything", "return type('E', (), {'__eq__': lambda *_: True})()", "failed", 20.0),
)
