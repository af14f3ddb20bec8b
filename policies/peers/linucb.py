"""LinUCB: the action with the highest upper confidence bound of a ridge regression per action."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.features import ContextBlock, FeatureSchema
from engine.types import BoolArray, FloatArray
from policies.exploring.ranked import one_hot_best
from policies.linear.ridge import LinearLearner, LinearPosterior, LinearState


class LinUcb:
    """The eligible action with the largest x'w_a + alpha sqrt(x' inv(A_a) x), ties to the lower index.

    Source: Li, Chu, Langford & Schapire, "A Contextual-Bandit Approach to Personalized News Article Recommendation",
    WWW 2010, Algorithm 1 (disjoint models), equation (5). It is deterministic: propensities are 1, and its log has no
    support for other actions.

    Args:
        posterior: of every action.
        alpha: width of the bound in deviations, >= 0.

    Raises:
        ParameterError: a negative or non-finite alpha.
    """

    name = "linucb"

    def __init__(self, posterior: LinearPosterior, alpha: float = 1.0) -> None:
        if not 0.0 <= alpha < np.inf:
            raise ParameterError("alpha", "LinUcb", allowed="finite and at least 0", got=alpha)
        self._posterior, self._alpha = posterior, alpha

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) one-hot.

        Raises:
            EligibilityError: a row without an eligible action.
            DataError: the context has another schema.
        """
        mean, deviation = self._posterior.predict(context)
        return one_hot_best(mean + self._alpha * deviation, eligible)


class LinUcbLearner(LinearLearner):
    """Learns from logged rounds and hands out `LinUcb` (`engine.protocols.Learner`).

    Args:
        catalog / schema / metric / reward_range / ridge / state: see `policies.linear.ridge.LinearSums`.
        alpha: see `LinUcb`.
        relative: alpha counts in standard deviations of the rewards, not in their unit.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        *,
        alpha: float = 1.0,
        ridge: float = 1.0,
        relative: bool = False,
        state: LinearState | None = None,
    ) -> None:
        super().__init__(catalog, schema, metric, reward_range, alpha, ridge=ridge, relative=relative, state=state)

    def served(self, posterior: LinearPosterior, width: float) -> LinUcb:
        """The policy of a posterior.

        Raises:
            ParameterError: see `LinUcb`.
        """
        return LinUcb(posterior, width)
