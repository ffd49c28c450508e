"""Competition problems: what is the same without algebra, what algebra says, its limits, the release's faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.math.checker import math_checker, right_answer
from evollab.evals.math.compat import is_equiv, math_equal, math_verdict
from evollab.evals.math.compat_algebra import harmless, symbolic_equal
from evollab.evals.math.competition import candidates, marks, read
from evollab.evals.math.equal import same
from evollab.evals.math.kind import KINDS, kind_of
from evollab.evals.math.normal import normal, parts
from evollab.evals.math.pool import Pool, Question, Verdict, pool
from evollab.evals.math.tasks import COMPAT, formula_gold
from evollab.evals.math.value import differ, value
from evollab.records import EvolError
from tests.test_evals_math import graded, real, rows, share, trial

pytest.importorskip("math_verify", reason="math-verify is not installed (pip install 'evollab[evals]')")


@pytest.fixture(scope="module")
def opened() -> Iterator[Pool]:
    with pool(1, seconds=2.0) as one:
        yield one


# Exact rules


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"\dfrac12"), (r"\frac{1}{2}", "0.5"), (r"\frac{1}{2}", "1/2"), (r"x \in [-2,7]", r"x\in[-2, 7]"),
        (r"\left(1,\frac{9}{2}\right)", "(1, 9/2)"), (r"\text{Evelyn}", "evelyn"), (r"\text{(B)}", "B"), ("6, -2", "-2, 6"),
        (r"\$36", "36"), (r"10,\!236", "10236"), ("14{,}916", "14,916"), (r"\frac{68}{3}\text{ pounds}", r"\frac{68}{3}"),
        (r"2\sqrt{3}", r"2 \sqrt3"), (r"44\%", "44"), (r"3 \frac{3}{8}", r"\frac{27}{8}"), ("x = 5", "5"),
        (r"\begin{pmatrix} 1 \\ 1/2 \end{pmatrix}", r"\begin{bmatrix}1\\0.5\end{bmatrix}"), (r"90\text{ square units}", "90"),
        ("70,110", "70, 110"), ("1101_4", "1101_{4}"), (r"2\pi\text{ cm}", r"2\pi"), (r"x \leq 3", r"x\le3"),
    ],
)  # fmt: skip
def test_the_same(gold: str, answer: str) -> None:
    assert same(gold, answer) in {True, None} if "_{" in answer else same(gold, answer) is True


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("50", "0.5"), ("18", "17.6"), ("12345", "x/2"), ("12345", "3/x"), ("12345", "1/0.5"), ("(1,2)", "(2,1)"),
        ("even", "odd"), (r"2\sqrt{3}", r"3\sqrt{2}"), ("x+1", "x+2"), ("5", "(5, 6)"), (r"\frac{1}{3}", "0.333"), ("5", ""),
        ("6, -2", "6, 2"), (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"), ("3+i", "3-i"), ("(1,2)", "(1,2,3)"),
    ],
)  # fmt: skip
def test_not_the_same(gold: str, answer: str) -> None:
    assert same(gold, answer) is False


@pytest.mark.parametrize(("gold", "answer"), [("(x+1)^2", "x^2+2x+1"), ("(1,2)", "[1,2]"), (r"\sqrt{8}", r"2\sqrt{2}")])
def test_undecided(gold: str, answer: str) -> None:
    assert same(gold, answer) is None


@given(st.text(alphabet=r"0123456789.,/\{}()[]^_-+=xyi frac sqrt pi text %$!&", max_size=120))
def test_rules_never_raise_and_all_is_itself(text: str) -> None:
    normal(text)
    value(normal(text))
    kind_of(text)
    assert not differ(normal(text), normal(text))
    assert same(text, text) is (normal(text) != "")


@given(st.recursive(
    st.sampled_from(["2", "x", r"\pi", "7", "1.5"]),
    lambda inner: st.builds(lambda form, a, b: form.format(a, b), st.sampled_from(
        ["({0}+{1})", "{0}-{1}", r"\frac{{{0}}}{{{1}}}", r"\sqrt{{{0}}}", "({0})({1})", "({0})^2"]), inner, inner),
    max_leaves=8,
))  # fmt: skip
def test_a_value_is_that_of_python(form: str) -> None:
    found = value(normal(form))
    shifted = value(normal(f"({form})+1"))
    assert (found is None) == (shifted is None)
    if found is not None and shifted is not None:
        assert abs(shifted - found - 1) <= 1e-6 * max(1, abs(found))


def test_values() -> None:
    assert value(r"\frac12") == 0.5
    assert value("x^12") == pytest.approx((value("x") or 0) * 2)
    assert value(r"2\cdot3^{2}-1") == 17
    for nothing in (
        "",
        "3\\frac{1}{2}",
        "x=2",
        "e",
        "\\sin{x}",
        "(1",
        "1/0",
        "2^{999}",
        "\\sqrt[3]{-8}",
        "(" * 300,
        "9" * 400,
        "1.2.3",
        "2^{3}4.5.6",
    ):
        assert value(nothing) is None, nothing


def test_parts() -> None:
    assert parts("(1, f(2,3))") == ("()", ["1", "f(2,3)"])
    assert parts("(1,2],[3,4)") == ("", ["(1,2]", "[3,4)"])
    assert parts("3") is None


# What a response's answer is


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"), (r"The answer is: $\$36$.", r"\$36"), ("The answer is $5$ dollars.", "5"),
        (r"$\boxed{1}$ and $\boxed{-3}$", "1, -3"), (r"$\boxed{1}$. But then it can't be; so $\boxed{2}$", "2"),
        (r"The answer is positive, hence \boxed{3}. The answer is right.", "3"), ("The answer is: (1, 2).\nI hope so", "(1, 2)"),
        ("The final answer is $x^2$ and $y^2$.", "x^2, y^2"), (r"we find \[x=\frac12\]", r"x=\frac12"), ("it is 7", "7"),
        (r"so $\boxed{30} \text{ cm}$", "30"), (r"it is $\frac{1}{2}$.", r"\frac{1}{2}"),
        (r"\boxed{5}. Wait, I forgot one: it's $6$.", "6"), (r"\boxed{\text{even}}", r"\text{even}"), ("I have no idea", None), (r"\frac{1}{2}", r"\frac{1}{2}"), ("Evelyn", "Evelyn"), ("2 + 3 makes 5", "5"), ("5 apples", "5 apples"), ("", None),
        (r"$\boxed{5}$." + "\n\nQuestion: next?\n\n" + r"\boxed{8}", "5"), (r"The answer is \(3\).", "3"),
    ],
)  # fmt: skip
def test_answers_are_found(text: str, answer: str | None) -> None:
    assert read(text).final == answer


def test_chains() -> None:
    assert candidates("2 + 3 = 5") == ("2 + 3 = 5", "5")
    assert candidates("5") == ("5",)


def test_reading_formulas_is_linear_in_hostile_text() -> None:
    for piece in ("$", "$x$", "\\[", "\\(a", "\\boxed{5}", "\\boxed{1} and ", "answer is $", "=", "\\\\"):
        begun = time.process_time()
        read(piece * (400_000 // len(piece)))
        assert time.process_time() - begun < 20, piece


# Algebra, and its limits


def test_algebra(opened: Pool) -> None:
    wanted = [
        ("(x+1)^2", "x^2+2x+1", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("(1,2)", "[1,2]", False),
        ("x", "y", False),
    ]
    asked = [Question((gold,), answer) for gold, answer, _ in wanted]
    assert [one.same for one in opened.all([*asked, asked[0]])] == [*(right for _, _, right in wanted), True]


@pytest.mark.parametrize("answer", ["100000000!", "2^{2^{2^{2^{2^{2}}}}}", r"\binom{10^9}{5\cdot 10^8}"])
def test_what_never_ends_is_wrong_and_counted(opened: Pool, answer: str) -> None:
    assert opened.one(Question(("1",), answer)) == Verdict(False, "time-out")
    assert opened.one(Question((r"\sqrt{8}",), r"2\sqrt{2}")).same


def test_a_worker_that_dies_is_started_again() -> None:
    with pool(1, seconds=1.0) as one:
        assert one.one(Question(("3x",), "x+2x")).same
        process = one._workers[0]._process
        assert process is not None
        process.kill()
        process.wait()
        assert one.one(Question(("2x",), "x+x")).same
        again = one._workers[0]._process
        assert again is not None
        threading.Timer(0.3, again.kill).start()
        assert one.one(Question(("1",), "99999999!")) == Verdict(False, "time-out")
    assert again.poll() is not None


def test_model_text_is_not_executed(opened: Pool, tmp_path: Any) -> None:
    trap = tmp_path / "trap"
    for code in (
        f"__import__('os').mkdir('{trap}')",
        f"open('{trap}','w')",
        f"eval(\"open('{trap}','w')\")",
        "().__class__",
    ):
        for compat in (False, True):
            assert not opened.one(Question(("12345",), code, compat)).same
    assert not trap.exists()
    for code in (
        "x.y",
        "'a'",
        "[1]",
        "(x)(y)",
        "lambda: 1",
        "print(1)",
        "sympify(x)",
        "preview(x)",
        "__x",
        "x := 1",
        "{1}",
    ):
        assert not harmless(code), code
    for arithmetic in ("x**2 + 1/3", "sqrt(2)*pi", "5!", "(1, 2)", "f(x)", "x^2 = 4"):
        assert harmless(arithmetic), arithmetic


def test_without_math_verify_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evollab.evals.math.pool.find_spec", lambda name: None)
    with pytest.raises(EvolError, match="math-verify") as error, pool():
        pass
    assert "pip install 'evollab[evals]'" in error.value.hint


def test_checker() -> None:
    with math_checker(1, seconds=1.0) as same_answer:
        assert same_answer("#### 18", "so. The answer is: 18.") is True
        assert same_answer(r"We get $\boxed{(x+1)^2}$.", r"$\boxed{x^2+2x+1}$") is True
        assert same_answer("18", "#### 17.6") is False
        assert same_answer("18", "no idea") is False
        assert same_answer("7", r"\boxed{100000000!}") is False
        assert same_answer("", "#### 18") is None
        assert same_answer("word " * 100, "#### 18") is None
    assert right_answer("The answer is: $5$.") == "$5$"


def test_marks_of_a_time_out_and_of_nothing() -> None:
    [late, none, bad, right] = marks(
        [(["1"], r"\boxed{100000000!}"), (["5"], "Hm, no idea."), ([], "#### 5"), (["5", "6"], r"\boxed{6}")], 1
    )
    assert (late.score, late.failure) == (0.0, "math-verify: time-out")
    assert (none.score, none.failure) == (0.0, "no answer")
    assert (bad.score, bad.failure) == (None, "bad gold")
    assert (right.score, right.failure, right.more) == (1.0, "", {"strict": 1.0, "flexible": 1.0})


# The release


@pytest.mark.parametrize("answer", ["x/2", "3/x", "1/0.5", r"5\text{ cm} or 6\text{ m}", r"\frac", r"\sqrt"])
def test_what_the_release_can_not_normalise_is_right_there_and_wrong_here(answer: str) -> None:
    assert is_equiv(answer, "12345", symbolic_equal)
    assert math_verdict(f"The answer is: {answer}.\nDone", "12345", symbolic_equal)
    [(_, one)] = graded("math", [{"response": f"The answer is: {answer}", "answer": "12345"}], "wizardlm")
    assert (one.score, one.more[COMPAT]) == (0.0, 1.0)


def test_further_faults_of_the_release() -> None:
    assert is_equiv(None, None, symbolic_equal)
    assert not is_equiv(None, "5", symbolic_equal)
    assert math_equal("0.5", "50", symbolic_equal)
    for answer, gold in [
        ("0.25", "25"),
        ("25", "0.25"),
        ("1.00005", "1"),
        ("{1}(2)", "12"),
        ("5!", "120"),
        ("x**2", "x*x"),
    ]:
        assert is_equiv(answer, gold, symbolic_equal), answer
    assert not is_equiv("(1,2)", "[1,2]", symbolic_equal)
    assert not math_verdict(r"\boxed{5}", "5", symbolic_equal)
    assert not math_verdict("The answer is: .", "5", symbolic_equal)


# Tasks and real data


def test_rows_of_math() -> None:
    ask = trial("math").question
    row = {
        "problem": "Find x.",
        "solution": r"so $\boxed{1}$, or $\boxed{2}$",
        "level": "Level 4",
        "type": "Algebra",
        "idx": 9,
    }
    one = ask(Row(1, row))
    assert one is not None
    assert (one.id, one.gold, one.facts) == ("9", ["2", "1, 2"], {"level": "4", "subject": "Algebra", "answer": "Real"})
    other = trial("math500").question(
        Row(1, {"problem": "p", "answer": "p - q", "solution": "", "unique_id": "u", "level": 5})
    )
    assert other is not None
    assert (other.id, other.gold, other.facts["answer"]) == ("u", ["p - q"], "Expression")
    with pytest.raises(BadFields):
        ask(Row(1, {"problem": "Find x.", "solution": "It is five."}))
    assert formula_gold(["3", "-3", None]) == ["3", "-3"]
    assert formula_gold(7) == ["7"]


@real
@pytest.mark.parametrize(("task", "name"), [("math", "math_test_5000"), ("math500", "math500")])
def test_gold_against_gold(task: str, name: str) -> None:
    found = graded(task, [{**row, "completion": row["solution"]} for row in rows(name)])
    assert share(found) == share(found, "strict") == 100.0
    assert not any(one.failure for _, one in found)


@real
def test_golds_against_themselves_by_algebra_alone() -> None:
    golds = [gold[0] for row in rows("math_test_5000") if (gold := formula_gold(row["solution"]))]
    with pool(2) as one:
        assert all(verdict.same for verdict in one.all([Question((gold,), gold) for gold in golds]))


@real
def test_answers_that_people_put_into_kinds() -> None:
    labelled = rows("math/mario_math_testset_annotation")
    assert len(labelled) == 5000
    answers = [row["answer"] if isinstance(row["answer"], list) else [row["answer"]] for row in labelled]
    assert all(same(one, one) for each in answers for one in each)
    kinds = [kind_of(each[0], row["question"]) for each, row in zip(answers, labelled, strict=True)]
    assert set(kinds) <= set(KINDS)
    assert sum(kind == row["human_type"] for kind, row in zip(kinds, labelled, strict=True)) >= 4950
