"""Every prompt of the judge as it gets it, held in a file that people read: tests/snapshots/judging.txt.

After a wanted change: EVOLLAB_SNAPSHOT=write pytest tests/test_judge_prompts.py, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

from evollab.data.judge_options import WHAT
from evollab.data.judge_prompts import form_prompt, grade_prompt, lineage_prompt
from evollab.data.passrate import ENDING
from evollab.records import Message

SNAPSHOT = Path(__file__).parent / "snapshots" / "judging.txt"
ASKED = Message("user", "Name three things to check before buying a used bicycle.")
GIVEN = Message("assistant", "The brakes, the frame and the gears.")
HARDER = Message("user", "Name three things to check before buying a used racing bicycle abroad, by what repairs cost.")


def rendered() -> str:
    talk = (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "Hello. {{nonce}}"),
        ASKED,
        GIVEN,
    )
    parts = {
        "form": form_prompt((ASKED, GIVEN), WHAT),
        "form: some attributes, no response, in another order": form_prompt((ASKED,), ("category", "skills"), (0, "x")),
        "form: with turns before": form_prompt(talk, ("quality", "safety")),
        "lineage": lineage_prompt([(ASKED, GIVEN), (HARDER, GIVEN)]),
        "lineage: with turns before": lineage_prompt([talk, (ASKED,)]),
        "grade": grade_prompt((ASKED,), GIVEN.content, "Its colour."),
        "target: what stands below a request whose answer a rule can check": ENDING,
    }
    return "\n".join(f"===== {name} =====\n{text}<END>\n" for name, text in parts.items())


def test_prompts_are_as_agreed() -> None:
    if os.environ.get("EVOLLAB_SNAPSHOT") == "write":
        SNAPSHOT.write_text(rendered(), "utf-8")
    assert rendered() == SNAPSHOT.read_text("utf-8")


def test_no_slot_is_left_open_and_no_space_is_odd() -> None:
    text = rendered().replace("{{nonce}}", "")  # it stands in the sample's own text
    assert "{{" not in text
    assert "\t" not in text
    assert "  " not in text


def test_the_fixed_part_comes_first() -> None:
    """Servers reuse what prompts have in common from their beginning on."""
    one, other = (form_prompt((turn, GIVEN), WHAT) for turn in (ASKED, HARDER))
    begins = one.index("@@")
    assert begins > 2000
    assert one[:begins] == other[:begins]
