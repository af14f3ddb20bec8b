"""Exploration: from predicted rewards to a distribution over the eligible actions. Pure functions of arrays.

Every function takes scores (n, k) in reward units (higher is better) and eligible (n, k) bool, and gives (n, k) float64
whose rows sum to 1 and whose removed actions are exactly 0. Each equals Vowpal Wabbit's own distribution for the same
predictions on the same eligible set; sums run from left to right, so that the fused kernels can repeat them.
Votes are those of several policies, each for its best action (`--bag`, `--cover`).
"""

from __future__ import annotations

from collections.abc import Iterable

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


def one_hot_best(preference: FloatArray, eligible: BoolArray) -> FloatArray:
    """(n, k) or (1, k) preferences -> (n, k) one-hot of the best eligible action; ties go to the lower index.

    Raises:
        EligibilityError: a row without an eligible action.
    """
    require_eligible(eligible)
    best = np.where(eligible, preference, -np.inf).argmax(axis=1)
    out = np.zeros(eligible.shape)
    out[np.arange(len(eligible)), best] = 1.0
    return out


def vote_shares(scores: Iterable[FloatArray], eligible: BoolArray) -> FloatArray:
    """(n, k) share of the policies that rank an eligible action first; exact ties share a vote.

    Source: Bietti, Agarwal & Langford, "A Contextual Bandit Bake-off", JMLR 2021 (bag, cover):
    P(a) = (1 / N) sum_i 1 [policy i prefers a].

    Args:
        scores: (n, k) of every policy, higher is better; at least one policy.
        eligible: (n, k).

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: no policy, or scores that are not finite, or of another shape.
    """
    total, policies = np.zeros(eligible.shape), 0
    for one in scores:
        total += greedy(one, eligible)
        policies += 1
    if not policies:
        raise ParameterError("scores", "vote_shares", allowed="of at least one policy", got=policies)
    return total / policies


def with_minimum(probabilities: FloatArray, eligible: BoolArray, share: float) -> FloatArray:
    """The nearest distribution in which every eligible action has at least share / m, m being the row's eligible ones.

    Nearest in the Euclidean sense: what is above the minimum falls by one same amount, as in Vowpal Wabbit.
    Source: Duchi, Shalev-Shwartz, Singer & Chandra, "Efficient Projections onto the l1-Ball for Learning in High
    Dimensions", ICML 2008, Figure 1, with the radius 1 - share for what is above the minimum.

    Args:
        probabilities: (n, k), a distribution over the eligible actions.
        eligible: (n, k).
        share: in [0, 1].

    Raises:
        EligibilityError: a row without an eligible action.
        ParameterError: share outside [0, 1].
    """
    require_in("share", share, 0.0, 1.0, "with_minimum")
    even = uniform(eligible)
    if share == 0.0:
        return probabilities
    if share > 0.999:
        # VW makes the same cut: next to nothing would be left to share out.
        return even
    least = share * even
    above = np.where(eligible, probabilities - least, -np.inf)
    ordered = -np.sort(-above, axis=1)
    finite = np.where(ordered > -np.inf, ordered, 0.0)
    rank = np.arange(1, eligible.shape[1] + 1)
    fall = (np.cumsum(finite, axis=1) - (1.0 - share)) / rank
    last = np.where(ordered > fall, rank, 0).max(axis=1) - 1
    tau = np.take_along_axis(fall, last[:, None], axis=1)
    raised: FloatArray = np.where(eligible, np.maximum(above - tau, 0.0) + least, 0.0)
    return raised
