"""The documentation can't go stale: what it shows is run, what it names exists, what it links to is there.

Blocks of one page run in order in one folder of their own that holds `seeds.jsonl`. By the word behind
the fence:

    bash             run with bash; must succeed
    bash no-run      not run; only commands that install, publish or serve may stand there
    console          lines behind "$ " are run, what they print must be what stands below; "..." is anything
    python           run
    python NAME      written to the file NAME
    sql              every statement run on runs/first/calls.db; must give rows
    sql duckdb       the same in DuckDB, in the page's folder
    json, jsonl      must parse
    text             nothing

Addresses that end in /v1 stand for a scripted server on loopback, which asks for the right key.
"""

from __future__ import annotations

import argparse
import dataclasses
import doctest
import math
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson
import pytest

import evollab
from bench.server import Options, Running, serving
from evollab import cli
from evollab.evolve import gain, outlet, qualify, rewrite, rounds
from evollab.evolve.eliminate import ALL_CHECKS, RULES
from evollab.evolve.options import PRESETS, EvolveOptions
from evollab.llm import ask, journal, limits
from evollab.llm.local import MAX_SLOTS
from evollab.llm.providers import local

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LANGUAGES = {"bash", "console", "python", "sql", "json", "jsonl", "text"}
NOT_RUN = re.compile(
    r"(?:make|pip|git clone|cd|vllm|llama-server|ollama)\b|evol export .* --push |lm_eval|evol (?:decontaminate|train|serve|chat|eval|compare|people|vote)\b"
)
FOREIGN_FLAGS = {
    "--no-deps": "pip",
    "--no-compile": "pip",
    "--tasks": "lm_eval",
    "--preserve-status": "timeout",
    "--foreground": "timeout",
    "--parallel": "llama-server",
    "--ctx-size": "llama-server",
}
KEY = "sk-key-for-the-docs"
_FENCE = re.compile(r"^(`{3,})(\w*)[ ]?(.*)$")
_ADDRESS = re.compile(r"https?://[\w.:-]+(?:/[\w.-]+)*/v1\b")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
_HTML_SOURCE = re.compile(r"<(?:img|source|a)\b[^>]*?\b(?:src|srcset|href)=\"([^\"]+)\"")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b|(?<![\w-])--n\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its fence, the words behind it, its text."""

    line: int
    language: str
    rest: str
    text: str


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    fence, start, language, rest, held = "", 0, "", "", list[str]()
    for number, line in enumerate(page.read_text("utf-8").split("\n"), 1):
        if not fence:
            if opening := _FENCE.match(line):
                fence, start, language, rest, held = opening[1], number, opening[2], opening[3].strip(), []
        elif line.startswith(fence) and not line.strip("`").strip():
            found.append(Block(start, language, rest, "\n".join(held) + "\n"))
            fence = ""
        else:
            held.append(line)
    assert not fence, f"{page}:{start}: a fence that is never closed"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^(`{3,}).*?^\1`*$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Running, Running]]:
    """Two scripted endpoints that are slow enough to be interrupted and sometimes fail."""
    options = Options(latency_ms=20, equal_pct=8, leak_pct=4, sorry_pct=4, long_pct=2, p500=1, key=KEY)
    with serving(options) as first, serving(dataclasses.replace(options)) as second:
        yield first, second


class Shell:
    """Runs the blocks of one page."""

    def __init__(self, page: Path, folder: Path, servers: tuple[Running, Running]) -> None:
        self.page, self.folder, self.servers = page, folder, servers
        (folder / "seeds.jsonl").write_bytes((ROOT / "recipes" / "seeds.jsonl").read_bytes())
        programs = folder.parent / "bin"
        programs.mkdir(exist_ok=True)
        for name, arguments in (("evol", '-m evollab.cli "$@"'), ("python", '"$@"')):
            (programs / name).write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}\n")
            (programs / name).chmod(0o755)
        self._keys = dict.fromkeys(("OPENAI_API_KEY", "OPENROUTER_API_KEY", "GATEWAY_KEY"), KEY)
        self._env = {
            **{name: value for name, value in os.environ.items() if "KEY" not in name and "TOKEN" not in name},
            **self._keys,
            "OPENAI_BASE_URL": servers[0].base_url,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder.parent),
            "LC_ALL": "C.UTF-8",
        }

    def local(self, text: str) -> str:
        """`text` with the addresses in it replaced by ours."""
        known = dict.fromkeys(_ADDRESS.findall(text))
        places = {address: self.servers[n % 2].base_url for n, address in enumerate(known)}
        return _ADDRESS.sub(lambda found: places[found.group()], text)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def bash(self, text: str) -> str:
        done = self.run("bash", "-euo", "pipefail", "-c", self.local(text))
        assert done.returncode == 0, f"exit code {done.returncode}\n{text}\n{done.stdout}"
        return done.stdout

    def console(self, text: str) -> None:
        """Commands, each with what it prints."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            end = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
            command, want = "\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :])
            got = "\n".join(line.rstrip() for line in self.bash(command).split("\n"))
            same = doctest.OutputChecker().check_output(want.strip() + "\n", got.strip() + "\n", doctest.ELLIPSIS)
            assert same, f"$ {command}\nexpected:\n{want}\ngot:\n{got}"

    def __call__(self, block: Block) -> None:
        match block.language, block.rest:
            case "bash", "no-run":
                for line in filter(None, block.text.split("\n")):
                    assert NOT_RUN.match(line), f"only commands that install, publish or serve may be no-run: {line}"
            case "bash", _:
                self.bash(block.text)
            case "console", _:
                self.console(block.text)
            case "python", "":
                done = self.run("python", "-W", "error", "-c", self.local(block.text))
                assert done.returncode == 0, done.stdout
            case "python", name:
                assert re.fullmatch(r"[a-z_]+\.py", name), name
                (self.folder / name).write_text(self.local(block.text), "utf-8")
            case "sql", engine:
                self.query(block.text, engine)
            case "json", _:
                orjson.loads(block.text)
            case "jsonl", _:
                for line in block.text.strip().split("\n"):
                    orjson.loads(line)

    def query(self, text: str, engine: str) -> None:
        for statement in filter(str.strip, text.split(";")):
            if engine == "duckdb":
                done = self.run(
                    "python", "-c", "import duckdb, sys; print(duckdb.sql(sys.argv[1]).fetchall())", statement
                )
                assert done.returncode == 0, done.stdout
                assert done.stdout.strip() != "[]", statement
            else:
                database = sqlite3.connect(self.folder / "runs/first/calls.db")
                rows = database.execute(statement).fetchall()
                database.close()
                assert rows, f"no rows: {statement}"


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_every_block_runs(page: Path, tmp_path: Path, servers: tuple[Running, Running]) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    shell = Shell(page, folder, servers)
    for block in blocks(page):
        place = f"{page.relative_to(ROOT)}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: {block.language or 'no language'}; expected one of {LANGUAGES}"
        try:
            shell(block)
        except AssertionError as error:
            pytest.fail(f"{place}: {error}", pytrace=False)
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_wrong_block_is_noticed(tmp_path: Path, servers: tuple[Running, Running]) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    shell = Shell(tmp_path, folder, servers)
    shell(Block(1, "console", "", "$ echo one two three\none ... three\n"))
    for language, rest, text in (
        ("bash", "", "false\n"), ("bash", "no-run", "rm -rf runs\n"), ("console", "", "$ echo one\ntwo\n"),
        ("python", "", "raise SystemExit(3)\n"), ("bash", "", "evol evolve seeds.jsonl --modle openai:m\n"),
        ("sql", "duckdb", "select 1 where false;\n"),
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            shell(Block(1, language, rest, text))
    with pytest.raises(orjson.JSONDecodeError):
        shell(Block(1, "json", "", "{,}\n"))


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        bare = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        found.add(bare.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    targets = [one or other for one, other in _LINK.findall(text)] + _HTML_SOURCE.findall(text)
    for target in targets:
        if re.match(r"https://", target):
            continue
        assert ":" not in target, f"{page.name}: {target}"
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{page.relative_to(ROOT)}: {target} is not there"
        assert goal.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(goal), f"{page.relative_to(ROOT)}: {target}: no such heading"


def test_every_page_can_be_found() -> None:
    """From README.md, by following links."""
    seen, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for one, _ in _LINK.findall(prose(page)):
            goal = (page.parent / one.partition("#")[0]).resolve()
            if goal.suffix == ".md" and goal.is_file():
                todo.append(goal)
    assert not set(PAGES) - seen, f"no link leads to {sorted(str(p.relative_to(ROOT)) for p in set(PAGES) - seen)}"


@cache
def flags() -> set[str]:
    """Every flag that `evol` takes."""
    found = set[str]()
    for verb in (None, *(one.name for one in cli.VERBS)):
        parsers = [cli.parser_of(verb)]
        for parser in parsers:
            for action in parser._actions:
                found.update(action.option_strings)
                if isinstance(action, argparse._SubParsersAction):
                    parsers.extend(action.choices.values())
    return found


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_every_flag_exists(page: Path) -> None:
    text = re.sub(r"<!--.*?-->|^\| --- .*$|https://\S+", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    unknown = set(_FLAG.findall(text)) - flags() - set(FOREIGN_FLAGS)
    assert not unknown, f"{page.relative_to(ROOT)} speaks of {sorted(unknown)}"


def test_foreign_flags_are_used() -> None:
    everything = "".join(page.read_text("utf-8") for page in PAGES)
    assert [flag for flag in FOREIGN_FLAGS if flag not in everything] == []


@cache
def vocabulary() -> str:
    """All that the code says, for looking names up."""
    files = [path for folder in ("evollab", "bench", "scripts", "recipes") for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(path.read_text("utf-8") for path in [*files, ROOT / "Makefile", ROOT / "pyproject.toml"])


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_every_name_exists(page: Path) -> None:
    """Words in `code` that look like a name of ours (with _ or -, a dotted name, a file) are in the code,
    in a block of the same page, or a file of the repository."""
    here = vocabulary() + "".join(block.text for block in blocks(page))
    missing = []
    for word in re.findall(r"`([^`\n]+)`", prose(page)):
        if not re.fullmatch(r"[A-Za-z_./][\w./-]*", word) or not re.search(r"[_./-]", word.strip("./")):
            continue
        name = word.removeprefix("./").rstrip("/")
        parts = (name, name.rpartition("/")[2], name.rpartition(".")[2] if "/" not in name else name)
        if any(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", here) for part in parts):
            continue
        if (
            not (ROOT / name).exists()
            and not list(ROOT.glob(f"docs/**/{name}"))
            and not list((ROOT / "evollab").rglob(name))
        ):
            missing.append(word)
    assert not missing, f"{page.relative_to(ROOT)} names {missing}, which are nowhere in the code"


def test_the_method_page_tells_every_rule_preset_and_operation() -> None:
    text = (ROOT / "docs/method.md").read_text("utf-8")
    assert [name for name in (*RULES, *PRESETS) if f"`{name}`" not in text] == []


def test_the_architecture_page_tells_the_order_of_the_checks() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    places = [text.find(f"`{name}`", text.index("cheap checks")) for name, _ in ALL_CHECKS]
    assert -1 not in places, dict(zip([name for name, _ in ALL_CHECKS], places, strict=True))
    assert places == sorted(places)


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/make_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: python scripts/make_reference.py"


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert first is not None
    assert first[1] == evollab.__version__


def test_the_readme_keeps_its_marks() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("<!-- bench:begin -->") == text.count("<!-- bench:end -->") == 1
    assert text.index("<!-- bench:begin -->") < text.index("<!-- bench:end -->")
    assert "docs/img/report.png" in text


def test_numbers_in_prose_are_those_of_the_code() -> None:
    """Numbers that pages give beside the reference, which is made from the code."""
    told = {
        "docs/how-to/small-models.md": (
            f"*fit* when {qualify._FIT * 100:g} % survive, *usable with losses* from {qualify._WEAK * 100:g} % on",
            f"about {len(gain.EQUAL_PAIRS) + len(gain.UNEQUAL_PAIRS)} pairs",
            f"models under {local._SMALL_BYTES / 1e9:g} GB",
            f"({local._SLOTS} if not given, {MAX_SLOTS} at most)",
            f"Up to {spelled(rewrite._DRAWS)} completions",
        ),
        "docs/how-to/resume-and-recover.md": (
            f"the last {journal.SYNC_SECONDS:g} seconds",
            f"synced {spelled(round(1 / journal.SYNC_SECONDS))} times a second",
            f"At {limits.Limits().concurrency} requests in flight",
        ),
        "docs/method.md": (
            f"consistent in {qualify.FIT_AGREEMENT * 100:g} %",
            f"right in {qualify.FIT_ACCURACY * 100:g} %",
            f"about {len(gain.EQUAL_PAIRS) + len(gain.UNEQUAL_PAIRS)} pairs",
            f"{math.ceil(rounds._SLACK * EvolveOptions(model='a:b').added_words)} words. Blocks",
        ),
        "docs/architecture.md": (
            f"synced {spelled(round(1 / journal.SYNC_SECONDS))} times a second",
            f"A reserve of {journal.RESERVE_BYTES >> 20} MiB",
            f"when\n{outlet._WAITING_BYTES >> 20} MiB wait",
            f"at least {limits._CROWDED} of the last {limits._WINDOW} answers",
            f"{spelled(ask.TRIES)} times in all",
            f"{ask._LOST_CALLS} calls in a row",
        ),
        "docs/how-to/use-vllm-llamacpp-ollama-openrouter.md": ("(it costs 50 rows)",),
        "README.md": (f"{limits.Limits().concurrency} by default",),
    }
    missing = [(page, text) for page, texts in told.items() for text in texts if text not in (ROOT / page).read_text()]
    assert missing == []


def spelled(number: int) -> str:
    return ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")[number]
