"""The verb `vote`: of several answers to each question, the final answer that their steps speak for.

A process reward model scores the steps of every answer; the final answer with the greatest sum of scores is chosen
(WizardMath, 2308.09583, section 4). Beside it stands what most answers say, without scores.

OUT/votes.jsonl      a line for each question: {"line", "id", "prompt", "final", "answer", "weights", "plurality",
                     "scores", "right", "plurality_right"}
OUT/removed.jsonl    rows and questions that nobody could vote on, with reasons; OUT/rejected.jsonl: unreadable ones
OUT/step.json        what was asked, what came of it
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from evollab.data.items import RowOptions
from evollab.data.rows import excerpt
from evollab.data.rowstep import REJECTED, REMOVED, RowFiles, RowStep, row_step
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.runs import whole_file
from evollab.train import checkpoint, machine
from evollab.train.rewards import StepScores
from evollab.train.scoring import AGGREGATIONS, aggregate, vote
from evollab.train.stages import interval
from evollab.train.verifiers import same_answer, verifiable
from evollab.train.vote_rows import Question, final_of, read_questions

VOTES = "votes.jsonl"
UNSCORED = "not_scored"
_AT_ONCE = 32
"""Questions whose answers are scored together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteOptions(RowOptions):
    """Whose scores count, and how."""

    prm: str = option("process reward model, of `train prm`", "", metavar="MODEL")
    aggregate: str = option("how the scores of steps become one of the answer", "min", choices=AGGREGATIONS)
    reference: str = option(
        "column that tells what is right; default: reference, or beside a list of answers the row's own answer", "",
        metavar="COLUMN",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not self.prm:
            raise EvolError("no --prm given", "evol vote answers.jsonl --prm runs/prm/model")
        if self.aggregate not in AGGREGATIONS:
            raise EvolError(f"--aggregate {excerpt(self.aggregate, 40)!r}: expected {', '.join(AGGREGATIONS)}")
        self.mapping()


@dataclass(frozen=True, slots=True)
class VoteResult:
    """What came of it. counts: questions, answers, silent (questions where no answer comes to anything), differ
    (questions where scores choose otherwise than most answers), removed, rejected. accuracy: of the questions whose
    reference a rule can compare with, {} without any: `of`, how many; `single`, the share of all answers that are
    right; `plurality` and `weighted`, of chosen ones; `won` and `lost`, questions where only one of the two is right.
    """

    folder: Path
    counts: Mapping[str, int]
    accuracy: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts, told = self.counts, list(self.notes)
        for name, file in (("removed", REMOVED), ("rejected", REJECTED)):
            if counts[name]:
                told.append(f"note: {counts[name]:,} {name}; see {self.folder / file}")
        if counts["silent"]:
            told.append(f"note: {counts['silent']:,} questions have no answer that comes to anything")
        if self.accuracy:
            found, of = self.accuracy, int(self.accuracy["of"])
            told.append(f"of {of:,} questions with a reference: single answers {found['single']:.1%} right")
            for name, text in (("plurality", "what most say"), ("weighted", "weighted by steps")):
                low, high = interval(found[name], of)
                told.append(f"{text}: {found[name]:.1%} ({low:.1%} to {high:.1%})")
            told.append(f"only the weighted vote is right: {found['won']:,.0f}; only the other: {found['lost']:,.0f}")
        told.append(
            f"{self.folder / VOTES}: {counts['questions']:,} questions, {counts['answers']:,} answers; scores choose "
            f"otherwise than most answers in {counts['differ']:,}"
        )
        return "\n".join(told)


def vote_answers(data: str, out: Path | None, options: VoteOptions, steps: StepScores | None = None) -> VoteResult:
    """Choose an answer to each question of `data` (see `vote_rows`) into the folder `out` (default: see
    `rowstep.place_of`).

    steps: scores of steps as a function, in place of `options.prm`; who gives another for the same folder must give
    another `out`. What is complete is not done again. Raises EvolError for what is no process reward model, for data
    without answers, and for a folder that was made otherwise.
    """
    if steps is None:
        machine.require("vote")
        machine.prepare()
    known = checkpoint.identity(options.prm) if steps is None else options.prm
    config = {name: value for name, value in dataclasses.asdict(options).items() if name != "prm"}
    inputs = {"prm": known}
    with row_step("vote", data, out, config, verb="vote", files=(VOTES,), inputs=inputs) as step:
        if step.done is not None:
            note = ("note: this was done before; nothing was left to do",)
            return VoteResult(step.folder, step.done["counts"], step.done["accuracy"], note)
        if steps is None:
            from evollab.train.scoring import StepScorer

            steps = StepScorer(options.prm)
        counts, accuracy = _Count(step, options, steps).run()
        step.complete(counts=counts, accuracy=accuracy, prm=options.prm)
        return VoteResult(step.folder, counts, accuracy)


class _Count:
    """One counting of all votes."""

    def __init__(self, step: RowStep, options: VoteOptions, steps: StepScores) -> None:
        self._step, self._options, self._steps = step, options, steps
        self._counts = dict.fromkeys(("questions", "answers", "silent", "differ"), 0)
        self._right = dict.fromkeys(("of", "single", "plurality", "weighted", "won", "lost"), 0.0)

    def run(self) -> tuple[dict[str, int], dict[str, float]]:
        folder, options = self._step.folder, self._options
        with (
            whole_file(folder / VOTES) as votes,
            whole_file(folder / REMOVED) as removed,
            whole_file(folder / REJECTED) as rejected,
        ):
            files = RowFiles(io.BytesIO(), removed, rejected)
            questions = read_questions(self._step.source, options, options.reference, files, folder)
            while some := list(islice(questions, _AT_ONCE)):
                for question, scores in self._scored(some, files):
                    votes.write(orjson.dumps(self._told(question, scores)) + b"\n")
            removals = sum(files.reasons.values())
            if not self._counts["questions"]:
                raise EvolError(
                    f"{excerpt(self._step.source, 100)}: no question has answers that can be voted on",
                    'rows {"prompt": ..., "answers": [...]}, or {"id": ..., "prompt": ..., "answer": ...}',
                )
        right, of = self._right, self._right["of"]
        shares = {name: right[name] / of for name in ("single", "plurality", "weighted")} if of else {}
        accuracy = {**right, **shares} if of else {}
        return {**self._counts, "removed": removals, "rejected": files.bad}, accuracy

    def _scored(self, some: Sequence[Question], files: RowFiles) -> Iterator[tuple[Question, list[float]]]:
        """Questions with a score of each answer. What the model can't take (an answer that is too long, turns without
        a place in its format) is put aside."""
        try:
            found = self._scores(some)
        except EvolError as error:
            if len(some) == 1:
                row = orjson.dumps({"prompt": some[0].turns[-1].content, "answers": some[0].answers})
                files.put_aside(row, some[0].line, some[0].id, UNSCORED, detail=error.message)
                return
            for one in some:
                yield from self._scored([one], files)
            return
        yield from zip(some, found, strict=True)

    def _scores(self, some: Sequence[Question]) -> list[list[float]]:
        turns = [question.turns for question in some for _ in question.answers]
        flat = iter(self._steps(turns, [answer for question in some for answer in question.answers]))
        return [[aggregate(next(flat), self._options.aggregate) for _ in question.answers] for question in some]

    def _told(self, question: Question, scores: Sequence[float]) -> dict[str, Any]:
        answers = question.answers
        finals = [final_of(answer) for answer in answers]
        weighted, plurality = vote(answers, finals, scores), vote(answers, finals, [1.0] * len(answers))
        self._counts["questions"] += 1
        self._counts["answers"] += len(answers)
        self._counts["silent"] += weighted is None
        self._counts["differ"] += weighted != plurality
        chosen, common = (_best(final, answers, finals, scores) for final in (weighted, plurality))
        right = self._judged(question, chosen, common)
        each = {
            final: [score for one, score in zip(finals, scores, strict=True) if one == final]
            for final in dict.fromkeys(finals)
            if final is not None
        }
        weights = [{"final": final, "weight": math.fsum(parts), "answers": len(parts)} for final, parts in each.items()]
        return {
            "line": question.line, "id": question.id, "prompt": question.turns[-1].content, "final": weighted,
            "answer": chosen, "weights": sorted(weights, key=lambda one: -float(str(one["weight"]))),
            "plurality": plurality, "scores": list(scores), "right": right[0], "plurality_right": right[1],
        }  # fmt: skip

    def _judged(
        self, question: Question, chosen: str | None, common: str | None
    ) -> tuple[bool, bool] | tuple[None, None]:
        reference = question.reference
        if reference is None or not verifiable(reference):
            return None, None
        weighted, plurality = (one is not None and same_answer(reference, one) for one in (chosen, common))
        single = sum(same_answer(reference, one) for one in question.answers) / len(question.answers)
        found = {
            "of": 1, "single": single, "plurality": plurality, "weighted": weighted,
            "won": weighted and not plurality, "lost": plurality and not weighted,
        }  # fmt: skip
        for name, value in found.items():
            self._right[name] += value
        return weighted, plurality


def _best(
    final: str | None, answers: Sequence[str], finals: Sequence[str | None], scores: Sequence[float]
) -> str | None:
    """The answer with the highest score among those that come to `final`, the first among equals."""
    if final is None:
        return None
    own = [number for number, one in enumerate(finals) if one == final]
    return answers[max(own, key=lambda number: scores[number])]
