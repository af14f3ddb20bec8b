"""policies/parts/practice.py: what contacts that bags left out show, on bags that are means of cells, in many logs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from engine.encoder import fit_encoder
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from policies.exploring.config import ExplorationConfig
from policies.parts.bags import bag_counts
from policies.parts.config import PartsConfig
from policies.parts.log import PartsLog
from policies.parts.practice import Shown, shown
from policies.parts.tables import PartTables
from policies.peers.segmentation import Segmentation
from policies.peers.segments import StaticSegments
from policies.vw.scoring.tables import ScoreTables
from policies.wrappers.safe import SafePolicy
from tests.policies.parts.parts_worlds import MOTIVES, RANGE, SCHEMA, catalog, context, log

ENCODER = fit_encoder(SCHEMA, [context(500, 1)])
BAGS, WORTH = 16, 5.0


def clicked(chance: FloatArray, n: int, seed: int) -> RoundBatch:
    """A log whose clicks follow (3 motives, 3 arms) chances and are worth 5."""
    batch = log(n, seed)
    _, _, arm = catalog().split(np.maximum(batch.action, 1))
    hit = (batch.action > 0) & (
        np.random.default_rng([seed, 9]).random(n) < chance[batch.context.columns["motive"].values, arm]
    )
    rewards = {"margin": WORTH * hit, "clicked": hit.astype(np.float64), "send_cost": np.zeros(n)}
    return replace(batch, rewards=rewards)


def tables(counts: FloatArray, batch: RoundBatch) -> PartTables:
    """Log odds of every motive and arm as the mean of its rows, each counted so often."""
    shapes = ScoreTables.shapes(catalog(), ENCODER.d)
    chance, worth, money = (
        ScoreTables(**{name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}) for _ in range(3)
    )
    for one in (chance, worth, money):
        one.limits[:] = -np.inf, np.inf
    worth.base[-1] = WORTH
    _, _, arm = catalog().split(np.maximum(batch.action, 1))
    motive = batch.context.columns["motive"].values
    for level, name in enumerate(MOTIVES):
        for k in range(3):
            rows = (batch.action > 0) & (arm == k) & (motive == level)
            share = (counts[rows] @ batch.rewards["clicked"][rows] + 1.0) / (counts[rows].sum() + 8.0)
            chance.arm[k, ENCODER.column_names.index(f"motive={name}")] = np.log(share / (1.0 - share))
    return PartTables(chance, worth, money, (), None, "clicked")


def read(chance: FloatArray, n: int, seed: int, confidence: float = 0.9) -> tuple[Shown, float]:
    """What is shown of one log, and what the rule truly brings over the practice of sending the first arm to all."""
    batch, config = clicked(chance, n, seed), PartsConfig()
    bags = [tables(bag_counts(batch.cluster, bag, 0).astype(float), batch) for bag in range(BAGS)]
    every = tables(np.ones(n), batch)
    practice = StaticSegments(Segmentation(()), -(np.arange(catalog().k, dtype=np.float64)[None, :] ** 2) % 17.0)
    first = np.full(catalog().k, -1.0)
    first[1] = 1.0
    practice = StaticSegments(Segmentation(()), first[None, :])
    policy = SafePolicy(
        catalog(),
        ENCODER,
        every,
        ExplorationConfig(kind="greedy"),
        n,
        bags=tuple(bags),
        practice=practice,
        confidence=confidence,
    )
    found = shown(policy, every, PartsLog([batch], catalog(), "margin", RANGE, config), config)
    people = context(3000, 77)
    action = policy.distribution(people, np.ones((3000, catalog().k), dtype=np.bool_)).argmax(axis=1)
    _, _, arm = catalog().split(action)
    motive = people.columns["motive"].values
    return found, WORTH * float((chance[motive, arm] - chance[motive, 0]).mean())


@pytest.mark.slow
def test_what_is_worse_is_seldom_shown_to_be_better() -> None:
    """Other arms are a little worse than the practice's: what is left is left by chance, in one log of ten at most."""
    chance = np.full((3, 3), 0.14)
    chance[:, 0] = 0.15
    found = [read(chance, 2500, seed) for seed in range(40)]
    assert max(true for _, true in found) <= 0.0
    assert np.mean([one.left > 0.05 for one, _ in found]) > 0.5
    assert np.mean([bool(one) for one, _ in found]) <= 0.1 + 2.0 * np.sqrt(0.1 * 0.9 / 40)


@pytest.mark.slow
def test_what_is_read_is_true_and_shown_where_it_is_large() -> None:
    """Each motive has an arm of its own: the mean over logs is the true gain, and the error that is stated is there."""
    chance = np.where(np.eye(3) > 0, 0.3, 0.1)
    found = [read(chance, 2500, seed) for seed in range(20)]
    apart = np.array([one.gain - true for one, true in found])
    stated = np.array([one.stderr for one, _ in found])
    assert abs(apart.mean()) < 3.0 * stated.mean() / np.sqrt(20)
    assert 0.6 < apart.std() / stated.mean() < 1.5
    assert np.mean([bool(one) for one, _ in found]) > 0.9


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.999])
def test_the_bound_is_that_of_a_normal_distribution(confidence: float) -> None:
    one = Shown(0.3, 0.1, 100, 0.5, 40, confidence)
    assert one.lower == pytest.approx(0.3 + 0.1 * norm.ppf(1.0 - confidence))
    assert bool(one) == (one.lower > 0.0)
    assert not replace(one, events=19)
