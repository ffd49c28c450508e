"""Every prompt as a model gets it, held in one file that people read: tests/snapshots/prompts.txt.

After a wanted change: EVOLLAB_SNAPSHOT=write pytest tests/test_prompts.py, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from evollab.evolve.blocks import protect
from evollab.evolve.domains.general import DOMAIN
from evollab.evolve.gain import judge_prompt
from evollab.evolve.qualify import RATE_PROMPT
from evollab.evolve.rewrite import paper_prompt
from evollab.llm.fill import fill
from evollab.records import Message, seed_instruction

SNAPSHOT = Path(__file__).parent / "snapshots" / "prompts.txt"
PLAIN = seed_instruction("Name three things to check before buying a used bicycle.")
RICH = seed_instruction(
    'Which {item} here costs most?\n\n```json\n{"{{instruction}}": 1}\n```',
    input="Prices in euros.",
    history=(Message("user", "Hello"), Message("assistant", "Hello, what can I do?")),
)


def _plan(*, thorough: bool = True) -> SimpleNamespace:
    return SimpleNamespace(thorough=thorough, added_words=20)


def rendered() -> str:
    parts: dict[str, str] = {}
    for op in DOMAIN.operations:
        for form in op.formats or (None,):
            name = f"{op.name}, {form.name}" if form else op.name
            parts[f"{name}: paper shape"] = paper_prompt(_plan(), PLAIN, protect(PLAIN.text), op, form)
        for n, tail in enumerate(op.tails, 1):
            parts[f"{op.name}: tail shape {n}"] = fill(tail.prompt, instruction=PLAIN.text)
    deepen, breadth = DOMAIN.operation("deepen"), DOMAIN.operation("in-breadth")
    parts["deepen: with a block, an input and turns before"] = paper_prompt(
        _plan(), RICH, protect(RICH.text), deepen, None
    )
    parts["in-breadth: the same"] = paper_prompt(_plan(), RICH, protect(RICH.text), breadth, None)
    parts["judge"] = judge_prompt(PLAIN.text, RICH.prompt)
    parts["rate"] = fill(RATE_PROMPT, instruction=PLAIN.text)
    return "\n".join(f"===== {name} =====\n{text}<END>\n" for name, text in parts.items())


def test_prompts_are_as_agreed() -> None:
    if os.environ.get("EVOLLAB_SNAPSHOT") == "write":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(rendered(), "utf-8")
    assert rendered() == SNAPSHOT.read_text("utf-8")


def test_no_slot_is_left_open_and_no_space_is_odd() -> None:
    text = rendered().replace("{{instruction}}", "")  # it stands in the sample's own text
    assert "{{" not in text
    assert "\t" not in text
    assert "  -" not in text


@given(st.text(max_size=100))
def test_the_instruction_stands_in_its_prompt_unchanged(text: str) -> None:
    from evollab.evolve.blocks import Protected

    for op in DOMAIN.operations:
        form = op.formats[0] if op.formats else None
        prompt = paper_prompt(_plan(thorough=False), seed_instruction(text), Protected(text, (), ()), op, form)
        end = "\n\n#Created Prompt#:\n" if op.kind == "breadth" else "\n\n#Rewritten Prompt#:\n"
        assert prompt.endswith(f"#The Given Prompt#:\n{text}{end}")


def test_each_operation_forbids_its_own_markers() -> None:
    for op in DOMAIN.operations:
        marker = "#Created Prompt#" if op.kind == "breadth" else "#Rewritten Prompt#"
        assert op.prompt.count(marker) >= 2  # once forbidden, once as the place to write
        form = op.formats[0] if op.formats else None
        prompt = paper_prompt(_plan(), PLAIN, protect(PLAIN.text), op, form)
        assert ("10 to 20 words" in prompt) == (op.kind == "depth")
