"""An operation is a value: a name and the prompts that make a model carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["paper", "tail"]
"""How an evolver is asked. "paper": the rules and the whole rewriting, for models that follow
instructions. "tail": worked examples and a forced beginning; the program keeps the original and the
model writes 5 to 20 words. Models under about a billion parameters can only do the second."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The small-model shape: `prompt` is a plain text with worked examples that ends in `lead`; what
    the model goes on with, up to the end of the line, is put behind `joint`."""

    prompt: str
    """Holds {{instruction}}; ends where the model has to go on."""
    joint: str
    """What the child has between the parent's text and the completion ("" for a new prompt)."""
    free: bool = False
    """Whether the completion may be about anything (a limit on form), not only about the same thing."""


@dataclass(frozen=True, slots=True)
class Format:
    """A data format for complicate-input: its name, the language tag of its code fence, and one
    worked example (prompt before, prompt after)."""

    name: str
    fence: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to evolve an instruction.

    kind: "depth" rewrites the parent and keeps its material; "breadth" writes a new prompt.
    prompt: the paper shape; holds {{instruction}}, may hold {{context}}, {{budget}}, {{format}},
    {{before}} and {{after}}. tails: small-model shapes, one of which is drawn.
    formats: the data formats to draw from when the operation adds data.
    """

    name: str
    kind: Literal["depth", "breadth"]
    prompt: str
    tails: tuple[Tail, ...] = ()
    formats: tuple[Format, ...] = ()


@dataclass(frozen=True, slots=True)
class Domain:
    """What a domain file holds under the name DOMAIN.

    operations: drawn with equal probability unless weights are given.
    leaks: phrases of the method that must not turn up in a result, beside the markers.
    """

    name: str
    operations: tuple[Operation, ...]
    leaks: tuple[str, ...] = ()

    def operation(self, name: str) -> Operation:
        return next(op for op in self.operations if op.name == name)

    @property
    def prompts(self) -> Mapping[str, str]:
        """Every prompt text by name, for digests and snapshots."""
        texts: dict[str, str] = {}
        for op in self.operations:
            texts[f"{op.name}.paper"] = op.prompt
            for n, tail in enumerate(op.tails):
                texts[f"{op.name}.tail.{n}"] = f"{tail.prompt}\n{tail.joint}"
            for form in op.formats:
                texts[f"{op.name}.{form.name}"] = f"{form.before}\n{form.after}"
        return texts
