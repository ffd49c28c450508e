"""A draw cut into slices for progressive learning: by chance, by rising difficulty, or all alike."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.records import EvolError

RANDOM = "random"
STRATIFIED = "stratified"
MOST = 500
"""Slices at most: each is a file that is open while rows are written."""


def check(slices: int | None, slice_by: str) -> None:
    """Raise EvolError for numbers of slices that can't be, and for a `slice_by` without slices."""
    if slices is not None and not 1 < slices <= MOST:
        raise EvolError(f"--slices {slices}: expected 2 to {MOST}")
    if slices is None and slice_by != RANDOM:
        raise EvolError(f"--slice-by {slice_by}: needs a number of slices", "--slices 9")


def cut(rows: int, slices: int, order: Sequence[int], *, deal: bool) -> list[int]:
    """The slice, from 1, of each of `rows` rows; sizes differ by one at most.

    `order` has every row (0 to rows-1) once. It is cut into stretches: the first slice gets its
    beginning. With `deal` it is dealt out like cards, so that rows that stand together in it, being
    alike, go to different slices. Raises EvolError when there are fewer rows than slices.
    """
    if rows < slices:
        raise EvolError(f"--slices {slices}: only {rows:,} rows were drawn; expected at most that many slices")
    found = [0] * rows
    for place, row in enumerate(order):
        found[row] = 1 + (place % slices if deal else place * slices // rows)
    return found
