"""The step `eval`: a model on benchmarks, or outputs made elsewhere, to figures with intervals.

    OUT/calls.db             every call, of the model and of the judge
    OUT/<task>/              answers, grades, result (see `result`)
    OUT/results.json         all results of this call

Everything is asked through the store: the same call goes on where the last one stopped, and pays for nothing twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab.evals import result as results
from evollab.evals.account import account
from evollab.evals.choices import Choices
from evollab.evals.contestant import Contestant, contestant
from evollab.evals.estimate import Estimate, estimate
from evollab.evals.generate import Judging, Progress, answers_of, request_of
from evollab.evals.harness import Scored, run_choices
from evollab.evals.judging.run import calibrate_first
from evollab.evals.options import EvalOptions
from evollab.evals.outputs import read_outputs
from evollab.evals.plan import Plan, plan_of, tasks_of
from evollab.evals.reached import Reached
from evollab.evals.trial import Answer, Mark, Marked, Tools, Trial
from evollab.llm.pairs import parse_extra
from evollab.llm.session import ModelOptions, Opened, Session, session
from evollab.llm.watching import say, watched
from evollab.records import EvolError
from evollab.runs import Step, locked, open_folder, write_json

_FREE = {
    "engine",
    "workers",
    "estimate",
    "json",
    "store",
    "outputs",
    "unsafe_sandbox",
    "benchmarks",
    "data",
    "model_key_env",
}
"""Options that no figure depends on, or whose digest stands among the inputs."""
_UNTRIED = "the judge was not tried on pairs that people judged (--calibrate FILE, or evol judge)"
_JUDGED = {"judge", "judge_tokens", "calibrate"}
_SCORED = {"shots", "tokenizer"}
_ASKED = {"samples", "temperature", "top_p", "reply_tokens", "system", "compat", "extra_body", "send_seed"}


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What came of it: a result for each task. state: complete, or stopped with `why` (the same call goes on)."""

    folder: Path
    results: Sequence[Mapping[str, Any]]
    state: str = "complete"
    why: str = ""
    exit_code: int = 0
    estimate: Estimate | None = None

    def __str__(self) -> str:
        if self.estimate is not None:
            return str(self.estimate)
        told = [results.table(self.results)] if self.results else []
        if self.state != "complete":
            return "\n".join([*told, f"stopped: {self.why}; the same command goes on where this stopped"])
        return "\n".join([*told, f"next: evol report {self.folder}    or: evol compare {self.folder} OTHER"])


async def evaluate(model: str | None, names: Sequence[str], out: Path, options: EvalOptions) -> EvalResult:
    """Measure `model` (see `contestant.contestant`) on the tasks `names`, or grade `options.outputs`; write `out`.

    Raises EvolError for unknown names, for missing data, judges and references before anything is asked, and for a
    folder that holds another model's evaluation of the same task.
    """
    tasks = tasks_of(names)
    if (model is None) == (options.outputs is None):
        raise EvolError(
            "what is measured? a MODEL, or --outputs FILE; " + ("neither is given" if model is None else "not both"),
            "evol eval MODEL gsm8k    or: evol eval --outputs FILE humaneval",
        )
    key = os.environ.get(options.model_key_env, "").strip() if options.model_key_env else ""
    who = await contestant(model, options.name, key) if model is not None else None
    plans = [plan_of(task, options) for task in tasks]
    if options.estimate:
        return EvalResult(out, [], estimate=await _estimate(plans, who, options))
    store = Path(options.store) if options.store else out
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys((out, store)):
            stack.enter_context(locked(folder, "evol eval"))
        return await _Evaluation(out, store, options, who).run(plans)


async def _estimate(plans: Sequence[Plan], who: Contestant | None, options: EvalOptions) -> Estimate:
    asked = []
    for plan in plans:
        requests = [request_of(plan.trial, plan.prompt, options, one, (), 0) for one in plan.questions.items]
        judged = plan.trial.needs_judge
        asked.append((plan.task.name, plan.prompt_name, requests, plan.questions.items, judged))
    return await estimate(asked, who, options)


@dataclass(slots=True)
class _Evaluation:
    """One start."""

    out: Path
    store: Path
    options: EvalOptions
    who: Contestant | None
    done: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    calibration: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    """How the judge did on pairs that people judged."""

    async def run(self, plans: Sequence[Plan]) -> EvalResult:
        async with (
            session(self.store, self.options, parse_extra(self.options.extra_body)) as opened,
            contextlib.AsyncExitStack() as stack,
        ):
            judge = await opened.model(self.options.judge) if self.options.judge else None
            model = Reached(self.who, self.options, opened, stack) if self.who is not None else None
            if judge is not None and self.options.calibrate and (why := await self._calibrated(opened, judge)):
                return EvalResult(self.out, self.done, "stopped", why, opened.stop.exit_code or 1)
            for plan in plans:
                why = await self._task(plan, opened, model, judge)
                if why:
                    code = opened.stop.exit_code if opened.stop.reason else 1
                    return EvalResult(self.out, self.done, "stopped", why, code)
        write_json(self.out / "results.json", {"results": self.done})
        return EvalResult(self.out, self.done)

    async def _calibrated(self, opened: Session, judge: Opened) -> str:
        """Try the judge on pairs that people judged, and say how it did. What it waits for, "" when it is done."""
        progress = Progress("calibration", 0)
        asked = Judging(opened, judge, self.options, progress)
        found = await calibrate_first(self.options.judge, asked, self.options.calibrate, None)
        if progress.unfinished:
            return opened.stop.reason or f"{progress.unfinished:,} calls of the calibration failed"
        for one in found:
            say(str(one))
        self.calibration = [one.told() for one in found]
        return ""

    async def _task(self, plan: Plan, opened: Session, model: Reached | None, judge: Opened | None) -> str:
        """Ask, grade, write. What it waits for, "" when it is done."""
        folder = self.out / plan.task.name
        config = await self._config(plan, model)
        inputs: dict[str, Any] = {"data": plan.questions.digest()}
        if self.options.outputs is not None:
            inputs["outputs"] = results.digest(Path(self.options.outputs).read_bytes().hex())
        hint = f"give another --out; --store {self.store} then pays only for what changed"
        step = open_folder(folder, f"eval {plan.task.name}", config, inputs, hint=hint)
        if step.before is not None and step.before.get("state") == "complete" and (folder / results.RESULT).is_file():
            self.done.append(results.read(folder))
            return ""
        step.write("running")
        clock = time.monotonic()
        progress = Progress(plan.task.name, len(plan.questions.items) * self.options.samples)
        tools = self._tools(plan, opened, judge, progress)
        outputs = None
        if model is not None:
            say(f"{plan.task.name}: {len(plan.questions.items):,} questions to {self.label}, prompt {plan.prompt_name}")
        if model is not None and plan.choices is not None:
            marked = await self._scored(plan, plan.choices, await model.scored(), tools, progress, opened)
        else:
            if model is not None:
                ready = await model.asked()
                answers = await answers_of(
                    plan.questions.items, plan.trial, plan.prompt, self.options, opened, ready, progress
                )
                if progress.unfinished:
                    return self._stopped(step, opened, progress)
            else:
                assert self.options.outputs is not None
                outputs = read_outputs(self.options.outputs, plan.trial, plan.questions.items)
                answers = list(outputs.answers)
            marked = await _graded(answers, plan.trial, tools)
        if progress.unfinished:
            return self._stopped(step, opened, progress)
        told = account(plan, marked, tools, outputs, self.options, config["identity"])
        if plan.trial.needs_judge and self.calibration:
            told["calibration"] = self.calibration
        elif plan.trial.needs_judge and judge is not None:
            told["notes"].append(_UNTRIED)
        results.write(folder, marked, told)
        cost = opened.store.totals
        step.write(
            "complete",
            counts={"questions": len(plan.questions.items), "answers": len(marked)},
            cost={"calls": cost.calls, "usd": None if opened.unpriced else round(cost.usd, 6)},
            times={"seconds": round(time.monotonic() - clock, 2)},
        )
        self.done.append(told)
        return ""

    def _stopped(self, step: Step, opened: Session, progress: Progress) -> str:
        why = opened.stop.reason or f"{progress.unfinished:,} calls of {progress.what} failed"
        step.write("stopped", why=why)
        return why

    async def _scored(
        self, plan: Plan, choices: Choices, at: Scored, tools: Tools, progress: Progress, opened: Session
    ) -> list[Marked]:
        def heard(done: int, total: int) -> None:
            progress.done, progress.total = done, total

        def line() -> str:
            return f"{progress.what} {progress.done:,}/{progress.total:,} questions scored"

        async with watched(line, opened.stop):
            found = await run_choices(choices, plan.questions.items, plan.examples, plan.shots, at, self.store, heard)
        tools.facts.update(at.facts)
        return found

    async def _config(self, plan: Plan, model: Reached | None) -> dict[str, Any]:
        """What the figures of a task depend on."""
        own = {one.name for one in dataclasses.fields(EvalOptions)} - _FREE
        own -= {one.name for one in dataclasses.fields(ModelOptions)}
        if not plan.trial.needs_judge:  # what is said for another task changes nothing here
            own -= _JUDGED
        own -= _ASKED if plan.choices is not None else _SCORED
        told = {name: getattr(self.options, name) for name in sorted(own)}
        told["prompt"] = plan.prompt_name
        told["reference"] = results.digest(sorted(plan.reference.items())) if plan.reference else ""
        told["model"] = self.label
        for name in plan.trial.reads:
            file = Path(os.environ.get(name, ""))
            told[name] = results.digest(file.read_bytes().hex()) if file.is_file() else ""
        told["identity"] = ""
        if model is not None and plan.choices is not None:
            told["identity"] = await model.scores_as()
        elif model is not None:
            told["identity"] = (await model.asked()).connection.identity
        known: dict[str, Any] = orjson.loads(orjson.dumps(told))  # as step.json gives it back
        return known

    @property
    def label(self) -> str:
        if self.who is not None:
            return self.who.label
        return self.options.name or Path(str(self.options.outputs)).name.partition(".")[0]

    def _tools(self, plan: Plan, opened: Session, judge: Opened | None, progress: Progress) -> Tools:
        asked = Judging(opened, judge, self.options, progress) if judge is not None else None
        return Tools(
            model_name=self.label, judge=asked, judge_name=self.options.judge, reference=plan.reference,
            reference_name=plan.reference_name, compat=self.options.compat,
            workers=self.options.workers or os.cpu_count() or 1, unsafe_sandbox=self.options.unsafe_sandbox,
            seed=self.options.seed, note=say,
        )  # fmt: skip


async def _graded(answers: Sequence[Answer], trial: Trial, tools: Tools) -> list[Marked]:
    """All marks; those that rows bring along are taken, answers whose call failed get none."""
    marks: dict[int, Mark] = {}
    for at, answer in enumerate(answers):
        if answer.given is not None and answer.given.mark is not None:
            marks[at] = answer.given.mark
        elif answer.failure:
            marks[at] = Mark(None, failure=answer.failure)
    left = [at for at in range(len(answers)) if at not in marks]
    if left and trial.needs_judge and tools.judge is None:
        raise EvolError("these outputs are not judged yet, and no judge is named", "--judge openai:NAME")
    if left:
        marks |= zip(left, await trial.grade([answers[at] for at in left], tools), strict=True)
    return [(answer, marks[at]) for at, answer in enumerate(answers)]
