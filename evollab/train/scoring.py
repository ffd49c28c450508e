"""What reward models say: of instructions (IRM), of the steps of answers (PRM), and what is made of it.

All scores lie in [0, 1], so that they can be multiplied: two bad ones never make a good one. An instruction's is the
logistic function of the model's logit, a step's the probability of the label `correct`. (WizardMath, 2308.09583.)
"""

from __future__ import annotations

import difflib
import hashlib
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.chat import Renderer
from evollab.records import EvolError, Message
from evollab.train import checkpoint, machine
from evollab.train.steps import StepCoder, StepIds, steps_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AGGREGATIONS = ("min", "product", "last", "mean")
STEP_LABELS = ("wrong", "unsure", "correct")
"""Names of a process reward model's outputs, in their order."""
FORMAT = "chat_format"
"""The field of a reward model's config.json that names the format of its prompts."""
_ROWS_AT_ONCE = 32
_TOKENS_AT_ONCE = 16_384


class InstructionScorer:
    """Scores prompts by an instruction reward model, each distinct one once.

    model: a folder that `train irm` left, or a model with a head for sequences of one output, which stays where it
    is. tokenizer: default the folder's. format: how prompts are written; default what the model was trained with.
    Raises EvolError for what is no such model.
    """

    def __init__(
        self, model: str | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, format: str | None = None
    ) -> None:
        self._model, self._renderer = _loaded(model, tokenizer, format, "sequence")
        if self._model.config.num_labels != 1:
            raise EvolError(
                f"the model has {self._model.config.num_labels} outputs; an instruction reward model has one",
                "evol train irm makes one",
            )
        self._known: dict[bytes, float] = {}
        self.scored = 0
        """How many prompts went through the model."""

    def __call__(self, prompts: Sequence[Sequence[Message]]) -> list[float]:
        """For each prompt (turns, the last one the user's) its score in [0, 1]. Raises EvolError for prompts that
        the format has no place for, and for those longer than the model takes."""
        rows = [self._renderer.render(prompt, generation_prompt=True).ids for prompt in prompts]
        keys = [hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest() for ids in rows]
        new = {key: ids for key, ids in zip(keys, rows, strict=True) if key not in self._known}
        for some in _batches(list(new.values()), self._model):
            scores = self._scores([list(new.values())[number] for number in some])
            self._known |= zip((list(new)[number] for number in some), scores, strict=True)
        self.scored += len(new)
        return [self._known[key] for key in keys]

    def _scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        from evollab.train.reward_batches import last_by_place, left_padded

        batch = {name: value.to(self._model.device) for name, value in left_padded(rows, _pad(self._renderer)).items()}
        with torch.inference_mode(), last_by_place(self._model):
            logits = self._model(**batch, use_cache=False).logits
        found: list[float] = logits[:, 0].float().sigmoid().tolist()
        return found


class StepScorer:
    """Scores the steps of answers by a process reward model.

    model: a folder that `train prm` left, or a model with a head for tokens whose config names a label `correct`,
    which stays where it is. tokenizer, format: see `InstructionScorer`. Raises EvolError for what is no such model.
    """

    def __init__(
        self, model: str | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, format: str | None = None
    ) -> None:
        self._model, self._renderer = _loaded(model, tokenizer, format, "token")
        labels = {int(number): name for number, name in (self._model.config.id2label or {}).items()}
        named = [number for number, name in labels.items() if name == STEP_LABELS[-1]]
        if not named:
            raise EvolError(
                f"the model's labels are {', '.join(list(labels.values())[:10])}; expected one to be 'correct'",
                "evol train prm makes such a model",
            )
        self._correct = named[0]
        self._code = StepCoder(self._renderer)

    def __call__(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[list[float]]:
        """For each answer to its prompt (turns, the last one the user's) the probability of each of its steps, as
        `steps_of` cuts them, to be correct; [] for a blank answer. Raises EvolError as `InstructionScorer` does."""
        rows = [self._code(prompt, steps_of(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
        found: list[list[float]] = [[] for _ in rows]
        asked = [number for number, row in enumerate(rows) if row.ends]
        for some in _batches([rows[number].ids for number in asked], self._model):
            places = [asked[number] for number in some]
            for place, scores in zip(places, self._scores([rows[place] for place in places]), strict=True):
                found[place] = scores
        return found

    def _scores(self, rows: Sequence[StepIds]) -> list[list[float]]:
        import torch

        from evollab.train.reward_batches import right_padded

        padded = right_padded([row.ids for row in rows], _pad(self._renderer))
        batch = {name: value.to(self._model.device) for name, value in padded.items()}
        with torch.inference_mode():
            logits = self._model(**batch, use_cache=False).logits
        return [
            logits[number, row.ends].float().softmax(dim=-1)[:, self._correct].tolist()
            for number, row in enumerate(rows)
        ]


def aggregate(scores: Sequence[float], how: str = "min") -> float:
    """The scores of steps as one of the answer: min (WizardMath), product (Lightman et al., 2305.20050; it falls with
    every step, so long answers lose), last, or mean. Without steps 0: what says nothing earns nothing.

    Raises EvolError for another name.
    """
    if how not in AGGREGATIONS:
        near = difflib.get_close_matches(how, AGGREGATIONS, 1)
        raise EvolError(
            f"aggregation {how[:40]!r}: expected {', '.join(AGGREGATIONS)}", f"did you mean {near[0]}?" if near else ""
        )
    if not scores:
        return 0.0
    if how == "mean":
        return math.fsum(scores) / len(scores)
    return {"min": min(scores), "product": math.prod(scores), "last": scores[-1]}[how]


def vote(answers: Sequence[str], finals: Sequence[str | None], scores: Sequence[float]) -> str | None:
    """The final answer that the greatest sum of scores stands behind, argmax over a of the sum of score_i where
    final_i = a (WizardMath, section 4); the first among equals.

    answers: what was said; finals: the final answer in each, None where it has none; scores: of each. All the same
    length, else ValueError. Answers without a final one don't vote. None where nobody votes.
    """
    sums: dict[str, list[float]] = {}
    for _, final, score in zip(answers, finals, scores, strict=True):
        if final is not None:
            sums.setdefault(final, []).append(score)
    return max(sums, key=lambda final: math.fsum(sums[final]), default=None)


def _loaded(
    model: str | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, format: str | None, head: str
) -> tuple[PreTrainedModel, Renderer]:
    if isinstance(model, str):
        tokenizer = tokenizer or checkpoint.load_tokenizer(model)
        model = _from_folder(model, head)
    if tokenizer is None:
        raise EvolError("a model without its tokenizer", "give both")
    told = getattr(model.config, FORMAT, None)
    model.train(False)
    return model, Renderer(tokenizer, format or (told if isinstance(told, str) else "model"))


def _from_folder(place: str, head: str) -> PreTrainedModel:
    """A reward model in a folder, on the GPU where there is one. A head that is not there would start at random and
    score at random: that is an error."""
    import torch

    config = Path(checkpoint.folder_of(place)) / "config.json"
    told = orjson.loads(config.read_bytes()) if config.is_file() else {}
    kind, verb = {"sequence": ("ForSequenceClassification", "irm"), "token": ("ForTokenClassification", "prm")}[head]
    made = [str(name) for name in told.get("architectures") or []]
    if not any(name.endswith(kind) for name in made):
        raise EvolError(
            f"{place} is no reward model for {'instructions' if head == 'sequence' else 'steps'}: it holds "
            f"{', '.join(made)[:100] or 'no model with a head'}; expected ...{kind}",
            f"evol train {verb} makes one",
        )
    labels = len(told.get("id2label") or ()) or 1
    half = machine.precision("auto") == "bf16"
    model = checkpoint.load_model(place, dtype=torch.bfloat16 if half else None, head=head, labels=labels)
    move: Any = model.to
    moved: PreTrainedModel = move(machine.device())
    return moved


def _pad(renderer: Renderer) -> int:
    pad = renderer.tokenizer.pad_token_id
    return pad if isinstance(pad, int) else renderer.eos


def _batches(rows: Sequence[Sequence[int]], model: PreTrainedModel) -> Iterator[list[int]]:
    """Numbers of rows of about the same length, as many together as memory should hold. Raises EvolError for a row
    that is longer than the model takes."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, rows), default=0)
    if isinstance(most, int) and longest > most:
        raise EvolError(
            f"a text of {longest:,} tokens is to be scored; the reward model takes {most:,}",
            "a smaller limit of tokens for prompts and answers",
        )
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda one: len(rows[one])):
        if batch and (len(batch) == _ROWS_AT_ONCE or (len(batch) + 1) * len(rows[number]) > _TOKENS_AT_ONCE):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
