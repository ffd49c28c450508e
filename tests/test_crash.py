"""The death of the process at any moment: nothing paid twice but what was in flight, same bytes."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from bench.server import Options, Running, serving
from evollab.llm.journal import DiskFull, Journal
from evollab.llm.store import Store
from evollab.records import EvolError
from evollab.runs import locked

ROOT = Path(__file__).parent.parent
CONCURRENCY = 16


def command(server: Running, seeds: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "evollab.cli", "evolve", str(seeds), "--model", "openai:mock", "--base-url",
        server.base_url, "--rounds", "2", "--out", str(out), "--concurrency", str(CONCURRENCY), *more,
    ]  # fmt: skip


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "1-evolve").glob("*.jsonl"))}


def wait_for(server: Running, answered: int) -> None:
    end = time.monotonic() + 60
    while server.stats()["answered"] < answered:
        assert time.monotonic() < end, "the run does not get on"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    with serving(Options()) as server:
        done = finish(command(server, ROOT / "recipes/seeds.jsonl", out))
        assert done.returncode == 0, done.stderr
    return files(out)


def test_sigkill_again_and_again(tmp_path: Path, seeds_file: Path, undisturbed: dict[str, bytes]) -> None:
    kills = 0
    with serving(Options(latency_ms=20)) as server:
        arguments = command(server, seeds_file, tmp_path)
        for answered in (5, 40, 90, 150, 230):
            process = start(arguments)
            wait_for(server, answered)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        done = finish(arguments)
        assert done.returncode == 0, done.stderr
        stats = server.stats()
    assert kills == 5
    assert stats["paid_twice"] + stats["lost_answers"] <= kills * CONCURRENCY
    assert files(tmp_path) == undisturbed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_what_is_in_flight_land(
    tmp_path: Path, seeds_file: Path, undisturbed: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    with serving(Options(latency_ms=20)) as server:
        arguments = command(server, seeds_file, tmp_path)
        process = start(arguments)
        wait_for(server, 100)
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
        assert process.returncode == code, words
        assert "stopping" in words
        assert "Traceback" not in words
        assert orjson.loads((tmp_path / "1-evolve/step.json").read_bytes())["state"] == "stopped"
        assert files(tmp_path)["instructions.jsonl"]  # what there is, is there to use
        done = finish(arguments)
        stats = server.stats()
    assert done.returncode == 0, done.stderr
    assert (stats["paid_twice"], stats["lost_answers"]) == (0, 0)
    assert files(tmp_path) == undisturbed


def test_a_second_signal_ends_at_once(tmp_path: Path, seeds_file: Path) -> None:
    with serving(Options(latency_ms=60_000)) as server:
        process = start(command(server, seeds_file, tmp_path))
        end = time.monotonic() + 30
        while server.stats()["inflight"] < CONCURRENCY:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in words


def test_two_processes_on_one_run(tmp_path: Path, seeds_file: Path) -> None:
    with serving(Options(latency_ms=200)) as server:
        arguments = command(server, seeds_file, tmp_path)
        first = start(arguments)
        wait_for(server, 1)
        second = finish(arguments)
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert f"in use by process {first.pid}" in second.stderr
    assert "hint:" in second.stderr


def test_what_was_at_risk_is_counted(tmp_path: Path, seeds_file: Path) -> None:
    with serving(Options(latency_ms=100)) as server:
        arguments = command(server, seeds_file, tmp_path)
        process = start(arguments)
        wait_for(server, 30)
        while (in_flight := server.stats()["inflight"]) < CONCURRENCY // 2:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        server.configure(latency_ms=0)
        done = finish(arguments)
    counted = re.search(r"(\d+) calls were in flight when this run died", done.stderr)
    assert counted, done.stderr
    assert 1 <= int(counted.group(1)) <= CONCURRENCY
    assert in_flight


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_full_disk(tmp_path: Path, seeds_file: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with serving(Options(latency_ms=2)) as server:
            arguments = command(server, seeds_file, disk / "run", "--preset", "paper")
            full = finish(arguments)
            asked = server.stats()["requests"]
            assert full.returncode == 2, full.stderr
            assert "is full; every reply so far is kept" in full.stderr
            assert "Traceback" not in full.stderr
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            done = finish(arguments)
            stats = server.stats()
        assert done.returncode == 0, done.stderr
        assert asked < stats["requests"]
        assert stats["paid_twice"] == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ------------------------------------------------------------------------------------ the store


def put(store: Store, number: int, raw: bytes = b'{"a":1}') -> bytes:
    key = number.to_bytes(16, "big")
    store.put(key, model="m", purpose="answer", sample=0, status="ok", request=b'{"q":1}', raw=raw,
              tokens=(3, 4), cost=0.5, latency=0.25)  # fmt: skip
    return key


def test_replies_move_into_the_database_and_are_found_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [put(store, n, b'{\n "text": "line \\u2028 \xc3\xa9"\n}') for n in range(5)]
    store.failed(b"x" * 16, model="m", purpose="answer", kind="timeout", message="slow", latency=1)
    store.absorb()
    keys.append(put(store, 99))
    store.close()
    again = Store(tmp_path)
    found = [again.get(key) for key in keys]
    assert [one and orjson.loads(one.raw) for one in found] == [{"text": "line \u2028 é"}] * 5 + [{"a": 1}]
    assert (again.totals.calls, again.totals.tokens_in, again.totals.usd) == (6, 18, 3.0)
    assert again.get(b"y" * 16) is None
    again.absorb()
    again.close()
    assert not (tmp_path / "calls.journal").exists()
    import sqlite3

    with sqlite3.connect(tmp_path / "calls.db") as db:
        assert db.execute("select count(*), sum(cost) from calls").fetchone() == (6, 3.0)
        assert db.execute("select kind, message from failures").fetchall() == [("timeout", "slow")]
    db.close()


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [put(store, n) for n in range(3)]
    store.close()
    path = tmp_path / "calls.journal"
    whole = path.read_bytes()
    for cut in range(len(whole) - 1, len(whole) - 40, -7):
        path.write_bytes(whole[:cut])
        again = Store(tmp_path)
        assert [again.get(key) is not None for key in keys] == [True, True, False]
        put(again, 7)
        again.close()
        assert path.read_bytes().count(b"\n") == 3


def test_death_between_storing_and_clearing_counts_nothing_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, 1)
    store.close()
    journal = (tmp_path / "calls.journal").read_bytes()
    store = Store(tmp_path)
    store.absorb()
    store.close()
    (tmp_path / "calls.journal").write_bytes(journal)
    again = Store(tmp_path)
    assert (again.totals.calls, again.totals.usd) == (1, 0.5)
    again.close()


def test_no_room_keeps_what_is_in_flight_and_refuses_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "calls.journal")
    write, room = os.write, 10

    def tight(handle: int, data: bytes) -> int:
        nonlocal room
        if journal._reserve_path.exists() and room <= 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        room -= 1
        return write(handle, data)

    monkeypatch.setattr("evollab.llm.journal.os.write", tight)
    for number in range(12):
        journal.append(b'{"i":"%032x"}\n' % number)
    assert journal.full
    with pytest.raises(DiskFull, match="every reply so far is kept"):
        journal.intend(b"k" * 16)
    monkeypatch.undo()
    journal.close()
    assert (tmp_path / "calls.journal").read_bytes().count(b"\n") == 12


def test_a_strange_database_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "calls.db").write_bytes(b"not a database" * 100)
    with pytest.raises(EvolError, match="not a store of calls"):
        Store(tmp_path)


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    taken = pytest.raises(EvolError, match=f"in use by process {os.getpid()}")
    with locked(tmp_path, "evol evolve"), taken, locked(tmp_path, "evol preview"):
        pass
    with locked(tmp_path, "evol preview"):
        pass
