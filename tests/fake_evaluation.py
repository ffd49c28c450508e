"""Made-up evaluations that look like real ones, for the tests of what people see. Every draw depends on names alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

SKILLS = (
    "Math", "Code Generation", "Writing", "Computer Science", "Reasoning", "Complex Format", "Code Debug", "Common-Sense",
    "Counterfactual", "Multilingual", "Roleplay", "Biology", "Technology", "Ethics",
)  # fmt: skip
HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> </div>\x1b[31m\u202e {{ 7 * 7 }} USER:"
)


def figure(name: str, value: float | None, n: int = 218, unit: str = "%") -> dict[str, Any]:
    width = 4.0 if unit == "%" else 0.4
    low, high = (None, None) if value is None else (value - width, value + width)
    return {
        "name": name, "value": value, "low": low, "high": high, "n": n, "unit": unit,
        "method": "bootstrap over questions, 10,000", "level": 0.95, "facts": {},
    }  # fmt: skip


def write_one(
    folder: Path, task: str, model: str, base: float, *, prompt: str = "ab", text: str = "", items: int = 40
) -> None:
    """OUT/<task> of a model that scores about `base` of 100."""
    draw = random.Random(f"{task}/{model}")
    unit = "points" if task == "mtbench" else "%"
    value = base / 10 if unit == "points" else base
    groups: dict[str, Any] = {}
    if task == "evol_testset":
        groups["skill"] = {skill: figure("ratio", base + draw.uniform(-20, 20), 8) for skill in SKILLS}
        groups["level"] = {
            name: figure("ratio", base + by, 70) for name, by in (("easy", 9), ("medium", 0), ("hard", -9))
        }
        groups["source"] = {"own": figure("ratio", base), "theirs": figure("ratio", None)}
    result = {
        "task": task, "model": model + text, "metric": "score", "about": f"a benchmark {text}", "unit": unit,
        "metrics": [figure("score", value, unit=unit), figure(f"flexible{text}", value, unit=unit)], "groups": groups,
        "failures": {"no answer": 3, f"cut{text}": 1}, "notes": [f"--limit: 40 of 1,319 questions {text}"],
        "grader": "rules 1", "judge": "", "reference": "", "complete": True, "samples": 1,
        "prompt": {"name": "chat", "digest": prompt, "example": [["user", f"How many? {text}"]]},
        "decoding": {"temperature": 0.0}, "data": {"digest": "d", "items": items}, "versions": {"evollab": "0.1"},
    }  # fmt: skip
    place = folder / task
    place.mkdir(parents=True)
    (place / "result.json").write_bytes(orjson.dumps(result))
    graded, answers = [], []
    for at in range(items):
        right = float(draw.random() < base / 100)
        facts = {"level": "easy", "skill": f"Math{text}"}
        graded.append(
            {"id": str(at), "sample": 0, "score": right if at % 9 else None, "failure": "" if at % 9 else "unparsed",
             "extracted": f"{at}{text}", "reason": f"the gold answer is {at}{text}", "more": {}, "facts": facts}
        )  # fmt: skip
        answers.append(
            {"id": str(at), "sample": 0, "turns": [f"Question {at}? {text}"], "texts": [f"Answer {at}. {text}"],
             "cut": False, "failure": "", "facts": facts}
        )  # fmt: skip
    (place / "graded.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in graded))
    (place / "answers.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in answers))


def write_evaluation(folder: Path, model: str, base: float, **more: Any) -> Path:
    """An evaluation on three tasks."""
    for task in ("gsm8k", "evol_testset", "mtbench"):
        write_one(folder, task, model, base, **more)
    return folder
