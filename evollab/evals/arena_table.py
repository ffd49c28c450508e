"""Ratings as people read them: in the terminal and as Markdown for papers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evollab.data.rows import excerpt
from evollab.evals.compare_table import aligned, piped, plain

if TYPE_CHECKING:
    from evollab.evals.arena import ArenaResult
    from evollab.evals.rating import Rating

_WIDEST = 32
_MOST = 12
"""Models up to which the terminal shows who beat whom."""
_HEAD = ("model", "rating", "95 %", "battles", "won", "tied", "lost")


def text(found: ArenaResult) -> str:
    """Ratings, who beat whom, what a reader must know."""
    lines = aligned([_HEAD, *map(_cells, found.ratings.ratings)])
    if len(found.ratings.ratings) <= _MOST:
        lines += ["", "share of the wins, ties half, of the row against the column, in percent:"]
        lines += aligned(matrix(found))
    return "\n".join([*lines, "", *(f"note: {note}" for note in notes(found))])


def markdown(found: ArenaResult) -> str:
    """The same as tables for papers, with all models."""
    lines = [*piped([_HEAD, *map(_cells, found.ratings.ratings)]), "", "Wins of the row against the column, %:", ""]
    lines += [*piped(matrix(found)), ""]
    return "\n".join([*lines, *(f"- {plain(note)}" for note in notes(found))]) + "\n"


def _cells(one: Rating) -> tuple[str, ...]:
    between = "-" if one.low is None or one.high is None else f"{one.low:.0f} to {one.high:.0f}"
    group = f" (group {one.group + 1})" if one.group else ""
    return (
        excerpt(one.model, _WIDEST) + group, f"{one.rating:.0f}", between, f"{one.battles:,}", f"{one.wins:,}",
        f"{one.ties:,}", f"{one.losses:,}",
    )  # fmt: skip


def matrix(found: ArenaResult) -> list[Sequence[str]]:
    """Who beat whom: percent of the win, "" where two never met."""
    models = [one.model for one in found.ratings.ratings]
    shares = {(one.a, one.b): one.share for one in found.pairs}
    shares |= {(b, a): 100 - share for (a, b), share in shares.items()}
    rows: list[Sequence[str]] = [("", *(str(at) for at in range(1, len(models) + 1)))]
    for at, model in enumerate(models, 1):
        cells = (f"{shares[model, other]:.0f}" if (model, other) in shares else "" for other in models)
        rows.append((f"{at} {excerpt(model, _WIDEST)}", *cells))
    return rows


def notes(found: ArenaResult) -> list[str]:
    """How the ratings were made, and what a reader must know."""
    ratings = found.ratings
    swapped = "places swapped are one battle" if found.conflict == "tie" else "places swapped count one by one"
    told = [
        f"{ratings.battles:,} battles out of {found.games:,} games on {ratings.questions:,} questions; games with the "
        f"{swapped}",
        f"Bradley-Terry by maximum likelihood, ties half; median and 95 % of {ratings.bootstraps} bootstraps over "
        f"questions; {found.anchor or 'the mean is 1000'}",
    ]
    if ratings.questions == 1:
        told.append("all battles are on one question: no interval can be told")
    if ratings.padded or ratings.padded_draws:
        where = "" if ratings.padded else f" in {ratings.padded_draws} of the bootstraps"
        told.append(
            f"somebody never lost or never won{where}: one drawn game was added to each pair that met, and how far off "
            "such a model is can't be told"
        )
    groups = max(one.group for one in ratings.ratings) + 1
    if groups > 1:
        told.append(f"{groups} groups of models never met; ratings of different groups can't be compared")
    if found.undecided:
        told.append(f"{found.undecided:,} games have no verdict and are left out")
    if found.rejected:
        first = found.rejected[0]
        told.append(f"{len(found.rejected):,} rows are no battles (line {first.line}: {excerpt(first.reason, 100)})")
    if found.agreement is not None:
        one = found.agreement
        rho, mean = (f"{value:.1f} %" if value is not None else "-" for value in (one.spearman, one.mean))
        told.append(
            f"against {found.against}, {one.models} models: Spearman {rho}, agreement {one.agreement:.1f} %, "
            f"differentiation {one.differentiation:.1f} %, mean {mean}"
        )
    return told
