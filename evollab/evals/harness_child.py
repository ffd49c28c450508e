"""The child process in which lm-eval computes log-likelihoods: started by `harness`, it imports nothing of ours.

It gets {url, model, tokenizer, length, bos, concurrency, asked, journal}. It reads rows {"context", "answers": [[key,
text]]} out of `asked`, and writes rows {"key", "value", "cut"} behind `journal`, each as soon as its reply is there. It
reports {"done": n} after each part, {"alike": true} where the server can't tell answers apart, and {"end": true}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_FIRST = 8
"""Questions after which it looks whether the server tells their answers apart."""
_PART = 256


def main(config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    keys: dict[tuple[str, str], str] = {}
    cut: set[tuple[str, str]] = set()

    class Journal:
        """Stands where lm-eval has its cache of pickles: hears of each reply."""

        def add_partial(self, method: str, pair: tuple[str, str], reply: tuple[float, bool]) -> None:
            row = {"key": keys[pair], "value": float(reply[0]), "cut": pair in cut}
            journal.write(json.dumps(row).encode() + b"\n")
            journal.flush()

    model: Any = LocalCompletionsAPI(
        model=config["model"], base_url=config["url"], tokenizer_backend="huggingface", tokenizer=config["tokenizer"],
        num_concurrent=max(2, config["concurrency"]), max_length=config["length"], max_retries=5, batch_size=1,
        add_bos_token=config["bos"],
    )  # fmt: skip
    scored = model._loglikelihood_tokens

    def noting_cuts(requests: Any, **options: Any) -> Any:
        cut.update(pair for pair, before, answer in requests if len(before) + len(answer) > model.max_length)
        return scored(requests, **options)

    model._loglikelihood_tokens = noting_cuts
    model.cache_hook = Journal()

    def ask(rows: list[dict[str, Any]]) -> list[list[float]]:
        pairs = [[(row["context"], text) for _, text in row["answers"]] for row in rows]
        keys.clear()
        for row, own in zip(rows, pairs, strict=True):
            keys.update(zip(own, (key for key, _ in row["answers"]), strict=True))
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for own in pairs for pair in own
        ]
        values = iter(model.loglikelihood(requests, disable_tqdm=True))
        return [[float(next(values)[0]) for _ in own] for own in pairs]

    with open(config["journal"], "ab") as journal, open(config["asked"], "rb") as file:
        rows: list[dict[str, Any]] = []
        done = 0
        for line in file:
            rows.append(json.loads(line))
            if len(rows) < (_PART if done else _FIRST):
                continue
            found = ask(rows)
            if not done and _alike(found):
                report({"alike": True})
                return
            done += len(rows)
            report({"done": done})
            rows = []
        if rows:
            ask(rows)
        report({"end": True})


def _alike(found: list[list[float]]) -> bool:
    """Whether no context tells its answers apart; where all have one answer alone, whether all values are the same."""
    several = [values for values in found if len(values) > 1] or [[value for values in found for value in values]]
    return all(len(set(values)) == 1 for values in several)
