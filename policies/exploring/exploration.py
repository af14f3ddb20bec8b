"""Exploration: from predicted rewards to a distribution over the eligible actions. Pure functions of arrays.

Every function takes scores (n, k) in reward units (higher is better) and eligible (n, k) bool, and gives (n, k) float64
whose rows sum to 1 and whose removed actions are exactly 0. Each equals Vowpal Wabbit's own distribution for the same
predictions on the same eligible set; sums run from left to right, so that the fused kernels can repeat them.
"""

from __future__ import annotations

import numpy as np

from engine.eligibility import require_eligible
from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray


def uniform(eligible: BoolArray) -> FloatArray:
    """Equal probability for every eligible action.

    Raises:
        EligibilityError: a row without an eligible action.
    """
    require_eligible(eligible)
    even: FloatArray = eligible / eligible.sum(axis=1, keepdims=True)
    return even


def greedy(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    """All mass on the best eligible action; exact ties share it equally, as Vowpal Wabbit's do.

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: scores that are not finite, or of another shape.
    """
    masked = _masked(scores, eligible)
    best = masked == masked.max(axis=1, keepdims=True)
    probability: FloatArray = best / best.sum(axis=1, keepdims=True)
    return probability


def epsilon_greedy(scores: FloatArray, eligible: BoolArray, epsilon: float) -> FloatArray:
    """Mass epsilon spread over all eligible actions, the rest as `greedy`.

    Args:
        epsilon: in [0, 1].

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: epsilon outside [0, 1], or scores that are not finite.
    """
    require_in("epsilon", epsilon, 0.0, 1.0, "epsilon_greedy")
    return (1.0 - epsilon) * greedy(scores, eligible) + epsilon * uniform(eligible)


def softmax(scores: FloatArray, eligible: BoolArray, inverse_temperature: float) -> FloatArray:
    """Probability proportional to exp(inverse_temperature * score) (Boltzmann exploration).

    Args:
        inverse_temperature: per unit of reward, >= 0; Vowpal Wabbit's lambda.

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: a negative or non-finite inverse temperature, or scores that are not finite.
    """
    require_in("inverse_temperature", inverse_temperature, 0.0, np.inf, "softmax")
    masked = _masked(scores, eligible)
    # The gap of a removed action is set to 0 first: 0 * inf would be NaN at inverse temperature 0.
    gap = np.where(eligible, masked - masked.max(axis=1, keepdims=True), 0.0)
    weight = np.where(eligible, np.exp(inverse_temperature * gap), 0.0)
    probability: FloatArray = weight / np.cumsum(weight, axis=1)[:, -1:]
    return probability


def squarecb(scores: FloatArray, eligible: BoolArray, gamma: float) -> FloatArray:
    """Inverse gap weighting: 1 / (m + gamma * gap) for every eligible action but the best, which gets the rest.

    Source: Foster & Rakhlin, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles", 2020,
    Algorithm 1, with mu = m, the number of the row's eligible actions. Among exact ties the first is the best.

    Args:
        gamma: >= 0, per unit of reward.

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: a negative or non-finite gamma, or scores that are not finite.
    """
    require_in("gamma", gamma, 0.0, np.inf, "squarecb")
    masked = _masked(scores, eligible)
    best = masked.argmax(axis=1)
    rows = np.arange(len(masked))
    gap = np.where(eligible, masked[rows, best][:, None] - masked, 0.0)
    probability = np.where(eligible, 1.0 / (eligible.sum(axis=1, keepdims=True) + gamma * gap), 0.0)
    probability[rows, best] = 0.0
    probability[rows, best] = 1.0 - np.cumsum(probability, axis=1)[:, -1]
    return probability


def with_floor(probabilities: FloatArray, eligible: BoolArray, floor: float) -> FloatArray:
    """Mix with uniform just enough that no eligible action of a row has less than `floor`.

    Each row becomes (1 - mix) * probabilities + mix * uniform with the smallest such mix; where m eligible actions
    cannot all have `floor` (floor * m > 1) the row becomes uniform.

    Args:
        probabilities: (n, k), a distribution over the eligible actions.
        floor: in [0, 1].

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: floor outside [0, 1].
    """
    require_in("floor", floor, 0.0, 1.0, "with_floor")
    even = uniform(eligible)
    share = even.max(axis=1)
    least = np.where(eligible, probabilities, np.inf).min(axis=1)
    missing = np.clip(floor - least, 0.0, None)
    room = np.clip(share - least, np.finfo(np.float64).tiny, None)
    mix = np.where(missing > 0, np.clip(missing / room, 0.0, 1.0), 0.0)[:, None]
    mixed: FloatArray = (1.0 - mix) * probabilities + mix * even
    return mixed


def exploring_share(probabilities: FloatArray) -> FloatArray:
    """(n,) mass that each row does not put on its most probable action, in [0, 1)."""
    share: FloatArray = 1.0 - probabilities.max(axis=1)
    return share


def _masked(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    require_eligible(eligible)
    if scores.shape != eligible.shape:
        raise ParameterError("scores", "exploration", allowed=f"of shape {eligible.shape}", got=scores.shape)
    if not np.isfinite(scores[eligible]).all():
        raise ParameterError("scores", "exploration", allowed="finite on eligible actions", got="NaN or infinite")
    masked: FloatArray = np.where(eligible, scores, -np.inf)
    return masked


def require_in(name: str, value: float, low: float, high: float, owner: str = "ExplorationConfig") -> None:
    """Refuse a parameter outside [low, high] or not finite.

    Raises:
        ParameterError: it is.
    """
    if not (low <= value <= high) or not np.isfinite(value):
        raise ParameterError(name, owner, allowed=f"finite and in [{low:g}, {high:g}]", got=value)
