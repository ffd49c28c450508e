"""Which lists of a JSON file are tuples or sets: JSON can't say, but the asserts that come with it do.

assert f((1, 2), [(3, "x")]) == ...     inputs [[1, 2], [[3, "x"]]] -> (1, 2), [(3, "x")]
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evollab.evals.code.syntax import parse

_HOLDERS = {"list", "tuple", "set", "dict"}


@dataclass(slots=True)
class Shape:
    """What has been seen at one place: types, and the shapes of what is inside."""

    kinds: set[str] = field(default_factory=set[str])
    inside: Shape | None = None

    def see(self, value: Any) -> None:
        self.kinds.add(type(value).__name__)
        if isinstance(value, dict):
            parts = list(value.values())
        elif isinstance(value, (list, tuple, set)):
            parts = list(value)
        else:
            return
        if self.inside is None:
            self.inside = Shape()
        for part in parts:
            self.inside.see(part)

    def give(self, value: Any, nested: bool = False) -> Any:
        """The value with the types that were seen at its place. nested: tuples stand among other values further out,
        as in (1, (2, (3,))); then lists deeper than any that was seen are tuples too."""
        inside = self.inside or Shape()
        if isinstance(value, dict):
            return {key: inside.give(part) for key, part in value.items()}
        if not isinstance(value, list):
            return value
        nested = nested or ("tuple" in self.kinds and len(self.kinds) > 1 and "list" not in self.kinds)
        parts = [inside.give(part, nested) for part in value]
        if "list" not in self.kinds:
            if "tuple" in self.kinds or (nested and not self.kinds & _HOLDERS):
                return tuple(parts)
            if "set" in self.kinds:
                return set(parts) if parts else {}
        return parts


def typed(
    inputs: Sequence[Sequence[Any]], asserts: str, entry: str, contract: str = "", names: Sequence[str] = ()
) -> list[list[Any]]:
    """Inputs, a list of arguments each, with the types that the calls of `entry` in `asserts` show.

    contract: source with asserts about the arguments, which are called `names`; where it takes a list, a list stays
    one, and where it takes a tuple alone, a list becomes one. Numbers stand as texts where arguments are complex.
    """
    shapes: dict[int, Shape] = {}
    for call in _calls(asserts, entry):
        for at, value in enumerate(call):
            shapes.setdefault(at, Shape()).see(value)
    by_name = _allowed(contract)
    allowed = [by_name.get(name, set()) for name in names]
    for at, kinds in enumerate(allowed):
        if "list" in kinds:
            shapes.setdefault(at, Shape()).kinds.add("list")
        elif "tuple" in kinds:
            shape = shapes.setdefault(at, Shape())
            shape.kinds = (shape.kinds - {"list"}) | {"tuple"}
    is_complex = {at for at, kinds in enumerate(allowed) if "complex" in kinds}
    is_complex |= {at for at, shape in shapes.items() if "complex" in shape.kinds}

    def give(at: int, value: Any) -> Any:
        shape = shapes.get(at, Shape())
        if is_complex and isinstance(value, str) and "str" not in shape.kinds:
            return complex(value) if at in is_complex else float(value)
        return shape.give(value)

    return [[give(at, value) for at, value in enumerate(given)] for given in inputs]


def _allowed(contract: str) -> dict[str, set[str]]:
    """The types that a contract takes, by the name of the argument."""
    found: dict[str, set[str]] = {}
    for node in (node for one in _statements(contract) for node in ast.walk(one)):
        if not isinstance(node, ast.Assert) or not isinstance(node.test, ast.Call):
            continue
        match node.test:
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), kinds]):
                parts = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
                found.setdefault(name, {part.id for part in parts if isinstance(part, ast.Name)})
    return found


def _statements(contract: str) -> list[ast.stmt]:
    """The statements of a contract, which is indented as the function that it was made for."""
    tree = parse("def contract():\n" + textwrap.indent(textwrap.dedent(contract.strip("\n")), " ") + "\n pass")
    if tree is None or not isinstance(tree.body[0], ast.FunctionDef):
        return []
    return tree.body[0].body[:-1]


def _calls(asserts: str, entry: str) -> list[list[Any]]:
    tree = parse(asserts)
    found = []
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry:
            try:
                found.append([ast.literal_eval(argument) for argument in node.args])
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
    return found
