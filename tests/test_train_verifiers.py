"""`--verifier code`: rows with tests become programs, programs become rewards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.data.items import Item, RowOptions, read_items
from evollab.records import EvolError
from evollab.sandbox import Outcome, Program
from evollab.train.code_verifier import CodeVerifier, code_verifier
from tests import tiny

HUMANEVAL: dict[str, Any] = {
    "prompt": 'def double(x):\n    """Twice x."""\n', "entry_point": "double", "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
}  # fmt: skip
MBPP: dict[str, Any] = {
    "text": "Write a function to find the area of a circle.", "code": "def area(r):\n    return math.pi * r * r",
    "test_setup_code": "import math", "test_list": ["assert area(0) == 0", "assert abs(area(1) - math.pi) < 1e-9"],
}  # fmt: skip
ASKED: dict[str, Any] = {
    "instruction": "Write a function double.", "output": "…", "entry_point": "double", "test": "assert double(3) == 6",
}  # fmt: skip


class Toy:
    """A sandbox that keeps what it is given and passes what says `good`."""

    isolation = "full"

    def __init__(self, verdict: Any = "failed") -> None:
        self.seen: list[Program] = []
        self.verdict = verdict

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        self.seen += programs
        return [Outcome("passed" if "good" in one.code else self.verdict, "why", 0.1) for one in programs]


def items(tmp_path: Path, *rows: dict[str, Any]) -> list[Item]:
    """Each row from a file of its own, for they are of different shapes."""
    found: list[Item] = []
    for number, row in enumerate(rows):
        data = tiny.write_rows(tmp_path / f"{number}.jsonl", [row])
        found += read_items(str(data), RowOptions(), lambda row: None)
    return found


def references(verifier: CodeVerifier, found: Sequence[Item]) -> list[str | None]:
    return [verifier.reference(item, "", item.response) for item in found]


def test_rows_of_all_three_shapes_become_programs(tmp_path: Path) -> None:
    box = Toy()
    verifier = CodeVerifier(box)
    known = references(verifier, items(tmp_path, HUMANEVAL, MBPP, ASKED))
    assert all(map(verifier.comparable, known))
    answers = [
        "    return 2 * x  # good",
        "```python\ndef area(r):\n    return 3 * r\n```",
        "def double(x):\n    return x",
    ]
    assert verifier(answers, known) == [1, 0, 0]
    first, second, third = box.seen
    assert first.code.startswith("def double(x):")
    assert (first.entry, first.test) == ("double", HUMANEVAL["test"])
    assert second.code == "import math\ndef area(r):\n    return 3 * r\n" or second.code.startswith(
        "import math\ndef area"
    )
    assert second.entry is None
    assert second.test.splitlines() == ["import math", *MBPP["test_list"]]
    assert (third.entry, third.test) == (None, ASKED["test"]), "plain asserts are not called"


def test_equal_programs_run_once_and_what_is_no_program_never(tmp_path: Path) -> None:
    box = Toy()
    verifier = CodeVerifier(box)
    (known,) = references(verifier, items(tmp_path, HUMANEVAL))
    said = "def double(x):\n    return 2 * x  # good"
    assert verifier([said, "I can't.", said, said], [known, known, known, None]) == [1, 0, 1, 0]
    assert len(box.seen) == 1


def test_a_sandbox_that_fails_says_nothing_of_a_program(tmp_path: Path) -> None:
    verifier = CodeVerifier(Toy("infra_error"))
    (known,) = references(verifier, items(tmp_path, HUMANEVAL))
    with pytest.raises(EvolError, match="the sandbox failed: why"):
        verifier(["def double(x):\n    return x"], [known])


def test_rows_without_tests_are_left_out(tmp_path: Path) -> None:
    from evollab.chat import Renderer
    from evollab.train.prompts import PromptReader, write_prompts

    pytest.importorskip("transformers", reason="needs the extra `train`")
    pytest.importorskip("pyarrow")
    verifier = CodeVerifier(Toy())
    rows: list[dict[str, Any]] = [
        HUMANEVAL, {"prompt": "Write a poem.", "entry_point": None, "test": None}, {**HUMANEVAL, "entry_point": "a b"},
    ]  # fmt: skip
    data = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    reader = PromptReader(Renderer(tiny.tokenizer("llama")), RowOptions(), 400, "", verifier, True)
    counts = write_prompts(str(data), tmp_path, reader)
    assert counts.train == 1
    removed = [orjson.loads(line) for line in (tmp_path / "removed.jsonl").read_bytes().splitlines()]
    assert [(row["line"], row["reason"]) for row in removed] == [(2, "no_reference"), (3, "no_reference")]


def test_programs_run_in_the_sandbox(tmp_path: Path) -> None:
    with code_verifier(unsafe=True) as verifier:
        known = references(verifier, items(tmp_path, HUMANEVAL, HUMANEVAL, MBPP, ASKED, HUMANEVAL))
        answers = [
            "    return x + x", "    return x * x", f"Here it is:\n```python\n{MBPP['code']}\n```",
            "def double(x):\n    return 2 * x", "import os\nos._exit(0)\ndef double(x):\n    return 2 * x",
        ]  # fmt: skip
        assert verifier(answers, known) == [1, 0, 1, 1, 0]
        assert verifier.about["isolation"] in ("full", "landlock", "rlimits")


def test_a_model_is_trained_by_tests(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    from evollab.train.rleif import RleifOptions, train_rleif

    base = tiny.checkpoint(tmp_path / "base", "llama")
    data = tiny.write_rows(tmp_path / "rows.jsonl", [{**MBPP, "text": f"Circle {n}."} for n in range(8)])
    settings: dict[str, Any] = {"batch": 8, "generations": 4, "max_tokens": 8, "max_steps": 1, "eval_share": 0.4}
    asked = RleifOptions(base=str(base), prompts=str(data), verifier="code", unsafe_sandbox=True, **settings)
    done = train_rleif(asked, tmp_path / "out")
    assert done.held_out["by"] == "right answers"
    assert done.rewards["first"]["verified"] == 0
    step = orjson.loads((tmp_path / "out" / "step.json").read_bytes())
    assert step["verifier"]["isolation"] in ("full", "landlock", "rlimits")
