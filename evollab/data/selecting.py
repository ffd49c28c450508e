"""What a way to choose rows is: what it needs of each row, what it gets to see, what it answers.

The ways are the files in `evollab/data/selectors/`, each with a `SELECTOR` in it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from evollab.data.embed import EMBED_HELP
from evollab.data.filtering import FilterOptions
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.records import EvolError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Vectors = npt.NDArray[np.float32]
    Keys = npt.NDArray[np.uint64]
    Rows = npt.NDArray[np.int64]

SELECTORS = "evollab.data.selectors"
"""Where ways are found by name."""
WAYS = ("deita", "instag", "ifd", "passrate", "longest", "random")
BELOW = "below the cut"
OUTSIDE = "out of band"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectOptions(FilterOptions):
    """Which rows to choose, how many, and what to compare the choice with."""

    how: str | None = option(
        f"how to choose: {', '.join(WAYS)}, or a path to a .py file; without it only the filters work", None,
        metavar="WAY",
    )  # fmt: skip
    n: int | None = option("rows to choose; deita, ifd and passrate know an end without it", None, metavar="N")
    complexity: str = option("deita: the field that says how difficult a row is", "difficulty", metavar="FIELD")
    quality: str = option("deita: the field that says how good its response is", "quality", metavar="FIELD")
    near: float = option(
        "deita: a row is passed over when its cosine similarity to one already chosen is this or more", 0.9,
        metavar="COSINE",
    )  # fmt: skip
    embed: str | None = option(
        f"{EMBED_HELP}; for the comparison alone: hashed", None, metavar="MODEL",
    )  # fmt: skip
    text: str = option(
        "what is embedded: prompt (all that users say) or both (that, and the responses)",
        "prompt", choices=("prompt", "both"),
    )  # fmt: skip
    band: str | None = option(
        "ifd, passrate: values that may stay, as LOW,HIGH; (0,0.5] leaves 0 out and 0.5 in; default: (0,1)",
        None, metavar="LOW,HIGH",
    )  # fmt: skip
    compare: str = option(
        "what stands beside the choice in the table: all (the ways that the data allow), none, or names parted by "
        "commas",
        "all", metavar="WAYS",
    )  # fmt: skip
    seed: int = option("number that all draws depend on", 0, metavar="N")

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise EvolError(f"--n {self.n}: expected 1 or more")
        if not 0 < self.near <= 1:
            raise EvolError(f"--near {self.near:g}: expected a cosine similarity above 0, at most 1")
        if self.text not in ("prompt", "both"):
            raise EvolError(f"--text {excerpt(self.text, 40)!r}: expected prompt or both")
        if self.how is None and not self.filters():
            raise EvolError("nothing to choose by", f"--how with one of {', '.join(WAYS)}, or --filter")
        if self.how is None and self.n is not None:
            raise EvolError(f"--n {self.n}: chosen how?", f"--how with one of {', '.join(WAYS)}")
        if self.band is not None and self.how in set(WAYS) - {"ifd", "passrate"}:
            raise EvolError(f"--band {excerpt(self.band, 40)}: {self.how} knows no band", "--how ifd or --how passrate")
        self.mapping()
        self.limits()

    def limits(self) -> Band:
        """`band`, read. Raises EvolError for what is none."""
        return Band(0.0, 1.0, False, False) if self.band is None else read_band(self.band)

    def config(self) -> dict[str, Any]:
        """What the outcome depends on, for step.json."""
        return dataclasses.asdict(self) | {
            name: list(getattr(self, name)) for name in ("map", "licences", "licence_of")
        }


_NUMBER = r"\s*(-?\d{1,12}(?:\.\d{1,12})?)\s*"
_BAND = re.compile(rf"(?:([\[(])?){_NUMBER},{_NUMBER}([\])])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Band:
    """A range of numbers; `low_in`, `high_in`: whether its ends belong to it."""

    low: float
    high: float
    low_in: bool
    high_in: bool

    def __str__(self) -> str:
        return f"{'(['[self.low_in]}{self.low:g},{self.high:g}{')]'[self.high_in]}"

    def below(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Where a value lies under the band."""
        return values < self.low if self.low_in else values <= self.low

    def above(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Where a value lies over the band."""
        return values > self.high if self.high_in else values >= self.high

    def why(self, name: str, value: float, under: bool) -> str:
        sign, end = (("<=", "<")[self.low_in], self.low) if under else ((">=", ">")[self.high_in], self.high)
        return f"{name} {value:.4g} {sign} {end:g}"


def read_band(text: str) -> Band:
    """A band as people write it: "0.2,0.8" and "[0.2,0.8]" hold both ends, "(0,0.5]" only the upper one."""
    match = _BAND.fullmatch(text.strip())
    if match is None or (match[1] is None) != (match[4] is None):
        raise EvolError(f"--band {excerpt(text, 40)!r}: expected LOW,HIGH", "--band 0.2,0.8 or --band '(0,0.5]'")
    band = Band(float(match[2]), float(match[3]), match[1] != "(", match[4] != ")")
    if band.low > band.high or (band.low == band.high and not (band.low_in and band.high_in)):
        raise EvolError(f"--band {excerpt(text, 40)!r}: no number lies in it", "--band LOW,HIGH with LOW below HIGH")
    return band


# The seam


@dataclass(frozen=True, slots=True)
class Need:
    """A field that a way reads, found in the row or in its attributes (`strata.value_of`). `kind`: number
    (finite), or list (of texts, also one text parted by commas)."""

    name: str
    kind: Literal["number", "list"] = "number"


@dataclass(frozen=True, slots=True)
class Candidates:
    """The rows that a way may choose from: all that passed the filters and have what it needs.

    A candidate is a place in these columns, from 0. keys: a number for each that depends on the row and
    the seed alone, all different: what decides between equals. numbers: float64 by name, NaN only in
    columns that the way didn't ask for. lists: tuples of texts by name. vectors: unit float32 rows
    (len(places), dimensions) for the candidates at some places.
    """

    size: int
    keys: Keys
    numbers: Mapping[str, Floats]
    lists: Mapping[str, Sequence[tuple[str, ...]]]
    vectors: Callable[[Rows], Vectors]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a candidate was not chosen: `reason` in a few words that many share, `detail` with its numbers,
    `facts` for removed.jsonl, and the chosen candidate that it resembles where that was the reason."""

    reason: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    nearest: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The places that were chosen, and `why` for each of the others."""

    chosen: Sequence[int] | Rows
    why: Callable[[int], Why]


@dataclass(frozen=True, slots=True)
class Selector:
    """A way to choose. needs: the fields that a row must have. pick: chooses at most `options.n` of the
    candidates. ends: whether it knows an end without `--n`. embeds: whether it chooses by vectors, which
    then are made with the best embedder that is installed."""

    needs: Callable[[SelectOptions], Sequence[Need]]
    pick: Callable[[Candidates, SelectOptions], Choice]
    ends: bool = False
    embeds: bool = False


def ranked(scores: Floats, keys: Keys) -> Rows:
    """Places by falling score, equals by key."""
    import numpy as np

    return np.lexsort((keys, -scores)).astype(np.int64)


def best(candidates: Candidates, scores: Floats, n: int | None, name: str) -> Choice:
    """The `n` (None: all) candidates with the highest scores; `name` says what the score is."""
    order = ranked(scores, candidates.keys)
    chosen = order[:n]
    cut = float(scores[chosen[-1]]) if len(chosen) else 0.0

    def why(place: int) -> Why:
        return below(name, float(scores[place]), cut)

    return Choice(chosen, why)


def below(name: str, score: float, cut: float) -> Why:
    """The reason of a candidate whose score is not enough."""
    if score == cut:
        return Why(BELOW, f"{name} {score:.4g} is at the cut, where the draw decides", {"score": score})
    return Why(BELOW, f"{name} {score:.4g} is below the cut at {cut:.4g}", {"score": score})
