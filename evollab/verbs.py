"""The verbs of the command line: one function each, no work done here."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evollab.flags import read_options

if TYPE_CHECKING:
    from evollab.evolve.options import EvolveOptions

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on the fastest loop there is.

    Hardly anything here makes reference cycles, so the collector looks less often than by default:
    measured, 5 to 9 % of the time a call takes.
    """
    gc.set_threshold(20_000, 20, 50)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def evolve_options(arguments: argparse.Namespace) -> EvolveOptions:
    from evollab.evolve.options import EvolveOptions

    return read_options(arguments, EvolveOptions)


def evolve(arguments: argparse.Namespace) -> int:
    from evollab.evolve.progress import summary
    from evollab.evolve.step import evolve as step
    from evollab.llm.watching import say

    result = run(step(arguments.seeds, arguments.out, evolve_options(arguments)))
    say(summary(arguments.out, result))
    return result.exit_code


def preview(arguments: argparse.Namespace) -> int:
    from evollab.evolve.preview import preview as look

    print(run(look(arguments.seeds, arguments.out, evolve_options(arguments), arguments.rows)))
    return 0


def qualify(arguments: argparse.Namespace) -> int:
    from evollab.evolve.qualify import qualify as examine

    print(run(examine(arguments.seeds, arguments.out, evolve_options(arguments), arguments.rows)))
    return 0


def show(arguments: argparse.Namespace) -> int:
    from evollab.report.terminal import show as tell

    tell(arguments.run, row=arguments.row)
    return 0


def report(arguments: argparse.Namespace) -> int:
    from evollab.report.analysis import write_analysis, write_sample
    from evollab.report.evaluation import is_evaluation, write_evaluation
    from evollab.report.page import write_report
    from evollab.report.training import is_training, write_training

    run: Path = arguments.run
    if (run / "analysis.json").is_file():
        beside = [folder for folder in (run / "sample", run.parent / "sample") if (folder / "sample.json").is_file()]
        print(write_analysis(run, arguments.out, beside))
    elif (run / "sample.json").is_file():
        print(write_sample(run, arguments.out))
    elif is_training(run):
        print(write_training(run, arguments.out))
    elif is_evaluation(run):
        print(write_evaluation(run, arguments.out, arguments.beside or ()))
    else:
        print(write_report(run, arguments.out or run / "report.html"))
    return 0


def export(arguments: argparse.Namespace) -> int:
    from evollab.data.export import ExportOptions, export_run

    print(export_run(arguments.run, arguments.out, read_options(arguments, ExportOptions), push=arguments.push))
    return 0


def analyse(arguments: argparse.Namespace) -> int:
    from evollab.data.analyse import AnalyseOptions, estimate_cost
    from evollab.data.analyse import analyse as step
    from evollab.report.analysis import write_analysis

    options = read_options(arguments, AnalyseOptions)
    if options.estimate:
        print(run(estimate_cost(arguments.data, options)))
        return 0
    result = run(step(arguments.data, arguments.out, options))
    print(result)
    drawn = result.folder.parent / "sample"
    print(write_analysis(result.folder, samples=[drawn] if (drawn / "sample.json").is_file() else []))
    return result.exit_code


def dedup(arguments: argparse.Namespace) -> int:
    from evollab.data.dedup import DedupOptions
    from evollab.data.dedup import dedup as step

    print(step(arguments.data, arguments.out, read_options(arguments, DedupOptions)))
    return 0


def decontaminate(arguments: argparse.Namespace) -> int:
    from evollab.evals.contamination import ContaminationOptions
    from evollab.evals.contamination import decontaminate as step
    from evollab.llm.session import ModelOptions

    options, models = read_options(arguments, ContaminationOptions), read_options(arguments, ModelOptions)
    result = run(step(arguments.data, arguments.out, options, models))
    print(result)
    return result.exit_code


def select(arguments: argparse.Namespace) -> int:
    from evollab.data.select import select as step
    from evollab.data.selecting import SelectOptions

    print(step(arguments.data, arguments.out, read_options(arguments, SelectOptions)))
    return 0


def sample(arguments: argparse.Namespace) -> int:
    from evollab.data.sample import SampleOptions
    from evollab.data.sample import sample as step

    print(step(arguments.data, arguments.out, read_options(arguments, SampleOptions)))
    return 0


def vote(arguments: argparse.Namespace) -> int:
    from evollab.train.vote import VoteOptions, vote_answers

    print(vote_answers(arguments.data, arguments.out, read_options(arguments, VoteOptions)))
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """`evol eval MODEL TASKS`, or with --outputs `evol eval TASKS`."""
    import orjson

    from evollab.evals import result as results
    from evollab.evals.options import EvalOptions
    from evollab.evals.run import evaluate as step

    options = read_options(arguments, EvalOptions)
    model = None if options.outputs is not None else arguments.what[0]
    tasks = arguments.what[0 if model is None else 1 :]
    out = arguments.out or Path("runs") / "eval"
    found = run(step(model, tasks, out, options))
    if options.json and found.estimate is None:
        for one in found.results:
            print(orjson.dumps(results.line(one)).decode())
    else:
        print(found)
    return found.exit_code


def judge(arguments: argparse.Namespace) -> int:
    """`evol judge MODEL FILES`, or with --verdicts `evol judge FILES`."""
    from evollab.evals.judging.run import JudgeOptions
    from evollab.evals.judging.run import judge as step

    options = read_options(arguments, JudgeOptions)
    model = None if options.verdicts else arguments.what[0]
    found = run(step(model, arguments.what[0 if model is None else 1 :], arguments.out, options))
    print(found)
    return int(found.exit_code)


def compare(arguments: argparse.Namespace) -> int:
    import orjson

    from evollab.evals.compare import CompareOptions
    from evollab.evals.compare import compare as step

    options = read_options(arguments, CompareOptions)
    found = step(arguments.a, arguments.b, options, arguments.out)
    print(orjson.dumps(found.told()).decode() if options.json else found)
    return 0


def arena(arguments: argparse.Namespace) -> int:
    import orjson

    from evollab.evals.arena import ArenaOptions
    from evollab.evals.arena import arena as step

    options = read_options(arguments, ArenaOptions)
    found = step(arguments.runs, options, arguments.out)
    print(orjson.dumps(found.told()).decode() if options.json else found)
    return 0


def people(arguments: argparse.Namespace) -> int:
    from evollab.evals.people.options import PeopleOptions
    from evollab.evals.people.server import people as study

    return study(arguments.runs, arguments.out, read_options(arguments, PeopleOptions))


def serve(arguments: argparse.Namespace) -> int:
    from evollab.serve.options import ServeOptions
    from evollab.serve.server import serve as run_server

    return run_server(arguments.model, read_options(arguments, ServeOptions))


def chat(arguments: argparse.Namespace) -> int:
    from evollab.serve.options import ChatOptions
    from evollab.serve.terminal import chat as talk

    return talk(arguments.model, read_options(arguments, ChatOptions))


def train(arguments: argparse.Namespace) -> int:
    """`evol train KIND`: here, or launch as many processes as are asked for, each of which trains here."""
    from evollab.train.launch import LaunchOptions, check_joined, launch, launched

    kind: str = arguments.what
    module = importlib.import_module(f"evollab.train.{kind}")
    options = read_options(arguments, getattr(module, f"{kind.title()}Options"))
    how = read_options(arguments, LaunchOptions)
    if how.many and not launched():
        return launch(how, arguments.words, arguments.out)
    if launched():
        check_joined(how)
    result = getattr(module, f"train_{kind}")(options, arguments.out)
    if not launched() or os.environ["RANK"] == "0":
        model = arguments.out / "model"
        talk = f"    or: evol chat {model}    or: evol eval {model} TASK" if kind in ("sft", "dpo", "rleif") else ""
        print(f"{result}\nnext: evol report {arguments.out}{talk}" if not result.exit_code else result)
    return int(result.exit_code)


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: what it does, its options ("module:Class" below evollab, parted by blanks, looked up only
    when the verb is the one asked for), its own arguments."""

    name: str
    function: Callable[[argparse.Namespace], int]
    help: str
    options: str = ""
    arguments: tuple[tuple[str, dict[str, Any]], ...] = ()


_SEEDS = ("seeds", {"metavar": "SEEDS", "help": "a file, a data set's id or folder, or - for stdin"})
_RUN = ("run", {"type": Path, "metavar": "RUN"})
_EVOLVE = "evolve.options:EvolveOptions"


def _out(what: str, default: Path | None = None, metavar: str = "FOLDER") -> tuple[str, dict[str, Any]]:
    return "--out", {"type": Path, "metavar": metavar, "default": default, "help": what}


def _asking(rows: int = 0) -> tuple[tuple[str, dict[str, Any]], ...]:
    run = Path("runs/first")
    found = (_SEEDS, _out(f"run folder (default: {run})", run, "RUN"))
    trial = {"type": int, "default": rows, "metavar": "N", "help": f"rows to try (default: {rows})"}
    return (*found, ("--rows", trial)) if rows else found


def _on_rows(folder: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The arguments of a verb that works on the rows of any data set."""
    where = f"where to write (default: RUN/{folder}, beside the step that DATA is, or runs/{folder})"
    data = "a run folder, another step's folder, a file, a data set's id or folder"
    return ("data", {"metavar": "DATA", "help": data}), _out(where)


def _trained(name: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    default = Path("runs") / name
    return (_out(f"where to write (default: {default})", default),)


_MODEL = ("model", {"metavar": "MODEL", "help": "a checkpoint's folder, a .gguf file, smollm2, a hub id, an address"})
_LAUNCH = "train.launch:LaunchOptions"
GROUPS = {"train": "train a model: supervised, by preferences, by rewards"}
"""What the first word of a verb of two words stands for."""
VERBS: tuple[Verb, ...] = (
    Verb("evolve", evolve, "evolve seeds over several rounds, answer what survives", _EVOLVE, _asking()),
    Verb(
        "preview", preview, "evolve a few rows, show them, estimate calls, tokens, money and time of all", _EVOLVE,
        _asking(5),
    ),
    Verb(
        "qualify", qualify, "is this model a fit evolver and judge? 50 rows tell, before money is spent", _EVOLVE,
        _asking(50),
    ),
    Verb(
        "show", show, "a run in the terminal: survival, calls, money; or one row's lineage", "",
        (_RUN, ("--row", {"metavar": "ID", "help": "one lineage from seed to leaf (the beginning of an id will do)"})),
    ),
    Verb(
        "report", report, "a run, an analysis, a sample, a training or evaluations as one self-contained page", "",
        (
            _RUN, _out("where to write it (default: report.html, analysis.html, ... in it)", metavar="FILE"),
            ("--beside", {"action": "append", "type": Path, "metavar": "RUN", "help": "one more evaluation to show"}),
        ),
    ),
    Verb(
        "export", export, "training data out of a run: merged, shuffled, sampled, with a data card",
        "data.export:ExportOptions",
        (
            _RUN, _out("where to write it (default: RUN/export)"),
            ("--push", {"metavar": "ORG/NAME", "help": "publish it on the Hugging Face hub"}),
        ),
    ),
    Verb(
        "analyse", analyse, "what a data set holds: attributes of each row, distributions, breadth, duplicates; a page",
        "data.analyse:AnalyseOptions", _on_rows("analysis"),
    ),
    Verb(
        "dedup", dedup, "remove rows that say what another row says: copies and near-duplicates",
        "data.dedup:DedupOptions", _on_rows("dedup"),
    ),
    Verb(
        "decontaminate", decontaminate, "remove rows that hold items of benchmarks, word for word or reworded",
        "evals.contamination:ContaminationOptions llm.session:ModelOptions", _on_rows("decontamination"),
    ),
    Verb(
        "select", select, "choose the rows to train on: by difficulty and quality, by variety, by what the model lacks",
        "data.selecting:SelectOptions", _on_rows("selection"),
    ),
    Verb(
        "sample", sample, "draw rows in the mix you want, without replacement; cut them into slices",
        "data.sample:SampleOptions", _on_rows("sample"),
    ),
    Verb(
        "train sft", train, "supervised fine-tuning of a base model on any data",
        f"train.sft:SftOptions {_LAUNCH}", _trained("sft"),
    ),
    Verb(
        "train dpo", train, "direct preference optimisation, slice by slice (Stage-DPO)",
        f"train.dpo:DpoOptions {_LAUNCH}", _trained("dpo"),
    ),
    Verb(
        "train irm", train, "an instruction reward model, by ranking",
        f"train.irm:IrmOptions {_LAUNCH}", _trained("irm"),
    ),
    Verb(
        "train prm", train, "a process reward model, by labelled steps",
        f"train.prm:PrmOptions {_LAUNCH}", _trained("prm"),
    ),
    Verb(
        "train rleif", train, "reinforcement learning: instruction reward times process reward",
        f"train.rleif:RleifOptions {_LAUNCH}", _trained("rleif"),
    ),
    Verb(
        "vote", vote, "of several answers to a question, the one whose steps a process reward model marks best",
        "train.vote:VoteOptions",
        (
            ("data", {"metavar": "DATA", "help": "rows with several answers, or rows of one id with an answer each"}),
            _out("where to write (default: vote, beside DATA)"),
        ),
    ),
    Verb(
        "eval", evaluate, "a model on benchmarks, or the outputs in a file, to figures with intervals",
        "evals.options:EvalOptions",
        (
            (
                "what",
                {
                    "nargs": "+", "metavar": "MODEL TASK",
                    "help": "the model (PROVIDER:NAME, a checkpoint's folder, an address), then tasks, parted by "
                    "commas or blanks; with --outputs the task alone",
                },
            ),
            _out("where to write (default: runs/eval)"),
        ),
    ),
    Verb(
        "compare", compare, "two evaluations, question by question: differences with intervals and tests",
        "evals.compare:CompareOptions",
        (
            ("a", {"type": Path, "metavar": "A", "help": "an evaluation's folder, or one task's"}),
            ("b", {"type": Path, "metavar": "B", "help": "another one"}),
            _out("where to write (default: runs/comparison)", Path("runs/comparison")),
        ),
    ),
    Verb(
        "arena", arena, "ratings of models from their battles, with intervals", "evals.arena:ArenaOptions",
        (
            ("runs", {"nargs": "+", "metavar": "RUN", "help": "a file of battles or a folder with some, repeatable"}),
            _out("where to write (default: runs/arena)", Path("runs/arena")),
        ),
    ),
    Verb(
        "judge", judge, "how far a judge agrees with people, and what it favours", "evals.judging.run:JudgeOptions",
        (
            (
                "what",
                {
                    "nargs": "+", "metavar": "MODEL FILE",
                    "help": "the judge (PROVIDER:NAME; none with --verdicts), then files of pairs with human labels",
                },
            ),
            _out("where to write (default: runs/judge)", Path("runs/judge")),
        ),
    ),
    Verb(
        "people", people, "blind pairwise preference: a page for annotators, then win/tie/loss and agreement",
        "evals.people.options:PeopleOptions",
        (
            (
                "runs",
                {"nargs": "+", "metavar": "RUN", "help": "files of answers (FILE, NAME=FILE), folders of evaluations"},
            ),
            _out("the study's folder (default: runs/people)", Path("runs/people")),
        ),
    ),
    Verb("serve", serve, "a model behind an OpenAI-compatible address", "serve.options:ServeOptions", (_MODEL,)),
    Verb("chat", chat, "talk to a model in the terminal", "serve.options:ChatOptions", (_MODEL,)),
)  # fmt: skip
