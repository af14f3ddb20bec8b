"""Between which limits the term of one row and the value of a policy lie, before any row is seen.

Limits follow from the declared range of the reward and the largest weight that the log's policy allows, never from the
sample: the largest weight that happened to be drawn bounds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

from engine.ope.clipped import Clipped
from engine.ope.dr import Dr
from engine.ope.mrdr import Mrdr
from engine.ope.terms import WEIGHT, WEIGHTED_REWARD, Estimator

Range = tuple[float, float]
_UNBIASED: Final = (WEIGHTED_REWARD, Dr.numerator, Mrdr.numerator)


@dataclass(frozen=True)
class Limits:
    """What is known of one policy's weights and rewards.

    Attributes:
        weight: (smallest, largest) possible weight; (1, 1) for the logged choices, (0, inf) where nothing is known.
        reward: (lowest, highest) possible reward.
    """

    weight: Range
    reward: Range

    @property
    def spread(self) -> float:
        """Width of the reward's range."""
        return self.reward[1] - self.reward[0]


def has_model(estimator: Estimator) -> bool:
    """Whether its terms are a model's value plus a weighted residual."""
    return estimator.needs_model or estimator.own_model


def value_range(estimator: Estimator, limits: Limits) -> Range:
    """Range of the mean that the estimator aims at.

    That is the reward's own, but where weights are shrunk: then the mean may fall towards 0, or, with a model, be off
    by as much as the model is.
    """
    low, high = limits.reward
    if estimator.numerator in _UNBIASED:
        return low, high
    if has_model(estimator):
        return low - limits.spread, high + limits.spread
    return min(low, 0.0), max(high, 0.0)


def term_range(estimator: Estimator, limits: Limits) -> Range | None:
    """Range of one row's numerator, or None where it is not known for the estimator.

    Shrunk weights are at most the largest weight; with a model the range holds as long as its predictions lie in the
    reward's range.
    """
    if estimator.weight != WEIGHT:
        return None
    if has_model(estimator):
        reach = limits.weight[1] * limits.spread
        return limits.reward[0] - reach, limits.reward[1] + reach
    return _corners(weight_range(estimator, limits), limits.reward)


def weight_range(estimator: Estimator, limits: Limits) -> Range:
    """Range of the weight that a term is multiplied with."""
    smallest, largest = limits.weight
    if isinstance(estimator, Clipped):
        return min(smallest, estimator.clip), min(largest, estimator.clip)
    return smallest, largest


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


def _corners(weight: Range, reward: Range) -> Range:
    products = [0.0 if w == 0 or r == 0 else w * r for w, r in product(weight, reward)]
    return min(products), max(products)
