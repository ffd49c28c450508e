"""Where a benchmark's data come from: a file that was named, a folder of local copies, the hub."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evollab import plugs
from evollab.data.benchmark import Benchmark, BenchmarkItem
from evollab.data.files import read_conversations, read_rows
from evollab.data.formats import BadFields
from evollab.data.items import is_file
from evollab.data.octets import has_data_name
from evollab.data.rows import excerpt
from evollab.evals import tasks
from evollab.evals.task import Task
from evollab.records import Conversation, EvolError, Rejected

FOLDER = "EVOLLAB_BENCHMARKS"
"""The environment variable that names the folder of local copies."""
ALL = "all"
_NO_HUB = "Couldn't reach"
"""What `datasets` says without a connection."""
_OWN = ".py"
_PACKAGE = "evollab.evals.tasks"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One benchmark that was asked for: its name, its task (None for a file of one's own), its file."""

    name: str
    task: Task | None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found: benchmarks by name, and why others were not."""

    found: Mapping[str, Benchmark]
    missing: Mapping[str, str]


def task_names() -> list[str]:
    """The benchmarks that there are, by name; those of installed plug-ins, too."""
    plugged = (point.name for point in importlib.metadata.entry_points(group=_PACKAGE))
    return sorted({*(module.name for module in pkgutil.iter_modules(tasks.__path__)), *plugged})


ALIASES = {
    "arc": "arc_challenge", "alpaca_eval": "alpacaeval", "evol_instruct_testset": "evol_testset",
    "humaneval+": "humaneval_plus", "mbpp+": "mbpp_plus", "mt-bench": "mtbench", "mt_bench": "mtbench",
    "math-500": "math500", "truthful_qa": "truthfulqa", "vicuna": "vicuna80",
}  # fmt: skip
"""Other names that people know benchmarks by."""


def find_task(name: str) -> Task:
    """The benchmark called `name`, or the one in a file of one's own (./law.py). Raises EvolError listing what exists
    and the nearest match, and for a TASK that is none."""
    task = plugs.find(_PACKAGE, name, "TASK", "benchmark")
    if not isinstance(task, Task):
        raise EvolError(f"benchmark {name}: TASK is a {type(task).__name__}; expected an evollab.evals.task.Task")
    return task


def wanted(against: Sequence[str], flag: str = "--against") -> list[Wanted]:
    """What `flag` asks for: names parted by commas, `all`, NAME=FILE, tasks and rows of one's own.

    Each once, in the order given. Raises EvolError for names that nothing has, for one name with two
    files, and for nothing at all.
    """
    found: dict[str, Wanted] = {}
    for part in (part for text in against for part in _parts(text.strip())):
        for one in _one(part, flag):
            if one.name in found and found[one.name] != one:
                raise EvolError(f"{flag} names {one.name} twice, with two files", f"NAME=FILE: {one.name}2=FILE")
            found[one.name] = one
    if not found:
        raise EvolError(
            f"{flag}: which benchmarks? nothing is named",
            f"for example {flag} gsm8k,humaneval, {flag} my-test.jsonl, or {flag} {ALL}; there are: "
            + ", ".join(task_names()),
        )
    return list(found.values())


def _parts(text: str) -> list[str]:
    """`text` cut at its commas, unless it is a file with commas in its name."""
    if is_file(Path(text.partition("=")[2] or text)):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _one(part: str, flag: str) -> list[Wanted]:
    known = task_names()
    if part == ALL:
        return [Wanted(name, find_task(name)) for name in known]
    name, equals, file = part.partition("=")
    name = ALIASES.get(name.casefold(), name)
    if (name in known or name.endswith(_OWN)) and (file or not equals):
        task = find_task(name)
        return [Wanted(task.name, task, file or None)]
    if name and file:
        return [Wanted(name, None, file)]
    path = Path(part)
    if is_file(path) or len(path.parts) > 1 or has_data_name(path):
        return [Wanted(path.name.partition(".")[0] or path.name, None, part)]
    near = difflib.get_close_matches(part, [*known, ALL], 1)
    raise EvolError(
        f"{flag} {excerpt(part, 60)!r}: no benchmark is called so, and no such file; there are: {', '.join(known)}",
        f"did you mean {near[0]}?" if near else "give a file of your own by its path, a known one as NAME=FILE",
    )


def read_benchmarks(wants: Sequence[Wanted], folder: str | None, *, missing: str) -> Sources:
    """Read what is wanted. `folder`: local copies (None: what the environment says). `missing`: "stop"
    raises EvolError for a benchmark that is neither in the folder nor on the hub; "note" goes on.

    A file that is there and can't be read is an EvolError either way.
    """
    copies = _copies(folder)
    found: dict[str, Benchmark] = {}
    lacking: dict[str, str] = {}
    cut_off = ""
    for want in wants:
        if want.task is None:
            found[want.name] = _own(str(want.file))
            continue
        file = want.file or next((copies[name] for name in map(_plain, want.task.files) if name in copies), None)
        if file is not None:
            found[want.name] = _read(want.task, (str(file),))
            continue
        try:
            if cut_off and want.task.hub:
                raise EvolError(cut_off)
            found[want.name] = _from_hub(want.task)
        except EvolError as error:
            if missing == "stop":
                raise _not_at_hand(want.task, folder, error) from None
            lacking[want.name] = error.message
            if _NO_HUB in error.message:  # each further try would take half a minute to fail
                cut_off = "the hub can't be reached"
    return Sources(found, lacking)


def places_of(task: Task, folder: str | None, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Where the rows of a task are: a local copy, else its ids on the hub. `names`: what the copy is called, where that
    is not `task.files`; such files are not on the hub, and () stands for none.

    Raises EvolError for a task without either.
    """
    copies = _copies(folder)
    file = next((copies[name] for name in map(_plain, names or task.files) if name in copies), None)
    if file is not None:
        return (file,)
    if names is not None:
        return ()
    if not task.hub:
        raise EvolError(
            f"{task.name}: there is no copy of it here, and it is not on the hub in a form that can be read",
            f"get it from {task.home or 'its makers'} and put it as {task.files[0]}.jsonl into a folder that "
            f"--benchmarks (or ${FOLDER}) names",
        )
    return task.hub


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def _copies(folder: str | None) -> dict[str, str]:
    """The data files of the folder of local copies: plain name -> path."""
    name = folder if folder is not None else os.environ.get(FOLDER, "")
    if not name:
        return {}
    path = Path(name)
    if not path.is_dir():
        where = "--benchmarks" if folder is not None else f"${FOLDER}"
        raise EvolError(f"{where} {name}: there is no such folder")
    files = sorted(one for one in path.iterdir() if has_data_name(one) and is_file(one))
    return {_plain(one.name.partition(".")[0]): str(one) for one in reversed(files)}


def _from_hub(task: Task) -> Benchmark:
    if not task.hub:
        raise EvolError(f"{task.name} is not on the hub in a form that can be read; get it from {task.home}")
    return _read(task, task.hub)


def _read(task: Task, sources: Sequence[str]) -> Benchmark:
    """The items of a task out of files or ids. Raises EvolError where no row is an item."""
    items: list[BenchmarkItem] = []
    bad: list[Rejected] = []
    wrong = ""
    for source in sources:
        for row in read_rows(source, reject=bad.append):
            try:
                item = task.texts(row._replace(number=len(items) + 1) if len(sources) > 1 else row)
            except BadFields as error:
                wrong = wrong or f"{source}:{row.number}: {error}"
                bad.append(Rejected(source, row.number, str(error), ""))
                continue
            if item is not None and not item.question.isspace() and item.question:
                items.append(item)
    if not items:
        raise EvolError(f"{wrong or sources[0]} (no row is an item of {task.name})", f"is it {task.about}?")
    return Benchmark(sources[0], items, len(bad))


def _own(file: str) -> Benchmark:
    """A file of one's own: what users say is the question, the last answer the solution."""
    bad: list[Rejected] = []
    items = [_item(talk) for talk in read_conversations(file, reject=bad.append)]
    return Benchmark(file, [item for item in items if item.question.strip()], len(bad))


def _item(talk: Conversation) -> BenchmarkItem:
    assert talk.source is not None
    last = talk.messages[-1]
    return BenchmarkItem(
        talk.source.id or str(talk.source.line),
        "\n\n".join(turn.content for turn in talk.messages if turn.role == "user"),
        last.content if last.role == "assistant" else "",
    )


def _not_at_hand(task: Task, folder: str | None, error: EvolError) -> EvolError:
    place = folder or os.environ.get(FOLDER) or f"a folder that --benchmarks (or ${FOLDER}) names"
    hub = f"\n  or let it come from the hub: {error.hint}" if task.hub and error.hint else ""
    return EvolError(
        f"{task.name}: there is no copy of it here, and {error.message}",
        f"get it from {task.home or 'its makers'} and put it as {task.files[0]}.jsonl into {place}\n"
        f"  or name the file: --against {task.name}=FILE{hub}\n"
        f"  or go on without it, and be told so: --missing note",
    )
