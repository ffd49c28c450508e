"""What a text holds besides prose: code, mathematics, tables, addresses. Rules on its surface, linear in its length."""

from __future__ import annotations

import re
from itertools import pairwise

LOOK_AT = 20_000
"""Characters of a text that are looked at."""
_LINE = 300
"""Characters of a line that are looked at."""

_FENCE = re.compile(r"^[ \t]{0,3}(?:```|~~~)", re.MULTILINE)
_CODE_SIGNS = (
    "(",
    "{",
    "}",
    ";",
    "<",
    "#!/",
    "import ",
    "SELECT ",
    "select ",
    "git ",
    "pip ",
    "npm ",
    "sudo ",
    "curl ",
)
"""Without one of these nothing below can be found; looking for them is quick."""
_CODE_LINE = re.compile(
    r"""\s*(?:>>>\ |\.\.\.\ )?(?:
    (?P<certain>
        (?:async\ )?def\ \w+\s*\(.*\)\s*(?:->.*)?:
      | class\ \w+\s*(?:\([^)]*\)\s*:|\{)
      | (?:from\ [\w.]+\ import|import\ [\w.]+\ as)\ \w | import\ [\w.*{}]+;\s*$ | using\ [\w.:]+;
      | \#include\s*[<"] | \#define\ \w | \#!/ | <!DOCTYPE\ | <\?(?:xml|php)
      | (?:async\ )?function\b[^.]{0,80}\(.*\)\s*\{ | (?:const|let|var)\ \w+\s*=
      | (?:for|while|switch|if)\s*\(.*\)\s*\{\s*$ | print(?:f|ln)?\s*\(.*\);?\s*$ | console\.\w+\(
      | (?:public|private|protected|static|final|void|int|float|double|char|bool|boolean|string|String|auto)
        \b[\w<>\[\]*&\ ]+(?:\(.*\)\s*[{;]|=.*;|;)\s*$
      | \w+\s*=\s*\w+(?:\.\w+)*\(.*\);?\s*(?:(?:\#|//).*)?$
      | \$?\ ?(?:git|pip|npm|sudo|curl|docker|apt-get)\ (?:-|install|run|clone|commit|push|https?:)
      | (?:CREATE\ (?:TABLE|VIEW|INDEX)|INSERT\ INTO|UPDATE\ \w+\ SET|DELETE\ FROM|ALTER\ TABLE)\b
    )
    | class\ \w+\s*: | import\ [\w.]+(?:,\ *[\w.]+)*\s*$ | package\ [\w.]+;?\s*$
    | (?:fn|func|function)\ \w+\s*(?:<[^>]*>)?\( | (?:elif|else\ if)\s*\(.*\)\s*\{?\s*$
    | (?:if|elif|while)\ .{1,100}:\s*$ | (?:for\ .{1,60}\ in|with\ .{1,60}\ as)\ .{1,60}:\s*$
    | (?:else|try|finally)\s*:\s*$ | except\b.{0,60}:\s*$ | return\b.*;\s*$ | return\ [\w.]+[(\[].*$
    | [\w.\[\]"']+\s*(?:[-+*/|&]|<<|>>)?=\s*[^=\s].*[;)\]}]\s*$ | [\w.]+\([^)]{0,200}\)(?:\.\w+\([^)]*\))*;?\s*$
    | SELECT\ .+ | FROM\ \w+ | </?[a-z][a-z0-9]*(?:\ [a-z-]+=["'][^"']*["'])*\s*/?>
    | [}\])]+[;,]?\s*$ | [.#]?[\w-]+(?:\ [.#]?[\w-]+)*\s*\{\s*$ | [a-z-]+:\s*[^;:]{1,80};\s*$
    | ["'][\w\ -]{1,40}["']\s*:\s*\S.*[,\[{"'\d]\s*$
    )""",
    re.VERBOSE,
)
_LINES_OF_CODE = 2
_EXPRESSIONS = tuple(
    (sign, re.compile(pattern))
    for sign, pattern in (
        ("SELECT ", r"\bSELECT\s[^.;\n]{1,200}\sFROM\s+\w"),
        (" INTO ", r"\bINSERT INTO\s+\w"),
        (" FROM ", r"\bDELETE FROM\s+\w"),
        (" TABLE ", r"\b(?:CREATE|ALTER) TABLE\s+\w"),
        ("def ", r"\bdef \w+\([^)\n]{0,200}\)\s*:"),
        ("function", r"\bfunction\s*\w*\([^)\n]{0,200}\)\s*\{"),
        (" main", r"\b(?:int|void) main\s*\("),
        ("lambda ", r"\blambda \w+(?:, ?\w+)*:"),
        ("=>", r"\w\s?=>\s?\{"),
        ("#include", r"#include\s*[<\"]"),
        (
            "<",
            r"<(?:html|div|script|body|table|span|ul|input|h[1-6]|form|button|(?:a|img|link) \w+=)(?![a-z])"
            r"[^<>\n]{0,200}>",
        ),
        ("console.log(", r"\bconsole\.log\("),
        ("System.out.print", r"\bSystem\.out\.print"),
    )
)  # fmt: skip
"""What can be nothing but code, wherever it stands, each with a piece without which it can't be there."""
_PROSE_ENDS = (".", "!", "?", "**")
_ITEM = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s")

_MATH_SIGNS = frozenset("$=√∑∫≤≥≠±×÷∞π∈∀∃∂∇²³")
_LATEX = re.compile(
    r"\\(?:frac|dfrac|sqrt|sum|int|prod|lim|begin\{(?:equation|align|[bpv]?matrix|cases|array)|cdot|times|leq?|geq?|neq"
    r"|alpha|beta|theta|pi|infty|boxed|mathbb|mathrm|left[(\[|])(?![a-zA-Z])"
    r"|\\\([^\n]{1,200}?\\\)|\\\[.{1,400}?\\\]|\$\$.{1,400}?\$\$",
    re.DOTALL,
)
_DOLLARS = re.compile(r"(?<![\w$\\])\$(?=[^\s$])([^$\n]{1,200})(?<!\s)\$(?![\w$])")
_MONEY = re.compile(r"\d[\d,.]*(?![\d,.]*[\\^_={}+*/<>a-zA-Z(])|\d[\d,.]*(?:k|m|bn|USD)?\b[ ,.;:)]")
"""What behind a dollar begins no formula."""
_TERM = r"(?:\d[\d,]{0,15}(?:\.\d{1,15})?%?|\.\d{1,15}|\d{0,6}[a-zA-Zπθ](?:[\^²³]\d{0,3})?|\([^()\n]{1,60}\)|√\d{1,15})"
_OPERATOR = r"\s?[-+*/×÷·^−–]\s?"
_SUM = rf"{_TERM}(?:{_OPERATOR}{_TERM}){{1,8}}"
_EQUATION = re.compile(
    rf"(?<![\w.])(?:{_SUM}\s?[=≤≥<>≠≈]\s?[-−$]?{_TERM}|[-−]?{_TERM}\s?[=≤≥≠≈]\s?[-−]?{_SUM}"
    r"|[a-zA-Z]\s?=\s?[-−]?\d+(?:\.\d+)?(?![\w.(\[\"'])|[a-zA-Z]\([a-zA-Z]\)\s?=)|[√∑∫∂∇≠∈∀∃±]\s?[\w(]"
)
_WITH_A_DIGIT = re.compile(r"\d|[a-z]\^|[²³√∑∫∂∇∈∀∃]|[a-zA-Z]\([a-zA-Z]\)\s?=")
_CODE_BLOCK = re.compile(r"^[ \t]{0,3}(```|~~~).*?(?:^[ \t]{0,3}\1|\Z)", re.MULTILINE | re.DOTALL)

_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*\Z")
_TABLE_MARKUP = re.compile(r"<table\b|\\begin\{(?:tabular|array|longtable)", re.IGNORECASE)
_ROWS = 3
_CELL = 40
"""Characters that a cell has at most, on average."""
_THOUSANDS = re.compile(r"[$ ]\d{1,3},\d{3}\b")

_URL = re.compile(r"\bhttps?://[^\s/$.?#\"'<>]+[^\s\"'<>]*|\bwww\.[a-z0-9-]{1,63}\.[a-z]{2,}", re.IGNORECASE)


def has_code(text: str) -> bool:
    """A fenced block; a line that can be nothing but code; or two lines that look like code, markup or JSON."""
    text = text[:LOOK_AT]
    if ("```" in text or "~~~" in text) and _FENCE.search(text):
        return True
    if not any(sign in text for sign in _CODE_SIGNS):
        return False
    if any(sign in text and pattern.search(text) for sign, pattern in _EXPRESSIONS):
        return True
    found = 0
    for line in text.split("\n"):
        line = line[:_LINE].strip()
        if not line or line.endswith(_PROSE_ENDS) or _ITEM.match(line):
            continue
        if match := _CODE_LINE.match(line):
            found += 1
            if match["certain"] or found >= _LINES_OF_CODE:
                return True
    return False


def has_math(text: str) -> bool:
    """LaTeX, or an equation that counts or solves something; what stands in fenced code doesn't count."""
    text = text[:LOOK_AT]
    if "```" in text or "~~~" in text:
        text = _CODE_BLOCK.sub(" ", text)
    if "\\" not in text and _MATH_SIGNS.isdisjoint(text):
        return False
    if ("\\" in text or "$$" in text) and _LATEX.search(text):
        return True
    if "$" in text and any(not _MONEY.match(found[1]) for found in _DOLLARS.finditer(text)):
        return True
    equations = any(_WITH_A_DIGIT.search(found.group()) for found in _EQUATION.finditer(text))
    return equations and not has_code(text)  # a program's assignments look the same


def has_table(text: str) -> bool:
    """A Markdown table (a header, a rule below it), HTML or LaTeX; or three lines with equally many
    tabs, semicolons, bars, or commas that no blank follows (CSV)."""
    text = text[:LOOK_AT]
    if ("<" in text or "\\" in text) and _TABLE_MARKUP.search(text):
        return True
    if "\n" not in text:
        return False
    lines = [line.strip("\r") for line in text.split("\n")]
    if "|" in text and any("|" in head and "|" in rule and _RULE.match(rule[:_LINE]) for head, rule in pairwise(lines)):
        return True
    return any(_columns(lines, sign) for sign in ("\t", ";", "|", ",") if text.count(sign) >= _ROWS)


def _columns(lines: list[str], sign: str) -> bool:
    """Whether three lines running have `sign` equally often, twice at least (a tab: once), and little between."""
    least = 1 if sign == "\t" else 2
    run = before = 0
    for line in lines:
        cells = line.strip().split(sign)
        count = len(cells) - 1
        if count < least or not _cells(line, cells, sign):
            run = before = 0
            continue
        run, before = (run + 1 if count == before else 1), count
        if run >= _ROWS:
            return True
    return False


def _cells(line: str, cells: list[str], sign: str) -> bool:
    """Whether a line between signs is one of a table rather than of prose or code."""
    if len(line) > _CELL * len(cells) or any(mark in line for mark in ("=", "({", "})", "()")):
        return False
    if line.rstrip().endswith((";", "{", "}")):
        return False
    if sign == "|":
        return " | " in line
    # Behind a comma of prose comes a blank; "30,000" is a number.
    return sign == "\t" or (f"{sign} " not in line and bool(cells[-1]) and not _THOUSANDS.search(line))


def has_url(text: str) -> bool:
    """A web address, with http:// or www. before it."""
    text = text[:LOOK_AT]
    return ("://" in text or "www." in text.lower()) and _URL.search(text) is not None
