"""Python in a text, by its syntax: what parses, what it defines, what it needs."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_TRIES = 40
"""How often the end of a piece is moved back to the line that does not parse."""
_STARTS = 200
_BUILTINS = frozenset(dir(builtins))
_START = re.compile(r"[ \t]{0,64}(?:@|(?:from|import|def|class|async)[ \t]|[A-Za-z_]\w{0,64}[ \t]{0,4}=)")
_RUNS = {"main", "testmod", "exit"}
"""Attributes whose call at the top level starts or ends a program (unittest.main, doctest.testmod, sys.exit)."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that parses."""

    code: str
    tree: ast.Module


def parse(code: str) -> ast.Module | None:
    """The tree, or None for what is no Python or is nested too deep to be read."""
    try:
        return _parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parse(code: str) -> ast.Module:
    with warnings.catch_warnings():  # of invalid escapes in what a model wrote
        warnings.simplefilter("ignore")
        tree = ast.parse(code)
    stray = _stray(tree)
    if stray is not None:
        raise SyntaxError("'return' outside function", ("", stray.lineno, stray.col_offset, ""))
    return tree


def _stray(tree: ast.Module) -> ast.Return | None:
    """The first `return` outside a function, which the parser itself lets pass."""
    waiting: list[ast.stmt] = tree.body[::-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return):
            return node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in reversed(list(ast.iter_child_nodes(node))):
                if isinstance(part, ast.stmt):
                    waiting.append(part)
                elif isinstance(part, (ast.ExceptHandler, ast.match_case)):
                    waiting += part.body[::-1]
    return None


def piece(text: str) -> Piece | None:
    """All of the text as code, as it is or with the indentation that all lines share taken off."""
    for code in dict.fromkeys((text, textwrap.dedent(text))):
        tree = parse(code)
        if tree is not None:
            return Piece(code, tree)
    return None


def longest(lines: Sequence[str], least: int = 0) -> tuple[Piece | None, int]:
    """The longest beginning of the lines that parses, and how many lines it has; more than `least` or none."""
    end = len(lines)
    for _ in range(_TRIES):
        if end <= least:
            break
        code = "\n".join(lines[:end])
        try:
            return Piece(code, _parse(code)), end
        except SyntaxError as error:
            end = min(end - 1, (error.lineno or 1) - 1)
        except (ValueError, RecursionError, MemoryError):
            break
    return None, 0


def pieces(text: str) -> Iterator[Piece]:
    """The code in a text that is prose, or half code: from each line that can begin code, as far as it parses."""
    lines = text.split("\n")
    at = tried = 0
    while at < len(lines) and tried < _STARTS:
        if not _START.match(lines[at]):
            at += 1
            continue
        tried += 1
        rest = lines[at:]
        if lines[at][0] in " \t":
            rest = _shifted(rest)
        found, length = longest(rest)
        if found is not None:
            yield found
        at += max(1, length)


def _shifted(lines: Sequence[str]) -> list[str]:
    """The lines with the first one's indentation taken off; they end with the first line that has less."""
    lead = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    shifted = []
    for line in lines:
        if line.strip() and not line.startswith(lead):
            break
        shifted.append(line[len(lead) :] if line.strip() else "")
    return shifted


def bound(statement: ast.stmt) -> set[str]:
    """The names that a statement binds where it stands."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    if isinstance(statement, _IMPORTS):
        return {(one.asname or one.name).partition(".")[0] for one in statement.names}
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (*_DEFINITIONS, *_IMPORTS)):
                names |= bound(child)
            elif not isinstance(child, ast.Lambda):
                waiting.append(child)
    return names


def loaded(tree: ast.AST) -> set[str]:
    """The names that are read anywhere in a tree."""
    return {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def _arguments(tree: ast.AST) -> set[str]:
    return {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}


def definition(tree: ast.Module, name: str) -> ast.stmt | None:
    """The last statement at the top level that binds a name."""
    return next((one for one in reversed(tree.body) if name in bound(one)), None)


def solves(tree: ast.Module, name: str) -> bool:
    """Whether `name` is defined with something in it: a function of a docstring, `pass` or `...` alone is the
    question told again."""
    found = definition(tree, name)
    if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return any(_does(one) for one in found.body)
    return found is not None and not isinstance(found, _IMPORTS)


def _does(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return False
    return not (isinstance(statement, ast.Expr) and isinstance(statement.value, (ast.Constant, ast.Name)))


def trimmed(found: Piece, name: str) -> str:
    """The code without what a model adds to try out its function `name` after its definition: asserts, prints, calls,
    input, `if __name__`. What binds a name that the rest reads stays, and so do settings such as
    sys.setrecursionlimit."""
    target = definition(found.tree, name)
    if target is None:
        return found.code
    after = found.tree.body[found.tree.body.index(target) + 1 :]
    kept = [one for one in found.tree.body if one not in after or isinstance(one, _DEFINITIONS)]
    needed = set().union(*(loaded(one) - _arguments(one) for one in kept))
    gone = [one for one in after if _tries(one, name) and not bound(one) & needed]
    lines = found.code.split("\n")
    taken = {line for one in found.tree.body if one not in gone for line in _lines(one)}
    drop = {line for one in gone for line in _lines(one)} - taken
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in drop)


def _tries(statement: ast.stmt, name: str) -> bool:
    """Whether a statement at the top level is a trial run."""
    if isinstance(statement, (*_DEFINITIONS, *_IMPORTS)):
        return False
    if isinstance(statement, ast.Assert) or (isinstance(statement, ast.AnnAssign) and statement.value is None):
        return True
    if loaded(statement) & {name, "print", "input", "__name__"}:
        return True
    if isinstance(statement, ast.Expr):
        call = statement.value
        if not isinstance(call, ast.Call) or isinstance(call.func, ast.Name):
            return True
        return isinstance(call.func, ast.Attribute) and call.func.attr in _RUNS
    return False


def _lines(statement: ast.stmt) -> range:
    first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
    return range(first, (statement.end_lineno or statement.lineno) + 1)


def missing(code: Piece, others: Iterable[Piece]) -> str:
    """The definitions and imports in other pieces of names that the code reads and nothing binds, and what those
    need; "" for none."""
    wanted = loaded(code.tree) - _bound_anywhere(code.tree) - _BUILTINS
    known = set().union(*map(bound, code.tree.body))
    lent: dict[tuple[int, int], str] = {}
    sources = list(others)
    for _ in range(8):
        more: set[str] = set()
        for at, source in enumerate(sources):
            lines = source.code.split("\n")
            for number, statement in enumerate(source.tree.body):
                place = (at, number)
                if place in lent or not bound(statement) & (wanted - known):
                    continue
                lent[place] = "\n".join(lines[line - 1] for line in _lines(statement))
                known |= bound(statement)
                more |= loaded(statement) - _BUILTINS
        if not more:
            break
        wanted = more
    return "\n".join(lent[place] for place in sorted(lent))


def _bound_anywhere(tree: ast.Module) -> set[str]:
    """Names bound at any depth: a rough answer that never lends what the code has."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, (*_DEFINITIONS, *_IMPORTS)):
            names |= bound(node)
    return names
