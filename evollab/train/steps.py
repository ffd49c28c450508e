"""The steps of an answer: one segmentation and one way to ids for labelling, training and scoring.

Where these three cut differently, a process reward model is asked about places that it never learnt (in
QwenLM/ProcessBench, mending that alone was worth four points of F1). So steps are cut by `steps_of` alone, put
together again with one separator, and each is coded by itself: the end of a step is always the end of a token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evollab.chat import Renderer
from evollab.pieces import Coder, Piece
from evollab.records import Message

SEPARATOR = "\n\n"
"""Between two steps, whatever stood there."""
_HEADING = re.compile(r"(?:#{1,6} |\*\*|\*)?[Ss](?:tep|TEP) {0,2}\d{1,4}\b")
_FENCES = ("```", "$$")


def steps_of(text: str) -> list[str]:
    """The steps of an answer, without blanks around them.

    A step ends at a blank line and before a line that begins with "Step 1" (or 2, 3 ...; also as a heading or
    bold). Where the text has neither, every line is a step. Code between ``` and formulas between $$ or \\[ and \\]
    are never cut. Blank text has no steps. What is cut once stays so: steps_of(SEPARATOR.join(steps)) == steps.
    """
    lines = text.strip().splitlines()
    inside = _inside(lines)
    cuts = [
        number
        for number, line in enumerate(lines)
        if not inside[number] and (not line.strip() or _HEADING.match(line.lstrip()))
    ]
    if not cuts:
        cuts = [number for number in range(len(lines)) if not inside[number]]
    bounds = [0, *cuts, len(lines)]
    parts = ("\n".join(lines[start:end]).strip() for start, end in pairwise(bounds))
    return [part for part in parts if part]


def _inside(lines: Sequence[str]) -> list[bool]:
    """For each line whether it goes on with code or a formula that began in a line before. What is never closed
    goes on to the end."""
    found, open_ = [], ""
    for line in lines:
        found.append(bool(open_))
        if not open_:
            open_ = next((fence for fence in _FENCES if line.count(fence) % 2), "")
            if not open_ and line.rfind("\\[") > line.rfind("\\]"):
                open_ = "\\]"
        elif open_ == "\\]":
            open_ = "" if "\\]" in line else open_
        elif line.count(open_) % 2:
            open_ = ""
    return found


@dataclass(frozen=True, slots=True)
class StepIds:
    """A prompt with the steps of an answer. ids: token ids. ends: for each step the place of its last token."""

    ids: list[int]
    ends: list[int]


class StepCoder:
    """Writes prompts with steps for one model; for training and for scoring the same."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._coder = Coder(renderer.tokenizer)
        self._lead = " " if renderer.format == "vicuna" else ""

    def __call__(self, prompt: Sequence[Message], steps: Sequence[str]) -> StepIds:
        """prompt: turns, the last one the user's. steps: as `steps_of` gives them. Raises EvolError as
        `Renderer.render` does."""
        ids = list(self._renderer.render(prompt, generation_prompt=True).ids)
        # The first piece only makes that the steps are coded as text in the middle; its own ids go.
        pieces = [Piece("\n")]
        for number, step in enumerate(steps):
            pieces.append(Piece(f"{'' if number else self._lead}{step}", trained=True))
            pieces.append(Piece(SEPARATOR))
        coded = self._coder.encode(pieces[:-1]) if steps else None
        if coded is None:
            return StepIds(ids, [])
        start = coded.mask.index(1)
        mask = [*coded.mask[start:], 0]
        ends = [len(ids) + place for place in range(len(mask) - 1) if mask[place] and not mask[place + 1]]
        return StepIds(ids + coded.ids[start:], ends)
