"""The run folder: one writer at a time, files that appear whole, steps that resume or refuse."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from evollab import __version__
from evollab.records import EvolError

STEP = "step.json"


@contextlib.contextmanager
def locked(folder: Path, command: str) -> Iterator[None]:
    """Hold `folder` for this process; a second process is refused with the name of the first.

    The lock is the kernel's (flock): it ends with the process, however that ends. On network file
    systems flock may not reach other machines: keep run folders on a local disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 500, 0).decode("utf-8", "replace").strip() or "another process"
            raise EvolError(
                f"{folder} is in use by {holder}",
                "wait for it, stop it, or give this run another --out",
            ) from None
        with contextlib.suppress(OSError):  # a full disk must not keep a finished run from being read
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}: {command}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write `path` as PATH.part and let it take its name only when all of it is on disk."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb", buffering=1 << 16) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in `folder` (new files, renamed files) survive the death of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    with whole_file(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run: `folder` is <run>/<n>-<name>, `before` its step.json from an earlier start."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    before: Mapping[str, Any] | None

    def write(self, state: str, **facts: Any) -> None:
        """Put down what this step was asked, what it made and what it cost. `state`: running,
        stopped (the same command goes on) or complete."""
        versions = {"evollab": __version__, "python": platform.python_version()}
        write_json(
            self.folder / STEP,
            {
                "step": self.name,
                "state": state,
                "command": " ".join(["evol", *sys.argv[1:]]),
                "config": dict(self.config),
                "inputs": dict(self.inputs),
                "versions": versions,
                **facts,
            },
        )


def open_step(run: Path, number: int, name: str, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Step:
    """The step's folder in a run, <run>/<number>-<name>, made or found again (see `open_folder`)."""
    hint = f"give this run another --out, or copy {run / 'calls.db'} there first to pay only for what changed"
    return open_folder(run / f"{number}-{name}", name, config, inputs, hint=hint)


def open_folder(
    folder: Path, name: str, config: Mapping[str, Any], inputs: Mapping[str, Any], *, hint: str, paid: bool = True
) -> Step:
    """A step's folder, made or found again.

    Same config and inputs as before: continue. Different, or another step's folder: EvolError naming
    the keys that differ. A step that costs nothing (`paid` false) and did not end is made anew instead.
    """
    before = read_step(folder)
    if before is not None:
        if before.get("step") != name:
            raise EvolError(f"{folder} is the folder of another step ({before.get('step')})", "give another --out")
        changed = [
            f"{key} was {_short(old.get(key))}, now {_short(new.get(key))}"
            for old, new in ((before.get("config", {}), config), (before.get("inputs", {}), inputs))
            for key in sorted({*old, *new})
            if old.get(key) != new.get(key)
        ]
        if changed and (paid or before.get("state") == "complete"):
            raise EvolError(f"{folder} was made with other settings: {'; '.join(changed)}", hint)
    folder.mkdir(parents=True, exist_ok=True)
    return Step(folder, name, config, inputs, before)


def read_step(folder: Path) -> dict[str, Any] | None:
    """The step.json in `folder`, None where there is none. Raises EvolError when it isn't one."""
    try:
        data = (folder / STEP).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        step = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{folder / STEP}: not JSON ({error})", "move the file away and start the step again") from None
    if not isinstance(step, dict):
        raise EvolError(f"{folder / STEP}: expected an object, found {type(step).__name__}")
    return step


def _short(value: object) -> str:
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= 60 else text[:57] + "..."
