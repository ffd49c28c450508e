"""The normal form in which texts are compared: two that a person reads as the same are the same."""

from __future__ import annotations

import re
import unicodedata

_ENDS = ".,;:!?\"'…。、¿¡«»„“”‘’‹›‚`"
_SPELLINGS: dict[int, str] = {
    **{ord(sign): f"^{plain}" for sign, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ", "0123456789n", strict=True)},
    **dict.fromkeys(map(ord, "‐‑‒–—−"), "-"),
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD), ""),
}
_FACTORIAL = re.compile(r"(?<=[0-9)])!")


def normalise(text: str) -> str:
    """The text that is compared: NFKC, without case, blanks as one, dashes as one, without characters
    of no width, and without marks (full stops, commas, quotes and the like) at the ends of words.

    Signs that carry meaning stay: + - * / = % < > ( ) [ ] and whatever stands within a word (3.14,
    a[1:]), the ! of 5!; and x² becomes x^2, not x2. A text of nothing but marks is left as it is.
    """
    if "!" in text:
        text = _FACTORIAL.sub("\u01c3", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_SPELLINGS))
    words = text.casefold().split()
    return " ".join(filter(None, (word.strip(_ENDS) for word in words))) or " ".join(words)
