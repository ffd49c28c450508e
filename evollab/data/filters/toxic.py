"""Rows that a judge called unsafe; where none was asked, rows with slurs, threats and hate that a few
patterns recognise.

The patterns are English, short and unambiguous on purpose: they find the crudest, and miss whatever is
said in other words. `evol analyse DATA --with MODEL` asks a judge, whose word then counts alone.
"""

from __future__ import annotations

import re

from evollab.data.filtering import Check, Filter, FilterOptions, Finding
from evollab.data.items import Item
from evollab.data.strata import value_of

LIMIT = 100_000
"""Characters of a turn that are looked at."""

_SLURS = (
    r"nigg(?:er|a)s?|sand ?niggers?|faggots?|kikes?|spics?(?! and span)|gooks?|wetbacks?|ragheads?|towelheads?|"
    r"beaners?|darkies|jigaboos?|porch ?monkeys?|trannies|tranny(?! fluid)|shemales?|feminazis?|untermenschen?|"
    r"white trash|subhumans?"
)
_GROUPS = (
    r"(?:jews|muslims|christians|hindus|blacks|whites|asians|mexicans|immigrants|migrants|refugees|arabs|africans|gays|"
    r"lesbians|homosexuals|transgenders|women|men|foreigners|gypsies|"
    r"(?:jewish|muslim|black|white|asian|arab|african|gay|trans|transgender|disabled) (?:people|men|women))"
)
_YOU = r"(?:you|yourself|your (?:family|children|kids|mother))"
_WILL = r"(?:i(?: will|['’]ll| am going to|['’]m going to|['’]m gonna| want to)|we(?: will|['’]ll| are going to))"
_VIOLENCE = r"(?:kill|murder|rape|behead|slaughter|strangle|lynch|gut|maim|torture)"
_INSULTS = r"(?:bitch|whore|slut|cunt|retard|cocksucker|motherfucker|piece of shit|scum|imbecile|moron)"

RULES = {
    "slur": _SLURS,
    "threat": rf"{_WILL} (?:fucking |gonna )?{_VIOLENCE} {_YOU}|{_YOU} (?:all )?(?:deserve|ought) to "
    r"(?:die|be (?:killed|raped|shot|hanged|beheaded))|(?:kill|hang) yourself|kys|"
    r"i hope (?:you|they|he|she)(?: all)? (?:die|rot|burn|get raped|get killed)|go (?:and )?die\b",
    "hate": rf"(?:all |the |those |these ){{0,2}}{_GROUPS} (?:should|must|need to|ought to|deserve to) (?:all )?"
    r"(?:die|burn|be (?:killed|shot|exterminated|eliminated|hanged|gassed|deported|enslaved|sterilized))|"
    rf"(?:kill|gas|exterminate|lynch|hang|burn) (?:all |the |those )+{_GROUPS}|death to (?:all |the )?{_GROUPS}|"
    rf"(?<!of )(?<!by )(?<!for )(?:all |the |those |these )?(?<!of )(?<!by )(?<!for ){_GROUPS} (?:are|is) "
    r"(?:all |nothing but |just |a |an )*(?:vermin|cockroaches|parasites|subhuman|savages|apes|monkeys|filth|scum|"
    r"inferior|a plague|a cancer|a disease)",
    "insult": r"(?:you|u|ur|you['’]re|you are|she['’]s|he['’]s) (?:\w+ )?"
    rf"(?:a |an |such a |fucking |stupid |dumb |filthy |ugly |worthless |dirty ){{1,3}}{_INSULTS}",
}
"""What is looked for, by kind; regular expressions between the edges of words, on text in small letters."""
SIGNS = {
    "slur": (
        "nigg faggot kike spic gook wetback raghead towelhead beaner darkies jigaboo monkey trann shemale feminazi "
        "untermensch trash subhuman",
    ),
    "threat": (
        "kill murder rape behead slaughter strangle lynch gut_ maim torture _die be_shot hang kys _rot _burn",
        "you kys i_hope go_die go_and_die",
    ),
    "hate": (
        "_die burn kill be_shot exterminat eliminat hang gas_ gass deport enslave steriliz lynch death_to vermin "
        "cockroach parasite subhuman savage _apes monkeys filth scum inferior a_plague a_cancer a_disease",
        "jews jewish muslim christians hindus black white asian mexicans migrants refugees arab african gay lesbians "
        "homosexuals trans women men foreigners gypsies disabled",
    ),
    "insult": ("bitch whore slut cunt retard cocksucker motherfucker shit scum imbecile moron",),
}
"""In a text that breaks a rule stands at least one sign out of each group (_ is a blank). Most texts have none, and
that is seen sooner than that no rule is broken."""
_SIGNS = {
    kind: tuple(tuple(sign.replace("_", " ") for sign in group.split()) for group in groups)
    for kind, groups in SIGNS.items()
}
_RULES = {kind: re.compile(rf"\b(?:{rule})\b") for kind, rule in RULES.items()}
_WHO = {"user": "the request", "assistant": "the response"}


def toxic(text: str) -> str | None:
    """The first kind of RULES that `text` breaks."""
    lowered = text[:LIMIT].lower()
    for kind, rule in _RULES.items():
        if all(any(sign in lowered for sign in group) for group in _SIGNS[kind]) and rule.search(lowered):
            return kind
    return None


def check(item: Item) -> Finding | None:
    safety = value_of(item.fields, "safety")
    if isinstance(safety, str) and safety:
        return Finding("toxic", f"the judge called it {safety[:40]}") if safety.lower().startswith("unsafe") else None
    for turn in item.messages:
        if (kind := toxic(turn.content)) is not None:
            return Finding("toxic", f"{kind} in {_WHO.get(turn.role, turn.role)}")
    return None


def make(options: FilterOptions) -> Check:
    return check


FILTER = Filter(make)
