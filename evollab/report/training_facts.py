"""What a training folder holds, read for its page: step.json, metrics.jsonl, samples.jsonl, held-out.jsonl, and the
files of rows that were not trained.

The files are append-only logs, and a page can be asked for while training runs or after a kill: lines that are torn or
made up are passed over and counted, numbers that are none (NaN, text) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab.records import EvolError
from evollab.runs import STEP, read_step

METRICS, SAMPLES, HELD_OUT = "metrics.jsonl", "samples.jsonl", "held-out.jsonl"
KINDS: Mapping[str, str] = {
    "train-sft": "Supervised fine-tuning",
    "train-dpo": "Preference training",
    "train-irm": "Instruction reward model",
    "train-prm": "Process reward model",
    "train-rleif": "Reinforcement learning (RLEIF)",
}
"""Steps that have such a page, and what people call them."""
MOST_SERIES = 60
MOST_PROMPTS = 12
MOST_MOMENTS = 40
MOST_ROWS = 6
_MOST_SAMPLES = 50_000
_NO_SERIES = frozenset({"step", "epoch", "stage", "stage_step", "seconds", "tokens"})
_RUNTIME = ("runtime", "samples_per_second", "steps_per_second")


@dataclass(frozen=True, slots=True)
class Series:
    """A number over the steps. points: (step, value), by step; one value a step, the last one told."""

    name: str
    points: tuple[tuple[int, float], ...]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. when: as "step 24"; numbers: what else was noted of it (reward and its factors, score)."""

    when: str
    text: str
    ended: bool | None
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt that was answered several times. prompt: "" where the file has it not; expected: the data's answer."""

    line: int | None
    prompt: str
    expected: str
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not trained."""

    file: str
    line: int | None
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """All of it. step: step.json as it is, of which nothing is certain; unreadable: lines of logs passed over.
    stage_ends: steps after which another slice begins. conversations: prompts answered several times; drawn: answers of
    single steps."""

    name: str
    kind: str
    step: Mapping[str, Any]
    series: Mapping[str, Series]
    tokens: int
    trained_tokens: float
    stage_ends: tuple[int, ...]
    conversations: tuple[Conversation, ...]
    drawn: tuple[Conversation, ...]
    left_out: tuple[LeftOut, ...]
    unreadable: int

    def get(self, *names: str) -> Any:
        """What step.json has under these names, one in another; None where it has none."""
        found: Any = self.step
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def number(self, *names: str) -> float | None:
        """The same where it is a finite number."""
        return finite(self.get(*names))

    def words(self, *names: str) -> str:
        """The same where it is a text, else ""."""
        found = self.get(*names)
        return found if isinstance(found, str) else ""

    @property
    def steps(self) -> int:
        """Steps that were made."""
        told = self.number("steps")
        return int(told) if told is not None else max((one.points[-1][0] for one in self.series.values()), default=0)


def is_training(folder: Path) -> bool:
    """Whether `folder` is what one of the training verbs made."""
    folder = Path(folder)
    if not (folder / STEP).is_file():
        return False
    try:
        step = read_step(folder)
    except EvolError:
        return False
    return step is not None and step.get("step") in KINDS


def read_training(folder: Path) -> TrainingFacts:
    """The facts of the training in `folder`. Raises EvolError for a folder that no training made."""
    folder = Path(folder)
    step = read_step(folder)
    kind = step.get("step") if step else None
    if step is None or kind not in KINDS:
        raise EvolError(
            f"{folder}: no training ({'no step.json' if step is None else f'its step is {str(kind)[:40]!r}'})",
            f"a folder that {', '.join(one.replace('-', ' ', 1) for one in KINDS)} made with --out",
        )
    bad: list[int] = []
    lines = list(_lines(folder / METRICS, bad))
    series = _series(lines)
    tokens = [(finite(one.get("tokens")) or 0.0, finite(one.get("trained_share")) or 0.0) for one in lines]
    conversations, drawn = _conversations(folder, bad)
    return TrainingFacts(
        name=folder.resolve().name, kind=str(kind), step=step, series=series,
        tokens=round(sum(count for count, _ in tokens)), trained_tokens=sum(count * share for count, share in tokens),
        stage_ends=_stage_ends(lines), conversations=conversations, drawn=drawn,
        left_out=tuple(_left_out(folder, bad)), unreadable=len(bad),
    )  # fmt: skip


def finite(value: Any) -> float | None:
    """A number that can be drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e15 or not math.isfinite(value):
        return None
    return float(value)


def _lines(path: Path, bad: list[int]) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; `bad` grows by the numbers of lines that are none."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                found = None
            if isinstance(found, dict):
                yield found
            elif line.strip():
                bad.append(number)


def _step_of(line: Mapping[str, Any]) -> int | None:
    step = finite(line.get("step"))
    return None if step is None or step < 0 else int(step)


def _series(lines: list[dict[str, Any]]) -> dict[str, Series]:
    """Every number of the lines over the steps; those of evaluations as `eval_…`."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        step = _step_of(line)
        if step is None:
            continue
        for name, value in line.items():
            number = finite(value)
            if number is None or name in _NO_SERIES or name.removeprefix("eval_") in _RUNTIME:
                continue
            if name in found or len(found) < MOST_SERIES:
                found.setdefault(name, {})[step] = number
    return {name: Series(name, tuple(sorted(points.items()))) for name, points in found.items()}


def _stage_ends(lines: list[dict[str, Any]]) -> tuple[int, ...]:
    last: dict[int, int] = {}
    for line in lines:
        stage, step = finite(line.get("stage")), _step_of(line)
        if stage is not None and step is not None:
            last[int(stage)] = max(step, last.get(int(stage), 0))
    return tuple(sorted(last.values())[:-1])


# What the model said


_Found = dict[tuple[Any, str], list[tuple[Mapping[str, Any], Said]]]


def _conversations(folder: Path, bad: list[int]) -> tuple[tuple[Conversation, ...], tuple[Conversation, ...]]:
    """Prompts that were answered at several times, and those of single steps, each answered once."""
    found: _Found = {}
    stages = sorted(folder.glob("stage-*/"), key=lambda path: (len(path.name), path.name))
    for place in [folder, *stages]:
        for number, line in enumerate(_lines(place / SAMPLES, bad)):
            if number >= _MOST_SAMPLES:
                break
            _put(found, line, place.name.removeprefix("stage-") if place != folder else "")
    watched: _Found = {}
    for look in _lines(folder / HELD_OUT, bad):
        answers = look.get("answers")
        for answer in answers if isinstance(answers, list) else ():
            if isinstance(answer, dict):
                _put(watched, {**answer, "step": look.get("step")}, "")
    again = list(watched.items())
    once = list(found.items())
    if not again and any(len(said) > 1 for _, said in once):
        again, once = once, []
    if len(once) > MOST_PROMPTS:  # from the first steps to the last
        once = [once[round(at * (len(once) - 1) / (MOST_PROMPTS - 1))] for at in range(MOST_PROMPTS)]
    return tuple(map(_conversation, again[:MOST_PROMPTS])), tuple(map(_conversation, once))


def _put(found: _Found, line: Mapping[str, Any], stage: str) -> None:
    text, ended = line.get("text"), line.get("ended")
    if not isinstance(text, str):
        return
    numbers = {
        name: number
        for name, value in line.items()
        if name not in {"step", "epoch", "line"} and (number := finite(value)) is not None
    }
    prompt = line.get("prompt")
    key = (finite(line.get("line")), prompt[:2000] if isinstance(prompt, str) else "")
    said = Said(_when(line, stage), text, ended if isinstance(ended, bool) else None, numbers)
    found.setdefault(key, []).append((line, said))


def _when(line: Mapping[str, Any], stage: str) -> str:
    step = _step_of(line)
    if step == 0:
        return "before training" if stage in {"", "1"} else f"before slice {stage}"
    told = "some time" if step is None else f"step {step:,}"
    return f"slice {stage}, {told}" if stage else told


def _conversation(
    one: tuple[tuple[Any, str], list[tuple[Mapping[str, Any], Said]]],
) -> Conversation:
    (line, _), held = one
    first = held[0][0]
    prompt, expected = first.get("prompt"), first.get("expected")
    said = [told for _, told in held]
    if len(said) > MOST_MOMENTS:
        said = [*said[: MOST_MOMENTS - 1], said[-1]]
    return Conversation(
        None if line is None else int(line),
        prompt if isinstance(prompt, str) else "",
        expected if isinstance(expected, str) else "",
        tuple(said),
    )


# Rows that were not trained


def _left_out(folder: Path, bad: list[int]) -> Iterator[LeftOut]:
    for name, file in (("removed", "removed.jsonl"), ("could not be read", "rejected.jsonl")):
        for at, line in enumerate(_lines(folder / file, bad)):
            if at == MOST_ROWS:
                break
            number = finite(line.get("line"))
            reason, detail = line.get("reason"), line.get("detail")
            told = ": ".join(one for one in (reason, detail) if isinstance(one, str) and one)
            text = line.get("text", line.get("row"))
            shown = text if isinstance(text, str) else orjson.dumps(text).decode() if text is not None else ""
            yield LeftOut(name, None if number is None else int(number), told, shown[:2000])
