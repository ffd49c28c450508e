"""What the scripted model says. Pure functions of the request: no clock, no state, no order.

A rewriting is the given prompt with 10 to 20 words more (and a small piece of data in a code fence,
where the prompt asks for one), so it passes the checks that real rewritings have to pass.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_STARTS = ("#The Given Prompt#:", "#Given Prompt#:", "#The Given Instruction#:")
_ENDS = ("#Rewritten Prompt#", "#Created Prompt#", "#Rewritten Instruction#", "#Created Instruction#")
_FENCE = re.compile(r"\n```(\w+)\n")

_DEMANDS = (
    "Keep every figure to {n} decimal places",
    "Name {n} assumptions that could turn out wrong",
    "Compare {n} ways of doing it and choose one",
    "Give {n} examples from everyday life",
    "Stay within a budget of {n} hundred euros",
    "Add a short list of {n} likely mistakes",
    "Leave out what takes over {n} hours",
    "Say what changes after {n} years of practice",
    "Split the work between {n} people of different ages",
    "Show how {n} small errors would add up",
    "Mention {n} sources that a sceptic would accept",
    "Rank the {n} strongest objections by weight",
)
_SETTINGS = (
    "and write for readers who have never left {place}",
    "as if printed on one page for {place}",
    "so that a night nurse in {place} can use it",
    "with the climate and the prices of {place} in mind",
    "and test it against what happened in {place} last winter",
    "for a village school near {place} without electricity",
    "while a sceptical committee from {place} is listening",
    "and explain which step depends most on {place}",
)
_PLACES = (
    "Porto", "Tromsø", "Ghent", "Quito", "Łódź", "Nairobi", "Leeds", "Osaka", "Perth", "Tartu", "Lagos", "Turin",
    "Halifax", "Basel", "Cusco", "Hanoi",
)  # fmt: skip
_SUBJECTS = (
    "the tide tables of a small harbour", "an inventory of spare parts", "the ledger of a bakery", "a choir's rehearsal plan",
    "a survey of migrating birds", "the budget of a theatre", "a queue of hospital appointments", "a weather station's log",
    "an orchard's harvest forecast", "a museum's lending register", "a greenhouse with three zones", "a course on algebra",
    "a school's bus routes", "the maps of an old archive", "a marathon's split times", "the bridges of a valley",
)  # fmt: skip
_CLAIMS = (
    "begins with {a} and ends where {b} begins", "is easier to follow once {a} has been compared with {b}",
    "rests on {a}, which is rarely checked against {b}", "needs two passes, one over {a} and one over {b}",
    "can be tested on {a} before anyone touches {b}", "fails quietly when {a} and {b} disagree",
    "takes its first figures from {a} and its limits from {b}", "shows how {a} would look without {b}",
)  # fmt: skip
_OPENERS = (
    "The first step", "A careful reading", "The usual method", "One good example", "The whole argument",
    "A second opinion", "The shorter way", "What remains",
)  # fmt: skip
_DATA = {
    "xml": '<stock year="2021">\n  <item name="rope" count="{n}"/>\n  <item name="lamp" count="7"/>\n</stock>',
    "sql": "CREATE TABLE visits (id INTEGER, minutes INTEGER);\nINSERT INTO visits VALUES (1, {n}), (2, 45);",
    "python": "rates = [3, 5, {n}]\nfor rate in rates:\n    print(rate * 2)",
    "html": '<ul>\n  <li id="row{n}">Tea</li>\n  <li>Coffee</li>\n</ul>',
    "bash": "$ du -sh /srv/photos /srv/music\n{n}M\t/srv/photos\n310M\t/srv/music",
    "json": '{{\n  "open": true,\n  "seats": {n},\n  "days": ["Mon", "Thu"]\n}}',
}
"""One small piece of data for each language tag; {n} is a number."""


def _sentences(count: int = 1024) -> Sequence[tuple[str, int]]:
    """Distinct sentences with their word counts, always the same ones."""
    draw = random.Random(41)
    made: dict[str, int] = {}
    while len(made) < count:
        claim = draw.choice(_CLAIMS).format(a=draw.choice(_SUBJECTS), b=draw.choice(_SUBJECTS))
        sentence = f"{draw.choice(_OPENERS)} {claim}, as seen in {draw.choice(_PLACES)}."
        made[sentence] = len(sentence.split())
    return tuple(made.items())


_SENTENCES = _sentences()


def kind_of(text: str, judge_markers: Sequence[str], evolve_markers: Sequence[str]) -> str:
    """ "judge", "evolve" or "answer", by the markers that a request's text holds."""
    for marker in judge_markers:
        if marker in text:
            return "judge"
    for marker in evolve_markers:
        if marker in text:
            return "evolve"
    return "answer"


def given_prompt(text: str) -> str:
    """The prompt that an evolving request asks to rewrite: between its marker and the last marker of
    the result. The whole text where there are none."""
    for start in _STARTS:
        at = text.find(start + "\n")
        if at >= 0:
            body = text[at + len(start) + 1 :]
            end = max(body.rfind("\n" + marker) for marker in _ENDS)
            return (body[:end] if end >= 0 else body).strip()
    return text.strip()


def added_words(number: int) -> str:
    """10 to 20 words that ask for more; `number` chooses among some 30,000 sentences."""
    number, demand = divmod(number, len(_DEMANDS))
    number, setting = divmod(number, len(_SETTINGS))
    number, place = divmod(number, len(_PLACES))
    n = 2 + number % 18
    return f"{_DEMANDS[demand]} {_SETTINGS[setting]}.".format(n=n, place=_PLACES[place])


def data_block(prompt: str, number: int) -> str:
    """A fenced piece of data in the language of the prompt's example, "" when it asks for none."""
    head = prompt[: prompt.find("#:\n")]
    if "code fence" not in head:
        return ""
    found = _FENCE.search(head)
    tag = found.group(1) if found and found.group(1) in _DATA else "json"
    return f"\n\n```{tag}\n{_DATA[tag].format(n=11 + number % 89)}\n```"


def rewriting(prompt: str, number: int) -> str:
    """The given prompt and a little more."""
    given = given_prompt(prompt)
    joint = "\n\n" if given.endswith(("```", "]]")) else " "  # a block, or the marker of one, stays alone
    if joint == " " and given and given[-1] not in '.!?:`"':
        given += "."
    return f"{given}{joint}{added_words(number)}{data_block(prompt, number)}"


def completion(prompt: str, number: int) -> str:
    """How a plain text of worked examples goes on: up to the end of its line."""
    if prompt.rstrip().endswith("Things:"):
        picks = (_SUBJECTS[(number + i * 5) % len(_SUBJECTS)] for i in range(4))
        return " " + "; ".join(pick.rpartition(" ")[2] for pick in picks)
    return f" {added_words(number)}"


def prose(number: int, low: int, high: int) -> tuple[str, int]:
    """Whole sentences of `low` to `high` words or a few more, and how many words it came to."""
    wanted = low + number % (high - low + 1)
    number >>= 12
    parts: list[str] = []
    words = 0
    while words < wanted:
        sentence, length = _SENTENCES[number & 1023]
        number = number >> 10 or wanted * 2654435761 + words
        parts.append(sentence)
        words += length
    return " ".join(parts), words
