"""Ridge regression of the reward on the context, one per action: what LinUCB and linear Thompson sampling stand on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.numeric.matmul import matmul
from engine.numeric.moments import Moments
from engine.records.rounds import RoundBatch
from engine.types import Float32Array, FloatArray, IntArray
from policies.vw.rows import repeatable, trainable
from policies.vw.scoring.tables import affine

_BATCH_ROWS = 64
Pairs = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class LinearPosterior:
    """The normal posterior of every action's weights: mean and covariance (up to the noise's variance).

    Attributes:
        encoder: the encoder of the context.
        weights: (d + 1, k), the constant last; reward units.
        covariance: (m, k) inverse of each action's A = ridge I + X'X as the m = (d + 1)(d + 2) / 2 coefficients of the
            products of columns; those of unequal columns count twice.
        pairs: the two columns of each product, (m,) each.
        rounds: learnt from.
        unit: standard deviation of the rewards of the first rounds: what widths can be measured in.
    """

    encoder: Encoder
    weights: FloatArray
    covariance: FloatArray
    pairs: Pairs
    rounds: int
    unit: float = 1.0

    def predict(self, context: ContextBatch) -> tuple[FloatArray, FloatArray]:
        """(n, k) mean rewards x'w, and (n, k) deviations sqrt(x' inv(A) x), for every action.

        Sums run feature by feature, so a row's bytes do not depend on the rows beside it.

        Raises:
            DataError: the context has another schema.
        """
        x = self.encoder.encode(context)
        mean, variance = (np.empty((context.n, self.weights.shape[1])) for _ in range(2))
        for start in range(0, context.n, _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            mean[rows] = affine(x[rows], self.weights)
            variance[rows] = _quadratic(x[rows], self.covariance, self.pairs)
        return mean, np.sqrt(np.maximum(variance, 0.0))


def _quadratic(x: Float32Array, covariance: FloatArray, pairs: Pairs) -> FloatArray:
    one = np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], axis=1)
    # The last product is that of the constant with itself: the constant of the affine form.
    products = one[:, pairs[0][:-1]] * one[:, pairs[1][:-1]]
    return affine(products, covariance)


@dataclass(frozen=True)
class LinearState:
    """Everything that sums over rounds hold.

    Attributes:
        encoder: the encoder of the context, from the first rounds.
        gram: (k, d + 1, d + 1) X'X of every action.
        moment: (k, d + 1) X'(r - centre).
        centre / unit: mean and standard deviation of the rewards of the first rounds.
        rounds: learnt from.
    """

    encoder: Encoder
    gram: FloatArray
    moment: FloatArray
    centre: float
    unit: float
    rounds: int


class LinearSums:
    """Accumulates X'X and X'r of every action over rounds.

    Args:
        catalog: the actions.
        schema: the schema of every context.
        metric / reward_range: the reward and its declared (low, high).
        ridge: prior precision of every weight, in rows, > 0.
        max_levels: levels kept per categorical feature.
        state: go on from there.

    Raises:
        ParameterError: ridge not positive.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        *,
        ridge: float = 1.0,
        max_levels: int = 64,
        state: LinearState | None = None,
    ) -> None:
        if not 0.0 < ridge < np.inf:
            raise ParameterError("ridge", "LinearSums", allowed="finite and above 0", got=ridge)
        self.catalog = catalog
        self.schema, self.metric, self.reward_range = schema, metric, reward_range
        self.ridge, self._max_levels = ridge, max_levels
        self._state = state

    @property
    def state(self) -> LinearState:
        """The sums so far.

        Raises:
            LearnError: nothing was added.
        """
        if self._state is None:
            raise LearnError("nothing has been learnt yet", hint="call learn first")
        return self._state

    def add(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from rounds, on top of those before; rows that may not train are left out.

        Encoder and centre of the rewards come from the first call. Importance weights are not used: the model of each
        action is fitted to that action's own rounds.

        Raises:
            LearnError: a reward outside the declared range, or no round to learn from. Nothing is then changed.
        """
        kept = [
            trainable(batch, self.metric, self.reward_range, self.catalog, propensities=False)
            for batch in repeatable(rounds)
        ]
        seen = Moments()
        for batch in kept:
            seen.add(batch.rewards[self.metric])
        if not seen.n:
            raise LearnError(f"no usable round with a known {self.metric!r}", hint="join the outcomes first")
        before = self._state or self._empty(kept, seen)
        gram, moment = before.gram.copy(), before.moment.copy()
        for batch in kept:
            self._add(batch, before, gram, moment)
        self._state = replace(before, gram=gram, moment=moment, rounds=before.rounds + seen.n)

    def posterior(self) -> LinearPosterior:
        """The posterior so far; it does not change when more is added.

        Raises:
            LearnError: nothing was added.
        """
        state = self.state
        size = state.encoder.d + 1
        inverse = np.linalg.inv(state.gram + self.ridge * np.eye(size))
        weights = np.einsum("kij,kj->ik", inverse, state.moment)
        # An action that was never tried is expected to be worth the mean reward.
        weights[-1] += state.centre
        first, second = np.triu_indices(size)
        coefficients = inverse[:, first, second] * np.where(first == second, 1.0, 2.0)
        return LinearPosterior(
            state.encoder,
            weights,
            np.ascontiguousarray(coefficients.T),
            (first.astype(np.int64), second.astype(np.int64)),
            state.rounds,
            state.unit,
        )

    def _empty(self, kept: Iterable[RoundBatch], seen: Moments) -> LinearState:
        encoder = fit_encoder(self.schema, (batch.context for batch in kept), self._max_levels)
        size, k = encoder.d + 1, self.catalog.k
        return LinearState(encoder, np.zeros((k, size, size)), np.zeros((k, size)), seen.mean, seen.scale, 0)

    def _add(self, batch: RoundBatch, before: LinearState, gram: FloatArray, moment: FloatArray) -> None:
        x = np.concatenate([before.encoder.encode(batch.context).astype(np.float64), np.ones((batch.n, 1))], axis=1)
        reward = batch.rewards[self.metric] - before.centre
        for action in np.unique(batch.action).tolist():
            rows = batch.action == action
            gram[action] += matmul(x[rows].T, x[rows])
            moment[action] += matmul(x[rows].T, reward[rows])
