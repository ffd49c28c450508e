"""`evol eval` killed at any moment: nothing paid twice but what was in flight, the same bytes; a signal ends it well;
an address of its own gets no other's key."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import orjson
import pytest

from bench.server import Options, Running, serving
from tests.test_crash import CONCURRENCY, finish, start, wait_for

QUESTIONS = 300
FILES = ("answers.jsonl", "graded.jsonl", "result.json")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {"question": f"Ann has {at} hens and buys 4 more. How many?", "answer": f"#### {at + 4}"}
        for at in range(QUESTIONS)
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gsm8k.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return tmp_path / "data"


def command(server: Running, data: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "evollab.cli", "eval", "openai:mock", "gsm8k", "--base-url", server.base_url,
        "--benchmarks", str(data), "--out", str(out), "--concurrency", str(CONCURRENCY), *more,
    ]  # fmt: skip


def files(out: Path) -> list[bytes]:
    return [(out / "gsm8k" / name).read_bytes() for name in FILES]


def test_sigkill_again_and_again(tmp_path: Path, data: Path) -> None:
    with serving(Options()) as server:
        done = finish(command(server, data, tmp_path / "whole"))
        assert done.returncode == 0, done.stderr
    kills = 0
    with serving(Options(latency_ms=20)) as server:
        arguments = command(server, data, tmp_path / "killed")
        for answered in (5, 90, 200):
            process = start(arguments)
            wait_for(server, answered)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        done = finish(arguments)
        assert done.returncode == 0, done.stderr
        stats = server.stats()
        again = finish(arguments)
        assert again.returncode == 0
        assert server.stats()["answered"] == stats["answered"], "a finished task asks nothing"
    assert kills == 3
    assert stats["paid_twice"] + stats["lost_answers"] <= kills * CONCURRENCY
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_signal_lets_what_is_in_flight_land(tmp_path: Path, data: Path) -> None:
    with serving(Options(latency_ms=20)) as server:
        arguments = command(server, data, tmp_path / "out")
        process = start(arguments)
        wait_for(server, 60)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=30)
        assert process.returncode == 130, words
        assert "Traceback" not in words
        assert orjson.loads((tmp_path / "out/gsm8k/step.json").read_bytes())["state"] == "stopped"
        assert not (tmp_path / "out/gsm8k/result.json").exists()
        done = finish(arguments)
        stats = server.stats()
    assert done.returncode == 0, done.stderr
    assert (stats["paid_twice"], stats["lost_answers"]) == (0, 0)


def test_an_address_gets_its_own_key_alone(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-host")
    monkeypatch.setenv("THEIRS", "sk-theirs")
    with serving(Options(key="sk-theirs")) as server:
        base = [sys.executable, "-m", "evollab.cli", "eval", server.base_url, "gsm8k", "--name", "mock", "--limit", "3"]
        refused = finish([*base, "--benchmarks", str(data), "--out", str(tmp_path / "a")])
        assert refused.returncode == 2
        assert "sk-of-another-host" not in refused.stdout + refused.stderr
        let_in = finish([*base, "--benchmarks", str(data), "--out", str(tmp_path / "b"), "--model-key-env", "THEIRS"])
        assert let_in.returncode == 0, let_in.stderr
    kept = b"".join(path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert b"sk-theirs" not in kept
