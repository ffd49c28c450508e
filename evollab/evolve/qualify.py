"""Is this model a fit evolver, and a fit judge? Fifty rows tell, before money is spent.

A weak evolver makes data worse than no evolving (WizardLM, 2304.12244: 56.3 against 59.0 with
Llama-2-70B in the place of gpt-3.5-turbo), and a weak judge says the same of any two prompts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from evollab.evolve.eliminate import RULES
from evollab.evolve.gain import EQUAL_PAIRS, UNEQUAL_PAIRS, judge_prompt, read_verdict
from evollab.evolve.options import EvolveOptions
from evollab.evolve.plan import QUALIFY, make_plan
from evollab.evolve.rounds import Lineage, Plan
from evollab.evolve.step import chosen_seeds, grow_few
from evollab.llm import CallFailed, Model, Request, Sampling
from evollab.llm.fill import fill
from evollab.llm.pairs import parse_extra
from evollab.llm.session import session
from evollab.llm.watching import say
from evollab.records import EvolError, Instruction, Message
from evollab.runs import locked, write_json
from evollab.words import count_words

FIT_AGREEMENT = 0.8
FIT_ACCURACY = 0.75
_TRIAL_ROWS = 12
_WEAK = 0.4
_FIT = 0.7

RATE_PROMPT = """\
How difficult is the following prompt for an AI assistant? Consider how much knowledge, how many steps and how much \
care a good answer takes. Reply with a whole number from 1 (trivial) to 10 (an expert would struggle), and nothing else.

<<<
{{instruction}}
>>>

Difficulty:"""


@dataclass(frozen=True, slots=True)
class JudgeFitness:
    """Both orders of twelve pairs with known verdicts. agreement: share of pairs that got the same
    verdict in both orders; accuracy: share of all replies that were right; unparsed: no verdict."""

    agreement: float
    accuracy: float
    unparsed: int

    @property
    def fit(self) -> bool:
        return self.agreement >= FIT_AGREEMENT and self.accuracy >= FIT_ACCURACY


async def judge_fitness(judge: Model) -> JudgeFitness:
    """Ask `judge` about pairs of which the verdict is known, in both orders. Raises Stopped."""

    async def ask(first: str, second: str) -> str | None:
        request = Request(
            (Message("user", judge_prompt(first, second)),), None, Sampling(0.0, 1.0, 128), purpose="judge"
        )
        try:
            return read_verdict((await judge(request)).text)
        except CallFailed:
            return None

    pairs = [(pair, "equal") for pair in EQUAL_PAIRS] + [(pair, "not equal") for pair in UNEQUAL_PAIRS]
    both = await asyncio.gather(*(asyncio.gather(ask(a, b), ask(b, a)) for (a, b), _ in pairs))
    verdicts = [verdict for two in both for verdict in two]
    right = sum(verdict == truth for two, (_, truth) in zip(both, pairs, strict=True) for verdict in two)
    agreed = sum(one == other and one is not None for one, other in both)
    return JudgeFitness(agreed / len(pairs), right / len(verdicts), sum(v is None for v in verdicts))


async def rate_difficulty(judge: Model, instruction: Instruction) -> int | None:
    """1 to 10, or None when the reply holds no such number."""
    prompt = fill(RATE_PROMPT, instruction=instruction.prompt)
    try:
        reply = await judge(Request((Message("user", prompt),), None, Sampling(0.0, 1.0, 16), purpose="rate"))
    except CallFailed:
        return None
    found = re.search(r"\b(10|[1-9])\b", reply.text[:200])
    return int(found.group()) if found else None


def survival(lineages: list[Lineage]) -> float:
    kept = sum(len(one.kept) - 1 for one in lineages)
    tried = kept + sum(len(one.dropped) for one in lineages)
    return kept / tried if tried else 0.0


async def qualify(seeds: str, out: Path, options: EvolveOptions, rows: int) -> str:
    """Evolve `rows` seeds for one round; examine the judge; write <out>/0-qualify/qualify.json, which
    a run in the same folder follows; return a text for people. Raises EvolError."""
    if rows < 2:
        raise EvolError(f"--rows {rows}: expected 2 or more")
    with locked(out, "evol qualify"):
        async with session(out, options, parse_extra(options.extra_body)) as opened:
            judge = await opened.model(options.role("judge"))
            fitness = await judge_fitness(judge.ask)
            judging = "model" if fitness.fit and options.judging != "rule" else "rule"
            settled = dataclasses.replace(options, judging=judging, rounds=1)
            plan, _ = await make_plan(opened, settled, out)
            sample = list(islice(chosen_seeds(seeds, settled, lambda _: None), rows))
            plan = await _better_shape(plan, sample, options, opened)
            lineages = await grow_few(plan, sample, opened)
            pairs = [(one.kept[0], row) for one in lineages for row in one.kept[1:]]
            drift = await _difficulty(judge.ask, pairs) if fitness.fit else None
            evolver = plan.names["evolver"]
            facts = _facts(lineages, pairs, fitness, drift, plan)
            facts["shape"] = {evolver: plan.shape}
            facts["judge_fit"] = {judge.ask.identity: fitness.fit}
    folder = out / "0-qualify"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / QUALIFY, facts)
    return _tell(facts, evolver, judge.name, out)


async def _better_shape(plan: Plan, sample: list[Instruction], options: EvolveOptions, opened: Any) -> Plan:
    """Try the other shape on a few rows where the first one fails, and take what survives better."""
    if options.shape != "auto" or not any(op.tails for op in plan.operations):
        return plan
    here = survival(await grow_few(plan, sample[:_TRIAL_ROWS], opened))
    if here >= _WEAK and plan.shape == "paper":
        return plan
    other = dataclasses.replace(plan, shape="tail" if plan.shape == "paper" else "paper")
    try:
        there = survival(await grow_few(other, sample[:_TRIAL_ROWS], opened))
    except EvolError as error:
        say(f"note: the {other.shape} shape can't be tried here ({error.message})")
        opened.stop.reason, opened.stop.error = "", None
        return plan
    return other if there > here else plan


async def _difficulty(judge: Model, pairs: list[tuple[Instruction, Instruction]]) -> dict[str, Any]:
    async def both(before: Instruction, after: Instruction) -> tuple[int | None, int | None]:
        return await rate_difficulty(judge, before), await rate_difficulty(judge, after)

    rated = await asyncio.gather(*(both(*pair) for pair in pairs))
    whole = [(a, b) for a, b in rated if a is not None and b is not None]
    return {
        "rated": len(whole),
        "unparsed": len(rated) - len(whole),
        "before": round(mean(a for a, _ in whole), 2) if whole else None,
        "after": round(mean(b for _, b in whole), 2) if whole else None,
        "harder": sum(b > a for a, b in whole),
        "easier": sum(b < a for a, b in whole),
    }


def _facts(
    lineages: list[Lineage], pairs: list[tuple[Instruction, Instruction]], fitness: JudgeFitness,
    drift: dict[str, Any] | None, plan: Plan,
) -> dict[str, Any]:  # fmt: skip
    dropped = Counter(drop.rule for one in lineages for drop in one.dropped)
    by_operation: dict[str, dict[str, int]] = {}
    for one in lineages:
        results = [(row.operation, 1) for row in one.kept[1:]]
        results += [(drop.instruction.operation, 0) for drop in one.dropped]
        for name, kept in results:
            counts = by_operation.setdefault(name, {"tried": 0, "kept": 0})
            counts["tried"] += 1
            counts["kept"] += kept
    return {
        "rows": len(lineages),
        "unfinished": sum(bool(one.unfinished) for one in lineages),
        "survival": round(survival(lineages), 3),
        "dropped": dict(dropped.most_common()),
        "by_operation": dict(sorted(by_operation.items())),
        "words": {
            "before": round(mean(count_words(a.prompt) for a, _ in pairs), 1) if pairs else None,
            "after": round(mean(count_words(b.prompt) for _, b in pairs), 1) if pairs else None,
        },
        "difficulty": drift,
        "judge": dataclasses.asdict(fitness) | {"fit": fitness.fit},
        "judged_by": plan.judging,
    }


def _tell(facts: dict[str, Any], evolver: str, judge: str, out: Path) -> str:
    share, words, drift, fitness = facts["survival"], facts["words"], facts["difficulty"], facts["judge"]
    verdict = "fit" if share >= _FIT else "usable with losses" if share >= _WEAK else "not fit"
    shape = facts["shape"][evolver]
    lines = [
        f"{evolver} as an evolver: {verdict}. {share:.0%} of {facts['rows']} evolutions survive ({shape} shape).",
        *(f"  {count:3d}  {rule:15s} {RULES.get(rule, '')}" for rule, count in facts["dropped"].items()),
        "by operation: "
        + ", ".join(f"{name} {c['kept']}/{c['tried']}" for name, c in facts["by_operation"].items()),
    ]  # fmt: skip
    if words["before"] is not None:
        lines.append(f"words: {words['before']} before, {words['after']} after")
    if drift and drift["before"] is not None:
        lines.append(
            f"difficulty (1 to 10, judged): {drift['before']} before, {drift['after']} after; "
            f"{drift['harder']} harder, {drift['easier']} easier of {drift['rated']}"
        )
    lines.append(
        f"{judge} as a judge: {'fit' if fitness['fit'] else 'not fit'}. Both orders agree on "
        f"{fitness['agreement']:.0%} of 12 pairs, {fitness['accuracy']:.0%} of the verdicts are right"
        + ("" if fitness["fit"] else "; a rule on the words added stands in for it")
    )
    if facts["unfinished"]:
        lines.append(f"{facts['unfinished']} rows got no reply; run it again to try them")
    lines.append(f"kept in {out / '0-qualify' / QUALIFY}; evol evolve with --out {out} follows it")
    return "\n".join(lines)
