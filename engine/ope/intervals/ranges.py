"""Between which limits the term of one row and the value of a policy lie, before any row is seen.

Limits follow from the declared range of the reward and the largest weight that the log's policy allows, never from the
sample: the largest weight that happened to be drawn bounds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from engine.ope.terms import WEIGHT, WEIGHTED_REWARD, Estimator

CLIPPED_REWARD = "clipped_reward"
DOUBLY_ROBUST = "doubly_robust"
Range = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """What is known of one policy's weights and rewards.

    Attributes:
        weight: (smallest, largest) possible weight; (1, 1) for the logged choices, (0, inf) where nothing is known.
        reward: (lowest, highest) possible reward.
        clip: of the clipped estimator.
    """

    weight: Range
    reward: Range
    clip: float

    @property
    def spread(self) -> float:
        """Width of the reward's range."""
        return self.reward[1] - self.reward[0]


def value_range(estimator: Estimator, limits: Limits) -> Range:
    """Range of the mean that the estimator aims at.

    A clipped policy may give up weight, so its mean may fall towards 0.
    """
    low, high = limits.reward
    if estimator.numerator == CLIPPED_REWARD:
        return min(low, 0.0), max(high, 0.0)
    return low, high


def term_range(estimator: Estimator, limits: Limits) -> Range | None:
    """Range of one row's numerator, or None where it is not known for the estimator.

    For DR it holds as long as the model's predictions lie in the reward's range.
    """
    if estimator.numerator == WEIGHTED_REWARD:
        return _corners(limits.weight, limits.reward)
    if estimator.numerator == CLIPPED_REWARD:
        smallest, largest = limits.weight
        return _corners((min(smallest, limits.clip), min(largest, limits.clip)), limits.reward)
    if estimator.numerator == DOUBLY_ROBUST:
        reach = limits.weight[1] * limits.spread
        return limits.reward[0] - reach, limits.reward[1] + reach
    return None


def difference_range(a: Estimator, a_limits: Limits, b: Estimator, b_limits: Limits) -> Range | None:
    """Range of one row's numerator of a minus that of b.

    Where both are plain weighted rewards the reward is one and the same, which is narrower than two ranges apart.
    """
    if a.numerator == b.numerator == WEIGHTED_REWARD:
        apart = (a_limits.weight[0] - b_limits.weight[1], a_limits.weight[1] - b_limits.weight[0])
        return _corners(apart, a_limits.reward)
    own, other = term_range(a, a_limits), term_range(b, b_limits)
    if own is None or other is None:
        return None
    return own[0] - other[1], own[1] - other[0]


def inversion_width(estimator: Estimator, limits: Limits) -> float | None:
    """Width of the range of w (r - value) for a self-normalised estimator; None for another."""
    if estimator.numerator != WEIGHTED_REWARD or estimator.denominator != WEIGHT:
        return None
    return limits.weight[1] * limits.spread


def is_bounded(bounds: Range | None) -> bool:
    """Whether both limits are finite."""
    return bounds is not None and math.isfinite(bounds[0]) and math.isfinite(bounds[1])


def _corners(weight: Range, reward: Range) -> Range:
    products = [0.0 if w == 0 or r == 0 else w * r for w, r in product(weight, reward)]
    return min(products), max(products)
