"""Trajectories: the decisions about one contact in their order, as padded arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.identity import fold_of
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import NOT_AN_INSTANT, BoolArray, FloatArray, IntArray, KeyArray


@dataclass(frozen=True)
class Trajectories:
    """n trajectories of at most T steps; a step after the end has weight 1, reward 0 and model values 0.

    Attributes:
        weight: (n, T) target / propensity of each step's own action.
        reward: (n, T).
        value: (n, T) a model's expectation, under the target, of the discounted rewards from each step on; or None.
        logged: (n, T) the same given the logged action of the step; or None.
    """

    weight: FloatArray
    reward: FloatArray
    value: FloatArray | None = None
    logged: FloatArray | None = None

    def __post_init__(self) -> None:
        shape = self.weight.shape
        if len(shape) != 2 or 0 in shape:
            raise ParameterError("weight", "Trajectories", allowed="(n, T), not empty", got=shape)
        for name in ("reward", "value", "logged"):
            values = getattr(self, name)
            if values is not None and (values.shape != shape or not np.isfinite(values).all()):
                raise ParameterError(name, "Trajectories", allowed=f"finite, of shape {shape}", got=values.shape)
        if not ((self.weight >= 0) & np.isfinite(self.weight)).all():
            raise ParameterError("weight", "Trajectories", allowed="finite, not negative", got=float(self.weight.min()))

    @property
    def n(self) -> int:
        return len(self.weight)

    @property
    def horizon(self) -> int:
        return int(self.weight.shape[1])

    @cached_property
    def so_far(self) -> FloatArray:
        """(n, T) product of the weights up to and with each step."""
        return np.asarray(np.cumprod(self.weight, axis=1), dtype=np.float64)

    @cached_property
    def before(self) -> FloatArray:
        """(n, T) product of the weights before each step; 1 at the first."""
        return np.column_stack([np.ones(self.n), self.so_far[:, :-1]])

    def model(self, owner: str) -> tuple[FloatArray, FloatArray]:
        """The model's value and logged value.

        Raises:
            ParameterError: no model's values were given.
        """
        if self.value is None or self.logged is None:
            raise ParameterError("value", owner, allowed="given, with `logged`", got=None, hint="see sequences.fqe")
        return self.value, self.logged

    def take(self, rows: slice | IntArray) -> Trajectories:
        """Some of the trajectories."""
        value, logged = (None if part is None else part[rows] for part in (self.value, self.logged))
        return Trajectories(self.weight[rows], self.reward[rows], value, logged)


def discounts(gamma: float, horizon: int) -> FloatArray:
    """(T,) gamma^t.

    Raises:
        ParameterError: gamma outside [0, 1].
    """
    if not 0 <= gamma <= 1:
        raise ParameterError("gamma", "a discount", allowed="in [0, 1]", got=gamma)
    return np.asarray(gamma ** np.arange(horizon), dtype=np.float64)


def trajectories_of(
    rounds: Iterable[RoundBatch],
    target: Target,
    *,
    metric: str,
    horizon: int,
    partition: int = 0,
    partitions: int = 1,
) -> Trajectories:
    """The trajectories of a log's clusters, in the order of `decided_at`; what comes after `horizon` steps is cut.

    Memory grows with the rows of one partition (24 bytes each): a keyed hash puts clusters into `partitions` parts, and
    each call reads the log once for one of them.

    Args:
        rounds: usable rows whose metric is known, in any order.
        target: policy to be judged.
        metric: key in `RoundBatch.rewards`.
        horizon: T, at least 1.
        partition: The part that is read, in [0, partitions).
        partitions: how many.

    Raises:
        ParameterError: horizon or partition out of range.
        DataError: rows without an instant, or no rows.
        MissingPropensityError: a row without propensity.
    """
    if horizon < 1 or not 0 <= partition < partitions:
        raise ParameterError(
            "horizon", "trajectories_of", allowed="at least 1; partition in [0, partitions)", got=horizon
        )
    parts: list[tuple[KeyArray, IntArray, FloatArray, FloatArray]] = []
    for whole in rounds:
        batch = whole.take(fold_of(whole.cluster, partitions, "trajectories") == partition)
        if batch.n:
            parts.append((batch.cluster, batch.decided_at, _weights(batch, target), batch.rewards[metric]))
    if not parts:
        raise DataError("the log has no trajectories", hint="no usable row has the metric")
    cluster, decided_at, weight, reward = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((decided_at, cluster))
    cluster, weight, reward = cluster[order], weight[order], reward[order]
    first = np.concatenate([[True], cluster[1:] != cluster[:-1]])
    row = np.cumsum(first) - 1
    step = np.arange(len(row)) - np.flatnonzero(first)[row]
    kept: BoolArray = step < horizon
    weights, rewards = np.ones((row[-1] + 1, horizon)), np.zeros((row[-1] + 1, horizon))
    weights[row[kept], step[kept]], rewards[row[kept], step[kept]] = weight[kept], reward[kept]
    return Trajectories(weights, rewards)


def _weights(batch: RoundBatch, target: Target) -> FloatArray:
    if (batch.decided_at == NOT_AN_INSTANT).any():
        raise DataError("rows without `decided_at` have no place in a trajectory", hint="give it in the mapping")
    if np.isnan(batch.propensity).any():
        raise MissingPropensityError("a row has no propensity", hint="log the probability of each choice")
    logged = target.probabilities(batch).logged
    return np.ones(batch.n) if logged is None else logged / batch.propensity
