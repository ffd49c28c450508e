"""The verb `evol judge`: a judge tried on pairs that people have judged, before it is believed.

OUT/calls.db            every call; the same command again pays for nothing
OUT/calibration.json    what came of it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from evollab.data.rows import excerpt
from evollab.evals.generate import Judging, Progress
from evollab.evals.judging.calibrate import Calibration, calibrate, of_verdicts
from evollab.evals.judging.pairs import Pairs, read_pairs, read_verdicts
from evollab.evals.judging.prompts import digest
from evollab.evals.options import EvalOptions
from evollab.evals.trial import Asked
from evollab.llm.option import option
from evollab.llm.session import ModelOptions, session
from evollab.records import EvolError
from evollab.runs import locked, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions(ModelOptions):
    """How a judge is tried. The fields of `ModelOptions` come on top."""

    limit: int | None = option(
        "N pairs of each file: always the same ones, in the shares of its subsets", None, metavar="N"
    )
    judge_tokens: int = option("tokens that one reply of the judge may have", 2048, metavar="N")
    verdicts: str | None = option(
        "verdicts of a judge made elsewhere (rows of idx and gpt_result: 1, 2, Tie); no model is asked",
        None, metavar="FILE",
    )  # fmt: skip
    json: bool = option("print the result as JSON, one object a file", False)

    def __post_init__(self) -> None:
        ModelOptions.__post_init__(self)
        for name in ("limit", "judge_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """A calibration for each file. why: what stopped it, "" when it is complete (the same command goes on)."""

    sets: Sequence[Calibration]
    why: str = ""
    exit_code: int = 0
    json: bool = False

    def __str__(self) -> str:
        if self.json:
            return "\n".join(orjson.dumps(one.told()).decode() for one in self.sets)
        told = [str(one) for one in self.sets]
        if self.why:
            told.append(f"stopped: {self.why}; the same command goes on where this stopped")
        return "\n".join(told)


async def judge(model: str | None, files: Sequence[str], out: Path | None, options: JudgeOptions) -> JudgeResult:
    """Try `model` (PROVIDER:NAME) on the pairs in `files`, or compare `options.verdicts` with them; write `out`.

    Raises EvolError for files without pairs, before anything is asked.
    """
    if not files:
        raise EvolError("on which pairs? no file is named", "evol judge openai:NAME llmbar.jsonl")
    if (model is None) == (options.verdicts is None):
        raise EvolError(
            "who judges? a MODEL, or --verdicts FILE; " + ("neither is given" if model is None else "not both"),
            "evol judge openai:NAME llmbar.jsonl",
        )
    sets = [read_pairs(file) for file in files]
    if options.verdicts is not None:
        return _published(options.verdicts, sets, options)
    if out is None:
        raise EvolError("where are the calls to be kept? --out is not given", "--out runs/judge")
    assert model is not None
    with locked(out, "evol judge"):
        return await _asked(model, sets, out, options)


def _published(file: str, sets: Sequence[Pairs], options: JudgeOptions) -> JudgeResult:
    verdicts, dirt = read_verdicts(file)
    name = Path(file).name.partition(".")[0]
    found = [of_verdicts(verdicts, dirt, name, one) for one in sets]
    if not any(one.pairs for one in found):
        raise EvolError(f"{excerpt(file, 80)}: no verdict of it is about any of the pairs", "ids are matched by idx")
    return JudgeResult(found, json=options.json)


async def _asked(model: str, sets: Sequence[Pairs], out: Path, options: JudgeOptions) -> JudgeResult:
    plain = {one.name: getattr(options, one.name) for one in dataclasses.fields(ModelOptions)}
    settings = EvalOptions(**plain, judge=model, judge_tokens=options.judge_tokens)
    found: list[Calibration] = []
    async with session(out, options) as opened:
        ready = await opened.model(model)
        for pairs in sets:
            progress = Progress(pairs.name, 0)
            done = await calibrate(Judging(opened, ready, settings, progress), model, pairs, options.limit)
            if progress.unfinished:
                why = opened.stop.reason or f"{progress.unfinished:,} calls of {progress.what} failed"
                return JudgeResult(found, why, opened.stop.exit_code if opened.stop.reason else 1, options.json)
            found.append(done)
    write_json(
        out / "calibration.json",
        {"judge": model, "prompt": digest(), "limit": options.limit, "sets": [one.told() for one in found]},
    )
    return JudgeResult(found, json=options.json)


async def calibrate_first(judge_name: str, asked: Asked, files: Sequence[str], limit: int | None) -> list[Calibration]:
    """For `evol eval --calibrate FILE`: the judge on each file. Raises EvolError for files without pairs."""
    return [await calibrate(asked, judge_name, read_pairs(file), limit) for file in files]
