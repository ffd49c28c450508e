"""Text that a model or a stranger wrote, made safe to look at.

Nothing here is about HTML: the template escapes that. This is about characters that act on the
reader's screen (terminal escapes, carriage returns, bidirectional overrides): they are shown as
visible signs instead of being obeyed.
"""

from __future__ import annotations


def _table() -> dict[int, str]:
    table = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}
    table[0x7F] = "\u2421"
    table |= {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
    table |= {code: f"<U+{code:04X}>" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
    table |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
    table |= {0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
    return table


_INERT = _table()


def inert(text: str) -> str:
    """`text` with control characters, overrides and lone surrogates shown, not obeyed.

    Line ends of every kind become a newline; tabs stay.
    """
    return text.replace("\r\n", "\n").translate(_INERT)


def cut(text: str, limit: int) -> tuple[str, int]:
    """At most `limit` characters of `text`, ended at a word where one is near, and how many are left out."""
    if len(text) <= limit:
        return text, 0
    head = text[:limit]
    space = max(head.rfind(" ", limit - 40), head.rfind("\n", limit - 40))
    if space > 0:
        head = head[:space]
    return head, len(text) - len(head)


def one_line(text: str, limit: int) -> str:
    """The beginning of `text` on one line, inert, with an ellipsis where something is left out."""
    head, left = cut(text[: limit * 4], limit * 4)
    flat = " ".join(inert(head).split())
    shown, more = cut(flat, limit)
    return shown + ("…" if more or left or len(text) > limit * 4 else "")
