"""Studies for tests of `evol people`: two models' answers, and a server as a process of its own."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.serving import environment

NAMES = ("zebrafinch-7b", "quokka-13b-chat")
"""Names that occur in no answer and in no word of the page."""
_PEOPLE = """
import json, sys
from pathlib import Path
from evollab.evals.people.options import PeopleOptions
from evollab.evals.people.server import people
from evollab.records import EvolError
try:
    sys.exit(people(json.loads(sys.argv[1]), Path(sys.argv[2]), PeopleOptions(**json.loads(sys.argv[3]))))
except EvolError as error:
    print(f"error: {error.message}", file=sys.stderr)
    sys.exit(2)
"""


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def write_outputs(folder: Path, items: int = 6, skills: int = 1, **more: str) -> list[str]:
    """A file for each of NAMES; `more`: an answer of the first model by item, as i0="..."."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_rows(
            folder / f"{name}.jsonl",
            [
                {
                    "instruction": f"Request number {at}.", "skill": f"skill {at % skills}",
                    "output": more.get(f"i{at}", f"First view of {at}.") if which == 0 else f"Second view of {at}.",
                    "generator": name,
                }
                for at in range(items)
            ],
        )
        for which, name in enumerate(NAMES)
    ]  # fmt: skip


@dataclass
class Server:
    """A running study: each annotator's link, the process."""

    links: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return next(iter(self.links.values())).rpartition("/j/")[0]


@contextlib.contextmanager
def started(runs: Sequence[str], out: Path, **options: Any) -> Iterator[Server]:
    """`evol people` on a free port of loopback while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PEOPLE, json.dumps(list(runs)), str(out), json.dumps({"port": 0, **options})],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stdout is not None
    links: dict[str, str] = {}
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if link := re.search(r"(\S+)  (http://\S+/j/\S+)", line):
                links[link[1]] = link[2]
            if "Ctrl-C" in line:
                break
        assert links, "".join(said)
        yield Server(links, process)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()
