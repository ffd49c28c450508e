"""Maths in words: numbers read exactly, markers, the rules of GSM8K, published outputs, rows as people publish them."""

from __future__ import annotations

import asyncio
import json
import lzma
import os
import re
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.math.compat import gsm8k_verdict
from evollab.evals.math.markers import body, boxes, marked
from evollab.evals.math.number import exact, numbers_in
from evollab.evals.math.prompts import EXAMPLES
from evollab.evals.math.tasks import COMPAT, number_gold
from evollab.evals.math.words import mark, read
from evollab.evals.sources import find_task
from evollab.evals.trial import Answer, Given, Mark, Question, Tools, Trial
from evollab.records import Message

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
SNAPSHOT = Path(__file__).parent / "snapshots" / "math_prompts.txt"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of real data sets at {DATA}")


def rows(name: str) -> list[dict[str, Any]]:
    with lzma.open(DATA / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def trial(name: str) -> Trial:
    found = find_task(name).trial
    assert found is not None
    return found


def samples(of: Trial, row: Row) -> Sequence[Given]:
    assert of.given is not None
    found = of.given(row)
    assert isinstance(found, list)
    return found


def graded(name: str, outputs: list[dict[str, Any]], compat: str = "") -> list[tuple[Answer, Mark]]:
    """Outputs as rows, read and graded as `--outputs` does."""
    of = trial(name)
    answers = []
    for number, fields in enumerate(outputs, 1):
        (row,) = samples(of, Row(number, fields))
        answers.append(Answer(Question(row.id or str(number), (row.text or "",), row.gold), row.texts, given=row))
    return list(zip(answers, asyncio.run(_grade(of, answers, compat)), strict=True))


async def _grade(of: Trial, answers: list[Answer], compat: str) -> list[Mark]:
    return list(await of.grade(answers, Tools(compat=compat)))


def share(marked_: list[tuple[Answer, Mark]], rule: str = "") -> float:
    return 100 * sum((one.more[rule] if rule else one.score) or 0.0 for _, one in marked_) / len(marked_)


# Numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234,567", "1234567"), ("1e5", "100000"), ("1.5e-3", "3/2000"), ("3/4", "3/4"), (r"2\frac{1}{2}", "5/2"),
        (r"2 \frac12", "5/2"), ("1 1/2", "3/2"), (r"-\$8.60", "-43/5"), ("-$8.60", "-43/5"), ("72 clips", "72"),
        ("72 miles per hour", "72"), (r"10,\!236", "10236"), ("14{,}916", "14916"), (r"45^\circ", "45"),
        (r"20\text{ degrees}", "20"), (r"\frac{68}{3}\text{ pounds}", "68/3"), (r"9\text{ cm}^2", "9"), ("x = 5", "5"),
        ("**18**", "18"), ("18.", "18"), (r"\frac{-1}{2}", "-1/2"), (r"-\frac{1}{8}", "-1/8"), ("3 x 10^4", "30000"),
        (r"1.2 \times 10^{5}", "120000"), (r"\(18\)", "18"), ("−7", "-7"), (".5", "1/2"), ("5kg", "5"), ("€1.50", "3/2"),
    ],
)  # fmt: skip
def test_numbers(text: str, value: str) -> None:
    found = exact(text)
    assert found is not None
    assert found.value == Fraction(value)


@pytest.mark.parametrize(
    "text",
    ["2x", "5 x", "3-4", "1101_4", "6, -2", "5!", r"2\pi", "2 pi", "3 and 5", "1/0", "352 000", "1,2", "12,34", "3:1",
     r"\frac{1}{\sqrt{2}}", "(1,2)", "", "x", "9" * 401, "1e5000", "3 to 5"],
)  # fmt: skip
def test_no_numbers(text: str) -> None:
    assert exact(text) is None


def test_percent_is_both() -> None:
    half, fifty, percent = exact("0.5"), exact("50"), exact(r"50\%")
    assert half is not None
    assert fifty is not None
    assert percent is not None
    assert percent.same(half)
    assert percent.same(fifty)
    assert not half.same(fifty)


def test_numbers_in_a_text() -> None:
    text = "It's 1,234,567 or 5-3, -$38,000, 1,2,3 and 1/2, 1e5, x^2, 17.6. a 3rd 5kg 40% 2.5% 3."
    values = "1234567 5 3 -38000 1 2 3 1/2 100000 88/5 5 40 5/2 3".split()
    assert [str(one.value) for one in numbers_in(text)] == values


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{:,}", "{}", "${:,}", "{:,} apples", "**{:,}**", "{}.00"]))
def test_an_integer_is_read_whole(value: int, form: str) -> None:
    found = exact(form.format(value).replace("$-", "-$"))
    assert found is not None
    assert found.value == value
    assert read(f"First 3, then 4. So the answer is: {form.format(value)}").final == found


@given(st.text(max_size=300))
def test_reading_never_raises(text: str) -> None:
    read(text)
    exact(text)
    mark("18", text)
    gsm8k_verdict("The answer is: " + text, "18")


def test_reading_is_linear_in_hostile_text() -> None:
    for piece in ("9", "####", "answer is ", "\\boxed{", "$", "Q:\n", "1,", "answer (", "-", "\n", "{", "Wait, ", "/"):
        begun = time.process_time()
        read(piece * (400_000 // len(piece)))
        assert time.process_time() - begun < 20, piece


# Markers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is: 12", 12), ("#### 18", 18), (r"so $\boxed{18}$ it is", 18), ("Answer: $5.", 5), ("**Answer:** 5", 5),
        ("The final answer is **18**.", 18), ("The answer is 3. No: the answer is 4.", 4), ("#### 7\nThe answer is: 8", 8),
        ("The answer is 42 + 66 = 108", 108), ("The answer is $1600*3.5 = $5600. \n\nI hope this helps!", 5600),
        ("Therefore, the answer (arabic numerals) is 70.\n", 70), ("The answer is Mary has 48 books.", 48),
        ("The answer is 12. Wait, it's 15.", None), ("The answer is 12. Actually I made a mistake: 3 * 5 = 15", None),
        ("The answer is 12. Wait, no. The answer is 15.", 15), ("The answer is 12. Wait, let me see. Yes.", 12),
        ("The answer is 5.\n\nQ: Tom has 3. How many?\nA: The answer is 8.", 5), ("#### Step 1: 5 + 3\nis 8", None),
        ("#### 1. First, 5 + 3", None), ("Just 8", None), ("The answer is not 5", None), ("The answer is twelve", None),
        ("27. The answer is 27. The answer (words) is twenty-seven", 27), ("the answer is incorrect. 5", None),
    ],
)  # fmt: skip
def test_marked_answers(text: str, value: int | None) -> None:
    found = read(text).marked
    assert (None if found is None else found.value) == value


def test_what_is_taken_back_is_read_again() -> None:
    got = mark("15", "The answer is 12. Wait, it's 15.")
    assert (got.score, got.more["strict"], got.more["flexible"]) == (1.0, 0.0, 1.0)
    assert "after a correction" in got.reason


def test_next_questions_are_cut_only_behind_an_answer() -> None:
    assert body("Q: what?\nA: The answer is 5.\nQ: next?").endswith("5.\n")
    assert body("Question: what is asked?\n8") == "Question: what is asked?\n8"


def test_boxes() -> None:
    assert boxes(r"$\boxed{\frac{1}{2}}$ or \fbox{3}, \boxed 7") == [r"\frac{1}{2}", "3"]
    assert boxes(r"\boxed 7$") == ["7"]
    assert boxes(r"\boxed{1") == []
    assert [one.text for one in marked(r"\boxed{a\}b}")] == [r"a\}b"]


def test_the_string_rule_goes_by_the_spelling_of_the_outputs() -> None:
    assert mark("10,800", "#### 10,800").more["string"] == 0.0
    assert mark("10,800", "#### 10,800", "10800").more == {"strict": 1, "flexible": 1, "string": 1, "numeric": 1}


# The rules of the release, and ours, on the known faults


@pytest.mark.parametrize(
    ("said", "gold", "ours", "theirs"),
    [
        ("17.6", "18", 0.0, True), ("1,234,567", "1234567", 1.0, False), ("1,234,567", "1234", 0.0, True),
        ("1e5", "1", 0.0, True), ("1e5", "100000", 1.0, False), ("5/2", "2", 0.0, True), ("1800", "18", 0.0, True),
        ("18", "18", 1.0, True), ("$1,800 a year", "1,800", 1.0, True), ("1/00", "3", 0.0, None), ("eight", "8", 0.0, False),
        ("5", "5 apples", 1.0, None), ("3/0", "3", 0.0, True),
    ],
)  # fmt: skip
def test_faults_of_the_release(said: str, gold: str, ours: float, theirs: bool | None) -> None:
    assert mark(gold, f"So, step by step. The answer is: {said}.").score == ours
    assert gsm8k_verdict(f"So, step by step. The answer is: {said}.", gold) is theirs


def test_a_missing_marker_is_wrong_for_the_release_and_no_answer_is_counted() -> None:
    assert gsm8k_verdict("#### 18", "18") is False
    [(_, nothing), (_, found)] = graded(
        "gsm8k", [{"response": "I can't tell.", "gold": "18"}, {"response": "#### 18", "gold": 18}], "wizardlm"
    )
    assert (nothing.score, nothing.failure, nothing.more[COMPAT]) == (0.0, "no answer", 0.0)
    assert (found.score, found.failure, found.more[COMPAT]) == (1.0, "", 0.0)


# Rows


@pytest.mark.parametrize(
    ("fields", "problem", "said", "gold", "published"),
    [
        ({"id": 0, "prompt": "Question:\nHow many?\nAnswer:\nLet's think.\n", "response": "#### 18", "pred": "18",
          "gold": "18", "result": True}, "How many?", "#### 18", "18", 1.0),
        ({"text": "Q: How many?\nA: Let's think. is 3.\n", "pred_before": "3.", "pred_after": "3", "GT": "10,800"},
         "How many?", " Let's think. is 3.\n", "10,800", 0.0),
        ({"question": "How many?", "answer": "Two. #### 2", "completion": "2"}, "How many?", "2", "2", None),
        ({"question": "How many?", "answer": "#### 2"}, "How many?", "#### 2", None, None),
        ({"problem": "How many?", "solution": "It is 5", "gold": 5.0}, "How many?", "It is 5", "5", None),
        ({"question": "How many?", "output": None, "gt": 7}, "How many?", "", "7", None),
        ({"question": "How many?", "output": 12, "target": 12}, "How many?", "12", "12", None),
        ({"doc": {"question": "How many?", "answer": "#### 3"}, "resps": [["#### 3"]], "exact_match": 1.0, "target": "#### 3"},
         "How many?", "#### 3", "3", 1.0),
        ({"instruction": "Below is\n\n### Instruction:\nHow many?\n\n### Response: Let's", "output": "The answer is: 4",
          "answer": "4"}, "How many?", "The answer is: 4", "4", None),
        ({"prompt": "A chat. USER: How many? ASSISTANT:", "generated_text": "4"}, "How many?", "4", None, None),
        ({"idx": 4, "question": "How many?", "gt_cot": "So #### 4", "gt": "4", "solution": "So 4", "answer": "4",
          "code": ["It is 5"], "pred": ["5"], "score": [False]}, "How many?", "It is 5", "4", 0.0),
        ({"question": "How many?", "answer": "#### 4", "pred": 4}, "How many?", "4", "4", None),
        ({"idx": 4, "pred": "4", "label": 4}, None, "4", "4", None),
    ],
)  # fmt: skip
def test_rows_as_people_publish_them(
    fields: dict[str, Any], problem: str | None, said: str, gold: str | None, published: float | None
) -> None:
    (found,) = samples(trial("gsm8k"), Row(1, fields))
    assert (found.text, found.texts, found.gold, found.published) == (problem, (said,), gold, published)
    assert (found.id is None) == (problem is not None)


def test_a_row_without_a_response_is_put_aside() -> None:
    with pytest.raises(BadFields, match="no response"):
        samples(trial("gsm8k"), Row(1, {"question": "How many?", "level": 5}))


@pytest.mark.parametrize(
    ("several", "said"),
    [
        (["1", "2", "3"], ["1", "2", "3"]),
        ([["1"], ["2"]], ["1", "2"]),
        ([["1", "2"]], ["1", "2"]),
        ([[["1"]]], ["1"]),
        (["1", None], ["1", ""]),
        ([4, 5.5], ["4", "5.5"]),
    ],
)
def test_a_row_with_several_responses_has_as_many_samples(several: list[Any], said: list[str]) -> None:
    found = samples(trial("gsm8k"), Row(1, {"question": "How many?", "responses": several, "correct": True}))
    assert [one.texts for one in found] == [(text,) for text in said]
    assert {one.published for one in found} == ({1.0} if len(said) == 1 else {None})


def test_questions_of_the_tasks() -> None:
    asked = trial("gsm8k").question(Row(3, {"question": "How many?", "answer": "So 9 * 1,200 #### 10,800"}))
    assert asked == Question("3", ("How many?",), "10,800")
    with pytest.raises(BadFields):
        trial("gsm8k").question(Row(3, {"question": "How many?", "answer": "Ten"}))
    own = trial("multiarith").question(Row(1, {"iIndex": 7, "sQuestion": " How many? ", "lSolutions": [12.0]}))
    assert own == Question("7", ("How many?",), "12")
    assert number_gold(True) is None


def test_prompts_are_as_agreed() -> None:
    parts = {}
    for name in ("gsm8k", "math"):
        for preset, prompt in trial(name).prompts.items():
            asked = prompt.ask(Question("1", ("What is {1} + 1?",)), ())
            text = asked if isinstance(asked, str) else "\n".join(_shown(message) for message in asked)
            parts[f"{name}, {preset} (stop: {' '.join(prompt.stop) or 'none'})"] = text
    rendered = "\n".join(f"===== {name} =====\n{text}<END>\n" for name, text in parts.items())
    if os.environ.get("EVOLLAB_SNAPSHOT") == "write":
        SNAPSHOT.write_text(rendered, "utf-8")
    assert rendered == SNAPSHOT.read_text("utf-8")


def test_the_examples_are_right() -> None:
    for asked, answer in EXAMPLES:
        assert asked.endswith("?")
        for left, right in re.findall(r"(\d[\d */+-]+\d) = (\d+)", answer):
            first, *rest = left.split()
            total = Fraction(first)
            for sign, number in zip(rest[::2], map(Fraction, rest[1::2]), strict=True):
                total = {"*": total * number, "/": total / number, "+": total + number, "-": total - number}[sign]
            assert total == int(right), answer
        assert read(answer).marked is not None


def _shown(message: Message) -> str:
    return f"[{message.role}] {message.content}"


# Published outputs


@real
def test_abel_to_the_item() -> None:
    found = graded("gsm8k", rows("published/abel_gsm8k_7b"))
    assert round(share(found), 3) == 59.742
    assert [answer.given.published for answer, _ in found if answer.given] == [one.score for _, one in found]


@real
@pytest.mark.parametrize(
    ("name", "task", "published"),
    [("kojima_gsm8k_zero_shot_cot", "gsm8k", 40.7127), ("kojima_multiarith_zero_shot_cot", "multiarith", 78.6667)],
)
def test_kojima_by_their_rule_to_the_item(name: str, task: str, published: float) -> None:
    found = graded(task, rows(f"published/{name}"))
    assert round(share(found, "string"), 4) == published
    assert [answer.given.published for answer, _ in found if answer.given] == [one.more["string"] for _, one in found]
    assert published <= round(share(found, "numeric"), 4) <= published + 1.8
    assert published < share(found) < published + 4


@real
def test_gold_against_gold() -> None:
    data = rows("gsm8k_test")
    found = graded("gsm8k", [{**row, "output": row["answer"]} for row in data])
    assert share(found) == share(found, "strict") == share(found, "flexible") == share(found, "numeric") == 100.0
    assert [one.gold for row in data if (one := trial("gsm8k").question(Row(1, row)))] == [
        row["answer"].rpartition("#### ")[2] for row in data
    ]
