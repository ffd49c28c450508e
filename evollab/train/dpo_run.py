"""One start of `train dpo`: pairs, slices, and the stages one after another."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.chat import Renderer
from evollab.runs import Step, whole_file, write_json
from evollab.train import machine
from evollab.train.dpo import DpoOptions, DpoResult, stage_told
from evollab.train.dpo_metrics import stage_folder
from evollab.train.dpo_stage import Stage, arguments_of
from evollab.train.pairs import PairReader, told, write_pairs
from evollab.train.rows import open_rows
from evollab.train.setup import surroundings
from evollab.train.stages import UNTRAINED, cut, ordered, replayed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STAGE = "stage.json"


class Run:
    """One start of training."""

    def __init__(self, options: DpoOptions, step: Step, tokenizer: PreTrainedTokenizerBase, source: str) -> None:
        self.options, self.step, self.tokenizer, self.source = options, step, tokenizer, source
        self.folder = step.folder
        self.clock = time.monotonic()
        self.training = 0.0
        self.stages: list[dict[str, Any]] = []

    def run(self) -> DpoResult:
        from evollab.train.metrics import Interruption

        with arguments_of(self.options, self.folder, None).main_process_first():
            counts = self._rows()
        train, held_out = open_rows(self.folder, "train"), open_rows(self.folder, "eval")
        slices = self._slices(train)
        interruption = Interruption()
        with interruption.watching():
            for number in range(1, len(slices) + 1):
                if interruption.signal is not None or not self._stage(number, slices, train, held_out, interruption):
                    break
        done = len(self.stages) == len(slices)
        steps = sum(stage["steps"] for stage in self.stages)
        if machine.rank() == 0:
            self.step.write("complete" if done else "stopped", **self._facts(counts, steps))
        code = 0 if done or interruption.signal is None else 128 + interruption.signal
        notes = tuple(told(counts, self.folder))
        return DpoResult(self.folder, "complete" if done else "stopped", counts, self.stages, steps, notes, code)

    def _facts(self, counts: dict[str, Any], steps: int) -> dict[str, Any]:
        kept = [stage["stage"] for stage in self.stages if stage["kept"]]
        losses = {"first": self.stages[0]["loss_first"], "last": self.stages[-1]["loss_last"]} if self.stages else {}
        return {
            "counts": counts, "stages": self.stages, "losses": losses, "steps": steps,
            "model_of_stage": kept[-1] if kept else None,
            "times": {"seconds": round(time.monotonic() - self.clock, 2), "training": round(self.training, 2)},
            "base": self.options.base, "machine": surroundings(),
        }  # fmt: skip

    def _rows(self) -> dict[str, Any]:
        """What became of the rows; made by the first process, at its first start."""
        kept = self.folder / "rows" / "counts.json"
        if machine.rank() or (self.step.before is not None and kept.is_file()):
            found: dict[str, Any] = orjson.loads(kept.read_bytes())
            return found
        options = self.options
        assert options.format is not None
        assert options.max_length is not None
        kept.unlink(missing_ok=True)
        reader = PairReader(
            Renderer(self.tokenizer, options.format), options.rows, options.max_length, options.too_long
        )
        counts = write_pairs(
            self.source, self.folder, reader, allow_unusable=options.allow_unusable, eval_share=options.eval_share,
            seed=options.seed,
        ).to_json()  # fmt: skip
        write_json(kept, counts)
        self.step.write("running", counts=counts, base=options.base)
        return counts

    def _slices(self, train: Any) -> list[list[int]]:
        options = self.options
        keys = () if options.order == "random" else train[options.order][:]
        return cut(ordered(len(train), options.order, options.seed, keys), options.slices)

    def _stage(
        self, number: int, slices: Sequence[Sequence[int]], train: Any, held_out: Any, interruption: Any
    ) -> bool:
        """Train a stage, unless that was done before. Gives False where it was interrupted."""
        options, folder = self.options, stage_folder(self.folder, number)
        if (folder / STAGE).is_file():
            self.stages.append(orjson.loads((folder / STAGE).read_bytes()))
            return True
        good = [stage for stage in self.stages if stage["kept"]]
        again = replayed([slices[one["stage"] - 1] for one in good], options.replay, options.seed, number)
        last: dict[str, Any] = good[-1] if good else {"stage": 0, "accuracy_after": UNTRAINED}
        start = str(stage_folder(self.folder, last["stage"]) / "model") if good else options.base
        folder.mkdir(parents=True, exist_ok=True)
        own = slices[number - 1]
        if machine.rank() == 0:
            _tell_pairs(folder / "pairs.jsonl", train, own, again)
        steps = {stage["stage"]: stage["steps"] for stage in self.stages}
        stage = Stage(options, self.folder, number, start, self.tokenizer, (train, held_out), [*own, *again], steps)
        found = stage.run(interruption, last["accuracy_after"])
        self.training += stage.seconds
        if found is None:
            return False
        facts = {
            "stage": number, "pairs": len(own), "replayed": len(again), "start": last["stage"],
            "reference": last["stage"] if options.reference == "previous" else 0, **dataclasses.asdict(found),
        }  # fmt: skip
        if machine.rank() == 0:
            write_json(folder / STAGE, facts)
            stage.clear()
            from evollab.llm.watching import say

            if len(slices) > 1:
                say(stage_told(facts))
        self.stages.append(facts)
        return True


def _tell_pairs(path: Path, train: Any, own: Sequence[int], again: Sequence[int]) -> None:
    """Which rows a stage trains: {"line", "id", "replayed"}."""
    lines, ids = train["line"], train["id"]
    with whole_file(path) as file:
        for pairs, replay in ((own, False), (again, True)):
            for pair in pairs:
                file.write(orjson.dumps({"line": lines[pair], "id": ids[pair], "replayed": replay}) + b"\n")
