"""Filling the slots of a prompt."""

from __future__ import annotations

import re

_SLOT = re.compile(r"\{\{(\w+)\}\}")


def fill(template: str, **values: str) -> str:
    """`template` with each {{name}} replaced, in one pass: braces or slot names inside a value stay
    what they are. Raises KeyError on a name that was not given."""
    return _SLOT.sub(lambda slot: values[slot.group(1)], template)
