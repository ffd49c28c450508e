"""Elimination: the reasons to drop what an evolver wrote. A check gives a detail to drop, None to keep.

The four rules of the paper (WizardLM, 2304.12244, section 3.3) are no information gain (`gain.py`,
it needs a judge), unanswerable, degenerate and scaffold leak. The others answer faults that were
found in published evolved data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from evollab.evolve.blocks import fences, without_blocks
from evollab.evolve.formats import parses
from evollab.evolve.operation import Domain, Format, Operation
from evollab.records import Instruction
from evollab.words import content_words, count_words, language, ngrams, only_filler, script, tokens

RULES: Mapping[str, str] = {
    "call_failed": "the model gave no usable reply",
    "empty": "the reply is empty",
    "truncated": "the reply was cut at its token limit",
    "degenerate": "nothing but punctuation and stop words, or one phrase over and over",
    "leak": "markers or words of the evolving prompt in the result",
    "method_leak": "the method's own wording in the result",
    "copy": "the same as its parent or an earlier generation",
    "answered": "an answer where a prompt should be, or a prompt that holds its own answer",
    "asks_back": "asks for material instead of rewriting or answering",
    "refusal": "declines to rewrite or to answer",
    "dangling": "speaks of material that is not there",
    "lost_block": "a code, table or data block of the parent is missing or changed",
    "bad_block": "the added data are missing, too long, or not of the format asked for",
    "language": "not in the language of its parent",
    "off_topic": "what a small model added has no word in common with what it was added to",
    "drift": "nothing left of what the parent asks",
    "over_budget": "added more words than allowed, also when asked again",
    "no_gain": "asks for the same as its parent",
    "judge_unparsed": "the judge gave no verdict",
    "unanswerable": "the response is a short apology",
}
"""Every reason a child may be dropped for."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What there is to check: the child's text beside its parent and all earlier generations."""

    parent: Instruction
    line: tuple[str, ...]
    operation: Operation
    domain: Domain
    text: str
    format: Format | None = None


Check = Callable[[Attempt], str | None]

_MARKERS = re.compile(
    r"#\s*(?:the\s+)?(?:given|rewritten|created|original|new)\s+(?:prompt|instruction)\s*#"
    r"|\b(?:given|rewritten|created)[\s_-]+(?:prompt|instruction)s?\b",
    re.IGNORECASE,
)
_ASKS_BACK = re.compile(
    r"\b(?:please|kindly|could you|can you)\s+(?:provide|share|send|give|paste|supply)\s+(?:me\s+)?(?:with\s+)?"
    r"(?:the|your|a|an|more|some|us)?\s*(?:\w+\s+){0,3}?(?:prompt|text|input|instruction|passage|details|information|"
    r"code|context|question|sentence|article|material)s?\b[^.?!]{0,60}(?:so (?:that )?i\b|to (?:proceed|rewrite)|"
    r"you(?:'d| would) like|\bi can\b|\bi(?:'ll| will)\b)"
    r"|\b(?:what|which) (?:prompt|text|instruction) would you like\b"
    r"|\bi(?:'m| am) (?:ready|happy|glad) to (?:help|assist|rewrite)\b",
    re.IGNORECASE,
)
_CHATTY = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|understood|thank you|great|got it|no problem|that is correct|"
    r"here(?:'s| is| are)\b[^\n.]{0,60}\b(?:prompt|version|instruction|rewrit\w*|question|task)|"
    r"(?:the |a )?(?:new|revised|rewritten|updated|harder) (?:prompt|version|instruction)\s*(?:is|:))",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"^\W*(?:the )?(?:answer|solution|response|output|result)\s*(?:is\b|:)", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language|language)\b"
    r"|\bi(?:'m| am) (?:sorry|unable|not able)\b|\bi (?:can(?:no|')t|won't|must decline)\b(?: \w+){0,3} "
    r"(?:assist|help|comply|fulfil\w*|provide|create|rewrite|generate|answer|do that)\b",
    re.IGNORECASE,
)
_WANTS_MATERIAL = re.compile(
    r"\bplease (?:provide|share|paste|specify)\b|\b(?:not|n't|didn't|haven't) provided?\b", re.IGNORECASE
)
_ABOUT_LANGUAGE = re.compile(
    r"\b(?:translat\w*|languages?|alphabet|script|characters?|spell\w*|pronounc\w*)\b", re.IGNORECASE
)
_DANGLING = re.compile(
    r"\b(?:the|this|these|that|those)\s+(?:(?:given|provided|following|above|below|attached|accompanying|enclosed)\s+"
    r"(?:\w+\s+){0,2}?(?:table|list|text|passage|code|input|data|dataset|sentences?|paragraphs?|articles?|images?|"
    r"pictures?|documents?|story|poem|words?|numbers?|information|items?|objects?|snippet|function|query|json|xml)"
    r"|(?:table|list|text|passage|code|data|sentences?|paragraph|article|document|snippet|function|query)\s+"
    r"(?:given |provided |shown |listed )?(?:above|below))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“«‘'`]([^\"”»’'`\n]{8,})[\"”»’'`]")


def leak(attempt: Attempt) -> str | None:
    """Rule 4: words of the evolving prompt. A phrase that the parent has itself is no leak."""
    low = attempt.text.lower()
    if attempt.text.isascii() and "prompt" not in low and "instruction" not in low:
        return None  # every marker holds one of the two; beyond ASCII, letters may match others without case
    found = _MARKERS.search(attempt.text)
    if found and found.group().lower() not in attempt.parent.prompt.lower():
        return f"has {found.group()!r}"
    return None


def method_leak(attempt: Attempt) -> str | None:
    """The method's own wording: any run of six words of the prompt we sent, or a listed phrase."""
    low, before = attempt.text.lower(), attempt.parent.prompt.lower()
    for phrase in attempt.domain.leaks:
        if phrase.lower() in low and phrase.lower() not in before:
            return f"has {phrase!r}"
    text = attempt.text
    for tail in attempt.operation.tails:  # the forced beginning is ours, and meant to be there
        text = text.replace(tail.joint, "\n") if tail.joint else text
    shared = ngrams(tokens(text), 6) & _method_ngrams(attempt.operation)
    shared -= ngrams(tokens(attempt.parent.prompt), 6)
    return f"has {' '.join(min(shared))!r}" if shared else None


@lru_cache(maxsize=64)
def _method_ngrams(operation: Operation) -> set[tuple[str, ...]]:
    grams = ngrams(tokens(operation.prompt), 6)
    for tail in operation.tails:
        examples = tail.prompt.replace(tail.joint, "\n") if tail.joint else tail.prompt
        for line in examples.split("\n"):
            grams |= ngrams(tokens(line), 6)
    for form in operation.formats:
        grams |= ngrams(tokens(without_blocks(form.after)), 6)
    return grams


def copy(attempt: Attempt) -> str | None:
    """The same words as an earlier generation, or as any of the method's examples."""
    words = tokens(attempt.text)
    for n, earlier in enumerate(reversed(attempt.line), 1):
        if words == tokens(earlier):
            return "same words as its parent" if n == 1 else f"same words as {n} generations before"
    if attempt.operation.kind == "depth" and attempt.text.strip() in attempt.parent.text:
        return "only a part of its parent"
    return None


def answered(attempt: Attempt) -> str | None:
    """An answer instead of a prompt: it opens like one, or repeats the parent's known response."""
    if found := _CHATTY.match(attempt.text[:200]):
        return f"opens with {found.group().strip()!r}"
    if (found := _ANSWER.match(attempt.text[:200])) and not _ANSWER.match(attempt.parent.text[:200]):
        return f"opens with {found.group().strip()!r}"
    if attempt.parent.response:
        reply, response = ngrams(tokens(attempt.text), 4), ngrams(tokens(attempt.parent.response), 4)
        response -= ngrams(tokens(attempt.parent.prompt), 4)
        if len(response) >= 5 and len(reply & response) >= max(4, 0.5 * len(response)):
            return "repeats the response to its parent"
    return None


def asks_back(attempt: Attempt) -> str | None:
    found = _ASKS_BACK.search(attempt.text[:4000])
    if found and found.group().lower() not in attempt.parent.prompt.lower():
        return f"has {found.group()[:80]!r}"
    return None


def refusal(attempt: Attempt) -> str | None:
    found = _REFUSAL.search(attempt.text[:1000])
    if found and not _REFUSAL.search(attempt.parent.prompt[:4000]):
        return f"has {found.group()!r}"
    return None


def dangling(attempt: Attempt) -> str | None:
    """Speaks of "the given table" (text, code ...) and none is there: no block, no input, nothing
    quoted, nothing behind a colon, no turns before."""
    found = _DANGLING.search(attempt.text[:8000])
    if not found or attempt.parent.history:
        return None
    if attempt.operation.kind == "depth" and attempt.parent.input:
        return None
    if without_blocks(attempt.text) != attempt.text or _QUOTED.search(attempt.text):
        return None
    behind = attempt.text[found.end() :]
    mark = max(behind.find(":"), behind.find("\n"))
    if mark >= 0 and count_words(behind[mark + 1 :]) >= 2:
        return None
    return f"has {found.group()!r} and nothing it could mean"


def added_block(attempt: Attempt) -> str | None:
    """Complicate-input must bring a new fenced block that parses as the format that was drawn."""
    if attempt.format is None:
        return None
    known = {content for _, content in fences(attempt.parent.text)}
    new = [content for _, content in fences(attempt.text) if content not in known]
    if not new:
        return "no data in a code fence"
    if count_words(new[0]) > 250:
        return f"{count_words(new[0])} words of data"
    problem = parses(attempt.format.fence, new[0])
    return f"not {attempt.format.name}: {problem}" if problem else None


def other_language(attempt: Attempt) -> str | None:
    before, after = language(without_blocks(attempt.parent.text)), language(without_blocks(attempt.text))
    return f"{before} became {after}" if before and after and before != after else None


def degenerate(attempt: Attempt) -> str | None:
    """Rule 3 of the paper on the instruction, and loops: one phrase over and over."""
    if attempt.text.isascii() and only_filler(attempt.text):
        return "nothing but punctuation and stop words"
    words = tokens(without_blocks(attempt.text))
    if len(words) >= 20 and len(set(words)) / len(words) < 0.3:
        return f"{len(set(words))} different words of {len(words)}"
    return None


def drift(attempt: Attempt) -> str | None:
    """A rewriting in depth keeps at least a fifth of its parent's content words."""
    if attempt.operation.kind != "depth":
        return None
    before = content_words(without_blocks(attempt.parent.text))
    if len(before) < 3 or not attempt.parent.text.isascii():
        return None
    kept = len(before & content_words(attempt.text)) / len(before)
    return f"{kept:.0%} of its parent's content words are left" if kept < 0.2 else None


PAPER_CHECKS: tuple[tuple[str, Check], ...] = (("leak", leak),)
"""What the paper checks before the judge and the response."""

ALL_CHECKS: tuple[tuple[str, Check], ...] = (
    ("leak", leak),
    ("method_leak", method_leak),
    ("refusal", refusal),
    ("asks_back", asks_back),
    ("answered", answered),
    ("copy", copy),
    ("degenerate", degenerate),
    ("language", other_language),
    ("drift", drift),
    ("dangling", dangling),
    ("bad_block", added_block),
)
"""The whole set, cheap ones first; the first that objects names the reason."""


def first_objection(attempt: Attempt, checks: tuple[tuple[str, Check], ...]) -> tuple[str, str] | None:
    """(rule, detail) of the first check that objects, None when none does."""
    for rule, check in checks:
        detail = check(attempt)
        if detail is not None:
            return rule, detail
    return None


def bad_response(child: Instruction, response: str, *, thorough: bool) -> tuple[str, str] | None:
    """(rule, detail) when the response shows that the instruction can't be used, else None.

    The paper's rules 2 and 3; `thorough` adds refusals, questions back, and instructions that hold
    their own answer.
    """
    if not response.strip():
        return "empty", "blank response"
    if "sorry" in response.lower() and (words := count_words(response)) < 80:
        return "unanswerable", f"an apology of {words} words"
    if response.isascii() and only_filler(response):
        return "degenerate", "the response is nothing but punctuation and stop words"
    if not thorough:
        return None
    words, said = count_words(response), tokens(response)
    mine, theirs = script(response), script(child.prompt)
    if mine and theirs and mine != theirs and not _ABOUT_LANGUAGE.search(child.prompt[:4000]):
        return "language", f"the response is in {mine} script"
    if (len(said) >= 30 and len(ngrams(said, 3)) < 0.5 * len(said)) or (
        len(said) >= 12 and len({*said}) < 0.4 * len(said)
    ):
        return "degenerate", "the response goes round in circles"
    if words < 80 and (found := _REFUSAL.search(response[:600])):
        return "refusal", f"the response has {found.group()!r}"
    if words < 80 and re.search(
        r"\bplease (?:provide|share|paste|specify)\b|\b(?:not|n't) provided?\b", response, re.IGNORECASE
    ):
        return "asks_back", "the response asks for material"
    grams = ngrams(said, 5)
    if len(grams) >= 12 and len(grams & ngrams(tokens(child.prompt), 5)) > 0.8 * len(grams):
        return "answered", "the response stands in the instruction already"
    return None
