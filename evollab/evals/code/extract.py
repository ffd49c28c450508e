"""The program in a model's answer: by fences, by syntax, or as what goes on from the prompt.

Nothing is cut at a word: a solution may hold "assert", "Instruction" or "Response". What is a program as it stands
runs as it stands, as the reference harness runs it; what is taken out of prose loses its trial runs (`trimmed`).
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evollab.evals.code.fences import stretches
from evollab.evals.code.syntax import Piece, definition, longest, missing, piece, pieces, solves, trimmed

LONGEST = 1 << 17
"""Characters of an answer that are read."""
_ENDS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end|>")
"""Ends that a server left in the text; what follows them was never meant."""
_OPENS = re.compile(r"^[ \t]*\[(?:BEGIN|PYTHON|CODE)\][ \t]*$", re.MULTILINE)
_CLOSES = re.compile(r"^[ \t]*\[(?:DONE|END|/PYTHON|/CODE)\][ \t]*$", re.MULTILINE)
"""Marks of few-shot prompts (MBPP's among them). As Python they are lists of names that nothing defines."""
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Extracted:
    """A program, and how it was found.

    how: "whole", "continued" (after the prompt; "continued, indented" where its indentation had to be mended), "fence",
    "syntax", "method" (of a class Solution), "other" (code that does not define what was asked for), "nothing" with
    the code "".
    """

    code: str
    how: str


def extract_code(text: str, prompt: str, entry: str | None) -> Extracted:
    """The program in `text` that defines `entry`, with the imports and helpers of `prompt` before it.

    prompt: Python that the answer may go on from, "" for a question in words. entry: None where no name is known; any
    definition will do then. Never raises.
    """
    text = _cleaned(text)
    head = preamble(prompt, entry)
    found = _found(text, prompt, entry)
    if found is None:
        return Extracted("", "nothing")
    code, how = found
    if how.startswith("continued"):
        return Extracted(code, how)
    return Extracted(_joined(head, code), how)


def preamble(prompt: str, entry: str | None) -> str:
    """What of the prompt stands before the function to write: imports, helper functions."""
    if not entry:
        return ""
    starts = list(re.finditer(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry)}\b", prompt, re.MULTILINE))
    return prompt[: starts[-1].start()].rstrip() if starts else ""


def _cleaned(text: str) -> str:
    text = text[:LONGEST].replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    _, mark, said = text.rpartition("</think>")
    if mark and said.strip():
        text = said
    for end in _ENDS:
        text = text.partition(end)[0]
    opened, closed = _OPENS.search(text), _CLOSES.search(text)
    if opened and not (closed and closed.start() < opened.start()):  # what follows an end is the next example
        text = text[opened.end() :].lstrip("\n")
    if closed := _CLOSES.search(text):
        text = text[: closed.start()]
    bare = text.rstrip()
    return bare.removesuffix("</s>") if bare.endswith("</s>") else text


def _found(text: str, prompt: str, entry: str | None) -> tuple[str, str] | None:
    """The first way that finds what was asked for, else any code at all."""
    parts = stretches(text)
    fenced = any(part.fenced for part in parts)
    if not fenced:
        as_it_is = piece(text)
        if as_it_is is not None and _answers(as_it_is, entry):
            return as_it_is.code, "whole"
        if text.lstrip("\n")[:1] in (" ", "\t"):
            code = _continued(text, prompt, entry)
            if code is not None:
                return code
    blocks = [part.text for part in parts if part.fenced]
    prose = [part.text for part in parts if not part.fenced]
    in_blocks = [one for block in blocks for one in _code(block)]
    best = _best(in_blocks, entry)
    if best is not None:
        return _complete(best, in_blocks, entry), "fence"
    in_prose = [one for part in prose for one in pieces(part)]
    best = _best(in_prose, entry)
    if best is not None:
        return _complete(best, [*in_blocks, *in_prose], entry), "syntax"
    for part in (*blocks, *prose):
        code = _continued(part, prompt, entry)
        if code is not None:
            return code
    every = [*in_blocks, *in_prose]
    wrapped = _method(every, entry)
    if wrapped is not None:
        return wrapped, "method"
    some = max(every, key=lambda one: len(one.code), default=None)
    return (some.code, "other") if some is not None else None


def _code(block: str) -> Iterator[Piece]:
    """A block that parses is one piece; of another, those parts that do."""
    whole = piece(block)
    if whole is not None:
        yield whole
    else:
        yield from pieces(block)


def _answers(found: Piece, entry: str | None) -> bool:
    if entry:
        return solves(found.tree, entry)
    return any(isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for one in found.tree.body)


def _best(found: Sequence[Piece], entry: str | None) -> Piece | None:
    """The longest that answers, of equals the last: explanations quote parts, corrections come later."""
    able = [one for one in found if _answers(one, entry)]
    return max(reversed(able), key=lambda one: len(one.code.strip()), default=None)


def _complete(best: Piece, others: Sequence[Piece], entry: str | None) -> str:
    """A piece with the helpers that it needs from others, without its trial runs."""
    lent = missing(best, [one for one in others if one is not best])
    code = trimmed(best, entry) if entry else best.code
    return f"{lent}\n{code}" if lent else code


def _continued(text: str, prompt: str, entry: str | None) -> tuple[str, str] | None:
    """The prompt and the text after it, as far as they parse and the function has something in it; with the text's
    indentation mended where it does not fit."""
    if not entry or not preamble_end(prompt, entry):
        return None
    start = prompt if prompt.endswith("\n") or text.startswith("\n") else prompt + "\n"
    depth = _depth(prompt)
    even = textwrap.dedent(text.strip("\n").expandtabs(4))
    ways = {
        "continued": text,
        "continued, indented": depth + text.lstrip(),
        "continued, shifted": textwrap.indent(even, depth),
    }
    least = start.rstrip("\n").count("\n") + 1
    best: tuple[int, str, str] | None = None
    for how, body in ways.items():
        lines = (start + body).split("\n")
        found, length = longest(lines, least)
        if found is None or not _done(found, entry):
            continue
        if best is None or length > best[0]:
            best = (length, found.code, how.replace("shifted", "indented"))
        if length == len(lines):
            break
    return None if best is None else (best[1] + "\n", best[2])


def _done(found: Piece, entry: str) -> bool:
    """Whether the text gave the prompt's function a body that does something: a line of prose can parse as a name."""
    target = definition(found.tree, entry)
    if not isinstance(target, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    idle = (ast.Expr, ast.Pass, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    # `Note: it` is Python too, an annotation without a value
    return any(not isinstance(one, idle) for one in target.body if getattr(one, "value", one) is not None)


def preamble_end(prompt: str, entry: str) -> bool:
    """Whether the prompt ends inside the function that is to be written."""
    return re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry)}\b", prompt, re.MULTILINE) is not None


def _depth(prompt: str) -> str:
    """The indentation of the prompt's last line that has any."""
    for line in reversed(prompt.split("\n")):
        bare = line.lstrip(" \t")
        if bare and bare != line:
            return line[: len(line) - len(bare)]
    return _INDENT


def _method(found: Sequence[Piece], entry: str | None) -> str | None:
    """A class with the function as a method of it, as puzzle sites want it, and the function itself."""
    if not entry:
        return None
    for one in reversed(found):
        for owner in one.tree.body:
            if isinstance(owner, ast.ClassDef) and any(
                isinstance(part, ast.FunctionDef) and part.name == entry for part in owner.body
            ):
                call = f"def {entry}(*given, **named):\n    return {owner.name}().{entry}(*given, **named)\n"
                return f"{one.code}\n\n\n{call}"
    return None


def _joined(head: str, code: str) -> str:
    """The preamble before the code; `from __future__` goes first, as Python wants it."""
    if not head or code.startswith(head):
        return code
    future = [line for line in code.split("\n") if line.startswith("from __future__ import ")]
    if future:
        code = "\n".join(line for line in code.split("\n") if line not in future)
    return "\n".join([*future, head, "", "", code])
