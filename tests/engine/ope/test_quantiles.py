"""Quantiles of the reward under a policy: by hand, in any order, and with the coverage that is claimed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from engine.errors import DataError, ParameterError
from engine.ope.quantiles import QuantileSums, quantiles

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def test_by_hand() -> None:
    """Rewards 1, 2, 3, 4 with weights 1, 0, 2, 1: F = 1/4, 1/4, 3/4, 1."""
    found = quantiles(np.array([1.0, 0, 2, 1]), np.array([1.0, 2, 3, 4]), (0.25, 0.26, 0.5, 0.75, 0.8))
    assert [q.value for q in found] == [1, 3, 3, 3, 4]
    assert [q.share_below for q in found] == [0, 0.25, 0.25, 0.25, 0.75]


def test_the_interval_holds_the_edges_that_are_not_excluded() -> None:
    """100 rows of weight 1, rewards 1 to 100: at the edge y, F = y / 100 and its error sqrt(F (1 - F) / 100).

    0.4 + 1.96 * 0.049 = 0.496 misses 0.5, 0.41 + 1.96 * 0.0492 = 0.506 does not; 0.59 - 0.0964 misses it from above,
    0.6 - 0.096 does not.
    """
    (median,) = quantiles(np.ones(100), np.arange(1.0, 101.0), (0.5,))
    assert (median.value, median.low, median.high) == (50, 41, 60)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.01, 20)), min_size=1, max_size=40))
def test_even_weights_give_the_plain_quantiles_and_intervals_hold_them(rows) -> None:
    reward, weight = np.array(rows).T
    for q in quantiles(np.ones_like(reward), reward, LEVELS):
        assert q.value == np.quantile(reward, q.level, method="inverted_cdf")
    for q in quantiles(weight, reward, LEVELS):
        assert q.low <= q.value <= q.high
        assert weight[reward <= q.value].sum() >= (q.level - 1e-9) * weight.sum()
        assert weight[reward < q.value].sum() <= (q.level + 1e-9) * weight.sum()


@settings(max_examples=30)
@given(st.permutations(range(9)), st.lists(st.integers(0, 2), min_size=9, max_size=9))
def test_any_partition_gives_the_same_bytes(order, owner) -> None:
    rng = np.random.default_rng(0)
    weight, reward = rng.lognormal(size=900), rng.random(900)
    edges = np.linspace(0, 1, 65)
    whole, parts = QuantileSums(edges), [QuantileSums(edges) for _ in range(3)]
    chunks = [slice(start, start + 100) for start in range(0, 900, 100)]
    for rows in chunks:
        whole.add(weight[rows], reward[rows])
    for chunk in order:
        rows = chunks[chunk]
        parts[owner[chunk]].add(weight[rows], reward[rows])
    first, *others = parts
    for other in others:
        first.merge(other)
    assert first.n == 900
    assert first.result(LEVELS) == whole.result(LEVELS)


def test_bins_are_as_exact_as_they_are_wide() -> None:
    rng = np.random.default_rng(1)
    weight, reward = rng.lognormal(size=2000), rng.random(2000)
    sums = QuantileSums(np.linspace(0, 1, 1001))
    sums.add(weight, reward)
    for binned, exact in zip(sums.result(LEVELS), quantiles(weight, reward, LEVELS), strict=True):
        for name in ("value", "low", "high"):
            assert 0 <= getattr(binned, name) - getattr(exact, name) <= 1e-3


@pytest.mark.slow
def test_intervals_of_95_percent_cover_the_truth() -> None:
    """Action 1 shifts a normal reward by 2; logged with 0.8 and 0.2, judged for 0.3 and 0.7."""
    rng = np.random.default_rng(2)
    truth = [brentq(lambda y, p=p: 0.3 * norm.cdf(y) + 0.7 * norm.cdf(y - 2) - p, -9, 9) for p in LEVELS]
    covered = []
    for _ in range(400):
        action = rng.random(800) < 0.2
        reward = 2.0 * action + rng.normal(size=800)
        found = quantiles(np.where(action, 3.5, 0.375), reward, LEVELS)
        covered.append([q.low <= true <= q.high for q, true in zip(found, truth, strict=True)])
    rates = np.mean(covered, axis=0)
    assert ((rates >= 0.92) & (rates <= 0.985)).all(), rates


@pytest.mark.parametrize(
    "edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [0.0, math.inf], [[0.0, 1.0]]], ids=["one", "same", "falling", "inf", "2d"]
)
def test_edges_are_checked(edges) -> None:
    with pytest.raises(ParameterError, match="edges"):
        QuantileSums(edges)


def test_what_cannot_be_used_is_refused() -> None:
    sums = QuantileSums([0.0, 1.0])
    for weight, reward in ((1.0, 1.5), (1.0, math.nan), (-1.0, 0.5), (math.inf, 0.5)):
        with pytest.raises(DataError, match="up to 1"):
            sums.add(np.array([weight]), np.array([reward]))
    with pytest.raises(DataError, match="no row has any weight"):
        sums.result((0.5,))
    with pytest.raises(ParameterError, match="the same"):
        sums.merge(QuantileSums([0.0, 2.0]))
    sums.add(np.ones(1), np.ones(1))
    for levels, alpha in (((), 0.05), ((1.0,), 0.05), ((0.5,), 0.0)):
        with pytest.raises(ParameterError, match=r"in \(0, 1\)"):
            sums.result(levels, alpha)
    for reward in (np.empty(0), np.array([np.nan])):
        with pytest.raises(ParameterError, match="finite"):
            quantiles(np.ones_like(reward), reward, (0.5,))
