"""Each preset as a model gets it, held in tests/snapshots/code_prompts.txt.

After a wanted change: EVOLLAB_SNAPSHOT=write pytest tests/test_evals_code_prompts.py, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evollab.data.rows import Row
from evollab.evals.sources import find_task
from evollab.evals.trial import Prompt, Question, Trial

SNAPSHOT = Path(__file__).parent / "snapshots" / "code_prompts.txt"
ROWS: dict[str, dict[str, Any]] = {
    "humaneval": {
        "task_id": "HumanEval/900", "prompt": 'def half(x):\n    """ Half of {x}. """\n', "entry_point": "half",
        "test": "def check(candidate): assert candidate(1) == 0.5",
    },
    "humaneval_plus": {
        "task_id": "HumanEval/900", "prompt": 'def half(x):\n    """ Half of {x}. """\n', "entry_point": "half",
        "canonical_solution": "    return x / 2\n", "base_input": [[1]], "plus_input": [[2]], "atol": 0,
    },
    "mbpp": {
        "task_id": 12, "text": "Write a function to join two lists.", "code": "def join(a, b): return a + b",
        "test_list": ["assert join([1],    [2]) == [1, 2]", "assert join([], []) == []"],
    },
    "mbpp_plus": {
        "task_id": "Mbpp/900", "prompt": '"""\nWrite a function to join two lists.\nassert join([], []) == []\n"""\n',
        "entry_point": "join", "canonical_solution": "def join(a, b):\n    return a + b", "base_input": [],
        "plus_input": [], "atol": 0,
    },
}  # fmt: skip


def trial(name: str) -> Trial:
    found = find_task(name).trial
    assert isinstance(found, Trial)
    return found


def question(name: str, **change: Any) -> Question:
    found = trial(name).question(Row(1, ROWS[name] | change))
    assert found is not None
    return found


def rendered() -> str:
    parts = [
        f"===== {name}, {preset}: stop {list(prompt.stop)} =====\n{asked(prompt, question(name))}<END>\n"
        for name in ROWS
        for preset, prompt in trial(name).prompts.items()
    ]
    return "\n".join(parts)


def asked(prompt: Prompt, item: Question) -> str:
    found = prompt.ask(item, ())
    return found if isinstance(found, str) else "\n".join(f"[{one.role}]\n{one.content}" for one in found)


def test_prompts_are_as_agreed() -> None:
    if os.environ.get("EVOLLAB_SNAPSHOT") == "write":
        SNAPSHOT.write_text(rendered(), "utf-8")
    assert rendered() == SNAPSHOT.read_text("utf-8")


def test_wizardcoder_s_prompts_to_the_byte() -> None:
    head = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    assert asked(trial("humaneval").prompts["alpaca"], question("humaneval")) == (
        f"{head}\n\n\n### Instruction:\nCreate a Python script for this problem:\n"
        'def half(x):\n\t""" Half of {x}. """\n\n\n### Response:'
    )
    assert asked(trial("mbpp").prompts["alpaca"], question("mbpp")) == (
        f"{head}\n\n### Instruction:\nCreate a Python script for this problem:\n\nWrite a function to join two lists.\n"
        "Test examples:\nassert join([1],\t[2]) == [1, 2]\nassert join([], []) == []\n\n### Response:"
    )


def test_number_493_shows_the_head_of_its_function() -> None:
    item = question("mbpp", task_id=493, code="import math\r\ndef join(a, b):\r\n    return a + b")
    shown = asked(trial("mbpp").prompts["alpaca"], item)
    assert "Test examples:\njoin(a, b)\n\n### Response:" in shown
    assert "assert" not in shown
    assert "assert join([], []) == []" in item.gold.test


@pytest.mark.parametrize("name", ROWS)
def test_the_first_preset_is_chat_with_everything_in_it(name: str) -> None:
    preset, prompt = next(iter(trial(name).prompts.items()))
    shown = asked(prompt, question(name))
    assert preset == "chat"
    assert "half" in shown or "assert join([], []) == []" in shown
