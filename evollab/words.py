"""Small measures of a text: words, content words, n-grams, language. No models, linear time."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_LIMIT = 20_000
"""Characters of a text that are looked at: enough to judge, and hostile lengths cost nothing."""

_STOP_WORDS = {
    "en": "the of and to a in is it you that he was for on are with as i his they be at one have this from or had "
    "by not but what some we can out other were all your when up use how said an each she which do their if will way "
    "about many then them would so these her him has more could my than been who its now did get may",
    "de": "der die das und ist nicht ein eine ich zu den mit von für auf wie sie es im dem auch werden wird oder aus "
    "bei nach einen sind einer wenn kann sich als was über zum zur",
    "fr": "le la les des et est une dans que pour qui sur avec pas ce il au par plus vous sont du nous elle cette "
    "aux ou mais comment leur être",
    "es": "el los las una que en por con para como es del se su más qué son al lo cómo pero este está entre sobre "
    "cuando también sus",
    "pt": "os uma que em por com para como é do da não se mais dos das ao na no são você sobre pelo seu sua ou mas",
    "it": "il gli una che di per con come è del della non si più sono nel alla dei le ma anche questo quale delle",
    "nl": "het een van en de dat niet op zijn met voor aan er om ook als dan maar bij uit naar wordt deze worden",
    "pl": "nie jest się na to że jak do co ale jego dla czy przez być które oraz ich",
    "sv": "och att det som en på är av för med till den har inte om ett men var",
}
_ENGLISH = frozenset(_STOP_WORDS["en"].split()) | frozenset(
    [
        "am",
        "being",
        "does",
        "doing",
        "done",
        "i'm",
        "it's",
        "don't",
        "no",
        "nor",
        "only",
        "own",
        "same",
        "such",
        "too",
        "very",
        "s",
        "t",
        "just",
        "should",
        "me",
        "us",
        "our",
        "ours",
        "yours",
        "there",
        "here",
        "where",
        "why",
        "any",
        "both",
        "few",
        "most",
        "into",
        "through",
        "during",
        "before",
        "after",
        "above",
        "below",
        "between",
        "again",
        "further",
        "once",
        "under",
        "over",
        "off",
        "down",
        "because",
        "until",
        "while",
        "against",
    ]
)
_PROFILES = {
    name: frozenset(words.split()) - (_ENGLISH if name != "en" else frozenset()) for name, words in _STOP_WORDS.items()
}
"""What is a word of English, too, says nothing for another language ("no", "do")."""
_SCRIPTS = (
    ("latin", re.compile(r"[A-Za-z\u00c0-\u024f]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("greek", re.compile(r"[\u0370-\u03ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("hebrew", re.compile(r"[\u0590-\u05ff]")),
    ("devanagari", re.compile(r"[\u0900-\u097f]")),
    ("thai", re.compile(r"[\u0e00-\u0e7f]")),
    ("hangul", re.compile(r"[\uac00-\ud7af]")),
    ("kana", re.compile(r"[\u3040-\u30ff]")),
    ("han", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
)


def count_words(text: str) -> int:
    """Words; in scripts without spaces, two characters count as one word."""
    if text.isascii() or not _IDEOGRAPH.search(text):
        return len(text.split())
    ideographs = len(_IDEOGRAPH.findall(text))
    return len(_IDEOGRAPH.sub(" ", text).split()) + (ideographs + 1) // 2


def tokens(text: str) -> list[str]:
    """Case-folded words without punctuation."""
    return _WORD.findall(text[:_LIMIT].casefold())


def content_words(text: str) -> set[str]:
    """Case-folded words that are not English stop words."""
    return {word for word in tokens(text) if word not in _ENGLISH}


def only_filler(text: str) -> bool:
    """True when nothing but punctuation and stop words is there (elimination rule 3 of the paper)."""
    return all(word.group() in _ENGLISH for word in _WORD.finditer(text[:_LIMIT].casefold()))


_GENERIC = frozenset(
    "write describe explain list give name create generate make find identify suggest provide tell compare rewrite "
    "following given person people thing things answer example examples sentence word words use using used way ways "
    "good best different task prompt question".split()
)


def topic(text: str) -> set[str]:
    """Rough stems (five letters) of the words that say what a text is about."""
    return {word[:5] for word in content_words(text) if len(word) > 2 and word not in _GENERIC}


_ORDERS = frozenset(
    "add analyze analyse apply arrange argue assess build calculate categorize change choose classify combine come "
    "compare complete compose compute conclude connect consider construct contrast convert correct count create debate "
    "decide define delete describe design detect determine develop differentiate discuss distinguish divide draft draw "
    "edit elaborate estimate evaluate examine expand explain explore express extract fill find fix form formulate "
    "generate give group guess help highlight identify illustrate imagine improve infer insert interpret invent invert "
    "investigate judge justify list look make match measure mention modify name narrate offer order organize outline "
    "paraphrase pick plan play please predict prepare present produce pronounce propose prove provide put rank rate read "
    "recommend recognize reconstruct record rearrange reduce rephrase replace report research respond restate reverse "
    "review revise rewrite say search select show simplify solve sort specify spell split state substitute suggest "
    "summarize summarise tell think transform translate turn unscramble update use using verify visualize write given "
    "what why how who whom whose which when where is are was were do does did can could should would will if".split()
)


def reads_as_request(text: str) -> bool:
    """Whether an English text begins like an order or a question, or ends like a question."""
    words = tokens(text[:200])
    return text.rstrip().endswith("?") or bool(words and words[0] in _ORDERS)


def ngrams(words: list[str], n: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[i:] for i in range(n)), strict=False)) if len(words) >= n else set()


def script(text: str) -> str:
    """The script that most letters are from; "" when there are fewer than eight letters."""
    text = text[:2000]
    if text.isascii():
        return "latin" if sum(map(str.isalpha, text)) >= 8 else ""
    counts = Counter({name: len(pattern.findall(text)) for name, pattern in _SCRIPTS})
    name, count = counts.most_common(1)[0]
    return name if count >= 8 else ""


@lru_cache(maxsize=4096)
def language(text: str) -> str:
    """A language code or a script's name when the text shows it clearly, else "".

    Latin script is told apart by stop words, which takes about a sentence; anything short or mixed
    gives "" rather than a guess.
    """
    name = script(text)
    if name in ("kana", "han"):
        return "ja" if len(_SCRIPTS[8][1].findall(text[:2000])) > 2 else "zh"
    if name != "latin":
        return name
    words = tokens(text[:2000])
    if len(words) < 6:
        return ""
    scores = sorted(((sum(w in profile for w in words), code) for code, profile in _PROFILES.items()), reverse=True)
    (best, code), (second, _) = scores[0], scores[1]
    return code if best >= max(2, 0.12 * len(words)) and best >= 1.5 * second else ""
