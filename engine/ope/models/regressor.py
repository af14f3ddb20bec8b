"""A reward model from any regressor with scikit-learn's `fit(X, y)` and `predict(X)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.records.rounds import SAMPLE_WEIGHT, RoundBatch
from engine.types import Float32Array, FloatArray, IntArray

_ROWS_PER_CALL: Final = 65_536


class Regressor(Protocol):
    """What is needed of a regressor: scikit-learn's, or anything of the same shape."""

    def fit(self, X: Any, y: Any, /) -> Any: ...  # noqa: N803 - scikit-learn's name

    def predict(self, X: Any, /) -> Any: ...  # noqa: N803


@dataclass(frozen=True)
class _Fitted:
    encoder: Encoder
    regressor: Regressor


class RegressorModel:
    """Regression of one metric on the encoded context and the action's channel, hour and arm (`RewardModel`).

    A row is the context as `engine.encoder` codes it, then one indicator per channel, hour slot and arm of the catalog
    (all 0 for hold). Fitting holds the rows of training in memory, 4 bytes a column: the one part of an evaluation that
    is not flat, because these regressors learn from one matrix. Predictions are clipped to the declared range.

    Args:
        regressor: copied for each fit; its own random seed decides whether results repeat.
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to predict.
        reward_range: declared (low, high) of the metric, low below high.

    Raises:
        ParameterError: an empty range, or no regressor.
    """

    def __init__(
        self,
        regressor: Regressor,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
    ) -> None:
        if not reward_range[0] < reward_range[1]:
            raise ParameterError("reward_range", "RegressorModel", allowed="low below high", got=reward_range)
        if not (callable(getattr(regressor, "fit", None)) and callable(getattr(regressor, "predict", None))):
            raise ParameterError("regressor", "RegressorModel", allowed="has fit and predict", got=regressor)
        self.catalog, self.schema, self.metric, self.reward_range = catalog, schema, metric, reward_range
        self._blank = regressor
        self._fitted: _Fitted | None = None

    @cached_property
    def weighs_rounds(self) -> bool:
        """Whether the regressor takes weights of rows, which MRDR needs."""
        return "sample_weight" in inspect.signature(self._blank.fit).parameters

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        """Fit anew on usable rows whose metric is known.

        Raises:
            LearnError: no such row, a reward outside the declared range, or a failure of the regressor. The model is
                then as it was.
        """
        batches = [kept for kept in map(self._usable, rounds) if kept.n]
        if not batches:
            raise LearnError(f"no usable round with a known {self.metric!r}", hint="join the outcomes first")
        encoder = fit_encoder(self.schema, (batch.context for batch in batches))
        rows = np.concatenate([self._rows(encoder.encode(batch.context), batch.action) for batch in batches])
        target = np.concatenate([batch.rewards[self.metric] for batch in batches])
        low, high = self.reward_range
        if not ((target >= low) & (target <= high) & np.isfinite(target)).all():
            raise LearnError(f"{self.metric!r} must be finite and in [{low:g}, {high:g}]", hint="see the mapping")
        options = _weights(batches)
        regressor = copy.deepcopy(self._blank)
        try:
            regressor.fit(rows, target, **options)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise LearnError(f"{type(regressor).__name__} cannot be fitted: {error}") from error
        self._fitted = _Fitted(encoder, regressor)

    def predict(self, context: ContextBatch) -> FloatArray:
        """(n, k) expected rewards of every action, within the declared range.

        Raises:
            LearnError: `fit` was not called, or a prediction is not a number.
            DataError: the context has another schema.
        """
        if self._fitted is None:
            raise LearnError("the reward model is not fitted", hint="call fit first")
        encoded = self._fitted.encoder.encode(context)
        out = np.empty((context.n, self.catalog.k))
        for action in range(self.catalog.k):
            for rows in _slices(context.n):
                part = encoded[rows]
                actions = np.full(len(part), action, dtype=np.int64)
                out[rows, action] = self._fitted.regressor.predict(self._rows(part, actions))
        if not np.isfinite(out).all():
            raise LearnError(f"{type(self._fitted.regressor).__name__} predicts values that are not finite")
        return np.clip(out, *self.reward_range)

    def _usable(self, batch: RoundBatch) -> RoundBatch:
        return batch.take(batch.usable & ~np.isnan(batch.rewards[self.metric]))

    def _rows(self, encoded: Float32Array, actions: IntArray | Any) -> Float32Array:
        out = np.zeros((len(encoded), encoded.shape[1] + sum(self.catalog.shape)), dtype=np.float32)
        out[:, : encoded.shape[1]] = encoded
        start, send = encoded.shape[1], np.flatnonzero(np.asarray(actions) > 0)
        for size, places in zip(self.catalog.shape, self.catalog.split(actions), strict=True):
            out[send, start + places[send]] = 1.0
            start += size
        return out


def _weights(batches: list[RoundBatch]) -> dict[str, FloatArray]:
    if not any(SAMPLE_WEIGHT in batch.extra for batch in batches):
        return {}
    return {"sample_weight": np.concatenate([batch.extra[SAMPLE_WEIGHT].astype(np.float64) for batch in batches])}


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_PER_CALL) for start in range(0, n, _ROWS_PER_CALL))
