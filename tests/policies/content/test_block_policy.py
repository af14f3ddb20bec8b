"""Assemblies chosen slot by slot against the same distributions written out action by action."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from engine.content.drawing import cells_of
from engine.errors import ParameterError
from engine.sampling import draw
from engine.types import FloatArray
from policies.content import kernels
from policies.content.policy import BlockPolicy, factored
from policies.exploring import exploration as plain
from policies.exploring.bounds import bounded
from policies.exploring.config import ExplorationConfig
from tests.engine.content.modular_worlds import random_eligibility
from tests.policies.content.block_worlds import KINDS, WORLDS, contexts, trained

N = 40


def policy_of(world: str, kind: str, *, fast: bool = False) -> BlockPolicy:
    return replace(trained(world).policy(), exploration=KINDS[kind], fast=fast)


@pytest.mark.parametrize("world", WORLDS)
def test_scores_are_vowpal_wabbits(world: str) -> None:
    assert trained(world).parity() < 1e-5


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax"])
def test_probabilities_are_those_of_the_whole_catalog(world: str, kind: str) -> None:
    """Greedy, epsilon-greedy and softmax are exactly what they are over all eligible actions at once."""
    policy = policy_of(world, kind)
    may = random_eligibility(policy.catalog, N, seed=2)
    eligible, scores = may.dense(), policy.scores(contexts(N, 5))
    # Sums over slots and over actions round differently; no two scores of these worlds are nearer than this.
    expected = policy.exploration.distribution(np.round(scores, 12), eligible, policy.rounds)
    assert policy.distribution(contexts(N, 5), eligible) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("world", WORLDS)
def test_a_ceiling_is_that_of_the_whole_catalog(world: str) -> None:
    """Every mass off the best action shrinks in the same proportion, as `policies.exploring.bounds` does it."""
    free, bound = policy_of(world, "squarecb"), policy_of(world, "ceiling")
    context, may = contexts(N, 5), random_eligibility(free.catalog, N, seed=2)
    eligible, scores = may.dense(), np.round(free.scores(context), 12)
    expected = bounded(free.distribution(context, eligible), scores, eligible, 0.1, 0.0)
    assert bound.distribution(context, eligible) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("world", WORLDS)
def test_squarecb_is_inverse_gap_weighting_in_every_stage(world: str) -> None:
    """Cells by the best assembly in them, then each group by its own scores: written out with the plain function."""
    policy = policy_of(world, "squarecb")
    context, may = contexts(N, 5), random_eligibility(policy.catalog, N, seed=2)
    eligible, scores, gamma = may.dense(), policy.scores(context), policy.exploration.gamma(policy.rounds)
    catalog, (channels, hours, arms) = policy.catalog, policy.catalog.shape
    masked = np.where(eligible, scores, -np.inf)
    cells = np.concatenate([masked[:, :1], masked[:, 1:].reshape(N, channels * hours, arms).max(axis=2)], axis=1)
    expected = plain.squarecb(np.where(np.isfinite(cells), cells, 0.0), np.isfinite(cells), gamma)
    cell, members = cells_of(catalog, policy.groups, np.arange(catalog.k, dtype=np.int32))
    joint: FloatArray = expected[:, cell]
    _, _, blocks = policy.tables.parts(policy.encoder.encode(context))
    for group, member in zip(policy.groups, members, strict=True):
        own, open_now = policy.tables.members(blocks, group), may.members(group)
        for channel in range(channels):
            here = (cell > 0) & ((np.maximum(cell, 1) - 1) // hours == channel)
            some = open_now[:, channel].any(axis=1)
            share = np.zeros((N, group.m))
            share[some] = plain.squarecb(own[some, channel], open_now[some, channel], gamma)
            joint[:, here] *= share[:, member[here]]
    assert policy.distribution(context, eligible) == pytest.approx(np.where(eligible, joint, 0.0), abs=1e-9)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_distributions_are_distributions_and_propensities_are_theirs(world: str, kind: str) -> None:
    policy = policy_of(world, kind)
    context, may = contexts(N, 6), random_eligibility(policy.catalog, N, seed=3, share=0.6)
    full = policy.distribution(context, may.dense())
    assert full.sum(axis=1) == pytest.approx(1.0, abs=1e-9)
    assert not full[~may.dense()].any()
    assert (full >= 0.0).all()
    for action in range(0, policy.catalog.k, 5):
        asked = policy.block_probability(context, may, np.full(N, action, dtype=np.int32))
        assert asked == pytest.approx(full[:, action], abs=1e-12)
    uniform = np.random.default_rng(1).random(N)
    chosen, propensity = policy.choose_blocks(context, may, uniform)
    assert propensity == pytest.approx(full[np.arange(N), chosen], abs=1e-12)
    assert (propensity > 0.0).all()
    if kind in ("softmax", "squarecb") and [group.slots for group in policy.groups] == [(0,), (1,), (2,)]:
        # With slots in their own order, nested inversion is inversion over all actions in their order.
        assert (chosen == draw(full, uniform)[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_distribution(kind: str) -> None:
    """40,000 seeded draws of one row against its own probabilities; the seed is fixed, so the test cannot flake."""
    policy = policy_of("pairs", kind)
    may = random_eligibility(policy.catalog, 1, seed=4, share=0.9)
    full = policy.distribution(contexts(1, 7), may.dense())[0]
    n = 40_000
    rows = np.zeros(n, dtype=np.int64)
    chosen, _ = policy.choose_blocks(contexts(1, 7).take(rows), may.take(rows), np.random.default_rng(8).random(n))
    found = np.bincount(chosen, minlength=policy.catalog.k)
    assert not found[full == 0.0].any()
    order = np.argsort(full)
    # Rare actions together, so that every cell of the test expects at least 10.
    cut = int(np.searchsorted(np.cumsum(full[order]) * n, 10.0)) + 1
    rest = order[cut:]
    rest = rest[full[rest] * n >= 10.0]
    other = np.setdiff1d(np.arange(policy.catalog.k), rest)
    observed = np.append(found[rest], found[other].sum())
    expected = np.append(full[rest], full[other].sum()) * n
    assert len(observed) > 1 or kind == "greedy"
    if len(observed) > 1 and expected[-1] > 0:
        assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4
    else:
        assert found.max() == n


@pytest.mark.skipif(not kernels.AVAILABLE, reason="numba is not installed")
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_repeats_the_plain_path(world: str, kind: str) -> None:
    n = 600
    context, uniform = contexts(n, 9), np.random.default_rng(10).random(n)
    slow, fast = policy_of(world, kind), policy_of(world, kind, fast=True)
    may = random_eligibility(slow.catalog, n, seed=5, share=0.6)
    (one, first), (other, second) = (policy.choose_blocks(context, may, uniform) for policy in (slow, fast))
    assert (one == other).all()
    assert first == pytest.approx(second, abs=1e-12)


def test_any_order_and_block_size_give_the_same_bytes() -> None:
    policy = policy_of("product", "softmax")
    context, uniform = contexts(50, 11), np.random.default_rng(3).random(50)
    may = random_eligibility(policy.catalog, 50, seed=6)
    action, propensity = policy.choose_blocks(context, may, uniform)
    mixed = np.random.default_rng(4).permutation(50)
    for rows in (mixed, mixed[:7], mixed[20:21]):
        again = policy.choose_blocks(context.take(rows), may.take(rows), uniform[rows])
        assert again[0].tobytes() == action[rows].tobytes()
        assert again[1].tobytes() == propensity[rows].tobytes()


def test_what_has_no_form_in_blocks_is_refused() -> None:
    policy = policy_of("product", "softmax")
    with pytest.raises(ParameterError, match="floor"):
        replace(policy, exploration=ExplorationConfig(floor=0.005))
    with pytest.raises(ParameterError, match="kind"):
        replace(policy, exploration=ExplorationConfig(kind="bag"))
    hole = random_eligibility(policy.catalog, 1, seed=4, share=1.0).dense()
    hole[0, 7] = False
    with pytest.raises(ParameterError, match="product of blocks"):
        factored(policy.catalog, hole)
