"""Synthetic bandits whose values are known in closed form, for the studies: nothing runs here.

Three actions, x uniform on (0, 1). Each world makes logs of one kind of reward under one logging policy, and knows what
a policy that ignores x is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema, FeatureSpec, numeric_column
from engine.identity import keyed_hash
from engine.numeric.matmul import matmul
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, FloatArray, IntArray, KeyArray, ObjectArray

MIXED: Final = (np.array([0.2, 0.2, 0.6]), np.array([0.4, 0.4, 0.2]))
ARMS: Final = (np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))


@dataclass(frozen=True)
class Fixed:
    """A policy that ignores the context."""

    name: str
    probabilities: FloatArray

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k): the same row for everybody."""
        return np.tile(self.probabilities, (len(eligible), 1))


@dataclass(frozen=True)
class World:
    """One kind of log.

    Attributes:
        name: in tables.
        kind: "money" (normal noise), "share" (0 or 1) or "spend" (rarely more than 0, log-normal then).
        rows: rows of a log.
        lean: how strongly the log's policy depends on x; 0 decides uniformly, weights grow with it.
        clusters: rows of one cluster share a part of their noise; None for independent rows.
        tail: standard deviation of the logarithm of a spend.
        policies: the target and the baseline.
    """

    name: str
    kind: str = "money"
    rows: int = 800
    lean: float = 1.0
    clusters: int | None = None
    tail: float = 1.0
    policies: tuple[FloatArray, FloatArray] = MIXED

    @property
    def reward_range(self) -> tuple[float, float]:
        """Declared before any log is made."""
        return {"money": (-20.0, 20.0), "share": (0.0, 1.0), "spend": (0.0, 1e6)}[self.kind]

    @property
    def largest_weight(self) -> float:
        """Largest weight of the target and of the baseline, over all contexts."""
        extreme = _logging(np.array([0.0, 1.0]), self.lean)
        return float(max((policy / row).max() for policy in self.policies for row in extreme))

    @property
    def largest_sd(self) -> float:
        """Bound on the deviation of a term or difference, in the worlds of spend: sqrt(W times second moments)."""
        seconds = [
            (0.05 + 0.02 * float(matmul(p, np.arange(3)))) * math.exp(6.0 + 2 * self.tail**2) for p in self.policies
        ]
        return math.sqrt(self.largest_weight * sum(seconds))

    def value(self, probabilities: FloatArray) -> float:
        """What a policy that ignores x is worth."""
        action = float(matmul(probabilities, np.arange(3)))
        if self.kind == "money":
            return 1.5 + 0.5 * action
        if self.kind == "share":
            return 0.10 + 0.02 * action
        return (0.05 + 0.02 * action) * math.exp(3.0 + self.tail**2 / 2)

    def log(self, rng: np.random.Generator, schema: FeatureSchema) -> RoundBatch:
        """A log."""
        x = rng.random(self.rows)
        logging = _logging(x, self.lean)
        drawn = (rng.random(self.rows)[:, None] > logging.cumsum(axis=1)).sum(axis=1)
        action = drawn.clip(0, 2).astype(np.int32)
        (ids, cluster), member = rows_of(self.rows), None
        if self.clusters is not None:
            member = np.arange(self.rows) % self.clusters
            cluster = member.astype(np.uint64)
        column = numeric_column(schema.features[0], x, np.zeros(self.rows, dtype=np.uint8))
        return RoundBatch(
            chunk=0,
            decision_id=ids,
            context=ContextBatch(schema, {"x": column}, self.rows),
            action=action,
            propensity=logging[np.arange(self.rows), action],
            eligible=pack(np.ones((self.rows, 3), dtype=np.bool_)),
            k=3,
            cluster=cluster,
            rewards={"r": self._reward(rng, x, action, member)},
            usable=np.ones(self.rows, dtype=np.bool_),
            decided_at=np.zeros(self.rows, dtype=np.int64),
            extra={},
        )

    def _reward(self, rng: np.random.Generator, x: FloatArray, action: IntArray, member: IntArray | None) -> FloatArray:
        """(n,) rewards; rows of one cluster share a part of their noise."""
        if self.kind == "money":
            noise = 0.5 * rng.normal(size=self.rows)
            if member is not None and self.clusters is not None:
                noise += 0.8 * rng.normal(size=self.clusters)[member]
            money: FloatArray = 1 + x + action * (1 - x) + noise
            return money
        if self.kind == "share":
            return (rng.random(self.rows) < 0.05 + 0.1 * x + 0.04 * action * (1 - x)).astype(np.float64)
        bought = rng.random(self.rows) < 0.03 + 0.04 * x + 0.02 * action
        return np.where(bought, np.exp(3.0 + self.tail * rng.normal(size=self.rows)), 0.0)


@cache
def rows_of(n: int) -> tuple[ObjectArray, KeyArray]:
    """Decision ids and keys of n rows; hashing them anew for each log would cost more than the log."""
    ids = np.array([f"d{row}" for row in range(n)], dtype=object)
    return ids, keyed_hash(ids, "cluster")


class LeastSquares:
    """A reward model: least squares on (1, x) by action, clipped to the reward's range.

    Args:
        world: whose range it knows.
    """

    def __init__(self, world: World) -> None:
        self._range = world.reward_range
        self._coefficients: FloatArray = np.zeros((3, 2))

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from the rounds; an action that never came keeps 0."""
        gram, moment = np.tile(1e-6 * np.eye(2), (3, 1, 1)), np.zeros((3, 2))
        for batch in rounds:
            design = _design(batch.context)
            for action in range(3):
                rows = batch.action == action
                gram[action] += matmul(design[rows].T, design[rows])
                moment[action] += matmul(design[rows].T, batch.rewards["r"][rows])
        self._coefficients = np.asarray(np.linalg.solve(gram, moment[..., None])[..., 0], dtype=np.float64)

    def predict(self, context: ContextBatch) -> FloatArray:
        """(n, 3) expected rewards."""
        return np.asarray(np.clip(matmul(_design(context), self._coefficients.T), *self._range), dtype=np.float64)


def _design(context: ContextBatch) -> FloatArray:
    return np.column_stack([np.ones(context.n), context.columns["x"].values])


def schema_of_x() -> FeatureSchema:
    """The one feature of every world."""
    x = FeatureSpec(
        name="x",
        type="numeric",
        unit="share",
        source="study",
        collected_where="study",
        customer_benefit="nobody is contacted in a study",
    )
    return FeatureSchema(features=(x,))


def _logging(x: FloatArray, lean: float) -> FloatArray:
    tilt = np.exp(lean * np.outer(x - 0.5, [0.5, 0.0, -0.5]))
    chosen: FloatArray = tilt / tilt.sum(axis=1, keepdims=True)
    return chosen
