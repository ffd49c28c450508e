"""Conversations as token ids: what is trained, what is asked, in the formats of the WizardLM family.

    vicuna        Vicuna v1.1, of the chat models from 13B on
    alpaca        Alpaca, of WizardCoder and WizardMath
    wizardlm-7b   the bare form of WizardLM-7B V1.0
    model         the tokenizer's own chat template

Ids and mask come out of one pass over pieces, each of which is a control token or plain text. Text is cut
where training begins and ends, so the ids of a prompt are always the first ids of the whole. What people and
models say is never read as a control token, whatever it contains. `template()` is the same as Jinja, for
checkpoints; for text without control tokens both give the same ids.

Sources: FastChat's vicuna_v1.1 (one space between roles, none behind </s>), Stanford Alpaca, and the training
code that the WizardLM project released.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evollab.owntemplate import by_template
from evollab.pieces import Coder, Piece, Rendered
from evollab.records import EvolError, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMATS = ("vicuna", "alpaca", "wizardlm-7b", "model")
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
)
ALPACA_PREAMBLE = _ALPACA.format("")
ALPACA_PREAMBLE_INPUT = _ALPACA.format(", paired with an input that provides further context")
_INSTRUCTION = "### Instruction:\n"
_INPUT = "### Input:\n"
_RESPONSE = "\n\n### Response:"
_BETWEEN = "\n\n"
"""Between an answer and the next question. The papers' formats have one turn; this is ours."""
_TEMPLATES = Path(__file__).parent / "chat_templates"
_SHOWN = 60


def render(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    format: str = "vicuna",
    *,
    generation_prompt: bool = False,
    input: str = "",
) -> Rendered:
    """One conversation. For many, make a `Renderer` once. Raises EvolError as `Renderer` does."""
    return Renderer(tokenizer, format).render(messages, generation_prompt=generation_prompt, input=input)


class Renderer:
    """Renders conversations in one format for one tokenizer, which must not change meanwhile.

    Raises EvolError for an unknown format, a tokenizer without EOS, and `model` without a chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, format: str = "vicuna") -> None:
        _check_format(format)
        self.tokenizer = tokenizer
        self.format = format
        self._coder = Coder(tokenizer)
        if format == "model":
            _check_template(tokenizer)

    @property
    def eos(self) -> int:
        """The id that ends a turn of the assistant. (Other templates may end turns with more than it.)"""
        return self._coder.eos

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = False, input: str = "") -> Rendered:
        """ids and mask of `messages`, with the beginning of an answer where `generation_prompt`.

        input: the material that the last user turn ends with; Alpaca gives it a heading of its own.
        Raises EvolError for turns out of order, a role that the format has no place for, and a template by
        which it can't be told what is to be trained.
        """
        if not messages:
            raise EvolError("a conversation without turns")
        if generation_prompt and messages[-1].role in ("assistant", "system"):
            raise EvolError(f"nothing to answer: the last turn is the {messages[-1].role}'s")
        if self.format == "model":
            pieces = by_template(messages, self.tokenizer, self._coder, generation_prompt)
        else:
            bos = [Piece(self._coder.bos, control=True)] if self._coder.bos else []
            write = _vicuna if self.format == "vicuna" else _alpaca
            pieces = [*bos, *write(messages, self._coder.end, generation_prompt, input, self.format)]
        return self._coder.encode(pieces)


def template(tokenizer: PreTrainedTokenizerBase, format: str) -> str:
    """The chat template (Jinja) of a format for this tokenizer, to be saved with a checkpoint.

    With generation marks, so that TRL and transformers can tell what is trained. Raises EvolError where
    the tokenizer has no EOS, and for `model` without a template.
    """
    _check_format(format)
    if format == "model":
        _check_template(tokenizer)
        return str(tokenizer.get_chat_template())
    start = "{{- bos_token -}}" if Coder(tokenizer).bos else ""
    return start + (_TEMPLATES / f"{format}.jinja").read_text("utf-8")


def _check_format(format: str) -> None:
    if format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, 1)
        raise EvolError(
            f"--format {format[:_SHOWN]!r}: expected {', '.join(FORMATS)}", f"did you mean {near[0]}?" if near else ""
        )


def _check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    if not tokenizer.chat_template:
        raise EvolError("the tokenizer has no chat template of its own", "--format vicuna needs none")


# The formats


def _in_turns(messages: Sequence[Message], format: str) -> None:
    """Raise EvolError unless user and assistant take turns, the user first."""
    for number, message in enumerate(messages):
        expected = "assistant" if number % 2 else "user"
        if message.role != expected:
            raise EvolError(
                f"turn {number + 1} is the {message.role}'s; in the format {format} it is the {expected}'s turn"
            )


def _vicuna(messages: Sequence[Message], end: str, prompt: bool, input: str, format: str) -> list[Piece]:
    system = VICUNA_SYSTEM
    if messages[0].role == "system":
        system, messages = messages[0].content, messages[1:]
    _in_turns(messages, format)
    pieces = [Piece(f"{system} " if messages else system)]
    for message in messages:
        if message.role == "user":
            pieces.append(Piece(f"USER: {message.content}"))
        else:
            # The space belongs to the answer: "ASSISTANT:" is where a prompt ends.
            pieces += Piece(" ASSISTANT:"), Piece(f" {message.content}", trained=True), Piece(end, True, True)
    return [*pieces, Piece(" ASSISTANT:")] if prompt else pieces


def _alpaca(messages: Sequence[Message], end: str, prompt: bool, input: str, format: str) -> list[Piece]:
    if messages[0].role == "system":
        raise EvolError(f"a system message has no place in the format {format}", "--format vicuna takes one")
    _in_turns(messages, format)
    bare = format != "alpaca"
    heading = "" if bare else _INSTRUCTION
    last = max(number for number, message in enumerate(messages) if message.role == "user")
    given = not bare and bool(input) and messages[last].content.endswith(f"\n\n{input}")
    pieces = [] if bare else [Piece(ALPACA_PREAMBLE_INPUT if given else ALPACA_PREAMBLE)]
    for number, message in enumerate(messages):
        if message.role == "user":
            text = message.content
            if given and number == last:
                text = f"{text.removesuffix(input)}{_INPUT}{input}"
            pieces.append(Piece(f"{_BETWEEN if number else ''}{heading}{text}"))
        else:
            pieces += Piece(_RESPONSE), Piece(message.content, trained=True), Piece(end, True, True)
    return [*pieces, Piece(_RESPONSE)] if prompt else pieces
