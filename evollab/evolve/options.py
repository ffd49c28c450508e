"""All options of `evol evolve`, for the command line and for recipes; and the presets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evollab.llm.option import option
from evollab.llm.session import ModelOptions
from evollab.records import EvolError


@dataclass(frozen=True, slots=True)
class Preset:
    """Named values for everything that shapes a run.

    flow: "eager" answers and judges every child (three calls each, the paper's accounts);
    "thrifty" checks first, then judges, then answers only what survived (2 + survival calls).
    thorough: all checks, protected blocks and the word budget; otherwise the paper's four rules.
    """

    top_p: float
    temperature: float
    rounds: int
    operations: tuple[str, ...] | None
    flow: Literal["eager", "thrifty"]
    thorough: bool


_RELEASED = ("add-constraint", "deepen", "concretise", "reasoning", "in-breadth")

PRESETS: Mapping[str, Preset] = {
    "paper": Preset(0.9, 1.0, 4, None, "eager", thorough=False),
    "release": Preset(0.95, 1.0, 4, _RELEASED, "eager", thorough=False),
    "efficient": Preset(0.95, 1.0, 4, None, "thrifty", thorough=True),
}
"""paper: as published (2304.12244): top_p 0.9, six operations with probability 1/6 each, three calls
a child, its four rules. release: the script that was released: top_p 0.95 and five operations (it has
no complicate-input), with the paper's rules. efficient: every check we know, cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolveOptions(ModelOptions):
    """What to evolve, with what, how far. The fields of `ModelOptions` come on top."""

    model: str = option("model for everything not named below, as PROVIDER:NAME", "", metavar="MODEL")
    evolver: str | None = option("model that rewrites", None, metavar="MODEL")
    answerer: str | None = option("model that answers", None, metavar="MODEL")
    judge: str | None = option("model that compares", None, metavar="MODEL")
    preset: str = option("named values for all that follows", "efficient", choices=tuple(PRESETS))
    domain: str = option("what the instructions are about: a name or a path to a file", "general")
    rounds: int | None = option("generations to grow from each seed; default: the preset's", None, metavar="N")
    weights: tuple[str, ...] = option(
        "operation=weight, repeatable; operations not named get 0; default: the preset's, all alike",
        (), flag="--weight", metavar="OP=W",
    )  # fmt: skip
    seed: int = option("number that all draws depend on", 0, metavar="N")
    limit: int | None = option("use the first N seeds only", None, metavar="N")
    format: str | None = option("format of the seeds, where it can't be told", None, metavar="FORMAT")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")
    strict: bool = option("stop at the first bad row, before anything is asked", False)
    answer_seeds: str = option(
        "responses to the seeds: keep what the file has, ask for the missing, or ask for all anew",
        "keep", choices=("keep", "missing", "all"),
    )  # fmt: skip
    shape: str = option(
        "how the evolver is asked: paper (rules, whole rewriting) or tail (examples, forced beginning; for "
        "small models); auto: what qualify found, else tail for local models under 1.5 GB",
        "auto", choices=("auto", "paper", "tail"),
    )  # fmt: skip
    judging: str = option(
        "who finds that nothing was added: the judge, or a rule on the words added; auto: what qualify "
        "found, else the rule for local models under 1.5 GB",
        "auto", choices=("auto", "model", "rule"),
    )  # fmt: skip
    temperature: float | None = option("of evolving and answering; default: the preset's", None, metavar="T")
    top_p: float | None = option("of evolving and answering; default: the preset's", None, metavar="P")
    reply_tokens: int = option("tokens that one reply may have", 2048, metavar="N")
    added_words: int = option(
        "words that a rewriting may add: asked for, and enforced at one and a half times; 0: not enforced",
        20, metavar="N",
    )  # fmt: skip
    send_seed: bool = option(
        "send a seed with each request; the flag turns it off, for servers that refuse the field",
        True,
        flag="--no-seed",
    )
    extra_body: tuple[str, ...] = option(
        "NAME=JSON to set in each request body, repeatable; null takes a field out (temperature=null)",
        (),
        metavar="NAME=JSON",
    )

    def __post_init__(self) -> None:
        super(EvolveOptions, self).__post_init__()
        if self.preset not in PRESETS:
            raise EvolError(f"--preset {self.preset!r}: expected one of {', '.join(PRESETS)}")
        for name, low in (("rounds", 1), ("limit", 1), ("reply_tokens", 1), ("added_words", 0)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected {low} or more")
        for name, high in (("temperature", 2.0), ("top_p", 1.0)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= high:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected 0 to {high:g}")
        if not self.model and not (self.evolver and self.answerer and self.judge):
            raise EvolError(
                "no model given",
                "--model openai:NAME, local:smollm2 or local:PATH.gguf (or all of --evolver, --answerer, --judge)",
            )

    @property
    def defaults(self) -> Preset:
        return PRESETS[self.preset]

    def role(self, name: Literal["evolver", "answerer", "judge"]) -> str:
        """The model for a role."""
        return getattr(self, name) or self.model

    def config(self) -> dict[str, Any]:
        """The options that decide what a run makes, for step.json. Reaching, pacing and paying for
        models (`ModelOptions`) can change between two starts of one run."""
        reach = {field.name for field in dataclasses.fields(ModelOptions)}
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in reach}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def parse_weights(pairs: tuple[str, ...], names: tuple[str, ...]) -> tuple[float, ...]:
    """Weights in the order of `names` from OP=W pairs. Raises EvolError on unknown names, numbers
    below zero or not finite, and weights that are all zero."""
    weights = dict.fromkeys(names, 0.0)
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in weights:
            raise EvolError(f"--weight {pair}: no operation {name!r}; there are: {', '.join(names)}")
        try:
            weights[name] = float(value)
        except ValueError:
            raise EvolError(f"--weight {pair}: expected OPERATION=NUMBER") from None
        if not (0 <= weights[name] < math.inf):
            raise EvolError(f"--weight {pair}: expected a number of 0 or more")
    if not sum(weights.values()):
        raise EvolError("--weight: all weights are 0; nothing could be drawn")
    return tuple(weights.values())
