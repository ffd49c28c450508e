"""Phrases by which a response shows that it declines, speaks of itself as an AI, or lectures.

What the community took out of WizardLM's data to get its "uncensored" variants (h2o-wizardlm strips such phrases by
string; here a row is told, and nobody edits its text), as rules that look at who speaks, and where: a story in which
somebody says "I'm sorry", an apology that was asked for, and an essay on ethics are none of it. English only. Each
function gives the words that it found, in lower case, or None. They would rather miss a lecture than see one in an
answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LOOK_AT = 20_000
"""Characters of a response that are looked at."""
_OPENING = 400
"""Characters in which a refusal comes, if one comes."""
_QUOTES = tuple("\"“”„«»'‘*_>")
_END = re.compile(r"[.!?\n]")
_SENTENCE = 300

_Rules = tuple[tuple[str, re.Pattern[str]], ...]


def _rules(*rules: tuple[str, str]) -> _Rules:
    """Patterns, each with a piece of text without which it can't match: looking for that is quick."""
    return tuple((sign, re.compile(pattern)) for sign, pattern in rules)


# Declining

_SORRY = (
    r"(?:(?:i'm|i am|we're|we are) (?:(?:so|very|truly|really|terribly) )?(?:sorry|afraid)|sorry|(?:my )?apologies"
    r"|i (?:do )?apologi[sz]e|unfortunately|regrettably)\b"
)
_UNABLE = (
    r"(?:i|we)(?: (?:can(?:no|')t|can not|couldn't|could not|won't|will not|refuse to|(?:must|have to) decline to)"
    r"|(?:'m| am|'re| are) (?:unable|not (?:able|allowed|permitted|programmed|designed|comfortable|going)) (?:to|with))"
)
_ADVERB = (
    r"(?:(?:just|directly|ethically|legally|morally|fully|really|actually|currently|simply|even|possibly|personally"
    r"|knowingly|in good conscience|be able to|and (?:will not|won't)|or (?:will not|won't)) ){0,2}"
)
_SERVE = (
    r"(?:help(?=[.,!]| you\b| with\b)|assist|provid|supply|fulfil|comply|answer|respond to|generat|creat|writ"
    r"|compos|complet|produc|process|access|brows|open|view|see (?:any|images?)|engag|participat|support|promot|condon"
    r"|encourag|endors|facilitat|offer (?:advice|guidance|any|you)|share (?:that|this|any|personal|information)|discuss"
    r"|give (?:you|any|advice|instructions|information|out|legal|medical|financial)|do (?:that|this|so)\b|perform"
    r"|execut|predict|proceed|continue with|determine (?:the|what|which|without)|recommend (?:any|or)\b|advis|satisfy"
    r"|accommodate|carry out|display|draw|play|search|tell (?:you|jokes)|say (?:what|for sure|exactly)|verify"
    r"|make (?:that|this|any|predictions|a recommendation))"
)
"""What an assistant is there for; "I can't wait", "I can't help but" and "I can't make it" are not."""
_DECLINE_SIGNS = (
    "can't", "cannot", "can not", "couldn't", "could not", "won't", "will not", "refuse", "decline", "unable",
    "not able", " not ", "do not", "don't", "i am ", "i'm ",
)  # fmt: skip
_DECLINES = (
    # Behind an excuse, in its sentence or the next; or as the first words of all.
    re.compile(rf"(?:{_SORRY}[^!?\n]{{0,160}}?\b|\A\W{{0,3}}){_UNABLE} {_ADVERB}{_SERVE}"),
    re.compile(
        rf"{_SORRY}[^.!?\n]{{0,60}}?\bi (?:do not|don't) (?:have (?:access|the (?:ability|capability|information)"
        r"|(?:any |enough |sufficient )?information)|know (?:the answer|what|who|how)|understand (?:the|your|what))"
    ),
    re.compile(
        r"\A\W{0,3}i (?:do not|don't) have (?:(?:any )?(?:personal|feelings|emotions|consciousness|preferences"
        r"|opinions)\b|the (?:ability|capability|capacity) to|access to|real-time|a (?:physical|personal))"
    ),
    re.compile(r"\A\W{0,3}i(?:'m| am) (?:just|only|merely|simply) an? (?:ai|artificial|language|computer|machine)\b"),
    re.compile(
        r"\b(?:this|the|your|that) (?:(?:type|kind) of |given )?(?:request|instruction|task|prompt|question)"
        r"(?: \w+){0,6}? (?:can(?:no|')t|can not|could not) be (?:fulfilled|completed|answered|performed|executed"
        r"|carried out|satisfied|processed|accomplished|achieved|done)\b"
    ),
)
_BY_A_MODEL = re.compile(
    r"\b(?:(?:gpt(?:-\d)?|ai|text-based|language) ){1,3}model (?:can(?:no|')t|can not|is (?:not able|unable) to"
    r"|does(?:n't| not) have the)|\bthe model can(?:no|')t\b|\bby an? (?:(?:gpt(?:-\d)?|ai|language) ){1,2}model\b"
)
"""The way in which the writers of Alpaca decline."""
_LETTER = re.compile(
    r"\W*(?:dear|subject|re|to|from|date)\b|\W*(?!answer|response|output|note)[\w.-]+(?: [\w.-]+){0,3}:"
)
"""The beginning of a letter or of a play: who speaks there is not the assistant."""

# Speaking of itself

_AI_SIGNS = (
    " ai", "a.i.", "artificial intelligence", "language model", "learning model", "chatbot", "computer program",
    " assistant", "my training data", "my knowledge cut", "my last knowledge", "my programming", "by openai",
)  # fmt: skip
_AI = (
    r"(?:(?:large|helpful|harmless|responsible|text-based|virtual|digital|purely|mere) ){0,2}"
    r"(?:ai\b|a\.i\.|artificial intelligence|(?:large )?language model|machine learning model|chatbot|computer program"
    r"|(?:virtual|digital) assistant)"
)
_SELF = re.compile(
    rf"\bas an? {_AI}[^.!?\n]{{0,80}}?\b(?:i|my|it(?: is|'s) not)\b"
    rf"|\bi(?:'m| am) (?:(?:just|only|merely|simply) )?an? {_AI}"
    r"|\bmy (?:training data|knowledge cut-?off|programming (?:does|prohibits|prevents)|last knowledge update)\b"
    r"|\bi was (?:developed|created|trained|made) by openai\b|\b(?:developed|created|trained|made) by openai, i\b"
)
_INABILITY = re.compile(
    r"\b(?:can(?:no|')t|can not|do not|don't|(?:am|'m|are) (?:not|unable)|have no|lack|won't|will not|must"
    r"|not appropriate|only (?:provide|respond|generate))\b"
)

# Lecturing

_MORAL = re.compile(
    r"\b(?:(?:un|im|dis)?(?:ethic|moral|respectful|lawful)|harmful|illegal|inappropriate|offensive|discriminat|stereotyp"
    r"|prejudic|inclusiv|dignity|derogatory|hurtful|racis|sexis|against the law|treat (?:all|others|everyone|each))"
)
_ASKED_FOR = re.compile(rf"{_MORAL.pattern}|\b(?:legal|laws?|wrong|bias|rights|tolera|sensitiv|responsib|privacy|safe)")
"""A prompt with one of these asks for morals: what comes is an answer."""
_PIECE = re.compile(
    r"\b(?:letter|e-?mail|speech|essay|article|stor(?:y|ies)|dialogue|conversation|script|poem|song|rap|editorial|blog"
    r"|post|persua\w+|opinion|pretend|imagine|role-?play|act as|tweet|campaign|summar\w+|paraphrase|rewrite|edit"
    r"|translate)\b"
)
"""A prompt that asks for a piece of writing: its author need not be the assistant."""
_OWN_VOICE = _rules(
    *(
        (f" {verb} ", rf"\bi (?:do not|don't|cannot|can't|will not|won't) (?:\w+ ){{0,2}}?{verb} ")
        for verb in ("condone", "endorse", "promote", "encourage")
    ),
    (
        "against ",
        r"\b(?:goes|go|is|are) against (?:my|ethical|moral|openai's) (?:\w+ )?(?:principles|guidelines|programming"
        r"|values|polic|standards|use)",
    ),
    ("polic", r"\b(?:content|use case|openai's(?: usage)?) polic(?:y|ies)\b"),
    ("ethical", r"\bethical (?:guidelines|standards|principles) (?:prohibit|prevent|do not|require|that i)\b"),
    ("for me to", r"\b(?:not|not be|would be|is) (?:ethical|appropriate|un\w+|in\w+) for me to\b"),
)
"""What only the assistant itself says."""
_LECTURES = _rules(
    *(
        (
            f" {verb} ",
            rf"\bi (?:(?:strongly|would|must|respectfully|do) ){{0,2}}{verb} (?:you|everyone|anyone|all) (?:not to"
            r"|against|that|to (?:always|respect|treat|reconsider|refrain|avoid|prioriti[sz]e|be (?:mindful|respectful"
            r"|kind)))\b",
        )
        for verb in ("urge", "encourage", "advise", "implore", "remind")
    ),
    (
        "ethical",
        r"\b(?:is|are|would be) (?:(?:not only|highly|deeply|both|considered|generally) )?(?:unethical|not ethical)\b"
        r"|\b(?:would|may|could) not be ethical\b",
    ),
    ("moral", r"\b(?:is|are|would be) (?:(?:not only|both|considered) )?(?:immoral|morally wrong)\b"),
    (
        "illegal",
        r"\b(?:is|are|would be) (?:(?:not only|both) )?illegal (?:and|or|but also) (?:un|im|inappr|harm|dangerous"
        r"|morally|against)",
    ),
    ("appropriate", r"\b(?:not |never |in)appropriate (?:and|or) (?:un|dis|harm|hurt|offen|respectful|ethical|could)"),
    ("is never ", r"\b(?:it|this|that|violence|discrimination) is never (?:okay|ok|acceptable|justified|the answer)\b"),
)
"""What is a lecture by itself."""
_NOTE = (
    r"(?:\w+ )?(?:note|remember|mention|recogni[sz]e|acknowledge|emphasi[sz]e|stress|clarify|keep in mind|understand"
    r"|be (?:mindful|respectful)|treat|refrain|promote|approach (?:this|such|these)|use (?:this|such|these))\b"
)
_HEDGES = _rules(
    ("important", rf"\bimportant (?:for (?:\w+ ){{1,3}})?to {_NOTE}|\bimportant that (?:we|you|all|everyone)\b"),
    ("crucial", rf"\bcrucial (?:for (?:\w+ ){{1,3}})?to {_NOTE}"),
    ("essential", rf"\bessential (?:for (?:\w+ ){{1,3}})?to {_NOTE}"),
    ("worth", r"\bit(?:'s| is)(?: \w+)? worth (?:noting|mentioning|remembering)\b"),
    ("remember", r"(?:\A|[.!?\n]\s{0,3})(?:please |always |and |let's ){0,2}remember,? (?:that|to|it)\b"),
    ("keep in mind", r"(?:\A|[.!?\n]\s{0,3})(?:please |also ){0,2}keep in mind that\b"),
)
"""What a lecture begins with, and many an honest remark: it takes a word of morals in the same sentence."""


def refusal(response: str, prompt: str = "") -> str | None:
    """The words by which a response declines, in its opening, or as an AI anywhere.

    A prompt that speaks of models itself ("what can't a language model do?") makes such words an answer.
    """
    text = _plain(response)
    opening = text[:_OPENING]
    speaks = not opening.lstrip().startswith(_QUOTES) and not _LETTER.match(opening)
    if speaks and any(sign in opening for sign in _DECLINE_SIGNS):
        for pattern in _DECLINES:
            found = pattern.search(opening)
            if found and not _quoted(opening, found.start()):
                return _told(found)
    if "model" in opening and (found := _BY_A_MODEL.search(opening)) and "model" not in _plain(prompt):
        return _told(found)
    return next((_told(one) for one in _as_an_ai(text) if _INABILITY.search(_sentence(text, one))), None)


def self_reference(response: str) -> str | None:
    """The words by which a response speaks of itself as an AI, whether or not it declines."""
    return next((_told(found) for found in _as_an_ai(_plain(response))), None)


def moralising(response: str, prompt: str = "") -> str | None:
    """The words by which a response lectures: that it is important to remember to be respectful, that it does
    not condone. A prompt that speaks of morals itself asks for them; one that asks for a letter or a story is
    not answered in the assistant's own voice."""
    text = _plain(response)
    if found := _first(_OWN_VOICE, text):
        return _told(found)
    found = _first(_LECTURES, text) or _first(_HEDGES, text, _MORAL)
    if found is None:
        return None
    asked = _plain(prompt)
    return None if _ASKED_FOR.search(asked) or _PIECE.search(asked) else _told(found)


def _first(rules: _Rules, text: str, needed: re.Pattern[str] | None = None) -> re.Match[str] | None:
    """What the first of the rules finds; with `needed`, in a sentence that goes on with it."""
    for sign, pattern in rules:
        for found in pattern.finditer(text) if sign in text else ():
            if not _quoted(text, found.start()) and (needed is None or needed.search(_sentence(text, found))):
                return found
    return None


def _as_an_ai(text: str) -> Iterator[re.Match[str]]:
    if any(sign in text for sign in _AI_SIGNS):
        yield from (found for found in _SELF.finditer(text) if not _quoted(text, found.start()))


def _plain(text: str) -> str:
    """The beginning of a text in lower case, with straight apostrophes."""
    return text[:LOOK_AT].lower().replace("’", "'")


def _quoted(text: str, at: int) -> bool:
    """Whether a quotation begins right before `at`: somebody else speaks."""
    return text[max(0, at - 3) : at].rstrip(" ").endswith(_QUOTES)


def _sentence(text: str, found: re.Match[str]) -> str:
    """From the words found to the end of their sentence, or as far as one goes."""
    longest = found.end() + _SENTENCE
    end = _END.search(text, found.end(), longest)
    return text[found.start() : end.start() if end else longest]


def _told(found: re.Match[str]) -> str:
    return " ".join(found.group().split())[:100]
