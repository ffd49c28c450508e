"""Battles out of files of any making: our own rows, LMSYS's arena, AlpacaEval's annotations, MT-Bench's pairwise
judgements, `evol people`, and evaluations against a reference model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import excerpt, names
from evollab.evals.judging.ratio import RESULT as OUTCOME
from evollab.evals.people.judgements import JUDGEMENTS
from evollab.evals.rating import Battle
from evollab.evals.result import GRADED, RESULT
from evollab.evals.result import read as read_result
from evollab.records import EvolError, Rejected, digest

BATTLES = "battles.jsonl"
CONFLICTS = ("tie", "both")
_LONGEST = 200
_Fields = Mapping[str, Any]
_Reader = Callable[[_Fields, str], Iterator[Battle]]


@dataclass(slots=True)
class Battles:
    """What was read. games: as they were fought. undecided: games without a verdict (the judge's reply could not be
    read). rejected: rows that are no battle. files: what was read."""

    games: list[Battle] = field(default_factory=list[Battle])
    undecided: int = 0
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    files: list[str] = field(default_factory=list[str])


def read_battles(runs: Sequence[str], *, strict: bool = False) -> Battles:
    """All battles in files and folders. Raises EvolError where one holds none, and with `strict` for the first row that
    is none."""
    found = Battles()
    for run in dict.fromkeys(runs):
        for file, models in _files(run):
            _read(file, models, found, strict)
    return found


def _files(run: str) -> list[tuple[str, tuple[str, str] | None]]:
    """Files with battles in `run`; with both models where an evaluation's result tells them."""
    folder = Path(run)
    if not folder.is_dir():
        return [(run, None)]
    plain = [str(folder / name) for name in (BATTLES, JUDGEMENTS) if (folder / name).is_file()]
    if plain:
        return [(name, None) for name in plain]
    places = [folder] if (folder / RESULT).is_file() else sorted(path.parent for path in folder.glob(f"*/{RESULT}"))
    told: list[tuple[str, tuple[str, str] | None]] = []
    for place in places:
        result = read_result(place)
        own, other = result.get("model"), result.get("reference")
        if isinstance(own, str) and isinstance(other, str) and own and other:
            told.append((str(place / GRADED), (own, other)))
    if not told:
        raise EvolError(
            f"{run} holds no battles: no {BATTLES}, no {JUDGEMENTS} of evol people, no evaluation against a reference",
            f"battles are rows of a file: {_EXAMPLE}",
        )
    return told


def _read(file: str, models: tuple[str, str] | None, found: Battles, strict: bool) -> None:
    before = len(found.games) + found.undecided
    first: Rejected | None = None
    found.files.append(file)
    for row in read_rows(file, strict=strict, reject=found.rejected.append):
        try:
            games = list(_graded(row.fields, models) if models else games_of(row.fields, f"{file}:{row.number}"))
        except BadFields as error:
            bad = Rejected(file, row.number, str(error), "")
            if strict:
                raise EvolError(f"{file}:{row.number}: {error}", _EXAMPLE) from None
            first = first or bad
            found.rejected.append(bad)
            continue
        found.games += [one for one in games if not math.isnan(one.score)]
        found.undecided += sum(math.isnan(one.score) for one in games)
    if len(found.games) + found.undecided == before:
        why = f" (line {first.line}: {first.reason})" if first else ""
        raise EvolError(f"{file} holds no battles{why}", f"expected rows as {_EXAMPLE}")


_EXAMPLE = '{"question": "12", "a": "MODEL", "b": "MODEL", "winner": "a"}'


def games_of(fields: _Fields, place: str) -> Iterator[Battle]:
    """The games of one row, NaN for the score of one without a verdict. place: what the row is called where it has no
    question of its own. Raises BadFields for what is no battle."""
    for columns, read in _SHAPES:
        if all(name in fields for name in columns):
            yield from read(fields, place)
            return
    shapes = "; ".join(", ".join(columns) for columns, _ in _SHAPES)
    raise BadFields(f"no battle: it has {names(fields)}; expected one of: {shapes}")


def _own(fields: _Fields, place: str) -> Iterator[Battle]:
    yield _battle(fields, ("a", "b"), place, winner(fields["winner"], ("a", "b")))


def _lmsys(fields: _Fields, place: str) -> Iterator[Battle]:
    columns = ("model_a", "model_b")
    yield _battle(fields, columns, place, winner(fields["winner"], columns))


def _alpaca(fields: _Fields, place: str) -> Iterator[Battle]:
    """preference: from 1, the first is better, to 2, the second is; 0 a draw, as AlpacaEval 1 wrote it."""
    told = fields["preference"]
    if isinstance(told, bool) or not isinstance(told, int | float | None):
        raise BadFields(f"preference is {excerpt(repr(told), 40)}; expected a number from 1 to 2")
    if told is None or (isinstance(told, float) and math.isnan(told)):
        score = math.nan
    elif told == 0:
        score = 0.5
    elif 1 <= told <= 2:
        score = float(2 - told)
    else:
        raise BadFields(f"preference is {excerpt(repr(told), 40)}; expected a number from 1 to 2")
    yield _battle(fields, ("generator_1", "generator_2"), place, score)


def _mtbench(fields: _Fields, place: str) -> Iterator[Battle]:
    """Two games with the places swapped; winners are named by model."""
    columns = ("model_1", "model_2")
    for game in ("g1_winner", "g2_winner"):
        if game in fields:
            yield _battle(fields, columns, place, winner(fields[game], columns))


def _people(fields: _Fields, place: str) -> Iterator[Battle]:
    """preference: 1 or 2, the better one; 0 a tie."""
    told = fields["preference"]
    if isinstance(told, bool) or told not in (0, 1, 2):
        raise BadFields(f"preference is {excerpt(repr(told), 40)}; expected 1, 2, or 0 for a tie")
    yield _battle(fields, ("model_1", "model_2"), place, (0.5, 1.0, 0.0)[int(told)])


_SHAPES: tuple[tuple[tuple[str, ...], _Reader], ...] = (
    (("a", "b", "winner"), _own),
    (("model_a", "model_b", "winner"), _lmsys),
    (("generator_1", "generator_2", "preference"), _alpaca),
    (("model_1", "model_2", "g1_winner"), _mtbench),
    (("model_1", "model_2", "preference"), _people),
)


def winner(value: object, columns: tuple[str, str]) -> float:
    """The first's score; NaN where the judge gave no verdict. Raises BadFields for other words."""
    if value is None or value == "error":
        return math.nan
    if value in columns:
        return 1.0 if value == columns[0] else 0.0
    if isinstance(value, str) and (value.lower().startswith("tie") or value.lower() in ("both_bad", "bothbad")):
        return 0.5
    raise BadFields(f"winner is {excerpt(repr(value), 40)}; expected {columns[0]}, {columns[1]} or tie")


def _battle(fields: _Fields, columns: tuple[str, str], place: str, score: float) -> Battle:
    models = [fields[name] for name in columns]
    for name, model in zip(columns, models, strict=True):
        if not isinstance(model, str) or not model.strip() or len(model) > _LONGEST:
            raise BadFields(f"{name} is {excerpt(repr(model), 40)}; expected a model's name")
    if models[0] == models[1]:
        raise BadFields(f"{columns[0]} and {columns[1]} are the same model, {excerpt(models[0], 40)}")
    judge = fields.get("judge", fields.get("annotator", fields.get("judge_name")))
    match = digest(fields.get("turn"), judge, fields.get("dataset"))
    return Battle(_question(fields, place), models[0], models[1], score, match)


def _question(fields: _Fields, place: str) -> str:
    for name in ("question", "question_id", "item", "instruction", "prompt", "id"):
        value = fields.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            text = str(value)
            return text if len(text) <= _LONGEST else digest(text)
    return place


def _graded(fields: _Fields, models: tuple[str, str]) -> Iterator[Battle]:
    """An answer that a judge compared with the reference's: its score, or among its scores the outcome."""
    more = fields.get("more")
    score = more[OUTCOME] if isinstance(more, dict) and OUTCOME in more else fields.get("score")
    if not isinstance(fields.get("id"), str) or isinstance(score, bool) or not isinstance(score, int | float | None):
        raise BadFields(f"no id and score; the row has {names(fields)}")
    if score is not None and not 0 <= score <= 1:
        raise BadFields(f"score is {excerpt(repr(score), 40)}; expected 0 to 1, what the model got of the win")
    yield Battle(fields["id"], *models, math.nan if score is None else float(score), digest(fields.get("sample")))


def settled(games: Sequence[Battle], conflict: str = "tie") -> list[Battle]:
    """Battles out of games. "tie": the games of two models on one question that differ in order alone become one
    battle, a tie where they disagree (of graded preferences the mean); "both": each game counts."""
    if conflict == "both":
        return list(games)
    matches: dict[tuple[str, str, str, str], list[float]] = {}
    for game in games:
        one = game if game.a < game.b else replace(game, a=game.b, b=game.a, score=1 - game.score)
        matches.setdefault((one.question, one.a, one.b, one.match), []).append(one.score)
    return [Battle(question, a, b, _together(scores), match) for (question, a, b, match), scores in matches.items()]


def _together(scores: Sequence[float]) -> float:
    if set(scores) <= {0.0, 0.5, 1.0}:
        return scores[0] if len(set(scores)) == 1 else 0.5
    return sum(scores) / len(scores)
