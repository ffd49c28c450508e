"""The pass rate: final answers compared exactly, judged where a rule can't, never right by accident."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.final_answer import Number, checkable, choice, compare, final_answer, number, tidied
from evollab.data.passrate import ENDING, Target, how, pass_rate
from evollab.llm import CallFailed, Reply, Request, Sampling
from evollab.llm.stop import Stopped
from evollab.records import Message
from tests.conftest import SHARED
from tests.judge_models import Body, good, kind, plain
from tests.test_judging import Judging, judging

__all__ = ["judging"]

# ------------------------------------------------------------------------------- final answers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", "72"), ("-5", "-5"), ("1,234", "1234"), ("1,234,567.50", "1234567.5"), ("$18.00", "18"), ("\\$18", "18"),
        ("€ 3", "3"), ("3/4", "3/4"), ("-3/4", "-3/4"), ("1 1/2", "3/2"), ("\\frac{3}{4}", "3/4"),
        ("2\\dfrac{1}{2}", "5/2"), (".5", "1/2"), ("5.", "5"), ("0.50", "1/2"), ("x = 5", "5"), ("10{,}000", "10000"),
        ("72 clips", "72"), ("72 clips (48 + 24)", "72"), ("72. It was easy", "72"), ("(7)", "7"), ("30^\\circ", "30"),
        ("12 \\text{ cm}", "12"), ("**72**", "72"), ("$72$", "72"), ("−4", "-4"), ("5 km/h", "5"), ("+3", "3"),
        ("0.1", "1/10"), ("00012", "12"), ("1/3", "1/3"),
    ],
)  # fmt: skip
def test_numbers(text: str, value: str) -> None:
    assert number(text) == Number(Fraction(value))


@pytest.mark.parametrize(
    "text",
    ["", "seventy-two", "12,34", "1,234,56", "3-4", "5x", "5 x", "5\\pi", "5 pi", "2^3", "1e5", "1/0", "1.2.3", "5 and 6",
     "9" * 101, "x", "-", "/", "NaN", "inf", "\\frac{1}{0}", "5 = 6", "<5"],
)  # fmt: skip
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None


def test_nothing_is_equal_by_rounding() -> None:
    for one, other in (
        ("0.333333333333333333", "1/3"),
        ("1e-20", "0"),
        ("10000000000000001", "10000000000000000"),
        ("72.0000000001", "72"),
    ):
        assert compare(f"#### {one}", f"#### {other}") != "right"
    assert compare("#### 0.1", "\\boxed{\\frac{1}{10}}") == "right"


def test_percent() -> None:
    for one, other in (("15%", "15"), ("15", "15\\%"), ("0.15", "15 percent"), ("15%", "0.15")):
        assert compare(f"#### {one}", f"#### {other}") == "right"
    assert compare("#### 15%", "#### 0.15%") == "wrong"
    assert compare("#### 15", "#### 0.15") == "wrong"


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), ("(B)", "B"), ("(b)", "B"), ("B)", "B"), ("B) 96 cm^2", "B"), ("B. ninety-six", "B"), ("\\text{C}", "C"),
     ("Option D", "D"), ("**A**.", "A"), ("A good one", None), ("B or C", None), ("b", None), ("K", None), ("", None)],
)  # fmt: skip
def test_choices(text: str, letter: str | None) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48/2 = 24\n#### 72", "72"),
        ("The answer is: 5 km\n", "5 km"),
        ("so the final answer is \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1} and then \\boxed{2}", "2"),
        ("\\boxed{1}\n#### 3", "3"),
        ("#### 3\nWait. The answer is 4", "4"),
        ("**Answer:** 12", "12"),
        ("\\boxed{never closed", None),
        ("an answer is a thing", None),
        ("####", None),
        ("", None),
    ],
)
def test_final_answers(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


REFERENCE = "Natalia sold 48 / 2 = 24 clips in May, 72 in all.\n#### 72"


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        ("#### 72", "right"), ("The answer is: 72.", "right"), ("\\boxed{72.0}", "right"), ("\\boxed{\\frac{144}{2}}", "right"),
        ("So she sold 72 clips altogether.", "right"), ("I make it **72**", "right"), ("The answer is $72.", "right"),
        ("#### 73", "wrong"), ("#### 72\n#### 71", "wrong"), ("The answer is: seventy-two", "wrong"),
        ("It is 72 or 73", "wrong"), ("No idea.", "none"), ("", "none"), ("The answer is: 7,2", "wrong"),
    ],
)  # fmt: skip
def test_a_number_is_compared_exactly(candidate: str, verdict: str) -> None:
    assert compare(REFERENCE, candidate) == verdict


@pytest.mark.parametrize(
    ("reference", "candidate", "verdict"),
    [
        ("The answer is: B", "I choose\n(B)", "right"),
        ("The answer is: B", "The answer is: C", "wrong"),
        ("The answer is: B", "The answer is: 96 cm", "unsure"),
        ("The answer is: B", "Because of this and that.", "none"),
        ("\\boxed{x^2 + 1}", "The answer is: $x^2+1$.", "right"),
        ("\\boxed{x^2 + 1}", "\\boxed{1 + x^2}", "unsure"),
        ("#### 5 km", "#### 5 km", "right"),
        ("#### 5 km", "#### 5000 m", "unsure"),
        ("Paris is the capital.", "It is Paris.", "unsure"),
    ],
)
def test_choices_and_texts(reference: str, candidate: str, verdict: str) -> None:
    assert compare(reference, candidate) == verdict


_VALUES = st.fractions(max_denominator=10_000)


def _spelled(value: Fraction, way: int) -> str:
    sign, n, d = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if d == 1:
        return [f"{sign}{n}", f"{sign}{n:,}", f"${sign}{n}.00$", f"{sign}{n} apples", f"{sign}{n}."][way]
    mixed = f"{sign}{n // d} {n % d}/{d}" if n > d else f"{sign}{n}/{d}"
    return [f"{sign}{n}/{d}", f"{sign}\\frac{{{n}}}{{{d}}}", mixed, f"{sign}{7 * n}/{7 * d}", f"x = {sign}{n}/{d}"][way]


@given(
    _VALUES, st.integers(0, 4), st.integers(0, 4), st.sampled_from(["#### {}", "\\boxed{{{}}}", "The answer is: {}"])
)
def test_a_number_equals_itself_however_it_is_written(value: Fraction, one: int, other: int, marker: str) -> None:
    reference, candidate = f"#### {_spelled(value, 0)}", f"Well.\n{marker.format(_spelled(value, other))}"
    assert compare(reference, candidate) == "right"
    assert number(_spelled(value, one)) == Number(value)


@given(_VALUES, _VALUES, st.integers(0, 4), st.integers(0, 4))
def test_another_number_is_never_right(one: Fraction, other: Fraction, way: int, way2: int) -> None:
    if one != other:
        assert compare(f"#### {_spelled(one, 0)}", f"\\boxed{{{_spelled(other, way2)}}}") == "wrong"


@given(st.integers(0, 10**12), st.integers(0, 6))
def test_decimals_are_exact(whole: int, places: int) -> None:
    value = Fraction(whole, 10**places)
    text = f"{whole // 10**places:,}.{whole % 10**places:0{places}d}" if places else f"{whole:,}"
    assert number(text) == Number(value)
    assert number(f"{text}00" if places else f"{text}.0") == Number(value)


@given(st.text(alphabet="0123456789,./%-+ \\frac{}boxed#ABanswer is:\n$^()=x", max_size=120), st.text(max_size=60))
def test_nothing_breaks_the_comparison(one: str, other: str) -> None:
    for reference, candidate in ((one, other), (other, one), ("#### 72", one), (one, "#### 72"), ("\\boxed{B}", one)):
        assert compare(reference, candidate) in ("right", "wrong", "none", "unsure")
    tidied(one)


@pytest.mark.parametrize("evil", ["\\boxed{" * 20_000, "#### " * 50_000, "1," * 100_000, "\\frac{" * 30_000, "the answer is " * 20_000, "(" * 100_000, "1 " * 100_000])  # fmt: skip
def test_long_answers_are_cut_before_they_are_searched(evil: str) -> None:
    assert compare("#### 72", evil) in ("wrong", "none")
    assert compare(evil, "#### 72") == "unsure"


@pytest.mark.skipif(not (SHARED / "data/gsm8k_test.jsonl.xz").exists(), reason="needs the shared data")
def test_every_gsm8k_solution_is_right_against_itself_and_wrong_against_the_next() -> None:
    import lzma

    with lzma.open(SHARED / "data/gsm8k_test.jsonl.xz", "rt", encoding="utf-8") as file:
        answers = [json.loads(line)["answer"] for line in file]
    assert all(map(checkable, answers))
    assert all(compare(answer, answer) == "right" for answer in answers)
    for one, other in pairwise(answers):
        a, b = (Fraction((final_answer(text) or "").replace(",", "")) for text in (one, other))
        assert compare(one, other) == ("right" if a == b else "wrong")


# ------------------------------------------------------------------------------ asking the target


def turns(*texts: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(Message("user" if roles[n % 2] == "user" else "assistant", text) for n, text in enumerate(texts))


def rate(
    reply: Callable[[Request], str],
    row: tuple[Message, ...],
    *,
    judge: Callable[[Request], str] | None = None,
    samples: int = 4,
) -> tuple[Any, list[Request]]:
    asked: list[Request] = []

    async def model(request: Request) -> Reply:
        asked.append(request)
        return Reply(reply(request))

    async def judging(request: Request) -> Reply:
        asked.append(request)
        assert judge is not None
        return Reply(judge(request))

    target = Target(model, samples, Sampling(1.0, 1.0, 64), judging if judge else None, 32, 0)
    return asyncio.run(pass_rate(target, row, "key")), asked


def test_the_rate_is_the_share_of_right_answers() -> None:
    passed, asked = rate(lambda request: f"The answer is: {72 - (request.sample == 3)}", turns("How many?", REFERENCE))
    assert (passed.right, passed.wrong, passed.none, passed.rate) == (3, 1, 0, 0.75)
    assert [request.sample for request in asked] == [0, 1, 2, 3]
    assert len({request.seed for request in asked}) == 4
    assert {request.sampling.temperature for request in asked} == {1.0}
    assert all(request.messages == (Message("user", "How many?" + ENDING),) for request in asked)


def test_what_led_to_the_request_is_sent_along() -> None:
    _, asked = rate(lambda _: "#### 72", turns("Hello", "Hi", "How many?", REFERENCE), samples=1)
    assert [turn.content for turn in asked[0].messages] == ["Hello", "Hi", "How many?" + ENDING]


def test_a_judge_compares_what_a_rule_cannot() -> None:
    row = turns("Capital of France?", "Paris.")
    assert how(row, judged=False) is None
    assert rate(lambda _: "Paris", row)[0] is None
    said = iter(["verdict: yes", "verdict: no", "I can't tell", "verdict: yes"])
    passed, asked = rate(lambda request: f"It is Paris {request.sample}", row, judge=lambda _: next(said))
    assert (passed.right, passed.wrong, passed.unparsed, passed.judged) == (2, 1, 1, 4)
    assert passed.rate == round(2 / 3, 4)
    answers = [request for request in asked if request.purpose == "pass"]
    assert all(request.messages == row[:1] for request in answers)
    graded = [request for request in asked if request.purpose == "grade"]
    assert all("It is Paris" in request.messages[0].content for request in graded)
    assert {request.sampling.temperature for request in graded} == {0.0}


def test_rows_without_a_reference_get_none() -> None:
    for row in (turns("How many?"), turns("How many?", "  "), ()):
        passed, asked = rate(lambda _: "#### 72", row, judge=lambda _: "verdict: yes")
        assert (passed, asked) == (None, [])


@pytest.mark.parametrize(
    ("error", "told", "unfinished"),
    [
        (CallFailed("truncated", "cut"), (0, 4, 4, None), False),
        (CallFailed("content_filter", "no"), (0, 0, 0, {"content_filter": 4}), False),
        (CallFailed("timeout", "slow"), (0, 0, 0, {"timeout": 4}), True),
        (Stopped(), (0, 0, 0, {"stopped": 4}), True),
    ],
)
def test_failures_are_no_wrong_answers(error: Exception, told: tuple[Any, ...], unfinished: bool) -> None:
    def reply(_: Request) -> str:
        raise error

    passed, _ = rate(reply, turns("How many?", REFERENCE))
    assert (passed.right, passed.wrong, passed.none, passed.failed or None) == told
    assert passed.unfinished is unfinished
    assert passed.rate == (0.0 if passed.wrong else None)


def test_in_a_run(judging: Judging) -> None:
    rows = [
        *plain("How many?", response="#### 72"),
        *plain("Capital of France?", response="Paris"),
        *plain("Name it.", response=None),
    ]

    def reply(body: Body) -> str:
        if kind(body) == "answer":
            return (
                f"The answer is: {72 + body['seed'] % 2}"
                if "How" in json.dumps(body)
                else "Paris"
                if body["seed"] % 2
                else "Rome"
            )
        return good(body)

    found, report, (state, _, _) = judging(reply, rows, target="scripted:target", samples=8, self_agreement=0)
    assert state == "complete"
    assert [sorted(row) for row in found][2] == ["category", "difficulty", "level", "safety", "skills", "tags"]
    told = report.pass_rate
    assert told is not None
    assert (told.rows, told.ungraded, told.answers["judged"]) == (2, 1, 8)
    assert told.answers["right"] + told.answers["wrong"] == 16
    assert 0 < found[0]["pass_rate"] < 1
    assert found[0]["pass_samples"] == 8
    assert (
        found[0]["pass_rate"]
        == sum(1 - body["seed"] % 2 for body in judging.asked if "How" in json.dumps(body) and kind(body) == "answer")
        / 8
    )
    assert report.models == {"judge": "scripted:judge", "target": "scripted:target"}
    again, _, _ = judging(reply, rows, target="scripted:target", samples=8, self_agreement=0)
    assert (again, judging.asked) == (found, [])
    alone, report, _ = judging(reply, rows, "alone", with_model="", target="scripted:target", samples=8)
    assert [sorted(row) for row in alone] == [["pass_rate", "pass_samples"], [], []]
    assert alone[0]["pass_rate"] == found[0]["pass_rate"]


def test_an_interrupted_pass_rate_goes_on(judging: Judging) -> None:
    rows = plain(*(f"What is {n}?" for n in range(6)), response="#### 72")
    options: dict[str, Any] = {"with_model": "", "target": "scripted:target", "samples": 3}

    def reply(body: Body) -> str:
        return f"#### {70 + body['seed'] % 5}"

    fresh, _, _ = judging(reply, rows, "fresh", **options)
    part, _, (state, _, _) = judging(reply, rows, **options, max_calls=7)
    assert state == "stopped"
    assert sum(bool(row) for row in part) == 2  # a rate over some of its samples would be another rate
    rest, _, (state, _, _) = judging(reply, rows, **options)
    assert (state, rest, len(judging.asked)) == ("complete", fresh, 18 - 7)


def test_seeds_can_be_left_out(judging: Judging, tmp_path: Path) -> None:
    rows = plain("How many?", response="#### 72")
    judging(lambda _: "#### 72", rows, with_model="", target="scripted:target", send_seed=False)
    assert [sorted(body) for body in judging.asked] == [["max_tokens", "messages", "model", "temperature", "top_p"]] * 4
