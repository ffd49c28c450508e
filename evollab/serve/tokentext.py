"""What single tokens write, byte by byte: for log-probs, where half a character must have a name too."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from evollab.serve.engine import Token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_of() -> dict[str, int]:
    """The alphabet of byte-level BPE (GPT-2): printable characters stand for themselves, the other bytes for
    the characters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


class TokenTexts:
    """The bytes behind the ids of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._added = {int(place): str(token.content) for place, token in tokenizer.added_tokens_decoder.items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._byte_level = backend is not None and "ByteLevel" in str(backend.decoder)
        self._known: dict[int, bytes] = {}

    def written(self, id: int) -> bytes:
        """What a token writes. A token that begins a word of SentencePiece begins with its space."""
        if id not in self._known:
            self._known[id] = self._read(id)
        return self._known[id]

    def _read(self, id: int) -> bytes:
        if id in self._added:
            return self._added[id].encode("utf-8", "replace")
        name = self._tokenizer.convert_ids_to_tokens(id)
        if not isinstance(name, str):  # an embedding that no token stands for
            return b""
        if self._byte_level:
            table = _byte_of()
            if all(char in table for char in name):
                return bytes(table[char] for char in name)
        if match := _BYTE.fullmatch(name):
            return bytes([int(match[1], 16)])
        return name.replace("\u2581", " ").encode("utf-8", "replace")

    def offsets(self, ids: Sequence[int], text: str) -> list[int]:
        """Where in `text` (what `ids` write) the text of each begins, in characters. Special tokens write
        nothing; so does the blank in front of a text that SentencePiece begins with."""
        special = set(self._tokenizer.all_special_ids)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        place, found, bare = 0, [], True
        for token in ids:
            found.append(min(place, len(text)))
            if token in special:
                continue
            written = decoder.decode(self.written(token))
            if bare and written[:1] == " " and not text.startswith(" "):
                written = written[1:]
            bare = False
            place += len(written)
        return found

    def token(self, id: int, logprob: float | None) -> Token:
        raw = self.written(id)
        return Token(_shown(raw), raw, logprob)


def _shown(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
