"""Mean reward of each action from logged rounds, overall or per group: what constant and segment rules are tuned on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.errors import LearnError, MissingPropensityError
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray

Grouping = Callable[[RoundBatch], IntArray]


@dataclass(frozen=True)
class ActionValues:
    """Inverse-propensity weighted sums per group and action.

    Attributes:
        reward: (g, k) sum of reward / propensity.
        weight: (g, k) sum of 1 / propensity.
        rows: (g, k) number of logged rounds.
    """

    reward: FloatArray
    weight: FloatArray
    rows: IntArray

    def means(self, shrink_rows: float = 0.0) -> FloatArray:
        """(g, k) self-normalised means, drawn towards the action's overall mean as if `shrink_rows` rows showed it.

        Actions that were never logged get -inf, so that no rule picks them. The shrinkage is the posterior mean under
        a normal prior of that sample size (Efron & Morris 1975).
        """
        total = self.weight.sum(axis=0)
        logged = total > 0
        overall = np.where(logged, self.reward.sum(axis=0) / np.where(logged, total, 1.0), 0.0)
        own = np.where(self.weight > 0, self.reward / np.where(self.weight > 0, self.weight, 1.0), 0.0)
        pull = self.rows / np.maximum(self.rows + shrink_rows, 1.0)
        return np.where(logged, pull * own + (1.0 - pull) * overall, -np.inf)

    def part(self, start: int, stop: int) -> ActionValues:
        """The groups [start, stop)."""
        return ActionValues(self.reward[start:stop], self.weight[start:stop], self.rows[start:stop])


class ActionSums:
    """Accumulates `ActionValues` over batches.

    Args:
        metric: name in `RoundBatch.rewards`.
        k: number of actions.
        groups: number of groups g.
        group_of: gives the (n,) group of each row in [0, g); None puts all rows into group 0.
    """

    def __init__(self, metric: str, k: int, groups: int = 1, group_of: Grouping | None = None) -> None:
        self._metric, self._k, self._groups, self._group_of = metric, k, groups, group_of
        self._reward, self._weight = np.zeros(groups * k), np.zeros(groups * k)
        self._rows = np.zeros(groups * k, dtype=np.int64)

    def add(self, batch: RoundBatch) -> None:
        """Add usable rounds with a known metric.

        Raises:
            MissingPropensityError: rounds without propensity.
        """
        if np.isnan(batch.propensity).any():
            raise MissingPropensityError(
                "the log has no propensities, so no rule can be tuned on it",
                hint="import it with a mapping that gives them",
            )
        cell = batch.action.astype(np.int64)
        if self._group_of is not None:
            cell = cell + self._k * self._group_of(batch)
        inverse, size = 1.0 / batch.propensity, self._groups * self._k
        self._reward += np.bincount(cell, weights=inverse * batch.rewards[self._metric], minlength=size)
        self._weight += np.bincount(cell, weights=inverse, minlength=size)
        self._rows += np.bincount(cell, minlength=size)

    def result(self) -> ActionValues:
        """The sums so far.

        Raises:
            LearnError: nothing was added.
        """
        if not self._rows.any():
            raise LearnError("there are no rounds to learn from", hint="check the split and the dropped rows")
        shape = (self._groups, self._k)
        return ActionValues(self._reward.reshape(shape), self._weight.reshape(shape), self._rows.reshape(shape))
