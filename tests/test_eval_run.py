"""`evol eval`: asking, grading, files, resume, limits, outputs made elsewhere; on a benchmark of our own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab import cli
from evollab.evals.options import EvalOptions, for_task
from evollab.evals.questions import some
from evollab.evals.run import EvalResult, evaluate
from evollab.evals.trial import Question
from evollab.llm.budget import Price
from evollab.llm.providers import scripted as provider
from evollab.llm.scripted import Scripted
from evollab.llm.session import Connection, ModelOptions
from evollab.records import EvolError

HERE = Path(__file__).parent
TASK = str(HERE / "eval_task.py")
JUDGED = str(HERE / "eval_task_judged.py")
CAPITALS = {
    "France": ("Paris", "Europe"), "Italy": ("Rome", "Europe"), "Kenya": ("Nairobi", "Africa"),
    "Ghana": ("Accra", "Africa"), "Peru": ("Lima", "America"), "Chile": ("Santiago", "America"),
}  # fmt: skip
Body = dict[str, Any]
Reply = Callable[[Body], Any]


def knows(body: Body) -> str:
    """Right on all but Ghana and Chile; no answer for Peru."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    if asked.startswith("judge:"):
        said, _, gold = asked.removeprefix("judge: ").removesuffix("?").partition(" or ")
        return "maybe" if said == "Lima" else str(int(said == gold))
    country = next(name for name in CAPITALS if name in asked)
    return {"Ghana": "Kumasi", "Chile": "valparaíso"}.get(country, CAPITALS[country][0])


class Bench:
    """A folder with the benchmark in it, and a scripted model that counts what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.asked = folder, list[Body]()
        self.reply: Reply = knows
        bench = self
        rows = [
            {"country": country, "capital": capital, "continent": continent}
            for country, (capital, continent) in CAPITALS.items()
        ]
        (folder / "data").mkdir()
        (folder / "data" / "capitals.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

        @contextlib.asynccontextmanager
        async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
            def reply(body: Body) -> Any:
                bench.asked.append(body)
                return bench.reply(body)

            yield Connection(f"scripted:{name}", name, Scripted(reply, name), Price(1.0, 2.0))

        monkeypatch.setattr(provider, "connect", connect)

    def __call__(self, *tasks: str, out: str = "out", model: str | None = "scripted:m", **options: Any) -> EvalResult:
        self.asked.clear()
        options.setdefault("benchmarks", str(self.folder / "data"))
        return asyncio.run(evaluate(model, tasks or (TASK,), self.folder / out, EvalOptions(**options)))

    def rows(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / file).read_text().splitlines()]

    def result(self, place: str = "out/capitals") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / place / "result.json").read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_answers_grades_and_a_result_that_says_how_it_was_made(bench: Bench) -> None:
    found = bench()
    assert (found.state, found.exit_code) == ("complete", 0)
    answers, graded, result = (
        bench.rows("out/capitals/answers.jsonl"),
        bench.rows("out/capitals/graded.jsonl"),
        bench.result(),
    )
    assert [row["texts"] for row in answers] == [["Paris"], ["Rome"], ["Nairobi"], ["Kumasi"], ["Lima"], ["valparaíso"]]
    assert [row["score"] for row in graded] == [1, 1, 1, 0, 1, 0]
    assert graded[3]["extracted"] == "Kumasi"
    assert result["value"] == pytest.approx(400 / 6)
    low, high = result["interval"]
    assert low < result["value"] < high
    assert (result["metric"], result["unit"], result["n"]) == ("accuracy", "%", 6)
    assert [one["name"] for one in result["metrics"]] == ["accuracy", "lower"]
    assert result["groups"]["continent"]["Europe"]["value"] == 100
    assert result["groups"]["continent"]["Africa"]["value"] == 50
    assert result["decoding"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 16, "stop": [], "samples": 1}
    assert result["prompt"]["name"] == "chat"
    assert result["prompt"]["example"] == [["user", "The capital of France?"]]
    assert result["data"]["items"] == result["data"]["of"] == 6
    assert result["tools"] == {"graded by": "equality"}
    assert result["versions"]["evollab"]
    assert json.loads((bench.folder / "out" / "results.json").read_text())["results"] == [result]
    assert "capitals" in str(found)
    assert "66.7 %" in str(found)


def test_nothing_is_paid_twice_and_the_bytes_are_the_same_at_any_concurrency(bench: Bench) -> None:
    bench(out="a", concurrency=1)
    assert len(bench.asked) == 6
    bench(out="a", concurrency=1)
    assert bench.asked == []
    bench(out="b", concurrency=64, store=str(bench.folder / "a"))
    assert bench.asked == [], "a shared store"
    bench(out="c", concurrency=64)
    for name in ("answers.jsonl", "graded.jsonl", "result.json"):
        assert (bench.folder / "a/capitals" / name).read_bytes() == (bench.folder / "c/capitals" / name).read_bytes()


def test_other_settings_are_refused_with_the_keys_that_differ(bench: Bench) -> None:
    bench(limit=3)
    with pytest.raises(EvolError, match="limit was 3, now 4") as caught:
        bench(limit=4)
    assert "--store" in caught.value.hint


def test_a_judge_for_another_task_changes_nothing(bench: Bench) -> None:
    bench()
    found = bench(TASK, JUDGED, judge="scripted:j")
    judge = [body for body in bench.asked if body["messages"][-1]["content"].startswith("judge:")]
    assert len(judge) == 6
    assert len(bench.asked) == 6, "the answers are in the store"
    result = bench.result("out/judged_capitals")
    assert result["judge"] == "scripted:j"
    assert result["failures"] == {"unparsed": 1}
    assert result["n"] == 5
    assert len(found.results) == 2


def test_a_limit_takes_the_same_questions_in_the_groups_shares(bench: Bench) -> None:
    bench(limit=3)
    rows = bench.rows("out/capitals/answers.jsonl")
    assert sorted(row["facts"]["continent"] for row in rows) == ["Africa", "America", "Europe"]
    again = bench(out="again", limit=3, model="scripted:other", seed=7)
    assert [row["id"] for row in bench.rows("again/capitals/answers.jsonl")] == [row["id"] for row in rows]
    assert "--limit: 3 of 6 questions" in str(again)


def test_shares_hold_for_any_limit() -> None:
    items = [Question(str(at), ("?",), facts={"level": "hard" if at % 4 == 0 else "easy"}) for at in range(200)]
    for limit in (1, 7, 50, 199, 200, 500):
        chosen = some(items, limit, ("level",))
        assert len(chosen) == min(limit, 200)
        assert [int(one.id) for one in chosen] == sorted(int(one.id) for one in chosen)
        hard = sum(one.facts["level"] == "hard" for one in chosen)
        assert abs(hard - len(chosen) / 4) <= 1


def test_samples_get_seeds_and_are_numbered(bench: Bench) -> None:
    bench(samples=3, temperature=0.7)
    assert len({body["seed"] for body in bench.asked}) == 18
    assert all(body["temperature"] == 0.7 for body in bench.asked)
    assert [row["sample"] for row in bench.rows("out/capitals/graded.jsonl")][:4] == [0, 1, 2, 0]
    assert bench.result()["n"] == 6, "questions, not samples"


def test_a_prompt_by_name_a_system_prompt_and_the_options_of_decoding(bench: Bench) -> None:
    bench(prompt=("plain",), reply_tokens=5, top_p=0.5)
    body = bench.asked[0]
    assert body["prompt"].startswith("Country: ")
    assert (body["stop"], body["max_tokens"], body["top_p"]) == (["\n"], 5, 0.5)
    bench(out="system", system="Be brief.")
    assert bench.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    with pytest.raises(EvolError, match="there are: chat, plain"):
        bench(out="wrong", prompt=("capitals=nothing",))


def test_cut_answers_count_failed_calls_do_not(bench: Bench) -> None:
    def reply(body: Body) -> Any:
        text = knows(body)
        if text == "Paris":
            choice = {"message": {"role": "assistant", "content": "Paris"}, "finish_reason": "length"}
            return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 16}}
        return {"status": 400, "error": {"message": "too long"}} if text == "Rome" else text

    bench.reply = reply
    found = bench()
    assert found.exit_code == 0
    result = bench.result()
    assert result["failures"] == {"bad_request": 1, "cut": 1}
    assert result["complete"] is False
    assert result["n"] == 5
    assert bench.rows("out/capitals/graded.jsonl")[1]["score"] is None


def test_calls_that_failed_wait_for_the_next_start(bench: Bench) -> None:
    whole = bench.reply
    bench.reply = lambda body: {"status": 500} if "Kenya" in body["messages"][-1]["content"] else whole(body)
    found = bench(max_calls=4)
    assert found.state == "stopped"
    assert not (bench.folder / "out/capitals/result.json").exists()
    bench.reply = whole
    done = bench()
    assert done.state == "complete"
    assert 0 < len(bench.asked) < 6


def test_an_estimate_asks_nothing(bench: Bench) -> None:
    found = bench(estimate=True)
    assert bench.asked == []
    assert not (bench.folder / "out").exists()
    assert "6 questions, about 6 calls" in str(found)
    assert "The capital of France?" in str(found)


def outputs(bench: Bench, *rows: object, name: str = "outputs.jsonl") -> str:
    path = bench.folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_outputs_made_elsewhere_by_id_or_by_text(bench: Bench) -> None:
    file = outputs(
        bench, {"id": 1, "completion": "Paris"}, {"question": " Italy ", "response": "Milan"},
        {"id": "5", "generations": ["Lima", "Cusco"]}, {"id": "99", "output": "?"}, {"id": "2"}, ["no", "row"],
    )  # fmt: skip
    found = bench(model=None, outputs=file)
    assert bench.asked == []
    result = bench.result()
    assert result["model"] == "outputs"
    assert [(row["id"], row["score"]) for row in bench.rows("out/capitals/graded.jsonl")] == [
        ("1", 1), ("2", 0), ("5", 1), ("5", 0)
    ]  # fmt: skip
    assert result["outputs"]["unknown"] == 1
    assert result["outputs"]["missing"] == 3
    assert [one["line"] for one in result["outputs"]["rejected"]] == [5, 6]
    assert result["prompt"]["name"] == "as given"
    assert "3 questions have no answer" in str(found)


def test_outputs_that_fit_nothing_say_so(bench: Bench) -> None:
    with pytest.raises(EvolError, match="none of its 1 rows answers a question"):
        bench(model=None, outputs=outputs(bench, {"id": "99", "output": "?"}))
    with pytest.raises(EvolError, match="not both"):
        bench(outputs=outputs(bench, {"id": "1", "output": "?"}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "scripted:m"], "which tasks"),
        (["eval", "scripted:m", "gsm9k"], "did you mean gsm8k"),
        (["eval", "no-such-folder", TASK], "no such model here"),
        (["eval", "scripted:m", "bbh"], "decontamination alone"),
        (["eval", "scripted:m", JUDGED, "--benchmarks", "DATA"], "needs a judge"),
        (["eval", "scripted:m", TASK, "--limit", "0"], "expected 1 or more"),
        (["eval", "scripted:m", TASK, "--temperature", "3"], "expected 0 to 2"),
        (["eval", "scripted:m", TASK, "--samples", "4", "--temperature", "0"], "alike"),
        (["eval", "http://127.0.0.1:9/v1", TASK], "can't be reached"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    bench: Bench, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    words = [word.replace("DATA", str(bench.folder / "data")) for word in arguments]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert said in told
    assert bench.asked == []


def test_two_questions_of_one_id_are_refused(bench: Bench, tmp_path: Path) -> None:
    task = tmp_path / "twice.py"
    task.write_text(
        "import dataclasses\nfrom tests import eval_task\n"
        "TRIAL = dataclasses.replace(eval_task.TRIAL, question=lambda row: dataclasses.replace(\n"
        "    eval_task.question(row), id='same'))\n"
        "TASK = dataclasses.replace(eval_task.TASK, name='twice', trial=TRIAL)\n"
    )
    with pytest.raises(EvolError, match="two questions have the id 'same'"):
        bench(str(task))


def test_json_is_one_object_a_task(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "scripted:m", TASK, "--benchmarks", str(bench.folder / "data"), "--out", str(bench.folder / "o")]
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"task", "metric", "value", "n", "interval", "failures"} <= set(found)
    assert found["task"] == "capitals"


def test_values_for_one_task_or_for_all() -> None:
    assert for_task(("chat", "math=few-shot"), "math") == "few-shot"
    assert for_task(("chat", "math=few-shot"), "gsm8k") == "chat"
    assert for_task((), "gsm8k") is None
    assert for_task(("./a=b.jsonl",), "gsm8k") == "./a=b.jsonl"
