"""What `evol analyse` may ask of models: which attributes, of how many rows, how."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from evollab.data.judge_prompts import FIELDS, digest
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.llm.session import ModelOptions
from evollab.records import EvolError

WHAT = tuple(FIELDS)
"""The attributes that a judge gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions(ModelOptions):
    """Which model judges what. The fields of `ModelOptions` come on top."""

    with_model: str = option(
        "model that judges, as PROVIDER:NAME; without one no model is asked", "", flag="--with", metavar="MODEL"
    )
    judge_what: str = option("attributes that the judge gives, parted by commas", ",".join(WHAT), metavar="LIST")
    judge_sample: int | None = option(
        "ask models about N rows alone, drawn by chance; the rows of a lineage are drawn together, so it may be a few "
        "more",
        None, metavar="N",
    )  # fmt: skip
    self_agreement: float = option(
        "share of the rows that are judged a second time, asked a little otherwise, to see how far the judge agrees "
        "with itself",
        0.05, metavar="SHARE",
    )  # fmt: skip
    target: str = option(
        "model whose pass rate is measured: how often its answers are right; rows need a response to compare with",
        "", metavar="MODEL",
    )  # fmt: skip
    samples: int = option("answers of the target to each row", 4, metavar="K")
    target_temperature: float = option("temperature of the target's answers", 1.0, metavar="T")
    target_tokens: int = option("tokens that one answer of the target may have", 2048, metavar="N")
    reply_tokens: int = option("tokens that one reply of the judge may have", 1024, metavar="N")
    seed: int = option("number that all draws depend on", 0, metavar="N")
    send_seed: bool = option(
        "send a seed with each request; the flag turns it off, for servers that refuse the field",
        True, flag="--no-seed",
    )  # fmt: skip
    extra_body: tuple[str, ...] = option(
        "NAME=JSON to set in each request body, repeatable; null takes a field out (temperature=null)",
        (), metavar="NAME=JSON",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super(JudgeOptions, self).__post_init__()
        for name in ("judge_sample", "samples", "target_tokens", "reply_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
        if not 0 <= self.self_agreement <= 1:
            raise EvolError(f"--self-agreement {self.self_agreement:g}: expected a share from 0 to 1")
        if not 0 <= self.target_temperature <= 2:
            raise EvolError(f"--target-temperature {self.target_temperature:g}: expected 0 to 2")
        if not self.what:
            raise EvolError("--judge-what is empty", f"expected some of {', '.join(WHAT)}")

    @property
    def what(self) -> tuple[str, ...]:
        """The attributes that are asked for, in the order of WHAT. Raises EvolError for an unknown one."""
        named = [name.strip() for name in self.judge_what.split(",") if name.strip()]
        for name in named:
            if name not in WHAT:
                near = difflib.get_close_matches(name, WHAT, 1, 0.5)
                raise EvolError(
                    f"--judge-what: no attribute {excerpt(name, 40)!r}; there are {', '.join(WHAT)}",
                    f"did you mean {near[0]}?" if near else "",
                )
        return tuple(name for name in WHAT if name in named)

    @property
    def asks(self) -> bool:
        """Whether any model is asked anything."""
        return bool(self.with_model or self.target)

    def config(self) -> dict[str, Any]:
        """What the attributes depend on, for step.json: not how models are reached, paced and paid for."""
        reach = {field.name for field in dataclasses.fields(ModelOptions)}
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(JudgeOptions)}
        kept = {name: value for name, value in told.items() if name not in reach}
        return kept | {"judge_what": list(self.what), "extra_body": list(self.extra_body), "prompts": digest()}
