"""Linear Thompson sampling with its sampling probabilities: the chance of each action to have the best draw."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import require_eligible
from engine.errors import ParameterError
from engine.features import ContextBlock, FeatureSchema
from engine.types import BoolArray, FloatArray
from policies.exploring.best_of_normals import chance_of_best
from policies.linear.ridge import LinearLearner, LinearPosterior, LinearState


class LinearThompson:
    """Each eligible action with the chance that its draw of N(x'w_a, v^2 x' inv(A_a) x) is the largest.

    Source: Agrawal & Goyal, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML 2013, Algorithm 1,
    with a model of its own for every action: their draws are then independent given the context, and the chance is a
    one-dimensional integral (`policies.exploring.best_of_normals`). The action is sampled from these chances, not by
    drawing
    weights, so the logged propensity is the probability of the draw by construction.

    Args:
        posterior: of every action.
        v: deviation of the noise, in reward units, >= 0; 0 is greedy.

    Raises:
        ParameterError: a negative or non-finite v.
    """

    name = "linear_thompson"

    def __init__(self, posterior: LinearPosterior, v: float = 0.25) -> None:
        if not 0.0 <= v < np.inf:
            raise ParameterError("v", "LinearThompson", allowed="finite and at least 0", got=v)
        self._posterior, self._v = posterior, v

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) chances.

        Raises:
            EligibilityError: a row without an eligible action.
            DataError: the context has another schema.
        """
        require_eligible(eligible)
        mean, deviation = self._posterior.predict(context)
        return chance_of_best(mean, self._v * deviation, eligible)


class LinearThompsonLearner(LinearLearner):
    """Learns from logged rounds and hands out `LinearThompson` (`engine.protocols.Learner`).

    Args:
        catalog / schema / metric / reward_range / ridge / state: see `policies.linear.ridge.LinearSums`.
        v: see `LinearThompson`.
        relative: v counts in standard deviations of the rewards, not in their unit.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        *,
        v: float = 0.25,
        ridge: float = 1.0,
        relative: bool = False,
        state: LinearState | None = None,
    ) -> None:
        super().__init__(catalog, schema, metric, reward_range, v, ridge=ridge, relative=relative, state=state)

    def served(self, posterior: LinearPosterior, width: float) -> LinearThompson:
        """The policy of a posterior.

        Raises:
            ParameterError: see `LinearThompson`.
        """
        return LinearThompson(posterior, width)
