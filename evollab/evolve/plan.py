"""From options to a plan: open the models, settle what "auto" means."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from evollab.evolve.gain import JUDGE_PROMPT
from evollab.evolve.operation import Domain, Shape
from evollab.evolve.options import EvolveOptions, parse_weights
from evollab.evolve.rounds import Plan
from evollab.llm import Sampling
from evollab.llm.session import Opened, Session
from evollab.plugs import find
from evollab.records import EvolError

QUALIFY = "qualify.json"


async def make_plan(session: Session, options: EvolveOptions, run: Path) -> tuple[Plan, dict[str, Any]]:
    """The plan, and what was settled on the way (for step.json and for people). Raises EvolError."""
    preset = options.defaults
    domain: Domain = find("evollab.evolve.domains", options.domain, "DOMAIN", "domain")
    evolver = await session.model(options.role("evolver"))
    judge = await session.model(options.role("judge"))
    answerer = await session.model(options.role("answerer"))
    names = tuple(op.name for op in domain.operations)
    if options.weights:
        weights = parse_weights(options.weights, names)
    else:
        weights = tuple(float(preset.operations is None or name in preset.operations) for name in names)
        if not sum(weights):  # the preset names operations of another domain
            weights = (1.0,) * len(names)
    sampling = Sampling(
        preset.temperature if options.temperature is None else options.temperature,
        preset.top_p if options.top_p is None else options.top_p,
        options.reply_tokens,
    )
    found = read_qualify(run)
    shape, why_shape = _shape(options, evolver, found)
    judging, why_judging = _judging(options, judge, found)
    plan = Plan(
        domain=domain,
        operations=domain.operations,
        weights=weights,
        rounds=options.rounds or preset.rounds,
        seed=options.seed,
        shape=shape,
        judging=judging,
        flow=preset.flow,
        thorough=preset.thorough,
        added_words=options.added_words,
        evolving=sampling,
        answering=_answering(options, answerer, sampling),
        send_seed=options.send_seed,
        answer_seeds=options.answer_seeds,
        evolver=evolver.ask,
        answerer=answerer.ask,
        judge=judge.ask,
        names={"evolver": evolver.ask.identity, "answerer": answerer.ask.identity}
        | ({"judge": judge.ask.identity} if judging == "model" else {}),
    )
    settled = {
        "rounds": plan.rounds,
        "weights": dict(zip(names, weights, strict=True)),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "shape": shape,
        "judging": judging,
        "flow": plan.flow,
        "models": plan.names,
        "prompts": prompts_digest(domain),
    }
    notes = [note for note in (why_shape, why_judging) if note]
    return plan, {"settled": settled, "notes": notes}


def _answering(options: EvolveOptions, answerer: Opened, sampling: Sampling) -> Sampling:
    """A small model answers near its best guess: at the paper's temperature it loses the thread."""
    if not answerer.connection.small:
        return sampling
    temperature = 0.2 if options.temperature is None else options.temperature
    return dataclasses.replace(sampling, temperature=temperature)


def _shape(options: EvolveOptions, evolver: Opened, found: Mapping[str, Any]) -> tuple[Shape, str]:
    known = found.get("shape", {}).get(evolver.ask.identity)
    if options.shape == "paper":
        return "paper", ""
    small = options.shape == "tail" or known == "tail" or (known is None and evolver.connection.small)
    if not small:
        return "paper", ""
    return "tail", (
        f"{evolver.name} is asked in the tail shape: the program keeps each original and the model adds the end of "
        "a sentence. This keeps a small model usable; it doesn't make its data good."
    )


def _judging(options: EvolveOptions, judge: Opened, found: Mapping[str, Any]) -> tuple[Literal["model", "rule"], str]:
    fit = found.get("judge_fit", {}).get(judge.ask.identity)
    if options.judging == "model":
        return "model", ""
    if options.judging == "auto" and (fit is True or (fit is None and not judge.connection.small)):
        return "model", ""
    why = "by option" if options.judging == "rule" else "it is not fit to judge" if fit is False else "it is small"
    return "rule", (
        f"{judge.name} was not asked whether an evolution adds anything ({why}); a rule on the words added "
        "stands in for the judge."
    )


def read_qualify(run: Path) -> dict[str, Any]:
    """What `evol qualify` found in this run folder, {} when it was not run."""
    path = run / "0-qualify" / QUALIFY
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{path}: not JSON ({error})", "remove it and run evol qualify again") from None
    return found


def prompts_digest(domain: Domain) -> str:
    """Changes when any prompt of the domain, or the judge's, does."""
    texts = orjson.dumps([dict(domain.prompts), JUDGE_PROMPT], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(texts, digest_size=8).hexdigest()
