"""The estimators of trajectories on two trajectories of two steps, with the arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.errors import DataError, LearnError, MissingPropensityError, ParameterError
from engine.identity import keyed_hash
from engine.ope.estimators.doubly_robust import Dr
from engine.ope.estimators.weighting import Ips, Snips
from engine.ope.sequences.doubly_robust import direct, dr, magic, partial_returns, weighted_dr
from engine.ope.sequences.fqe import Steps, with_model
from engine.ope.sequences.importance import (
    per_decision_columns,
    per_decision_is,
    trajectory_is,
    weighted_per_decision_columns,
    weighted_per_decision_is,
    weighted_per_decision_ratios,
    weighted_trajectory_is,
)
from engine.ope.sequences.trajectories import Trajectories, discounts, trajectories_of
from engine.ope.sums.ratios import UnitSums
from engine.ope.target import LoggedTarget, PolicyTarget
from engine.types import NOT_AN_INSTANT
from tests.engine.ope.asking import estimate_of, of_chunks

# w_{1:t}: 2, 1 and 0.5, 1; rewards 1, 2 and 3, 4.
TWO = Trajectories(np.array([[2.0, 0.5], [0.5, 2.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
MODEL = Trajectories(TWO.weight, TWO.reward, np.array([[3.0, 2.0], [5.0, 3.0]]), np.array([[2.0, 1.0], [6.0, 4.0]]))


def test_trajectory_is() -> None:
    """gamma = 1/2: returns 1 + 1 = 2 and 3 + 2 = 5, both with w_{1:2} = 1: mean 3.5, stderr sqrt(4.5 / 2)."""
    found = trajectory_is(TWO, 0.5)
    assert (found.value, found.n) == (3.5, 2)
    assert found.stderr == pytest.approx(1.5)
    assert weighted_trajectory_is(TWO, 0.5).value == pytest.approx(3.5)


def test_per_decision_is() -> None:
    """2 * 1 + 0.5 * 1 * 2 = 3; 0.5 * 3 + 0.5 * 1 * 4 = 3.5: mean 3.25."""
    assert per_decision_is(TWO, 0.5).value == pytest.approx(3.25)


def test_weighted_per_decision_is() -> None:
    """(2 + 1.5) / 2.5 + 0.5 (2 + 4) / 2 = 1.4 + 1.5 = 2.9.

    Influences: step 1, mean w 1.25: (2 - 1.4 * 2) / 1.25 = -0.64 and 0.64; step 2, mean w 1: 0.5 (2 - 3) = -0.5, 0.5:
    together -1.14, 1.14; stderr sqrt(2 * 2 * 1.14^2) / 2 = 1.14.
    """
    found = weighted_per_decision_is(TWO, 0.5)
    assert found.value == pytest.approx(2.9)
    assert found.stderr == pytest.approx(1.14)


def test_dr() -> None:
    """First: 2 (1 - 2) + 3 + 0.5 (1 (2 - 1) + 2 * 2) = 1 + 2.5; second: 0.5 (3 - 6) + 5 + 0.5 (0 + 0.5 * 3) = 4.25."""
    assert dr(MODEL, 0.5).value == pytest.approx((3.5 + 4.25) / 2)
    assert direct(MODEL).value == 4.0
    assert math.isnan(direct(MODEL).stderr)


def test_weighted_dr() -> None:
    """Step 1: (-2 - 1.5) / 2.5 + 4 = 2.6; step 2: 0.5 ((1 + 0) / 2 + (2 * 2 + 0.5 * 3) / 2.5) = 0.5 (0.5 + 2.2)."""
    assert weighted_dr(MODEL, 0.5).value == pytest.approx(2.6 + 1.35)


def test_partial_returns() -> None:
    """Trusting the log for 0 steps is DM, 4; for both, weighted DR; for one 2.6 + 0.5 * 2.2 = 3.7."""
    assert partial_returns(MODEL, 0.5).sum(axis=0) == pytest.approx([4.0, 3.7, 3.95])


def test_magic_is_a_blend_with_the_smallest_error() -> None:
    found = magic(MODEL, 0.5)
    assert found.blend.sum() == pytest.approx(1.0)
    assert (found.blend >= 0).all()
    assert found.value == pytest.approx(found.blend @ found.returns)
    parts = partial_returns(MODEL, 0.5)
    centred = parts - parts.mean(axis=0)
    full = weighted_dr(MODEL, 0.5)
    bias = np.maximum(np.abs(found.returns - full.value) - 0.67449 * full.stderr, 0)
    matrix = 2 * centred.T @ centred + np.outer(bias, bias)
    corners = np.random.default_rng(0).dirichlet(np.ones(3), size=5000)
    best = np.einsum("ij,jk,ik->i", corners, matrix, corners).min()
    assert found.blend @ matrix @ found.blend <= best + 1e-9


def test_one_step_is_the_bandit() -> None:
    rng = np.random.default_rng(0)
    weight, reward, value, logged = rng.random((4, 50))
    one = Trajectories(*(part[:, None] for part in (weight, reward, value, logged)))
    plain, normal, robust = (estimate_of(e(), weight, reward, value, logged) for e in (Ips, Snips, Dr))
    for found in (trajectory_is(one), per_decision_is(one)):
        assert (found.value, found.stderr) == pytest.approx((plain.value, plain.stderr))
    for found in (weighted_trajectory_is(one), weighted_per_decision_is(one)):
        assert (found.value, found.stderr) == pytest.approx((normal.value, normal.stderr))
    assert (dr(one).value, dr(one).stderr) == pytest.approx((robust.value, robust.stderr))


def test_weights_of_one_give_the_mean_return() -> None:
    reward = np.random.default_rng(1).random((30, 4))
    same = Trajectories(np.ones_like(reward), reward)
    returns = reward @ discounts(0.9, 4)
    for estimator in (trajectory_is, weighted_trajectory_is, per_decision_is, weighted_per_decision_is):
        found = estimator(same, 0.9)
        assert found.value == pytest.approx(returns.mean())
        assert found.stderr == pytest.approx(returns.std(ddof=1) / math.sqrt(30))


def many(n=900, horizon=5):
    rng = np.random.default_rng(2)
    return Trajectories(rng.lognormal(-0.1, 0.4, size=(n, horizon)), rng.random((n, horizon)))


def test_any_partition_gives_the_same_bytes() -> None:
    whole = many()
    ratios = weighted_per_decision_ratios(5, 0.9)
    chunks = [weighted_per_decision_columns(whole.take(slice(i, i + 100))) for i in range(0, 900, 100)]
    expected = of_chunks(chunks, ratios)
    first, second = UnitSums(11, ratios), UnitSums(11, ratios)
    for number in (8, 1, 3, 0):
        first.add(number, chunks[number])
    for number in (7, 2, 6, 5, 4):
        second.add(number, chunks[number])
    second.merge(first)
    assert second.result() == expected
    assert expected.value == pytest.approx(weighted_per_decision_is(whole, 0.9).value, rel=1e-12)
    assert expected.stderr == pytest.approx(weighted_per_decision_is(whole, 0.9).stderr, rel=1e-9)
    with pytest.raises(DataError, match="came twice"):
        second.add(3, chunks[3])


def test_nothing_to_sum() -> None:
    with pytest.raises(DataError, match="no units"):
        UnitSums(5, weighted_per_decision_ratios(2)).result()
    with pytest.raises(DataError, match="no units"):
        UnitSums(2, weighted_per_decision_ratios(1)).result()
    none = Trajectories(np.zeros((3, 1)), np.ones((3, 1)))
    assert math.isnan(weighted_per_decision_is(none).value)
    assert per_decision_columns(none).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_trajectories_are_the_clusters_in_their_order(ope) -> None:
    """Contact p: rows 2, 0 (by time), q: row 1, r: rows 3, 4, 5, cut after two."""
    import dataclasses

    batches = ope.batches(
        [0, 1, 1, 0, 1, 0],
        [0.5, 0.25, 0.5, 0.5, 0.5, 0.5],
        {"r": [1, 2, 3, 4, 5, 6]},
        k=2,
        cluster=np.array(["p", "q", "p", "r", "r", "r"]),
        rows_per_chunk=4,
    )
    times = np.array([50, 10, 20, 1, 2, 3])
    batches = [dataclasses.replace(b, decided_at=times[i * 4 : i * 4 + b.n]) for i, b in enumerate(batches)]
    target = PolicyTarget(ope.TablePolicy("t", [0.2, 0.8]))
    found = trajectories_of(batches, target, metric="r", horizon=2)
    keys = keyed_hash(np.array(["p", "q", "r"], dtype=object), "unit")
    order = np.argsort(keys)
    assert found.weight[np.argsort(order)] == pytest.approx(np.array([[1.6, 0.4], [3.2, 1.0], [0.4, 1.6]]))
    assert found.reward[np.argsort(order)].tolist() == [[3, 1], [2, 0], [4, 5]]
    parts = [trajectories_of(batches, LoggedTarget(), metric="r", horizon=2, partition=i, partitions=2) for i in (0, 1)]
    assert sum(part.reward.sum() for part in parts) == 15
    with pytest.raises(DataError, match="decided_at"):
        trajectories_of(
            [dataclasses.replace(batches[0], decided_at=np.full(4, NOT_AN_INSTANT))], target, metric="r", horizon=2
        )
    with pytest.raises(MissingPropensityError):
        trajectories_of([dataclasses.replace(batches[0], propensity=np.full(4, np.nan))], target, metric="r", horizon=2)
    with pytest.raises(DataError, match="no trajectories"):
        trajectories_of([], target, metric="r", horizon=2)
    for options in ({"horizon": 0}, {"horizon": 2, "partition": 1}):
        with pytest.raises(ParameterError):
            trajectories_of(batches, target, metric="r", **options)


@pytest.mark.parametrize(
    "bad",
    [
        {"weight": np.ones(3)},
        {"weight": np.ones((0, 2))},
        {"weight": np.array([[-1.0, 1.0]]), "reward": np.ones((1, 2))},
        {"weight": np.array([[np.inf, 1.0]]), "reward": np.ones((1, 2))},
        {"reward": np.ones((2, 3))},
        {"reward": np.full((2, 2), np.nan)},
        {"value": np.ones((1, 2))},
    ],
    ids=["flat", "empty", "negative", "infinite", "shape", "nan", "value"],
)
def test_trajectories_are_checked(bad) -> None:
    with pytest.raises(ParameterError):
        Trajectories(**({"weight": TWO.weight, "reward": TWO.reward} | bad))


def test_arguments_are_checked() -> None:
    with pytest.raises(ParameterError, match="gamma"):
        per_decision_is(TWO, 1.5)
    for estimator in (dr, weighted_dr, direct, magic):
        with pytest.raises(ParameterError, match="value"):
            estimator(TWO)
    with pytest.raises(ParameterError, match="confidence"):
        magic(MODEL, confidence=1.0)
    with pytest.raises(ParameterError, match="at least 2"):
        magic(MODEL.take(slice(0, 1)))
    steps = Steps(np.zeros((2, 2, 1)), np.zeros((2, 2), int), np.full((2, 2, 2), 0.5), np.ones((2, 2), bool))
    with pytest.raises(ParameterError, match="folds"):
        with_model(TWO, steps, object(), folds=1)
    with pytest.raises(ParameterError, match="steps"):
        with_model(TWO.take(slice(0, 1)), steps, object())
    with pytest.raises(LearnError, match="leaves no trajectory"):
        with_model(TWO, steps, object(), keys=np.zeros(2, dtype=np.uint64))
    with pytest.raises(ParameterError, match="action"):
        Steps(np.zeros((2, 2, 1)), np.zeros((2, 3), int), np.full((2, 2, 2), 0.5), np.ones((2, 2), bool))
    with pytest.raises(ParameterError, match="target"):
        Steps(np.zeros((2, 2, 1)), np.zeros((2, 2), int), np.full((2, 3, 2), 0.5), np.ones((2, 2), bool))
