"""What is to be done for each task: its questions, its prompt, its reference; all checked before anything is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evollab.data.rows import excerpt
from evollab.evals.choices import ChoiceQuestion, Choices, prompts, read_examples
from evollab.evals.options import EvalOptions, for_task
from evollab.evals.outputs import read_outputs
from evollab.evals.questions import Questions, read_questions
from evollab.evals.sources import find_task, places_of, task_names, wanted
from evollab.evals.task import Task
from evollab.evals.trial import Answer, Mark, Prompt, Question, Tools, Trial
from evollab.llm.pairs import parse_pairs
from evollab.records import EvolError


def tasks_of(names: Sequence[str]) -> list[Task]:
    """The tasks by name, each with a way to measure. Raises EvolError for unknown ones and for those without."""
    found = []
    if not names:
        raise EvolError("on which tasks? none is named", f"for example: evol eval MODEL gsm8k; {_there()}")
    for want in wanted(names, "task"):
        if want.task is None:
            raise EvolError(f"{want.name}: not a task; {_there()}", "a task of your own is a .py file with TASK in it")
        if want.task.trial is None:
            raise EvolError(
                f"{want.name} is known for decontamination alone, it has no way to measure a model", _there()
            )
        found.append(want.task)
    return found


def _there() -> str:
    return f"there are: {', '.join(name for name in task_names() if find_task(name).trial is not None)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One task, ready to be asked. choices: where answers are scored by log-likelihood; `trial` then says the rest."""

    task: Task
    trial: Trial
    prompt_name: str
    prompt: Prompt
    questions: Questions
    reference: Mapping[str, tuple[str, ...]]
    reference_name: str
    choices: Choices | None = None
    examples: Sequence[ChoiceQuestion] = ()
    shots: int = 0


def plan_of(task: Task, options: EvalOptions) -> Plan:
    """Raises EvolError for data, judges, references, prompts and examples that are not there."""
    trial = task.trial
    assert trial is not None
    if isinstance(trial, Choices):
        return _plan_of_choices(task, trial, options)
    if trial.needs_judge and not options.judge and options.outputs is None:
        raise EvolError(f"{task.name} needs a judge", "--judge openai:NAME, any model that is not the one measured")
    file = parse_pairs(options.data, "--data").get(task.name)
    questions = _questions(task, trial, file, options)
    reference, name = _reference(task, trial, questions.items, options)
    if trial.needs_reference and not reference and options.outputs is None:
        raise EvolError(
            f"{task.name} compares with a reference model's answers, and none are given",
            f"--reference {task.name}=FILE: rows with the question's id or text, and output",
        )
    chosen = for_task(options.prompt, task.name) or next(iter(trial.prompts))
    if chosen not in trial.prompts:
        if f"{task.name}={chosen}" in options.prompt or len(trial.prompts) == 1:
            raise EvolError(
                f"--prompt {excerpt(chosen, 40)}: {task.name} has no such prompt; there are: {', '.join(trial.prompts)}"
            )
        chosen = next(iter(trial.prompts))
    return Plan(task, trial, chosen, trial.prompts[chosen], questions, reference, name)


def _plan_of_choices(task: Task, choices: Choices, options: EvalOptions) -> Plan:
    if options.outputs is not None:
        raise EvolError(f"{task.name} is graded by log-likelihoods, which a file of outputs doesn't hold")
    shots = choices.shots if options.shots is None else options.shots
    name, shown = f"{shots}-shot", dict[str, str]()
    trial = Trial(
        question=choices.question, prompts={name: Prompt(choices.about, lambda question, said: shown[question.id])},
        grade=_by_likelihood, grader="log-likelihood of the answers, by lm-eval", main=choices.metric,
        expected=choices.expected, groups=choices.groups,
    )  # fmt: skip
    questions = _questions(task, trial, parse_pairs(options.data, "--data").get(task.name), options)
    places = places_of(task, options.benchmarks, choices.example_files) or choices.example_hub
    examples = read_examples(task.name, choices, places, shots)
    pairs = prompts(choices, questions.items, examples, shots)
    shown |= {question.id: own[0][0] for question, own in zip(questions.items, pairs, strict=True)}
    return Plan(task, trial, name, trial.prompts[name], questions, {}, "", choices, examples, shots)


async def _by_likelihood(answers: Sequence[Answer], tools: Tools) -> Sequence[Mark]:
    raise AssertionError("log-likelihoods are graded where they are asked for")


def _questions(task: Task, trial: Trial, file: str | None, options: EvalOptions) -> Questions:
    places = (file,) if file else places_of(task, options.benchmarks, task.files)
    if not places and options.outputs is not None and _stand_alone(options.outputs, trial):
        return Questions("", (), 0, ())
    try:
        return read_questions(
            places or places_of(task, options.benchmarks), trial.question, options.limit, trial.groups
        )
    except EvolError as error:
        if places:
            raise
        raise EvolError(
            f"{task.name}: there is no copy of it here, and {error.message}",
            f"get it from {task.home or 'its makers'} and put it as {task.files[0]}.jsonl into a folder that "
            f"--benchmarks names, or give --data {task.name}=FILE",
        ) from None


def _stand_alone(outputs: str, trial: Trial) -> bool:
    """Whether rows of outputs say themselves what is right, so that the benchmark isn't needed."""
    try:
        return bool(read_outputs(outputs, trial, ()).answers)
    except EvolError:
        return False


def _reference(
    task: Task, trial: Trial, questions: Sequence[Question], options: EvalOptions
) -> tuple[Mapping[str, tuple[str, ...]], str]:
    """A reference model's answers by question, and whose they are."""
    file = for_task(options.reference, task.name)
    if file is None and trial.reference_files:
        file = next(iter(places_of(task, options.benchmarks, trial.reference_files)), None)
    if file is None:
        return {}, ""
    plain = dataclasses.replace(trial, given=None)
    found = read_outputs(file, plain, questions)
    return {answer.question.id: answer.texts for answer in found.answers}, Path(file).name.partition(".")[0]
