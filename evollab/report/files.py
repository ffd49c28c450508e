"""Finding the files of a run and reading them as a stream, whole or still being written."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab import runs
from evollab.records import EvolError

MOST_BYTES_A_LINE = 64 << 20
_STEP = re.compile(r"(\d{1,6})-evolve")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What there is of a run. A file still being written is named with `.part`; None is missing."""

    run: Path
    folder: Path
    instructions: Path | None
    dropped: Path | None
    rejected: Path | None
    step: dict[str, Any] | None

    @property
    def partial(self) -> bool:
        """Whether rows are still being written, or were when the run was killed."""
        return any(path is not None and path.suffix == ".part" for path in (self.instructions, self.dropped))


def find(run: Path) -> RunFiles:
    """The files of the evolve step of `run`. Raises EvolError for a folder that is no run."""
    run = Path(run)
    if not run.exists():
        raise EvolError(f"{run} does not exist", _others(run.parent))
    if not run.is_dir():
        raise EvolError(f"{run} is a file; expected a run folder", _others(run.parent))
    if _STEP.fullmatch(run.name) and (run.parent / run.name / runs.STEP).exists():
        raise EvolError(f"{run} is one step of a run", f"give the run itself: {run.parent}")
    steps = sorted(
        (int(match[1]), path) for path in run.iterdir() if (match := _STEP.fullmatch(path.name)) and path.is_dir()
    )
    if not steps:
        found = ", ".join(sorted(path.name for path in run.iterdir())[:6]) or "nothing"
        raise EvolError(
            f"{run} is not a run: expected 1-evolve/ with step.json and instructions.jsonl, found {found}",
            _others(run),
        )
    folder = steps[-1][1]
    files = RunFiles(
        run,
        folder,
        _present(folder / "instructions.jsonl"),
        _present(folder / "dropped.jsonl"),
        _present(folder / "rejected.jsonl"),
        runs.read_step(folder),
    )
    if files.step is None and files.instructions is None:
        raise EvolError(
            f"{folder} holds neither step.json nor instructions.jsonl (nor instructions.jsonl.part)",
            "was the folder copied whole?",
        )
    return files


def _present(path: Path) -> Path | None:
    """`path`, or the file that is being written to take its place, whichever holds more."""
    there = [one for one in (path, path.with_name(path.name + ".part")) if one.is_file()]
    return max(there, key=lambda one: one.stat().st_size, default=None)


def _others(folder: Path) -> str:
    """A hint that lists runs near by."""
    if not folder.is_dir():
        return "a run folder is what --out of `evol evolve` named"
    near = sorted(p.name for p in folder.iterdir() if p.is_dir() and (p / "1-evolve").is_dir())
    if near:
        return f"runs in {folder}: {', '.join(near[:8])}{', …' if len(near) > 8 else ''}"
    return "a run folder is what --out of `evol evolve` named"


def in_use(run: Path) -> bool:
    """Whether a process holds this run's lock now. False where there is no lock file."""
    try:
        with open(run / "run.lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class Line:
    """One parsed line: its byte offset, its 1-based number, its object."""

    offset: int
    number: int
    row: dict[str, Any]


def stream(path: Path | None, *, containing: bytes = b"") -> Iterator[Line]:
    """The rows of a JSONL file in order, one in memory at a time. Nothing for None.

    `containing`: lines without these bytes are passed over unparsed. A last line without its newline
    is a write in progress and is left out. Raises EvolError naming file and line where another line
    is not a JSON object.
    """
    if path is None:
        return
    offset = 0
    number = 0
    with open(path, "rb") as file:
        while line := file.readline(MOST_BYTES_A_LINE):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) == MOST_BYTES_A_LINE:
                    raise EvolError(f"{path}:{number}: a line of over {MOST_BYTES_A_LINE >> 20} MiB")
                return
            if containing in line:
                yield Line(offset, number, _parse(line, path, number))
            offset += len(line)


def is_cut(path: Path | None) -> bool:
    """Whether the file's last line lacks its newline: its writer was killed, or is at work."""
    if path is None or path.stat().st_size == 0:
        return False
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def read_at(path: Path, offset: int) -> dict[str, Any]:
    """The row whose line starts at byte `offset`."""
    with open(path, "rb") as file:
        file.seek(offset)
        return _parse(file.readline(MOST_BYTES_A_LINE), path, 0)


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise EvolError(
            f"{path}:{number}: not JSON ({error})",
            "the file was changed or cut; run the same evolve again to rewrite it",
        ) from None
    if not isinstance(row, dict):
        raise EvolError(f"{path}:{number}: expected an object, found {type(row).__name__}")
    return row
