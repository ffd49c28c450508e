"""No test reaches beyond this machine, and none sees the keys of whoever runs it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.running import Runner

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
"""A folder of real data that some extra checks use where it exists."""

settings.register_profile("evollab", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("evollab")


FIRST = (
    "test_train_launch", "test_docs", "test_train_dpo", "test_evals_choices_reference", "test_train_rleif",
    "test_sandbox_hostile", "test_train_sft", "test_likelihood", "test_serve_chat", "test_train_processes",
    "test_evals_math_formulas", "test_train_irm", "test_train_prm", "test_sandbox", "test_evals_choices",
)  # fmt: skip
"""Files that take long with few tests. They go first, so that no processor waits for another at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else ""
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def seeds_file() -> Path:
    """52 seeds of our own making."""
    return ROOT / "recipes" / "seeds.jsonl"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(tmp_path, monkeypatch)
