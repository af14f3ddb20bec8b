"""Exploration by votes: several policies, each for its best action. Pure functions of arrays.

Both equal Vowpal Wabbit's own distributions (`--bag`, `--cover`) for the same scores on the same eligible set.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray
from policies.exploring.exploration import greedy, require_in, uniform


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
