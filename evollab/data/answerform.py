"""The format of answer that a prompt asks for, by a short list of rules on its words; the first that fits counts.

English only: prompts in other languages come out as "text", unless they name JSON, XML, CSV or a programming language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_BEGINNING, _END = 700, 300
"""Characters of a prompt that are looked at: orders stand at the beginning, some at the end."""
TEXT = "text"

_MAKE = (
    r"\b(?:write|generate|create|give|provide|produce|build|construct|develop|design|implement|make|return|output|compose"
    r"|draft|craft|tell|prepare|invent|come up with|show|draw|formulate|devise|print)\b(?: me| us)?"
)
_FEW = r"(?: [\w'+#.-]+){0,4}?"
"""Up to four words between a verb and what it makes."""
_PIECE = r"(?: (?!lists?\b|ideas\b|titles\b|names\b|outline\b|questions\b|tips\b)[\w'-]+){0,4}?"
_AS = r"\b(?:in|as|into|to|using|with|return|returns|output|valid)(?: an?| the)?"
_LANGUAGE = (
    r"(?:python|java|javascript|typescript|c\+\+|c#|c|rust|golang|go|ruby|php|kotlin|swift|sql|mysql|bash|shell|perl|r"
    r"|matlab|scala|haskell|css|react|node\.?js)"
)
_NUMBER = r"(?:\d{1,3}|two|three|four|five|six|seven|eight|nine|ten|several|some|a few|multiple|many|different)"
_NAME = r"(?:name|list|suggest|identify|find|recommend|describe|state|propose|mention|think of|what are|cite|explain)"

_RULES: Mapping[str, tuple[str, ...]] = {
    "json": (
        rf"{_AS}(?: [\w-]+)? json\b",
        r"(?<!this )(?<!the )(?<!following )\bjson (?:format|object|array|output|file)",
    ),
    "xml": (
        rf"{_AS}(?: [\w-]+)? (?:xml|html5?|yaml)\b",
        rf"{_MAKE}{_FEW} (?:xml|html5?|yaml)\b",
        r"\b(?:xml|html|yaml) format\b",
    ),
    "csv": (rf"{_AS}(?: [\w-]+)? (?:csv|tsv|(?:comma|tab)[- ]separated)\b",),
    "table": (
        rf"{_MAKE} an?{_FEW} (?<!database )(?:table|spreadsheet)\b(?! (?:of contents|at|called|named)\b)",
        r"\b(?:in|as|into|using) an?(?: [\w-]+){0,2} table\b",
        r"\btabular\b",
    ),
    "code": (
        rf"{_MAKE}{_FEW} (?:code|functions?|program|quer(?:y|ies)|algorithm|regex|regular expression|sql|command|api"
        r"|unit tests?|loop|class(?= (?:in|called|named|to|that|with))|script(?= (?:in|to|that|which|using)|[.\n]|\Z))"
        r"\b(?! of)",
        rf"\b(?:in|using|with) {_LANGUAGE}(?![\w+#'])",
        r"\b(?:fix|debug|refactor|rewrite|optimi[sz]e|edit|modify|complete|translate|convert|correct|implement)\b"
        r"[^.\n]{0,40}? (?:code|function|script|program|snippet|query|algorithm)\b",
    ),
    "choice": (
        r"\b(?:classify|categori[sz]e|sentiment|odd one out)\b|\bmultiple[- ]choice\b(?! questions)",
        r"\bwhich (?:one )?of (?:the|these|those)\b|\b(?:choose|select|pick) (?:the|one|from|between|an)\b",
        r"\b(?:options|choices|categories)\s?:|\bpositive(?:,| or|/) (?:or )?(?:negative|neutral)\b",
        r"(?:^|\n)\(?a[).] [^\n]+\n\(?b[).] ",
    ),
    "yes-no": (
        r"\byes ?(?:or|/) ?no\b|\btrue ?(?:or|/) ?false\b",
        r"(?<!to )\b(?:determine|decide|check|tell me|verify|state|identify|indicate|say|judge) (?:whether|if)\b",
        r"\A(?:is|are|was|were|does|do|did|can|has|have|will|would|should) (?!you\b|there any\b)[^?\n]{3,150}"
        r"\?\s{0,9}\Z",
    ),
    "number": (
        r"\bhow (?:many|much|old|far|long|tall|fast|heavy)\b|\bwhat (?:percent|percentage|fraction)\b",
        r"\b(?:calculate|compute)\b|\bconvert \d|\bscale (?:of|from) \d|\bsolve (?:for|the equation)\b",
        r"\b(?:find|determine|what is|what's|estimate|evaluate|output) (?:the )?(?:\w+ ){0,2}(?:sum|product|average"
        r"|mean"
        r"|median|mode|value|area|volume|perimeter|circumference|total|probability|percentage|ratio|square root"
        r"|factorial|remainder|slope|greatest common|least common|standard deviation|derivative|integral|number of)\b",
        r"\b(?:what is|what's|solve|evaluate|simplify)\b[^.?\n]{0,30}\d ?[-+*/x×÷^] ?\d",
    ),
    "essay": (
        rf"(?:{_MAKE}|\b(?:finish|continue|expand)\b){_PIECE} (?:essay|stor(?:y|ies)|letter|poem|article|blog|speech"
        r"|paragraph|e-?mail|report|review|dialogue|conversation|song|lyrics|script|haiku|monologue|biography|narrative"
        r"|post|proposal|press release|limerick|sonnet|scene|tale|fable|diary|advert\w*|editorial|tweet|summary|memo"
        r"|newsletter|screenplay)\b(?!(?: [\w-]+)? (?:titles?|ideas?|topics?|headlines?|outline|plots?|names?))",
    ),
    "list": (
        r"\b(?:lists?(?! comprehension)|enumerate|outline|checklist|itinerary|recipe|step[- ]by[- ]step)\b|\bbullet",
        r"\bbrainstorm|\bsteps (?:to|for|of|in|involved|required|needed)\b|\b(?:ways|tips) (?:to|in|of|for|on)\b",
        rf"(?:\b{_NAME}\b|{_MAKE})[^.?\n]{{0,20}}? {_NUMBER}(?: [\w-]+){{1,4}}?s\b",
    ),
}
_SIGNS = {
    "json": ("json",),
    "xml": ("xml", "html", "yaml"),
    "csv": ("csv", "tsv", "separated"),
    "table": ("table", "tabular", "spreadsheet"),
}
"""Without one of these the rule can't fit; looking for them is quick."""
_COMPILED = tuple((name, _SIGNS.get(name, ("",)), re.compile("|".join(rules))) for name, rules in _RULES.items())
ANSWER_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "json": "JSON",
        "xml": "XML, HTML or YAML",
        "csv": "values parted by commas or tabs",
        "table": "a table",
        "code": "a program, a function, a query, a command",
        "choice": "one of several answers that are given, a class, a label",
        "yes-no": "yes or no, true or false",
        "number": "one number",
        "essay": "a piece of writing: essay, story, letter, poem, summary",
        "list": "points, steps, several things of a kind",
        TEXT: "anything else",
    }
)
"""Format -> what it is, in the order of the rules."""


def answer_format(prompt: str) -> str:
    """One of ANSWER_FORMATS: what the answer to `prompt` is asked to be."""
    if len(prompt) > _BEGINNING + _END:
        prompt = f"{prompt[:_BEGINNING]}\n{prompt[-_END:]}"
    asked = prompt.lower()
    for name, signs, pattern in _COMPILED:
        if any(sign in asked for sign in signs) and pattern.search(asked):
            return name
    return TEXT
