"""Weights of slates against the joint distributions written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.content.drawing import cells_of
from engine.ope.slates.estimators import standard
from policies.content.slates import marginals, slates_of
from tests.engine.content.modular_worlds import random_eligibility
from tests.policies.content.block_worlds import KINDS, WORLDS, contexts, rounds, trained


@pytest.mark.parametrize("world", WORLDS)
def test_weights_are_those_of_the_joint_distributions(world: str) -> None:
    catalog = WORLDS[world][0]
    logging = replace(trained(world).policy(), exploration=KINDS["softmax"])
    target = replace(logging, exploration=KINDS["ceiling"])
    block = rounds(catalog, 60, seed=21)
    action, propensity = logging.choose_blocks(
        block.context, block.eligible_blocks(), np.random.default_rng(2).random(60)
    )
    block = replace(block, action=action, propensity=propensity)
    found = slates_of(block, "margin", target, logging)
    wanted = target.block_probability(block.context, block.eligible_blocks(), action)
    assert found.prefix_weight[:, -1] == pytest.approx(wanted / propensity, abs=1e-9)
    expected = (wanted / propensity * block.rewards["margin"]).mean()
    assert standard(found).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["epsilon_greedy", "squarecb", "ceiling"])
def test_marginals_sum_the_joint_distribution(kind: str) -> None:
    policy = replace(trained("pairs").policy(), exploration=KINDS[kind])
    catalog, may = policy.catalog, random_eligibility(policy.catalog, 8, seed=5)
    full = policy.distribution(contexts(8, 2), may.dense())
    cell, members = cells_of(catalog, policy.groups, np.arange(catalog.k, dtype=np.int32))
    for action in range(0, catalog.k, 4):
        own = [np.full(8, int(column[action])) for column in (cell, *members)]
        found = marginals(policy.stages(contexts(8, 2), may), own[0], own[1:])
        for at, column in enumerate((cell, *members)):
            alike = (column == column[action]) & ((cell == 0) == (cell[action] == 0))
            assert found[:, at] == pytest.approx(full[:, alike].sum(axis=1), abs=1e-9)
