"""Ratings: simulated players of known strength, graphs without a maximum, order, agreement of two sets."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.evals.rating import ELO, Battle, Rating, agreement_of_ratings, ranks, rate, spearman
from evollab.records import EvolError


def battle(a: str, b: str, score: float, question: object = 0) -> Battle:
    return Battle(str(question), a, b, score)


def simulated(truth: dict[str, float], questions: int, seed: int) -> list[Battle]:
    """Each question: two players, two games with the places swapped, a fifth of the close ones tied."""
    draw = random.Random(seed)
    found = []
    for question in range(questions):
        a, b = draw.sample(sorted(truth), 2)
        chance = 1 / (1 + 10 ** ((truth[b] - truth[a]) / 400))
        tie = 0.4 * min(chance, 1 - chance)
        for swapped in (False, True):
            at = draw.random()
            score = 0.5 if at < tie else 1.0 if at < tie / 2 + chance else 0.0
            found.append(battle(b, a, 1 - score, question) if swapped else battle(a, b, score, question))
    return found


def test_two_players_have_a_closed_form() -> None:
    found = rate([battle("x", "y", score, at) for at, score in enumerate([1.0] * 3 + [0.0])], bootstraps=20)
    x, y = found.ratings
    assert (x.model, y.model) == ("x", "y")
    assert x.fit - y.fit == pytest.approx(ELO * math.log(3))
    assert x.fit + y.fit == pytest.approx(2000)
    assert (x.battles, x.wins, x.ties, x.losses) == (4, 3, 0, 1)
    assert (y.wins, y.losses, found.questions, found.padded) == (1, 3, 4, False)


def test_odds_of_ten_are_four_hundred_points() -> None:
    found = rate([battle("x", "y", float(at > 0), at) for at in range(11)], anchor={"y": 1100.0}, bootstraps=10)
    assert found.ratings[0].fit == pytest.approx(1500)
    assert (found.ratings[1].rating, found.ratings[1].low, found.ratings[1].high) == pytest.approx((1100, 1100, 1100))


def test_a_tie_is_half_a_win_for_each() -> None:
    ties = rate([battle("x", "y", 0.5, at) for at in range(4)], bootstraps=5)
    assert [one.fit for one in ties.ratings] == pytest.approx([1000, 1000])
    halves = rate([battle("x", "y", 1.0), battle("x", "y", 0.5, 1)], bootstraps=1)
    assert halves.ratings[0].fit - halves.ratings[1].fit == pytest.approx(ELO * math.log(3))


def test_known_strengths_are_recovered() -> None:
    """The order wholly, and the truth inside at least 90 % of the intervals, over simulations."""
    truth = {f"player {at}": 700.0 + 75 * at for at in range(9)}
    held, orders = [], []
    for seed in range(12):
        found = rate(simulated(truth, 900, seed), seed=seed)
        held += [low <= truth[one.model] <= high for one in found.ratings for low, high in [_ends(one)]]
        by_name = {one.model: one.rating for one in found.ratings}
        orders.append(spearman([by_name[name] for name in truth], list(truth.values())))
    assert sum(held) / len(held) >= 0.9
    assert min(order or 0 for order in orders) >= 0.98
    large = rate(simulated(truth, 6000, 99), bootstraps=10)
    assert [one.model for one in large.ratings] == sorted(truth, key=lambda name: -truth[name])


def _ends(one: Rating) -> tuple[float, float]:
    assert one.low is not None
    assert one.high is not None
    return one.low, one.high


def test_swapped_games_are_one_draw() -> None:
    """Copies of the same games on the same questions make no interval narrower."""
    games = simulated({"x": 1000.0, "y": 1080.0}, 300, 3)
    once, copied = rate(games), rate(games * 4)
    widths = [high - low for found in (once, copied) for low, high in [_ends(found.ratings[0])]]
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)


@pytest.mark.parametrize("winner", ["undefeated", "beaten by all"])
def test_a_model_that_never_lost_has_a_finite_rating_and_is_told(winner: str) -> None:
    score = 1.0 if winner == "undefeated" else 0.0
    games = [battle(winner, f"m{at % 3}", score, at) for at in range(30)]
    games += [battle("m0", "m1", 1.0, 40), battle("m1", "m2", 1.0, 41), battle("m2", "m0", 1.0, 42)]
    found = rate(games, bootstraps=20)
    place = 0 if score else -1
    assert found.padded
    assert found.ratings[place].model == winner
    assert 300 < abs(found.ratings[place].fit - found.ratings[1].fit) < 2000


def test_groups_that_never_met_stay_apart() -> None:
    games = [battle("x", "y", score, at) for at, score in enumerate([1, 1, 0])]
    games += [battle("p", "q", score, 10 + at) for at, score in enumerate([1, 0, 0, 0.5])]
    games += [battle("q", "r", score, 20 + at) for at, score in enumerate([1, 0])]
    found = rate(games, anchor={"x": 1500.0}, bootstraps=20)
    groups = {one.model: one.group for one in found.ratings}
    assert groups == {"p": 0, "q": 0, "r": 0, "x": 1, "y": 1}
    fits = {one.model: one.fit for one in found.ratings}
    assert fits["x"] == pytest.approx(1500)
    assert (fits["p"] + fits["q"] + fits["r"]) / 3 == pytest.approx(1000)


def test_what_cant_be_told() -> None:
    one = rate([battle("x", "y", 1.0), battle("x", "y", 0.0)])
    assert (one.ratings[0].low, one.bootstraps) == (None, 0), "one question has no interval"
    with pytest.raises(EvolError, match="no battles"):
        rate([])
    with pytest.raises(EvolError, match="the anchor 'z' fought no battle; there are: x, y"):
        rate([battle("x", "y", 1.0)], anchor={"z": 1.0})


_GAMES = st.lists(
    st.tuples(
        st.integers(0, 9), st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from([0.0, 0.5, 1.0]),
    ).filter(lambda one: one[1] != one[2]),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(_GAMES, st.randoms(use_true_random=False))
def test_any_battles_give_finite_ratings_whatever_their_order(
    games: Sequence[tuple[int, str, str, float]], draw: random.Random
) -> None:
    battles = [battle(a, b, score, question) for question, a, b, score in games]
    turned = list(battles)
    draw.shuffle(turned)
    found = rate(battles, bootstraps=5)
    assert found == rate(turned, bootstraps=5)
    assert all(math.isfinite(value) for one in found.ratings for value in (one.rating, one.fit))
    assert sum(one.wins for one in found.ratings) == sum(one.losses for one in found.ratings)
    if not found.padded:
        _check_maximum({one.model: one.fit for one in found.ratings}, battles)


def _check_maximum(fits: dict[str, float], battles: Sequence[Battle]) -> None:
    """At the maximum each model wins as often as its rating says."""
    for name in fits:
        won = expected = 0.0
        for one in battles:
            if name in (one.a, one.b):
                won += one.score if one.a == name else 1 - one.score
                other = one.b if one.a == name else one.a
                expected += 1 / (1 + 10 ** ((fits[other] - fits[name]) / 400))
        assert expected == pytest.approx(won, abs=1e-5)


def rated(*values: tuple[str, float, float, float]) -> list[Rating]:
    return [Rating(name, rating, low, high, rating, 0, 0, 0, 0) for name, rating, low, high in values]


def test_agreement_counts_confident_pairs() -> None:
    ours = rated(("x", 3, 2.5, 3.5), ("y", 2, 1.6, 2.4), ("z", 1, 0.6, 1.8))
    people = rated(("x", 30, 29, 31), ("y", 10, 9, 11), ("z", 20, 19, 21), ("w", 5, 4, 6))
    found = agreement_of_ratings(ours, people)
    assert found is not None
    assert found.models == 3
    assert found.spearman == pytest.approx(50)
    assert found.agreement == pytest.approx(100 * (1 + 1 + 0) / 3), "x > y and x > z agree, y and z overlap"
    assert found.differentiation == pytest.approx(200 / 3)
    assert found.mean == pytest.approx((50 + 200 / 3 + 200 / 3) / 3)
    turned = agreement_of_ratings(ours, rated(("x", 1, 0.9, 1.1), ("y", 2, 1.9, 2.1)))
    assert turned is not None
    assert (turned.spearman, turned.agreement) == pytest.approx((-100, -100))
    assert agreement_of_ratings(ours, rated(("w", 1, 1, 1), ("x", 1, 1, 1))) is None


def test_ranks_share() -> None:
    assert ranks([10, 20, 20, 5]) == [2, 3.5, 3.5, 1]
    assert spearman([1, 2, 3], [1, 1, 1]) is None
    assert spearman([1, 2, 3, 4], [1, 2, 2, 9]) == pytest.approx(0.9486833)
