"""Tokens to text as they come: no broken characters, no piece of a stop string ever shown.

A token may hold half a character, and a stop string may begin in one token and end in another. So text is held
back while its end is undecided, and given out at the latest when the answer ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evollab.serve.engine import Chance

Decode = Callable[[list[int]], str]
_BEFORE = 6
"""Tokens in front whose text decides how the next one is written (a blank or none)."""
_UNDECIDED = 8
"""A character has at most four bytes. More tokens than this without one are bytes that never will be text."""
_BROKEN = "\ufffd"


class Detokenizer:
    """Token ids to pieces of text, one at a time. The pieces of whole text add up to the decoded whole."""

    def __init__(self, decode: Decode, before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(before[-_BEFORE:])
        self._read = len(self._ids)

    def push(self, id: int) -> str:
        """The text that is certain now; empty while a character is incomplete."""
        self._ids.append(id)
        return self._take(final=False)

    def flush(self) -> str:
        """What was still held back, as it is."""
        return self._take(final=True) if self._read < len(self._ids) else ""

    def _take(self, *, final: bool) -> str:
        shown = self._decode(self._ids[: self._read])
        whole = self._decode(self._ids)
        late = len(self._ids) - self._read > _UNDECIDED
        if whole.endswith(_BROKEN) and not final and not late:
            return ""
        self._ids = self._ids[self._read :]
        self._read = len(self._ids)
        return whole[len(shown) :]


class Stops:
    """Looks for texts that end an answer. Of several the one that is complete first counts, of these the longest:
    so it makes no difference how the text comes in pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(text that may be shown, whether a stop string was met). Text from the stop string on is dropped."""
        self._held += text
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            shown, self._held = self._held[: min(found)[1]], ""
            return shown, True
        keep = self._undecided()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown, False

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held

    def _undecided(self) -> int:
        """Characters at the end that may be the beginning of a stop string."""
        for length in range(min(self._longest - 1, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0


class Lead:
    """Takes away the one space between a prompt like "ASSISTANT:" and an answer. An answer that begins with
    more than one keeps them: it may be code."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def push(self, text: str, *, final: bool = False) -> str:
        """`text` without that space. The first character may have to wait for the second."""
        if self._held is None:
            return text
        lead = self._held + text
        if len(lead) < 2 and not final:
            self._held = lead
            return ""
        self._held = None
        return lead[1:] if lead[:1] == " " and not lead[1:2].isspace() else lead


@dataclass(slots=True)
class Written:
    """What a token brought. stopped: a stop string was met."""

    text: str
    chances: tuple[Chance, ...]
    stopped: bool = False


class Writer:
    """One answer, from token ids to what is shown, with the log-probs of what is shown.

    before: the end of the prompt. trim: see `Lead`. offset: where the answer's text begins in the whole.
    """

    def __init__(self, decode: Decode, before: Sequence[int], stops: Sequence[str], *, trim: bool, offset: int) -> None:
        self._detokenizer = Detokenizer(decode, before)
        self._stops = Stops(stops)
        self._lead = Lead() if trim else None
        self._offset = offset  # where the next token's text begins
        self._shown = offset
        self._chances: list[Chance] = []

    def push(self, id: int, chance: Chance | None) -> Written:
        """One token more."""
        if chance is not None:
            self._chances.append(replace(chance, offset=self._offset))
        return self._show(self._detokenizer.push(id), final=False)

    def flush(self) -> Written:
        """The answer ends here: everything that was held back."""
        return self._show(self._detokenizer.flush(), final=True)

    def _show(self, text: str, *, final: bool) -> Written:
        if self._lead:
            text = self._lead.push(text, final=final)
        self._offset += len(text)
        shown, stopped = self._stops.push(text)
        if final and not stopped:
            shown += self._stops.flush()
        self._shown += len(shown)
        return Written(shown, self._released(everything=final and not stopped), stopped)

    def _released(self, *, everything: bool) -> tuple[Chance, ...]:
        """Log-probs of tokens whose text is shown."""
        count = len(self._chances)
        if not everything:
            count = sum(chance.offset < self._shown for chance in self._chances)
        released, self._chances = tuple(self._chances[:count]), self._chances[count:]
        return released
