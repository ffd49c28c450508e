"""A made-up run that looks like a real one, for the tests of what people see.

Written through the same records as a real run; every draw depends on the seed number alone.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from evollab.records import Dropped, Instruction, Rejected, Source, digest, seed_instruction

SCHEMA = """
create table calls(
    key blob not null, model text, purpose text, sample integer, request text, reply text,
    status text, tokens_in integer, tokens_out integer, cost real, latency real, at real);
create table failures(
    key blob, model text, purpose text, kind text, message text, latency real, at real,
    unique (key, at, kind) on conflict ignore);
"""
SEEDS = (
    "Explain how a rainbow forms.",
    "Give three tips for staying focused while working from home.",
    "Write a short thank-you note to a neighbour who watered the plants.",
    "What is the difference between weather and climate?",
    "Suggest a name for a small bakery by the sea.",
    "Convert 72 degrees Fahrenheit to Celsius.",
    "List the steps for changing a bicycle tyre.",
    "Summarise the plot of a film you like in two sentences.",
    "How do vaccines train the immune system?",
    "Plan a three-day walk along a river for two people.",
    "Rewrite this sentence in a polite tone: Send me the file now.",
    "Which vegetables can be sown in early spring?",
    "Compare renting and buying a flat.",
    "Write a haiku about the first snow.",
    "Find the error in the sum 17 + 26 = 33.",
    "Describe a day in the life of a lighthouse keeper.",
    "How does a refrigerator stay cold?",
    "Make a packing list for a weekend in the mountains.",
    "Why do cats purr?",
    "Draft an e-mail that moves a meeting to Thursday.",
)
TAILS = {
    "add-constraint": (
        " Use no more than 120 words and name at least one source.",
        " Your answer must hold for a reader of twelve years and avoid technical terms.",
        " Limit yourself to means that cost less than 20 euros in total.",
        " Put the result in a numbered list whose items begin with a verb.",
    ),
    "deepen": (
        " Also explain why the usual explanation falls short, and where it still holds.",
        " Discuss what would change if the conditions were reversed, and why.",
        " Cover the history of the question and the point on which experts still disagree.",
    ),
    "concretise": (
        " Assume a household of four in Lisbon in the first week of March.",
        " Take the case of a retired teacher who lives alone on the third floor.",
        " Speak of a 1998 touring bicycle with 700C wheels.",
    ),
    "reasoning": (
        " Before you answer, first compare two ways to get there and say which step decides.",
        " Show each step, and check the result by working backwards from it.",
        " First name what you have to assume, then derive the answer from it.",
    ),
    "complicate-input": (
        "\n\n| day | rain (mm) | wind (km/h) |\n|---|---|---|\n| Mon | 3.2 | 14 |\n| Tue | 0.0 | 22 |\n| Wed | 11.8 | 9 |"
        "\n\nBase your answer on this table.",
        '\n\n```json\n{"budget": 180, "people": 2, "days": 3, "avoid": ["motorways", "tents"]}\n```\n\nRespect these settings.',
        "\n\n```sql\nSELECT city, SUM(litres) FROM deliveries GROUP BY city;\n```\n\nSay what this query has to do with it.",
    ),
}
DROPS = {
    "no_gain": "judged equal to its parent",
    "over_budget": "14 words over, asked twice",
    "copy": "word for word the same as generation 0",
    "leak": "holds the marker #Rewritten Prompt#",
    "answered": "begins like an answer",
    "dangling": "speaks of a text that is not there",
    "truncated": "finish_reason length at 2048 tokens",
    "unanswerable": "the response is an apology of 14 words",
}
ANSWER = (
    "Start from what can be seen. ",
    "Three things decide here: the light, the angle and the drops. ",
    "The first step is to gather what you have. ",
    "A good rule is to change one thing at a time and to write it down. ",
    "That leaves two cases. In the first nothing changes; in the second the order is reversed. ",
    "- Begin early.\n- Keep the list short.\n- Check it once more.\n",
)


def lineages(
    count: int, rounds: int, *, number: int = 0, keep: float = 0.85
) -> Iterator[tuple[list[Instruction], list[Dropped]]]:
    """`count` seeds with what came of them."""
    for index in range(count):
        draw = random.Random(number * 1_000_003 + index)
        text = SEEDS[index % len(SEEDS)]
        if index >= len(SEEDS):
            text = f"{text[:-1]} (case {index // len(SEEDS) + 1}){text[-1]}"
        seed = seed_instruction(
            text, source=Source("seeds.jsonl", index + 1), response="".join(draw.sample(ANSWER, 2)).strip()
        )
        kept, dropped = [seed], []
        for round_ in range(1, rounds + 1):
            child, rule = _child(kept[-1], round_, draw, keep)
            if rule:
                dropped.append(Dropped(child, rule, DROPS[rule], f"#Rewritten Prompt#\n{child.text}"))
            else:
                kept.append(child)
        yield kept, dropped


def _child(parent: Instruction, round_: int, draw: random.Random, keep: float) -> tuple[Instruction, str]:
    operation = draw.choice([*TAILS, "in-breadth"])
    rule = "" if draw.random() < keep - 0.04 * round_ else draw.choices(list(DROPS), (30, 14, 9, 6, 8, 5, 3, 4))[0]
    if operation == "in-breadth":
        text = draw.choice(SEEDS)[:-1] + draw.choice(
            (", as it was seen in the 1920s.", " for people who can't see colours.", " on a boat.")
        )
    elif operation == "concretise":
        text = parent.text.replace(" a ", " one particular ", 1) + draw.choice(TAILS[operation])
    else:
        text = parent.text + draw.choice(TAILS[operation])
    if rule == "copy":
        text = parent.text
    answer = "".join(draw.choices(ANSWER, k=draw.randint(2, 7))).strip()
    child = Instruction(
        digest(parent.id, round_, operation, text), parent.root_id, parent.id, round_, operation, "general", text,
        response=None if rule else answer, verdicts={"judge": "equal" if rule == "no_gain" else "not equal"},
        models={"evolver": "openai:gpt-4o-mini", "answerer": "openai:gpt-4o-mini", "judge": "openai:gpt-4o-mini"},
        tokens={"in": 380, "out": 240},
    )  # fmt: skip
    return child, rule


def calls_of(number: int, kept: list[Instruction], dropped: list[Dropped]) -> Iterator[tuple[Any, ...]]:
    """Rows of the table `calls` for one lineage."""
    draw = random.Random(number)
    texts = {row.id: row.text for row in kept}
    for child in [*kept[1:], *(one.instruction for one in dropped)]:
        parent = texts.get(child.parent_id or "", "")
        asks = [("evolve", f"Make this harder: {parent}", child.text), ("judge", f"Equal? {child.text}", "Not Equal")]
        if child.response is not None:
            asks.append(("answer", child.text, child.response))
        for purpose, prompt, reply in asks:
            latency = round(draw.lognormvariate(0.3 if purpose != "judge" else -0.9, 0.5), 3)
            status = "truncated" if purpose == "answer" and draw.random() < 0.004 else "ok"
            tokens = (len(prompt) // 4 + 60, len(reply) // 4 + 3)
            yield (
                digest(child.id, purpose).encode(), "openai:gpt-4o-mini", purpose, 0,
                orjson.dumps({"messages": [{"role": "user", "content": prompt}], "model": "gpt-4o-mini"}).decode(),
                orjson.dumps({"choices": [{"message": {"content": reply}}]}).decode(),
                status, *tokens, tokens[0] * 0.15e-6 + tokens[1] * 0.6e-6, latency, 1_795_000_000 + number * 1.7 + child.round * 0.4 + draw.random(),
            )  # fmt: skip


def write_run(
    run: Path, *, seeds: int = 200, rounds: int = 4, number: int = 0, keep: float = 0.85, calls: bool = True,
    changes: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write a whole run folder. `changes` are merged over step.json. Streams: any size is fine."""
    folder = run / "1-evolve"
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    db = sqlite3.connect(run / "calls.db") if calls else None
    if db is not None:
        db.executescript(SCHEMA)
        db.execute("pragma synchronous=off")
    with open(folder / "instructions.jsonl", "wb") as kept_file, open(folder / "dropped.jsonl", "wb") as dropped_file:
        for index, (kept, dropped) in enumerate(lineages(seeds, rounds, number=number, keep=keep)):
            kept_file.writelines(row.to_json() + b"\n" for row in kept)
            dropped_file.writelines(row.to_json() + b"\n" for row in dropped)
            counts.update(seeds=1, kept=len(kept) - 1, dropped=len(dropped))
            if db is not None:
                db.executemany("insert into calls values(?,?,?,?,?,?,?,?,?,?,?,?)", calls_of(index, kept, dropped))
                if index % 37 == 0:
                    db.execute(
                        "insert into failures values(?,?,?,?,?,?,?)",
                        (b"%d" % index, "openai:gpt-4o-mini", "evolve", "rate_limit" if index % 2 else "timeout",
                         "429: slow down, try again in 2 s", 0.2, 1_795_000_000 + index * 1.7),
                    )  # fmt: skip
    rejected = [Rejected("seeds.jsonl", 17, "the instruction is empty", '{"instruction": ""}')]
    (folder / "rejected.jsonl").write_bytes(b"".join(row.to_json() + b"\n" for row in rejected))
    if db is not None:
        db.execute("create unique index calls_key on calls(key)")
        db.commit()
        db.close()
    step: dict[str, Any] = {
        "step": "evolve", "command": "evol evolve seeds.jsonl --model openai:gpt-4o-mini --out runs/first", "state": "complete", "why": "",
        "config": {"model": "openai:gpt-4o-mini", "preset": "efficient", "domain": "general", "rounds": rounds,
                   "weights": [], "seed": number, "judging": "auto", "shape": "auto", "temperature": 1.0, "top_p": 0.95},
        "inputs": {"file": "seeds.jsonl", "bytes": 18_220, "digest": digest(number)},
        "versions": {"evollab": "0.1.0", "python": "3.11.9"},
        "counts": {**counts, "rejected": 1},
        "times": {"started": "2026-11-21T09:00:00+00:00", "ended": "2026-11-21T09:05:40+00:00", "seconds": 340.0},
        "notes": [],
    }  # fmt: skip
    step.update(changes or {})
    (folder / "step.json").write_bytes(orjson.dumps(step, option=orjson.OPT_INDENT_2))
    return run
