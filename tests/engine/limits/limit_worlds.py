"""Small worlds for the tests of set-level limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.limits.admission import Admission, Draw
from engine.limits.batch import LimitedBatch, admit_batch
from engine.limits.quota import QuotaStore
from engine.sampling import sample
from engine.types import BoolArray, CodeArray, FloatArray, IntArray, ObjectArray

DAY = 86_400 * 1_000_000
NOW = 20_000 * DAY + 3600 * 1_000_000


def small_catalog(depths: tuple[float, ...] = (0.0, 0.2)) -> Catalog:
    """Two channels, two slots, one arm per depth."""
    arms = tuple(Arm(id=f"arm{at}", approved=True, discount_depth=depth) for at, depth in enumerate(depths))
    return Catalog(name="small", channels=("email", "sms"), hours=("now", 9), arms=arms)


def ids(prefix: str, n: int) -> ObjectArray:
    return np.array([f"{prefix}-{row}" for row in range(n)], dtype=object)


def distribution(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    """Softmax over the eligible actions."""
    weight = np.where(eligible, np.exp(scores), 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def drawing(scores: FloatArray, decision_ids: ObjectArray, seed: int) -> Draw:
    """Keyed draws from a softmax over the eligible actions; `scores` is (n, k)."""

    def draw(rows: IntArray, eligible: BoolArray) -> tuple[CodeArray, FloatArray]:
        return sample(distribution(scores[rows], eligible), decision_ids[rows], seed)

    return draw


def admit_and_settle(batch: LimitedBatch, store: QuotaStore, *given: Any, **more: Any) -> Admission:
    """A batch admitted, and what it used written down at once."""
    admission, due = admit_batch(batch, store, *given, **more)
    due.settle(store)
    return admission
