"""Multiple choice against lm-eval itself, used plainly: the same prompts, the same log-likelihoods, choice by choice.

lm-eval runs in a process of its own: its imports warn, and it sets up logging and seeds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evollab.evals.choices import Choices, choice_of, prompts, read_examples
from evollab.evals.harness import JOURNAL, Scored, run_choices
from evollab.evals.own_server import served
from evollab.evals.questions import read_questions
from evollab.evals.sources import find_task
from evollab.evals.trial import Marked
from evollab.records import EvolError
from tests import tiny
from tests.serving import environment

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs lm-eval"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch"),
    pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers"),
]
ITEMS = 20
LENGTH = 2048
_LM_EVAL = """
import json, sys
from pathlib import Path
import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml
told, tasks = json.loads(sys.argv[1]), []
for name, where, shots, files in told["tasks"]:
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / where)
    config = {key: value for key, value in config.items() if key not in ("tag", "include", "task_alias")}
    config |= {"task": name, "dataset_path": "json", "dataset_name": None, "num_fewshot": shots,
               "dataset_kwargs": {"data_files": files}, "test_split": "test", "validation_split": None,
               "training_split": "train", "fewshot_split": "train" if shots else None}
    tasks.append(ConfigurableTask(config=config))
found = {}
if told["url"]:
    result = lm_eval.simple_evaluate(model="local-completions", tasks=tasks, bootstrap_iters=0, model_args={
        "model": "model", "base_url": told["url"] + "/completions", "tokenizer": told["tokenizer"],
        "tokenizer_backend": "huggingface", "add_bos_token": told["bos"], "max_length": told["length"],
        "num_concurrent": 4})
    for name, rows in result["samples"].items():
        found[name] = [{key: row.get(key) for key in ("resps", "acc", "acc_norm")} for row in rows]
else:
    for task in tasks:
        task.set_fewshot_seed(1234)
        task.build_all_requests(limit=None, rank=0, world_size=1)
        found[task.config.task] = [one.args for one in task.instances]
Path(told["out"]).write_text(json.dumps(found))
"""


def arc(at: int) -> dict[str, Any]:
    answers = {"text": [f"the number {at}", "step by step", "Paris", f"{at * 7} of them"], "label": list("ABCD")}
    return {"id": f"q{at}", "question": f"What comes after {at}?", "choices": answers, "answerKey": "ABCD"[at % 4]}


def mmlu(at: int) -> dict[str, Any]:
    choices = [f"a {at}", "b", "it is c", "d"]
    return {"subject": "abstract_algebra", "question": f" What is {at}? ", "choices": choices, "answer": at % 4}


def winogrande(at: int) -> dict[str, Any]:
    sentence = f"The cat {at} liked the dog because _ was {at} times kind."
    return {"sentence": sentence, "option1": "the cat", "option2": "the dog", "answer": "12"[at % 2]}


def hellaswag(at: int) -> dict[str, Any]:
    endings = [f"runs  {at}.", "walks [step] away", "sits [title] there", "eats"]
    return {"ind": at, "activity_label": "Home", "ctx_a": f"How to do {at} [title] Well [step] go", "ctx_b": "then HE",
            "endings": endings, "label": str(at % 4), "ctx": "", "source_id": "wikihow~1"}  # fmt: skip


def truthfulqa(at: int) -> dict[str, Any]:
    sets = {"choices": [f"yes {at}", "no", "maybe"], "labels": [1, 0, 0]}
    return {"question": f"Why {at}?", "mc1_targets": sets, "mc2_targets": sets}


TASKS = (
    ("arc_challenge", "arc/arc_challenge.yaml", 25, arc),
    ("mmlu", "mmlu/default/mmlu_abstract_algebra.yaml", 5, mmlu),
    ("winogrande", "winogrande/default.yaml", 5, winogrande),
    ("hellaswag", "hellaswag/hellaswag.yaml", 10, hellaswag),
    ("truthfulqa", "truthfulqa/truthfulqa_mc1.yaml", 0, truthfulqa),
)


@dataclass
class Files:
    folder: Path

    def of(self, name: str) -> dict[str, str]:
        return {split: str(self.folder / f"{name}_{split}.jsonl") for split in ("test", "train")}

    def lm_eval(self, names: list[str], url: str = "", key: str = "none") -> Any:
        tasks = [(name, where, shots, self.of(name)) for name, where, shots, _ in TASKS if name in names]
        told = {"tasks": tasks, "url": url, "tokenizer": str(self.folder / "model"), "bos": True, "length": LENGTH,
                "out": str(self.folder / "out.json")}  # fmt: skip
        # its token it takes from the variable of OpenAI's
        more = {"OPENAI_API_KEY": key, "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(self.folder / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", _LM_EVAL, json.dumps(told)], check=False, capture_output=True, text=True,
            env=environment(**more), cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads((self.folder / "out.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("choices")
    for name, _, _, make in TASKS:
        for split, places in (("test", range(ITEMS)), ("train", range(100, 140))):
            rows = "".join(json.dumps(make(at)) + "\n" for at in places)
            (folder / f"{name}_{split}.jsonl").write_text(rows)
    tiny.checkpoint(folder / "model", "llama", length=LENGTH)
    return Files(folder)


def trial(name: str) -> Choices:
    found = find_task(name).trial
    assert isinstance(found, Choices)
    return found


def test_prompts_are_those_of_lm_eval(files: Files) -> None:
    theirs = files.lm_eval([name for name, *_ in TASKS])
    for name, _, shots, _ in TASKS:
        choices, own = trial(name), files.of(name)
        assert choices.shots == shots
        questions = read_questions([own["test"]], choices.question, None, ()).items
        ours = prompts(choices, questions, read_examples(name, choices, [own["train"]], shots), shots)
        assert [list(pair) for pairs in ours for pair in pairs] == theirs[name], name


async def _measured(files: Files, name: str, shots: int) -> tuple[list[Marked], list[Marked], Any, Scored]:
    choices, own = trial(name), files.of(name)
    questions = read_questions([own["test"]], choices.question, None, ()).items
    examples = read_examples(name, choices, [own["train"]], shots)
    store = files.folder / f"store-{name}"
    store.mkdir()
    async with served(files.folder / "model") as (url, key):
        at = Scored(
            url=url, model="model", tokenizer=str(files.folder / "model"), identity="tiny", key=key, concurrency=4
        )
        first = await run_choices(choices, questions[:7], examples, shots, at, store)
        whole = await run_choices(choices, questions, examples, shots, at, store)
        theirs = await asyncio.to_thread(files.lm_eval, [name], url, key)
    again = await run_choices(choices, questions, examples, shots, at, store)  # the server is gone: all is kept
    assert again == whole
    return first, whole, theirs[name], at


def test_scores_are_those_of_lm_eval_and_of_the_model(files: Files) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, whole, theirs, at = asyncio.run(_measured(files, "hellaswag", 10))
    assert whole[:7] == first
    assert len(whole) == len(theirs) == ITEMS
    rows = (files.folder / "store-hellaswag" / JOURNAL).read_text().splitlines()
    assert len(rows) == ITEMS * 4  # nothing twice
    for (_, mark), row in zip(whole, theirs, strict=True):
        told = ", ".join(f"{float(one[0][0]):.3f}" for one in row["resps"])
        assert mark.reason == f"log-likelihoods {told}"
        assert (mark.more["acc"], mark.score) == (row["acc"], row["acc_norm"])
    assert at.facts["begins with BOS"] is True
    assert at.facts["shots"] == 10
    assert "notes" not in at.facts
    model: Any = AutoModelForCausalLM.from_pretrained(at.tokenizer)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(at.tokenizer)
    choices, own = trial("hellaswag"), files.of("hellaswag")
    questions = read_questions([own["test"]], choices.question, None, ()).items
    asked = prompts(choices, questions, read_examples("hellaswag", choices, [own["train"]], 10), 10)
    for pairs, (answer, mark) in list(zip(asked, whole, strict=True))[:3]:
        values = []
        for context, text in pairs:
            ids, start = tokenizer(context + text).input_ids, len(tokenizer(context).input_ids)
            with torch.no_grad():
                scores = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].float(), dim=-1)
            values.append(sum(scores[place - 1, ids[place]].item() for place in range(start, len(ids))))
        shown = [float(value) for value in mark.reason.removeprefix("log-likelihoods ").split(", ")]
        assert shown == pytest.approx(values, abs=2e-3)
        assert choice_of(answer.question).answers == tuple(text[1:] for _, text in pairs)


def test_a_checkpoint_that_can_not_be_served(tmp_path: Path) -> None:
    async def go() -> None:
        async with served(tmp_path / "none"):
            raise AssertionError("it came up")

    with pytest.raises(EvolError, match="ended"):
        asyncio.run(go())
