"""A judge that is a function, rows for it, and a process that judges rows over HTTP (`python -m tests.judge_models`)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from evollab.data.items import Item, RowOptions, read_items
from evollab.data.judge_options import JudgeOptions
from evollab.data.judge_report import JudgeReport
from evollab.data.judging import judge_rows
from evollab.llm.session import session
from evollab.records import Instruction, Rejected

Body = dict[str, Any]
FORM = "category: {}\nskills: {}\ndifficulty: {}\nquality: {}\nsafety: {}\ntags: {}"


def kind(body: Body) -> str:
    """What a judge is asked for: form, lineage, grade; else it is the target that is asked to answer."""
    text = body["messages"][-1]["content"]
    if re.search(r"^@@[0-9a-f]{12} end of the row$", text, re.MULTILINE):
        return "form"
    if re.search(r"^@@[0-9a-f]{12} end of the requests$", text, re.MULTILINE):
        return "lineage"
    return "grade" if text.endswith("verdict:") else "answer"


def sections(body: Body) -> dict[str, str]:
    """The material of a prompt by name: request and response, or A, B, ..."""
    text = body["messages"][-1]["content"]
    sign = re.findall(r"^(@@[0-9a-f]{12}) end of", text, re.MULTILINE)[-1]
    parts = text.split(f"\n{sign} ")[1:-1]
    return {name: content.strip("\n") for name, _, content in (part.partition("\n") for part in parts)}


def hardness(request: str) -> int:
    """What this judge thinks of a request: the number in it, else by its length."""
    found = re.search(r"step (\d+)", request)
    return int(found[1]) if found else 1 + len(request) % 9


def good(body: Body) -> str:
    """Fills every form, depending on the request alone, and marks lineages by `hardness`."""
    said = sections(body)
    match kind(body):
        case "lineage":
            return "\n".join(f"{letter}: {hardness(text)}" for letter, text in said.items())
        case "grade":
            return "verdict: yes" if said["candidate"] == said["reference"] else "verdict: no"
        case _:
            request = said["request"]
            category = "coding" if "code" in request else "writing"
            quality = 1 + len(said.get("response", "")) % 10
            tags = f"topic {hardness(request)}, step"
            return FORM.format(category, "Math, Writing", hardness(request), quality, "safe", tags)


def plain(*requests: str, response: str | None = "A response.") -> list[dict[str, Any]]:
    """Rows of no lineage, in the shape of those that have one."""
    return [
        {"id": f"row-{number}", "root_id": None, "parent_id": None, "round": None, "operation": None, "text": text,
         "response": response}
        for number, text in enumerate(requests)
    ]  # fmt: skip


def lineage(root: str, rounds: int, start: int = 1) -> list[dict[str, Any]]:
    """A seed and its generations, each as hard as the number in it."""
    rows = [
        Instruction(
            root if not number else f"{root}-{number}", root, None if not number else root, number, "deepen", "general",
            f"Explain {root} in step {start + number}", response=f"Answer {number}.",
        )
        for number in range(rounds + 1)
    ]  # fmt: skip
    return [json.loads(row.to_json()) for row in rows]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def items_of(path: Path) -> Iterable[Item]:
    def refuse(row: Rejected) -> None:
        raise AssertionError(row)

    return read_items(str(path), RowOptions(), refuse)


def judged(
    data: Path, out: Path, options: JudgeOptions
) -> tuple[list[dict[str, Any]], JudgeReport, tuple[str, str, int]]:
    """(attributes of each row, report, (state, why, exit code))."""

    async def work() -> tuple[list[dict[str, Any]], JudgeReport, tuple[str, str, int]]:
        out.mkdir(parents=True, exist_ok=True)
        async with session(out, options) as opened:
            with await judge_rows(items_of(data), opened, options, out, note=lambda _: None) as done:
                return list(done), done.report, (done.state, done.why, done.exit_code)

    return asyncio.run(work())


def main(data: str, out: str, base_url: str, concurrency: str) -> None:
    """Judge `data` through an endpoint; write OUT/attributes.jsonl when all is done."""
    options = JudgeOptions(
        with_model="openai:mock", target="openai:target", samples=2, base_url=(base_url,), self_agreement=0.3,
        concurrency=int(concurrency),
    )  # fmt: skip
    rows, _, (_, _, code) = judged(Path(data), Path(out), options)
    part = Path(out, "attributes.part")
    part.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    os.replace(part, Path(out, "attributes.jsonl"))
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
