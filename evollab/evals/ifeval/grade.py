"""From answers to marks and figures: strict and loose, by prompt and by instruction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind
from evollab.evals.ifeval.registry import Instruction, instruction, loose, strict
from evollab.evals.ifeval.tongues import language_detector
from evollab.evals.ifeval.words import sentence_splitter
from evollab.evals.metric import Metric
from evollab.evals.outputs import usual
from evollab.evals.stats import share
from evollab.evals.trial import Answer, Given, Mark, Marked, Tools

_STRICT = "strict: "
_LOOSE = "loose: "
LOOSE = "prompt loose"


def instructions(fields: Mapping[str, Any]) -> list[Instruction]:
    """The instructions of a row: instruction_id_list, and kwargs, one object for each, where null stands for arguments
    that aren't there. Raises BadFields."""
    names = fields.get("instruction_id_list")
    if not isinstance(names, list) or not names:
        raise BadFields(f"field 'instruction_id_list' is {kind(names)}; expected a list of ids")
    given = fields.get("kwargs")
    given = [{}] * len(names) if given is None else given
    if not isinstance(given, list) or len(given) != len(names):
        raise BadFields(f"field 'kwargs' is {kind(given)}; expected a list of {len(names)} objects")
    return [instruction(name, one) for name, one in zip(names, given, strict=True)]


def gold_of(fields: Mapping[str, Any]) -> list[list[Any]]:
    """The instructions of a row as JSON."""
    return [[one.name, dict(one.given)] for one in instructions(fields)]


def given(row: Row) -> Given | None:
    """A row of outputs: the usual columns, the reference's eval_results (response, follow_all_instructions), or
    lm-eval's samples (doc, resps). Its instructions are taken from it where it says enough of them."""
    doc = row.fields.get("doc")
    fields = {**doc, **row.fields} if isinstance(doc, dict) else row.fields
    found = next(usual(row._replace(fields=fields)))
    try:
        gold = gold_of(fields)
    except BadFields:
        gold = None
    told = fields.get("follow_all_instructions", fields.get("prompt_level_strict_acc"))
    published = float(told) if isinstance(told, (bool, int, float)) else None
    return Given(found.id, found.text, found.texts, gold, published=published)


async def grade(answers: Sequence[Answer], tools: Tools) -> Sequence[Mark]:
    """A mark for each answer. score: 1 where all instructions are kept, by the strict reading; more: the loose one, and
    each instruction's verdict in both."""
    tools.facts.update(sentences=sentence_splitter(), languages=language_detector())
    return await asyncio.to_thread(lambda: [_mark(answer) for answer in answers])


def _mark(answer: Answer) -> Mark:
    wanted = [instruction(name, arguments) for name, arguments in answer.question.gold]
    text = answer.texts[-1] if answer.texts else ""
    plain, kind_one = strict(text, wanted), loose(text, wanted)
    names = [f"{at} {one.name}" for at, one in enumerate(wanted, 1)]
    verdicts = {f"{_STRICT}{name}": float(kept) for name, kept in zip(names, plain, strict=True)}
    verdicts |= {f"{_LOOSE}{name}": float(kept) for name, kept in zip(names, kind_one, strict=True)}
    broken = [one.name for one, kept in zip(wanted, plain, strict=True) if not kept]
    return Mark(
        float(all(plain)),
        reason=f"not kept: {', '.join(broken)}" if broken else "all kept",
        failure="" if text.strip() else "no answer",
        more={LOOSE: float(all(kind_one)), **verdicts},
    )


def metrics(marked: Sequence[Marked]) -> Sequence[Metric]:
    """The four figures of the paper, prompt-level strict first, then the instructions of each family (strict)."""
    counted = [(answer.question.id, mark) for answer, mark in marked if mark.score is not None]
    found = [
        share("prompt strict", [bool(mark.score) for _, mark in counted], [name for name, _ in counted]),
        share(LOOSE, [bool(mark.more.get(LOOSE)) for _, mark in counted], [name for name, _ in counted]),
        _instructions("instruction strict", counted, _STRICT),
        _instructions("instruction loose", counted, _LOOSE),
    ]
    families = dict.fromkeys(_family(name) for _, mark in counted for name in mark.more if name.startswith(_STRICT))
    return found + [_instructions(f"{family} strict", counted, _STRICT, family) for family in sorted(families)]


def _instructions(name: str, counted: Sequence[tuple[str, Mark]], which: str, family: str = "") -> Metric:
    pairs = [
        (bool(value), question)
        for question, mark in counted
        for key, value in mark.more.items()
        if key.startswith(which) and family in ("", _family(key))
    ]
    return share(name, [kept for kept, _ in pairs], [question for _, question in pairs])


def _family(key: str) -> str:
    """The family of a verdict's key: keywords, of "strict: 1 keywords:existence"."""
    return key.split(" ", 2)[2].partition(":")[0]
