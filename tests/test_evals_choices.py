"""Multiple choice: prompts, scores, the journal, and what comes of it with a server that is not fit for it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.choices import ChoiceQuestion, Choices, asked, choice_of, mark, prompts, read_examples
from evollab.evals.harness import JOURNAL, Scored, probe, read_journal, run_choices
from evollab.evals.sources import find_task
from evollab.evals.trial import Question
from evollab.records import EvolError

MMLU = {"subject": "high_school_physics", "question": " Which? ", "choices": ["a", "b", "c", "d"], "answer": 2}
ARC = {
    "id": "Q7",
    "question": "Why?",
    "choices": {"text": ["it is", "so"], "label": ["1", "2"]},
    "answerKey": "2",
}
HELLASWAG = {
    "ind": 4, "activity_label": "Home", "ctx_a": "How [title] Do  it.", "ctx_b": "then HE", "label": "1",
    "endings": ["runs [step] off.", "sits."], "source_id": "wikihow~12", "ctx": "How",
}  # fmt: skip
WINOGRANDE = {"sentence": "Ann hit Eve, so _ cried.", "option1": "Ann", "option2": "Eve", "answer": "2"}
TRUTHFULQA = {
    "Question": "Is it?", "Best Answer": "No", "Correct Answers": "No; Not at all", "Incorrect Answers": "Yes;It is ",
    "Category": "Law",
}  # fmt: skip


def trial(name: str) -> Choices:
    found = find_task(name).trial
    assert isinstance(found, Choices)
    return found


def question(name: str, fields: dict[str, Any], number: int = 1) -> Question:
    found = trial(name).question(Row(number, fields))
    assert found is not None
    return found


def pairs(name: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    return prompts(trial(name), [question(name, fields)], [], 0)[0]


def test_the_prompts_to_the_letter() -> None:
    head = "The following are multiple choice questions (with answers) about high school physics.\n\n"
    query = "Which?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    assert pairs("mmlu", MMLU) == [(head + query, f" {letter}") for letter in "ABCD"]
    assert pairs("arc_challenge", ARC) == [("Question: Why?\nAnswer:", " it is"), ("Question: Why?\nAnswer:", " so")]
    assert pairs("arc_easy", {"query": "Question: Why?", "choices": ["x", "y"], "gold": 1})[1][1] == " y"
    assert pairs("hellaswag", HELLASWAG) == [
        ("Home: How. Do it. Then he", " runs off."), ("Home: How. Do it. Then he", " sits."),
    ]  # fmt: skip
    assert pairs("winogrande", WINOGRANDE) == [("Ann hit Eve, so Ann", " cried."), ("Ann hit Eve, so Eve", " cried.")]
    both = {"context_options": ["so Ann", "so Eve"], "continuation": "cried.", "gold": 0}
    assert pairs("winogrande", both)[0] == ("so Ann", " cried.")
    told = pairs("truthfulqa", TRUTHFULQA)
    assert [answer for _, answer in told] == [" No", " Yes", " It is", " Not at all"]
    assert told[0][0].startswith("Q: What is human life expectancy in the United States?\nA: Human life")
    assert told[0][0].endswith("Spain.\n\nQ: Is it?\nA:")


def test_questions_and_their_facts() -> None:
    assert question("mmlu", MMLU).facts == {"subject": "high_school_physics"}
    assert (question("arc_challenge", ARC).id, choice_of(question("arc_challenge", ARC)).right) == ("Q7", 1)
    assert question("hellaswag", HELLASWAG).facts == {"source": "wikihow"}
    choice = choice_of(question("truthfulqa", TRUTHFULQA))
    assert (choice.right, choice.single, choice.true) == (0, (0, 1, 2), (True, False, False, True))
    sets = {
        "question": "Is it?",
        "mc1_targets": {"choices": ["yes", "no"], "labels": [0, 1]},
        "mc2_targets": {"choices": ["no", "never", "maybe"], "labels": [1, 1, 0]},
    }
    choice = choice_of(question("truthfulqa", sets))
    assert (choice.answers, choice.right) == (("yes", "no", "never", "maybe"), 1)
    assert choice.true == (None, True, True, False)
    assert find_task("truthfulqa").texts(Row(1, sets)) is not None


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("mmlu", {**MMLU, "choices": ["a", "b"], "answer": 0}, "2 choices; expected 4"),
        ("mmlu", {**MMLU, "answer": 4}, "right choice"),
        ("mmlu", {name: value for name, value in MMLU.items() if name != "subject"}, "no field subject"),
        ("arc_easy", {"query": "q", "choices": ["only"], "gold": 0}, "two or more"),
        ("hellaswag", {**HELLASWAG, "label": None}, "label is"),
        ("hellaswag", {**HELLASWAG, "endings": ["a", " "]}, "an answer is empty"),
        ("winogrande", {**WINOGRANDE, "sentence": "no blank"}, "no blank"),
        ("winogrande", {**WINOGRANDE, "answer": ""}, "expected 1 or 2"),
        ("truthfulqa", {**TRUTHFULQA, "Incorrect Answers": ";"}, "all true"),
        ("truthfulqa", {"question": "q", "mc1_targets": {"choices": ["a"], "labels": [0]}}, "labels"),
    ],
)
def test_rows_that_are_no_questions(name: str, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadFields, match=why):
        question(name, fields)


def test_marks() -> None:
    choice = ChoiceQuestion(query="q", answers=("a", "long one"), right=1)
    found = mark(choice, [-2.0, -4.0], "acc")
    assert (found.score, found.extracted, found.more) == (0.0, "a", {"acc_norm": 1.0})
    found = mark(choice, [-2.0, -4.0], "acc_norm")
    assert (found.score, found.extracted, found.more) == (1.0, "long one", {"acc": 0.0})
    assert mark(ChoiceQuestion(query="q", answers=("a", "b"), right=1), [-1.0, -1.0], "acc").score == 0.0  # the first
    sets = ChoiceQuestion(query="q", answers=("a", "b", "c"), right=0, single=(0, 1), true=(True, None, False))
    found = mark(sets, [math.log(0.2), math.log(0.1), math.log(0.6)], "mc1")
    assert found.score == 1.0
    assert found.more["mc2"] == pytest.approx(0.25)
    blank = ChoiceQuestion(query="", answers=("x", "x"), right=1, openings=("so A", "so B"))
    found = mark(blank, [-3.0, -2.0], "acc")
    assert (found.score, found.extracted, found.more) == (1.0, "so B", {})


@given(st.lists(st.floats(-1e6, -1e-6), min_size=2, max_size=6), st.floats(-50, 50))
def test_more_likelihood_for_all_changes_nothing(values: list[float], shift: float) -> None:
    answers = tuple(f"answer {at}" for at in range(len(values)))
    true = tuple(at == 0 for at in range(len(values)))
    choice = ChoiceQuestion(query="q", answers=answers, right=0, true=true)
    found = mark(choice, values, "mc1")
    assert 0 <= (found.more["mc2"] or 0) <= 1
    assert found.score == float(max(values) == values[0])


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_examples_are_of_the_same_subject_and_never_too_few(tmp_path: Path) -> None:
    rows = [
        {**MMLU, "subject": subject, "question": f"{subject} {at}"} for at in range(3) for subject in ("art", "law")
    ]
    mmlu = trial("mmlu")
    place = write(tmp_path, "mmlu_dev.jsonl", [{"other": 1}, *rows])
    examples = read_examples("mmlu", mmlu, [place], 2)
    (own,) = prompts(mmlu, [question("mmlu", {**MMLU, "subject": "law"})], examples, 2)
    assert own[0][0].count("Answer: C\n\n") == 2
    assert own[0][0].index("law 0") < own[0][0].index("law 1")
    assert "art" not in own[0][0]
    with pytest.raises(EvolError, match="3 examples for law, and 4") as caught:
        prompts(mmlu, [question("mmlu", {**MMLU, "subject": "law"})], examples, 4)
    assert "--shots 3" in (caught.value.hint or "")
    with pytest.raises(EvolError, match="has 6 examples, and mmlu is asked with 9"):
        read_examples("mmlu", mmlu, [place], 9)
    with pytest.raises(EvolError, match="none are here"):
        read_examples("mmlu", mmlu, [], 5)
    assert read_examples("mmlu", mmlu, [], 0) == []


def test_drawn_examples_belong_to_the_row_not_to_the_sample() -> None:
    arc = trial("arc_challenge")
    examples = [choice_of(question("arc_challenge", {**ARC, "question": f"Example {at}?"})) for at in range(40)]
    questions = [question("arc_challenge", {**ARC, "question": f"{at}?"}, at + 1) for at in range(10)]
    whole = prompts(arc, questions, examples, 5)
    assert prompts(arc, questions[3:5], examples, 5) == whole[3:5]
    assert len({own[0][0].rpartition("\n\n")[0] for own in whole}) == 10


def test_a_torn_journal(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    whole = b'{"key": "a", "value": -1.5, "cut": false}\n'
    journal.write_bytes(whole + b'{"key": "b", "val')
    assert read_journal(journal) == {"a": (-1.5, False)}
    assert journal.read_bytes() == whole
    journal.write_bytes(b"[]\n" + whole)
    with pytest.raises(EvolError, match=f"{JOURNAL}:1"):
        read_journal(journal)
    assert read_journal(tmp_path / "none") == {}


Reply = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


@contextmanager
def scripted(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers /v1/completions by `reply`; its address and what it was asked."""
    asked_of_it: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked_of_it.append(body)
            status, told = reply(body)
            raw = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked_of_it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scored(values: list[float | None]) -> tuple[int, dict[str, Any]]:
    tops = [None if value is None else {"x": value} for value in values]
    return 200, {"choices": [{"index": 0, "text": "", "logprobs": {"token_logprobs": values, "top_logprobs": tops}}]}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((400, {"error": "no echo with logprobs"}), "HTTP 400: .*no echo"),
        ((200, {"choices": [{"text": "x"}]}), "no log-probs of a prompt"),
        ((200, {"choices": []}), "no log-probs of a prompt"),
        (scored([-0.1]), "no log-probs of a prompt"),  # of the token that it made alone
    ],
)
def test_servers_that_do_not_score_prompts(reply: tuple[int, dict[str, Any]], why: str) -> None:
    with scripted(lambda body: reply) as (url, _), pytest.raises(EvolError, match=why) as caught:
        asyncio.run(probe(Scored(url=url, model="m", tokenizer="t", identity="m")))
    assert "evol serve" in (caught.value.hint or "")


def test_nobody_there() -> None:
    with scripted(lambda body: scored([])) as (url, _):
        pass
    with pytest.raises(EvolError, match="can't be reached"):
        asyncio.run(probe(Scored(url=url, model="m", tokenizer="t", identity="m")))


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs lm-eval")
def test_a_server_that_tells_no_answers_apart(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests import tiny

    tiny.tokenizer("bytes").save_pretrained(tmp_path / "model")

    def alike(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = body["prompt"]
        tokens = len(prompt[0]) if isinstance(prompt, list) else 4
        return scored([None, *[0.0] * tokens])

    rows = [asked(str(at), ChoiceQuestion(query=f"{at}?", answers=("yes", "no"), right=0)) for at in range(20)]
    with scripted(alike) as (url, seen):
        at = Scored(url=url, model="m", tokenizer=str(tmp_path / "model"), identity="m")
        with pytest.raises(EvolError, match="scores all answers alike"):
            asyncio.run(run_choices(trial("arc_easy"), rows, [], 0, at, tmp_path))
    assert len(seen) == 1 + 16  # it looked after the first eight questions
    assert all(type(body["prompt"]) is list for body in seen[1:])
