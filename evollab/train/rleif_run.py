"""One start of `train rleif`: prompts, reward models, model and trainer put together, trained, watched, saved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.chat import Renderer
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.runs import Step, whole_file, write_json
from evollab.train import checkpoint, machine
from evollab.train.generations import SAMPLES
from evollab.train.prompts import PromptReader, told, turns_of, write_prompts
from evollab.train.rewards import Rewards, Scorers, StepScores
from evollab.train.rleif import RleifOptions, RleifResult
from evollab.train.rleif_arguments import arguments_of
from evollab.train.rows import open_rows
from evollab.train.scoring import InstructionScorer, StepScorer
from evollab.train.setup import adapters, last_checkpoint, surroundings
from evollab.train.verifiers import MathVerifier, Verifier, math_verifier

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLD = ("reward", "irm", "prm", "verified", "kl", "length", "truncated", "entropy")
_SCORED_AT_ONCE = 256
CANCELS = (
    "warning: --normalise group divides by the deviation within a prompt's answers, which the instruction reward "
    "model scales alike: it cancels out of the advantages"
)


@contextlib.contextmanager
def _whole_models(arguments: Any) -> Iterator[None]:
    """Models that are loaded meanwhile are whole in each process, also under ZeRO-3."""
    from transformers.integrations import deepspeed

    library: Any = deepspeed
    library.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if (settings := getattr(arguments, "hf_deepspeed_config", None)) is not None:
            library.set_hf_deepspeed_config(settings)


class Run:
    """One start of training."""

    def __init__(
        self, options: RleifOptions, step: Step, tokenizer: PreTrainedTokenizerBase, source: str,
        scorers: Scorers | None,
    ) -> None:  # fmt: skip
        self.options, self.step, self.tokenizer, self.source = options, step, tokenizer, source
        self.scorers = scorers
        self.folder = step.folder
        self.clock = time.monotonic()
        self.precision = machine.precision(options.dtype)
        self.by = ""
        """What scores the prompts held out."""
        self.verifier: Verifier = MathVerifier()

    def run(self) -> RleifResult:
        if self.options.verifier == "code":
            from evollab.train.code_verifier import code_verifier

            with code_verifier(self.options.unsafe_sandbox) as self.verifier:
                return self._run()
        with math_verifier() as self.verifier:
            return self._run()

    def _run(self) -> RleifResult:
        from evollab.train.hacking import HELD_OUT
        from evollab.train.metrics import Interruption, Meter, Recorder, keep_until, tensorboard

        options, resume = self.options, last_checkpoint(self.folder / "checkpoints")
        # Before the model: under ZeRO-3 the arguments decide how it is loaded.
        arguments = arguments_of(options, self.folder, resume)
        with arguments.main_process_first():
            counts = self._rows()
        train, held_out = open_rows(self.folder, "train"), open_rows(self.folder, "eval")
        self._check_size(len(train))
        with _whole_models(arguments):
            with arguments.main_process_first():
                instruction = self._instruction({"train": train, "eval": held_out})
            steps = self._steps()
        if machine.rank() == 0:
            done_until = -1 if resume is None else int(resume.name.partition("-")[2])
            for name in (SAMPLES, HELD_OUT):
                keep_until(self.folder / name, done_until)
        meter, interruption = Meter(), Interruption()
        callbacks: list[Any] = [Recorder(self.folder, meter), interruption]
        if machine.rank() == 0:
            callbacks += tensorboard(self.folder)
        trainer = self._trainer(arguments, train, held_out, (steps, instruction, counts), meter, callbacks)
        if machine.rank() == 0:
            say(f"a step is {options.batch:,} answers of up to {options.max_tokens:,} tokens")  # the first takes long
        with interruption.watching():
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
            done = interruption.signal is None
            if done and held_out is not None:
                self._last_look(trainer)
        if done:
            self._save(trainer)
        return self._result(counts, trainer, meter, interruption)

    # Data and scores

    def _rows(self) -> dict[str, Any]:
        """What became of the rows; made by the first process, at its first start."""
        kept = self.folder / "rows" / "counts.json"
        if machine.rank() or (self.step.before is not None and kept.is_file()):
            found: dict[str, Any] = orjson.loads(kept.read_bytes())
            return found
        options = self.options
        assert options.format is not None
        assert options.max_prompt is not None
        kept.unlink(missing_ok=True)
        reader = PromptReader(
            Renderer(self.tokenizer, options.format), options.rows, options.max_prompt, options.reference,
            self.verifier, options.verifier != "none",
        )  # fmt: skip
        counts = write_prompts(
            self.source, self.folder, reader, eval_share=options.eval_share, seed=options.seed
        ).to_json()
        write_json(kept, counts)
        self.step.write("running", counts=counts, base=options.base)
        return counts

    def _check_size(self, prompts: int) -> None:
        """Raise EvolError where the prompts don't fill a step: TRL would make no step at all."""
        options = self.options
        assert options.batch is not None
        each = options.batch // options.generations
        if prompts < each:
            raise EvolError(
                f"{prompts:,} prompts to train; a step of --batch {options.batch} with --generations "
                f"{options.generations} takes {each:,}",
                f"--batch {prompts * options.generations}",
            )

    def _steps(self) -> StepScores | None:
        """What scores the steps of answers, on this process's processor."""
        if self.scorers is not None:
            return self.scorers.steps
        return StepScorer(self.options.prm) if self.options.prm else None

    def _instruction(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """r_I of each prompt of train and eval, scored once, by the first process; None without such a model, which
        is in memory no longer than that takes."""
        import numpy

        given = self.scorers.instruction if self.scorers is not None else None
        found: dict[str, Any] = dict.fromkeys(rows)
        for name, prompts in rows.items():
            if prompts is None or not (given or (self.scorers is None and self.options.irm)):
                continue
            path = self._scores(name)
            if not path.is_file():
                given = given or InstructionScorer(self.options.irm)
                scores: list[float] = []
                for start in range(0, len(prompts), _SCORED_AT_ONCE):
                    some = prompts["messages"][start : start + _SCORED_AT_ONCE]
                    scores += given([turns_of(messages) for messages in some])
                with whole_file(path) as file:
                    numpy.save(file, numpy.asarray(scores, dtype=numpy.float64), allow_pickle=False)
            found[name] = numpy.load(path, allow_pickle=False).tolist()
        return found

    def _scores(self, name: str) -> Path:
        return self.folder / "rows" / f"instruction-{name}.npy"

    # What is put together

    def _trainer(
        self, arguments: Any, train: Any, held_out: Any, scoring: tuple[Any, Mapping[str, Any], Mapping[str, Any]],
        meter: Any, callbacks: list[Any],
    ) -> Any:  # fmt: skip
        from transformers import PrinterCallback, set_seed

        from evollab.train.rleif_trainer import Grpo, Rewarding, Rloo

        options, (steps, instruction, counts) = self.options, scoring
        set_seed(options.seed)  # adapters begin at random
        model = self._model()
        verifier = None if options.verifier == "none" else self.verifier
        rewarding = Rewarding(Rewards(steps, options.aggregate, verifier), instruction["train"], options.no_eos)
        beta = options.beta or 0.0
        lora = adapters(options.base, options.lora_rank, options.lora_alpha or 0.0, options.lora_targets)
        kind: Any = Grpo if options.method == "grpo" else Rloo
        trainer = kind(
            meter, rewarding, self._held_out(held_out, counts, rewarding, instruction["eval"]),
            self._model() if beta and not options.lora_rank else None, beta, self.folder, options.samples,
            model=model, args=arguments, processing_class=self.tokenizer, train_dataset=train, eval_dataset=held_out,
            peft_config=lora if options.lora_rank else None, callbacks=callbacks,
        )  # fmt: skip
        if instruction["train"] is not None and options.normalise == "group" and machine.rank() == 0:
            say(CANCELS)
        quiet: Any = trainer.remove_callback
        quiet(PrinterCallback)
        return trainer

    def _model(self) -> Any:
        import torch

        options, half = self.options, self.precision == "bf16"
        # Full training keeps its weights in float32 and computes in bf16; under adapters the base stands still.
        model = checkpoint.load_model(
            options.base, dtype=torch.bfloat16 if half and options.lora_rank else None, attention=options.attention
        )
        embeddings: Any = model.get_input_embeddings()
        rows: int = embeddings.num_embeddings
        if len(self.tokenizer) > rows:
            raise EvolError(
                f"{options.base}: its tokenizer has {len(self.tokenizer):,} tokens, the model {rows:,}",
                "a base whose parts belong together",
            )
        return model

    # What is watched

    def _held_out(self, rows: Any, counts: Mapping[str, Any], rewarding: Any, instruction: Any) -> Any:
        """What answers and scores the prompts held out. Where half of them have a reference that the verifier can
        compare with, the share that is right, whatever is trained on; else the reward itself."""
        if rows is None:
            return None
        from evollab.train.hacking import HeldOut

        if counts["referenced"] * 2 >= counts["held_out"]:
            self.by = "right answers"
            known = [number for number, row in enumerate(rows) if self.verifier.comparable(row["reference"])]
            rows = rows.select(known)

            def score(some: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[float]:
                return self.verifier(answers, [row["reference"] for row in some])
        else:
            self.by = "the reward itself, for want of references"

            def score(some: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[float]:
                return [found.reward for found in rewarding.factors(some, answers, instruction)]

        options = self.options
        return HeldOut(
            self.folder, rows, score, tokens=options.max_tokens or 1, shown=options.samples, seed=options.seed
        )

    def _last_look(self, trainer: Any) -> None:
        """Prompts held out after the last step, unless that was a time for it anyway."""
        looks = [one["step"] for one in trainer.state.log_history if "eval_score" in one]
        if looks[-1:] != [trainer.state.global_step]:
            trainer.evaluate()

    # What came of it

    def _save(self, trainer: Any) -> None:
        """The model as people use it. Under ZeRO-3 all processes bring it together, the first one writes."""
        options = self.options
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if machine.rank():
            return
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if options.lora_rank and options.merge:
            model, weights = model.merge_and_unload(), None
        checkpoint.save_model(
            model, self.tokenizer, self.folder / "model", options.format or "", dtype=self.precision, weights=weights
        )

    def _result(self, counts: dict[str, Any], trainer: Any, meter: Any, interruption: Any) -> RleifResult:
        from evollab.train.hacking import read_held_out, warning
        from evollab.train.metrics import read_metrics

        looks = read_held_out(self.folder)
        warnings = [warning(line) for line in looks if line["hacking"]]
        if self.options.normalise == "group" and self._scores("train").is_file():
            warnings.append(CANCELS)
        lines = [line for line in read_metrics(self.folder) if "reward" in line]
        rewards = {
            when: {name: line[name] for name in _TOLD if name in line}
            for when, line in (("first", lines[0]), ("last", lines[-1]))
        } if lines else {}  # fmt: skip
        held_out = {
            "by": self.by, "prompts": len(looks[-1]["scores"]), "first": looks[0]["score"],
            "last": looks[-1]["score"], "low": looks[-1]["low"], "high": looks[-1]["high"],
        } if looks else {}  # fmt: skip
        state, steps = "complete" if interruption.signal is None else "stopped", trainer.state.global_step
        if machine.rank() == 0:
            times = {"seconds": round(time.monotonic() - self.clock, 2), "training": round(meter.all_seconds, 2)}
            self.step.write(
                state, counts=counts, rewards=rewards, held_out=held_out, warnings=warnings, steps=steps, times=times,
                base=self.options.base, verifier=self.verifier.about, machine=surroundings(),
            )  # fmt: skip
        code = 0 if interruption.signal is None else 128 + interruption.signal
        notes = tuple(told(counts, self.folder))
        return RleifResult(self.folder, state, counts, rewards, held_out, steps, tuple(warnings), notes, code)
