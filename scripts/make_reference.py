"""Writes docs/reference/*.md from the code, so that they can't tell anything else than it does.

    python scripts/make_reference.py            write the pages
    python scripts/make_reference.py --check    change nothing; exit 1 where a page is out of date

Words that the code has no place for (what a key of step.json means, say) stand in tables here. A name
that the code has and a table lacks, or the other way round, ends the script with an AssertionError.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sqlite3
import sys
import tempfile
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

import evollab
from evollab import cli, llm, records, runs
from evollab.data import filters, formats, hub, inflate, lines, octets, selectors, skills, strictjson, targets
from evollab.data.attributes import ATTRIBUTES
from evollab.data.files import READERS
from evollab.data.likelihood import ATTRIBUTES as LIKELIHOODS
from evollab.evals.sources import find_task, task_names
from evollab.evolve import eliminate, gain, plan, qualify
from evollab.evolve.domains.general import DOMAIN
from evollab.evolve.options import PRESETS, EvolveOptions, Preset
from evollab.evolve.step import evolve
from evollab.llm import budget, journal, providers
from evollab.llm.session import Connection, ModelOptions
from evollab.llm.store import JOURNAL

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference"
MADE = "<!-- Made by scripts/make_reference.py. Don't edit: change the code, then run it again. -->"

VERBS = tuple(one.name for one in cli.VERBS)

ENVIRONMENT = {
    "OPENAI_API_KEY": "the key for `openai:` models, unless --key-env names another variable",
    "OPENAI_BASE_URL": "the address of `openai:` models where no --base-url is given",
    "HF_TOKEN": "the token for `evol export --push`, and for private data sets",
    "HF_HUB_DISABLE_TELEMETRY": "set to 1 by evollab, unless you set it: the hub's libraries report nothing home",
    "EVOLLAB_BENCHMARKS": "a folder with copies of benchmarks, for `evol decontaminate` and `evol eval`",
    "EVOLLAB_ALPACAEVAL_DIFFICULTY": "AlpacaEval 2's table of instruction difficulties, for its length-controlled rate",
    "XDG_CACHE_HOME": "where converted weights and vectors are kept (`evollab` in it; default `~/.cache`)",
}
INTERNAL = {
    "CUDA_VISIBLE_DEVICES",
    "DS_ACCELERATOR",
    "EVOLLAB_DEEPSPEED",
    "GOMP_SPINCOUNT",
    "OMP_WAIT_POLICY",
    "RANK",
    "WORLD_SIZE",
}
"""Set by us, or by a launcher, for processes of a launch."""
EXIT_CODES = {
    "0": "done; also when a cap (--max-calls, --max-tokens, --max-cost) stopped the run cleanly",
    "1": "the run is not complete: some calls failed and may succeed another time. Run the same command again",
    "2": "a mistake, or a fault that a person must mend: `error:` says which, `hint:` says how",
    "130": "stopped by Ctrl-C (SIGINT)",
    "143": "stopped by SIGTERM",
}
STEP_KEYS = {
    "step": "the step's name",
    "state": "`running`, `stopped` (the same command goes on) or `complete`",
    "why": "what stopped it",
    "command": "the command line",
    "notes": "what a reader must know, as the report shows it",
    "config": "all options that decide what the run makes; `config.settled` holds what `auto` and presets came to",
    "inputs": "of each input: `file`, `bytes`, `digest` (blake2b)",
    "versions": "of evollab and Python",
    "counts": "`seeds`, `rejected` input rows, `kept` rows (seeds included), `dropped`, `answered_seeds`, `unfinished`",
    "survival": "one entry for each round and operation: `tried`, `kept`, `dropped` by rule",
    "cost": "over all starts: `calls`, `tokens_in`, `tokens_out`, `usd` (null where a price is unknown), `unpriced` "
    "models; of this start: `retries`, `asked_now`, `found_in_store`",
    "times": "of this start: `started`, `ended`, `seconds`",
}
COLUMNS = {
    "calls": {
        "key": "blake2b of model identity, sample number and the request as sent",
        "model": "identity of the model",
        "purpose": "evolve, judge, answer or rate",
        "sample": "number of the draw of one and the same request",
        "request": "JSON body as sent",
        "reply": "body as received",
        "status": "`ok`, or the class that the reply was put in (see [models](models.md))",
        "tokens_in": "prompt tokens, as the provider counted them",
        "tokens_out": "completion tokens, as the provider counted them",
        "cost": "US dollars; NULL where the price is unknown",
        "latency": "seconds",
        "at": "unix time of arrival",
    },
    "failures": {
        "key": "the call",
        "model": "identity of the model",
        "purpose": "as above",
        "kind": "class of the failure",
        "message": "what the server said, cut to 500 characters",
        "latency": "seconds",
        "at": "unix time",
    },
}
RUN_FILES = {
    "calls.db": "every reply that was paid for, with its request (SQLite)",
    "run.lock": "held by the process at work; one at a time",
    "1-evolve/step.json": "what was asked, what came of it, what it cost",
    "1-evolve/instructions.jsonl": "seeds and survivors: an Instruction a line, lineage by lineage in the order of "
    "the seeds, by round within a lineage",
    "1-evolve/dropped.jsonl": "what elimination removed: a Dropped a line, in the same order",
    "1-evolve/rejected.jsonl": "input rows that could not be used: a Rejected a line",
}
LATER_FILES = {
    "calls.journal": "replies that are not in `calls.db` yet: they move when a run ends. A killed run leaves it",
    "0-qualify/qualify.json": "what `evol qualify` found; `evol evolve` in the same folder follows it",
    "report.html": "written by `evol report`",
    "export/": "written by `evol export`: `train.jsonl` or `train.parquet`, and `README.md`, the data card",
}


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, text in pages().items():
        path = OUT / name
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    done = "out of date" if check else "written"
    print("\n".join(f"{done}: docs/reference/{name}" for name in stale) or "up to date")
    return int(check and bool(stale))


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made = {
        "command-line.md": command_line(),
        "evolution.md": evolution(),
        "models.md": models(),
        "attributes-and-benchmarks.md": attributes_and_benchmarks(),
        "data.md": data(),
        "run-folder.md": run_folder(),
    }
    return {name: f"{MADE}\n\n{text.strip()}\n" for name, text in made.items()}


def command_line() -> str:
    parts = ["# Command line", "Data goes to stdout, words to stderr. `evol VERB --help` prints what stands here."]
    for verb in VERBS:
        parser = _parser(verb)
        names = {action.dest for action in parser._actions}
        evolves = {field.name for field in dataclasses.fields(EvolveOptions)} <= names
        asks = {field.name for field in dataclasses.fields(ModelOptions)} <= names
        elsewhere = {"help"} | {field.name for field in dataclasses.fields(EvolveOptions) if evolves}
        elsewhere |= {field.name for field in dataclasses.fields(ModelOptions) if asks}
        own = [action for action in parser._actions if action.dest not in elsewhere]
        also = ["[options of evolving](#options-of-evolving)"] if evolves else []
        also += ["[options of models](#options-of-models)"] if asks else []
        more = f"\n\nAlso: {', '.join(also)}." if also else ""
        parts.append(f"## evol {verb}\n\n{parser.description}.\n\n{_options(own)}{more}")
    reaching = [field.name for field in dataclasses.fields(ModelOptions)]
    actions = {action.dest: action for action in _parser("evolve")._actions}
    evolving = [field.name for field in dataclasses.fields(EvolveOptions) if field.name not in reaching]
    parts.append(
        "## Options of evolving\n\nThe fields of `evollab.evolve.options.EvolveOptions`; recipes use the same names. "
        "They decide what a run makes: a run folder made with others is refused.\n\n"
        + _options([actions[name] for name in evolving])
    )
    parts.append(
        "## Options of models\n\nThe fields of `evollab.llm.session.ModelOptions`. None of them changes what a run "
        "makes, so they may differ from one start to the next.\n\n" + _options([actions[name] for name in reaching])
    )
    codes = inspect.getdoc(cli.main) or ""
    assert all(code in codes for code in EXIT_CODES), codes
    parts.append("## Exit codes\n\n" + _table(("code", "meaning"), EXIT_CODES.items()))
    named = _environment()
    assert named == set(ENVIRONMENT), f"environment variables: code has {sorted(named)}"
    parts.append(
        "## Environment\n\n" + _table(("variable", "what for"), ((f"`{n}`", t) for n, t in sorted(ENVIRONMENT.items())))
    )
    return "\n\n".join(parts)


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = cli.parser_of(verb)
    for word in verb.split():
        verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = verbs.choices[word]
    return parser


def _options(actions: Iterable[argparse.Action]) -> str:
    rows = []
    for action in actions:
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        if action.choices is not None:
            metavar = "\\|".join(map(str, action.choices))
        name = " ".join(filter(None, [action.option_strings[0] if action.option_strings else "", metavar]))
        rows.append((f"`{name}`".replace("\\|", "|"), action.help or {"RUN": "run folder"}[name]))
    return _table(("option", "what it does"), rows)


def _environment() -> set[str]:
    """Names of environment variables that the package reads or sets, wherever it does."""
    names = {typing.cast(str, ModelOptions().key_env)}
    for path in sorted((ROOT / "evollab").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("os.environ.") and node.args:
                first = node.args[0]
                name = constants.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
                if isinstance(name, str):
                    names.add(name)
    return names - INTERNAL


def evolution() -> str:
    fields = [field.name for field in dataclasses.fields(Preset)]
    everything = tuple(op.name for op in DOMAIN.operations)

    def value(preset: Preset, name: str) -> str:
        found = getattr(preset, name)
        if name == "operations":
            return "all six" if found is None else f"five: no {', '.join(sorted(set(everything) - set(found)))}"
        return ("yes" if found else "no") if isinstance(found, bool) else str(found)

    assert len(everything) == 6
    presets = _table(("", *PRESETS), ((f.replace("_", "-"), *(value(p, f) for p in PRESETS.values())) for f in fields))
    operations = _table(
        ("operation", "kind", "tail prompts", "data formats"),
        (
            (f"`{op.name}`", op.kind, len(op.tails), ", ".join(form.name for form in op.formats) or "none")
            for op in DOMAIN.operations
        ),
    )
    before = {name for name, _ in eliminate.PAPER_CHECKS}
    checks = {name: number for number, (name, _) in enumerate(eliminate.ALL_CHECKS, 1)}
    rules = _table(
        ("rule", "why a child was dropped", "cheap check no.", "in the paper's checks"),
        (
            (f"`{name}`", text, checks.get(name, ""), "yes" if name in before | _ALWAYS else "")
            for name, text in eliminate.RULES.items()
        ),
    )
    return f"""
# Evolution

## Presets

{_clean(inspect.getdoc(Preset))}

{presets}

## Operations of the domain `{DOMAIN.name}`

For each child one operation is drawn, all with the same probability unless --weight says otherwise. The prompts are in
[general.py](../../evollab/evolve/domains/general.py). "depth" rewrites its parent and keeps its material; "breadth"
writes a new prompt. Tail prompts are for [small models](../how-to/small-models.md).

{operations}

## Rules

Every reason a child may be dropped for. Cheap checks need no call and run in the order of their numbers; the first that
objects names the reason.

{rules}

## Limits

| limit | value |
| --- | --- |
| words that one rewriting may add (asked for) | {EvolveOptions(model="x:y").added_words} |
| words that one rewriting may add (enforced), times that | 1.5 |
| fit judge: both orders agree on at least | {qualify.FIT_AGREEMENT:.0%} of {_pairs()} pairs |
| fit judge: verdicts right, at least | {qualify.FIT_ACCURACY:.0%} |
"""


_ALWAYS = {"empty", "truncated", "call_failed", "no_gain", "judge_unparsed", "unanswerable", "degenerate"}
"""Reasons that a run with the paper's checks can give, beside `PAPER_CHECKS`."""


def _pairs() -> int:
    return len(gain.EQUAL_PAIRS) + len(gain.UNEQUAL_PAIRS)


def models() -> str:
    kinds = []
    for module in pkgutil.iter_modules(providers.__path__):
        found = import_module(f"evollab.llm.providers.{module.name}")
        first = (found.__doc__ or "").strip().split("\n\n")[0]
        kinds.append((f"`{module.name}`", _clean(first)))
    classes = re.findall(r'^    "(\w+)",  # (.+)$', inspect.getsource(llm), re.MULTILINE)
    assert [name for name, _ in classes] == list(typing.get_args(llm.Failure)), classes
    table = budget._table()
    prices = typing.cast(Mapping[str, Mapping[str, Any]], table["usd_per_million_tokens"])
    hosts = _table(("host", "models"), ((f"`{host}`", len(known)) for host, known in prices.items()))
    return f"""
# Models

A model is named PROVIDER:NAME. A provider is one file in `evollab/llm/providers/`, a path to such a file, or an entry
point of the group `evollab.llm.providers` ([add one](../how-to/add-a-provider.md)).

{_table(("provider", "what it reaches"), kinds)}

## Classes of failure

{_clean(inspect.getdoc(llm.CallFailed))}

{_table(("class", "what happened"), ((f"`{name}`", text) for name, text in classes))}

## Connection

{_clean(inspect.getdoc(Connection))}

{_fields(Connection)}

## Prices

Prices are exact names at exact hosts, as of {table["date"]}, taken from the package {table["source"]}. Anything else is
unknown until --price says it; no price is guessed.

{hosts}
"""


def attributes_and_benchmarks() -> str:
    def summaries(package: types.ModuleType) -> list[tuple[str, str]]:
        found = []
        for module in pkgutil.iter_modules(package.__path__):
            about = inspect.getdoc(importlib.import_module(f"{package.__name__}.{module.name}")) or ""
            found.append((f"`{module.name}`", _clean(about.split("\n\n")[0])))
        return found

    judged = {
        "category": ", ".join(skills.CATEGORIES), "skills": "of the 29 of the Evol-Instruct testset",
        "difficulty": "1 to 10; all generations of a lineage in one prompt",
        "level": ", ".join(f"{name} {low} to {high}" for name, (low, high) in skills.LEVELS.items()),
        "quality": "of the response, 1 to 10", "safety": "safe, borderline or unsafe; the kind in `safety_kind`",
        "tags": "what the row is about, one to five", "pass_rate": "share of the target's answers that are right",
    }  # fmt: skip
    around = {
        "nn_similarity": "cosine to the nearest other row, by --embed",
        "cluster": "its cluster, numbered from the largest",
    }
    named = [find_task(name) for name in task_names()]
    return f"""
# Attributes, selectors, filters, benchmarks

## Attributes

`evol analyse` leaves them in a row's field `attributes`; every other verb finds them by these names.

{_table(("attribute", "meaning"), ((f"`{name}`", text) for name, text in {**ATTRIBUTES, **around}.items()))}

With `--lm`:

{_table(("attribute", "meaning"), ((f"`{name}`", text) for name, text in LIKELIHOODS.items()))}

With `--with` and `--target`:

{_table(("attribute", "meaning"), ((f"`{name}`", text) for name, text in judged.items()))}

## Selectors

For `evol select --how`.

{_table(("name", "what it does"), summaries(selectors))}

## Filters

For `evol select --filter`.

{_table(("name", "rows that go"), summaries(filters))}

## Benchmarks

For `evol decontaminate --against`.

{_table(("name", "what it is", "licence"), ((f"`{one.name}`", one.about, one.licence) for one in named))}
"""


def data() -> str:
    readers = {
        "jsonl": "an object a line", "json": "an array of objects, or objects one after the other",
        "csv": "a header, then rows; comma, semicolon or tab", "parquet": "columns", "lines": "one text a line",
    }  # fmt: skip
    assert set(readers) == set(READERS)
    endings: dict[str, list[str]] = {name: [] for name in readers}
    for ending, name in octets._FORMAT_OF.items():
        endings[name].append(f"`{ending}`")
    files = _table(("format", "endings", "rows"), ((f"`{n}`", ", ".join(endings[n]), t) for n, t in readers.items()))
    shapes = {
        "messages": "`messages`: turns of `role` and `content`",
        "sharegpt": "`conversations`: turns of `from` and `value`",
        "self-instruct": "`instruction`, `instances` (the first one's `input` and `output` count)",
        "alpaca": "`instruction`, `input`, `output`; `system`, `history`, `id` where there are",
    }
    assert set(shapes) == set(formats.SHAPES)
    limits = [
        ("one row", f"{lines.LIMIT >> 20} MiB"),
        ("levels of lists and objects", strictjson.DEPTH),
        ("fields of one object", f"{strictjson.FIELDS:,}"),
        ("digits of an integer", f"{strictjson.DIGITS:,}"),
        ("expansion of a compressed file", f"{inflate.RATIO} times, from {inflate.RATIO_FROM >> 20} MiB on"),
    ]
    made = _table(
        ("--format", "a row"),
        ((f"`{name}`", _clean(inspect.getdoc(target))) for name, target in targets.TARGETS.items()),
    )
    return f"""
# Data, in and out

## Seeds

A file, `-` for stdin, a folder that `datasets` saved, or a data set's id on the Hugging Face hub (ORG/NAME or
ORG/NAME:SPLIT; {_code(hub.INSTALL)}). Files are read as they are or compressed
({", ".join(f"`{ending}`" for ending in inflate.EXTENSIONS)}).

{files}

What a row says is told by its columns. Four shapes have names; other rows are read by the names that columns with a
question and its answer usually have, or by `--map PART=COLUMN`. PART is one of
{", ".join(f"`{part}`" for part in formats.PARTS)}.

{_table(("shape", "columns"), ((f"`{name}`", text) for name, text in shapes.items()))}

Of several turns the last user turn evolves; those before it stay as history. The same seed twice counts once.

A row that can't be used goes to `rejected.jsonl` with its line number and the reason; with --strict the first of them
ends the run before anything is asked.

{_table(("limit", "value"), limits)}

## Exports

`evol export` writes `train.jsonl` or `train.parquet`, and `README.md`, the data card. Rows without a response are left
out and counted.

{made}

Columns of a Parquet export:

{_table(("column", "type"), ((f"`{name}`", f"`{kind}`") for name, kind in targets.PARQUET.items()))}
"""


def run_folder() -> str:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        step, tables, files = _a_run(folder)
    assert set(step) == set(STEP_KEYS), f"step.json has {sorted(step)}"
    for name, columns in tables.items():
        assert list(columns) == list(COLUMNS[name]), f"table {name} has {list(columns)}"
    assert files == set(RUN_FILES), f"a run leaves {sorted(files)}"
    assert {JOURNAL, f"0-qualify/{plan.QUALIFY}"} <= set(LATER_FILES)
    parts = [
        "# Run folder",
        "Readable without evollab: JSON, JSON lines and SQLite. What a run leaves:",
        _table(("file", "what"), ((f"`{name}`", text) for name, text in RUN_FILES.items())),
        "And at other times:",
        _table(("file", "what"), ((f"`{name}`", text) for name, text in LATER_FILES.items())),
        "While a file is being written it is called NAME.part; it takes its name when all of it is on disk.",
        "## Records",
    ]
    parts += [
        f"### {record.__name__}\n\n{_clean(inspect.getdoc(record))}\n\n{_fields(record)}"
        for record in (records.Instruction, records.Dropped, records.Rejected, records.Message, records.Source)
    ]
    parts.append(f"## {runs.STEP}\n\n" + _table(("key", "what"), ((f"`{k}`", t) for k, t in STEP_KEYS.items())))
    parts.append("## calls.db")
    for name, columns in tables.items():
        rows = ((f"`{column}`", kind, COLUMNS[name][column]) for column, kind in columns.items())
        parts.append(f"Table `{name}`:\n\n" + _table(("column", "type", "what"), rows))
    parts.append(
        "A run that is at work or was killed has replies in `calls.journal`; `evol show` counts them too. "
        "One JSON object a line:\n\n```text\n"
        + textwrap.dedent("    " + (journal.__doc__ or "").split("\n    ", 1)[1].split("\n`write()`")[0])
        + "\n```"
    )
    return "\n\n".join(parts)


def _a_run(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]], set[str]]:
    """Make a small run; its step.json, the columns of its tables, the files it leaves."""
    script = types.ModuleType("reference_script")
    vars(script)["reply"] = lambda body: "Not Equal"
    sys.modules[script.__name__] = script
    seeds = folder / "seeds.txt"
    seeds.write_text("Explain tides to a sailor.\n")
    run = folder / "run"
    result = asyncio.run(evolve(str(seeds), run, EvolveOptions(model="scripted:reference_script:reply", rounds=1)))
    step = orjson.loads((result.folder / runs.STEP).read_bytes())
    with sqlite3.connect(run / "calls.db") as database:
        names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table' order by 1")]
        tables = {
            name: {row[1]: row[2].lower() for row in database.execute(f"pragma table_info({name})")} for name in names
        }
    database.close()
    return step, tables, {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def _fields(record: type) -> str:
    """Field, type and default of a dataclass; the strings that stand below a field say more."""
    notes = dict(_notes(record))
    hints = typing.get_type_hints(record)
    rows = []
    for field in dataclasses.fields(record):
        kind = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(hints[field.name])).removeprefix("<class '").removesuffix("'>")
        if field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`" if not callable(field.default) else ""
        else:
            default = "" if field.default_factory is dataclasses.MISSING else "empty"
        rows.append((f"`{field.name}`", f"`{kind}`", default, notes.get(field.name, "")))
    wide = any(row[3] for row in rows)
    head = ("field", "type", "default", "more")
    return _table(head if wide else head[:3], (row if wide else row[:3] for row in rows))


def _notes(record: type) -> Iterator[tuple[str, str]]:
    body = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield ast.unparse(before.target), _clean(str(node.value.value))


def _clean(text: str | None) -> str:
    """A docstring as a paragraph or several."""
    blocks = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in cells)


if __name__ == "__main__":
    assert evollab.__version__
    sys.exit(main())
