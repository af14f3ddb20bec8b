"""Pseudo-inverse weights of jointly filled slates: the sum of slot weights for products, exact for rankings."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.ope.estimators.weighting import Ips
from engine.ope.slates.slates import joint_weights
from tests.engine.ope.asking import estimate_of


def test_slots_filled_on_their_own_give_the_sum_of_their_weights() -> None:
    rng = np.random.default_rng(0)
    possible = np.array(list(product(range(3), repeat=3)))
    logging, target = (rng.dirichlet(np.ones(3), size=3) for _ in range(2))
    slots = np.arange(3)
    each = (target[slots, possible] / logging[slots, possible]).sum(axis=1) - 2
    chances = [table[slots, possible].prod(axis=1) for table in (logging, target)]
    assert joint_weights(possible, *chances) == pytest.approx(each)


def test_rankings_with_additive_rewards_are_unbiased() -> None:
    """All rankings of 3 of 4: the exact expectation of weight times an additive reward is the target's value."""
    rng = np.random.default_rng(1)
    possible = np.array(list(permutations(range(4), 3)))
    adds = rng.normal(size=(3, 4))
    reward = adds[np.arange(3), possible].sum(axis=1)
    logging, target = rng.dirichlet(np.ones(24)), rng.dirichlet(np.full(24, 0.3))
    weight = joint_weights(possible, logging, target)
    assert (logging * weight * reward).sum() == pytest.approx(target @ reward)
    assert (logging * weight).sum() == pytest.approx(1.0)
    assert (logging * weight**2).sum() < (target**2 / logging).sum()


def test_uniform_rankings_by_hand() -> None:
    """Two items in two places, each order with 1/2: the orders share no mark, so the weights are those of IPS."""
    possible = np.array([[0, 1], [1, 0]])
    weight = joint_weights(possible, np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    assert weight == pytest.approx([1.8, 0.2])
    shown = np.array([0, 0, 1])
    assert estimate_of(Ips(), weight[shown], np.array([1.0, 2.0, 5.0])).value == pytest.approx((1.8 + 3.6 + 1.0) / 3)


def test_what_cannot_be_weighed_is_refused() -> None:
    possible = np.array([[0, 1], [1, 0], [2, 0]])
    even = np.array([0.5, 0.5, 0.0])
    with pytest.raises(DataError, match="never shows action 2 in slot 0"):
        joint_weights(possible, even, np.array([0.0, 0.5, 0.5]))
    together = np.array([0.5, 0.5, 0.0, 0.0])
    with pytest.raises(DataError, match="do not span"):
        joint_weights(np.array([[0, 0], [1, 1], [0, 1], [1, 0]]), together, np.array([0.0, 0.0, 1.0, 0.0]))
    for logging, target in ((even[:2], even), (even, even * 2), (even, np.array([1.5, -0.5, 0.0]))):
        with pytest.raises(ParameterError, match="summing to 1"):
            joint_weights(possible, logging, target)
