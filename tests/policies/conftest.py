"""Synthetic logged rounds for the policy tests: a reward that depends on context x action, a known propensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema, FeatureSpec, categorical_column, numeric_column
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

BENEFIT = "fewer and more useful messages"


def _spec(name: str, kind: str) -> FeatureSpec:
    return FeatureSpec(name=name, type=kind, unit="u", source="test", collected_where="test", customer_benefit=BENEFIT)


@dataclass(frozen=True)
class World:
    """A catalog, a schema, and a reward: 0.5 + 0.2 * value * (+1 for even arms, -1 for odd), hold 0.5."""

    catalog: Catalog
    schema: FeatureSchema

    def context(self, n: int, seed: int, absent: float = 0.1) -> ContextBatch:
        rng = np.random.default_rng(seed)
        columns = {}
        for spec in self.schema.features:
            state = rng.choice(3, p=[1 - absent, absent / 2, absent / 2], size=n).astype(np.uint8)
            if spec.type == "numeric":
                columns[spec.name] = numeric_column(spec, rng.normal(size=n), state)
            else:
                codes = rng.integers(3, size=n).astype(np.int32)
                columns[spec.name] = categorical_column(spec, codes, ("Urban", "a b:c|d", "rural"), state)
        return ContextBatch(self.schema, columns, n)

    def means(self, context: ContextBatch) -> FloatArray:
        """(n, k) true expected rewards."""
        column = context.columns["value"]
        value = np.where(column.state == 0, np.clip(column.values, -1.5, 1.5), 0.0)
        _, _, arm = self.catalog.split(np.arange(self.catalog.k))
        sign = np.where(np.arange(self.catalog.k) == 0, 0.0, np.where(arm % 2 == 0, 1.0, -1.0))
        return 0.5 + 0.2 * value[:, None] * sign

    def rounds(self, n: int, seed: int, eligible_share: float = 0.8, uniform: bool = False) -> RoundBatch:
        rng = np.random.default_rng(seed)
        context = self.context(n, seed + 1_000)
        k = self.catalog.k
        eligible = rng.random((n, k)) < eligible_share
        eligible[:, 0] = True
        weights = eligible * (1.0 if uniform else rng.uniform(0.2, 1.0, size=(n, k)))
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        cumulative = probabilities.cumsum(axis=1)
        action = (cumulative <= rng.random((n, 1)) * cumulative[:, -1:]).sum(axis=1).astype(np.int32)
        means = self.means(context)[np.arange(n), action]
        return RoundBatch(
            chunk=0,
            decision_id=np.array([f"{seed}-{i}" for i in range(n)], dtype=object),
            context=context,
            action=action,
            propensity=probabilities[np.arange(n), action],
            eligible=pack(eligible),
            k=k,
            cluster=np.arange(n, dtype=np.uint64),
            rewards={"y": np.clip(means + rng.normal(size=n) * 0.1, 0.0, 1.0)},
            usable=np.ones(n, dtype=np.bool_),
            decided_at=np.zeros(n, dtype=np.int64),
            extra={},
        )


def _world(channels: int, hours: int, arms: int) -> World:
    catalog = Catalog(
        name="synthetic",
        channels=("email", "sms", "push")[:channels],
        hours=tuple(range(hours)) if hours > 1 else ("now",),
        arms=tuple(
            Arm(id=("promo", "b c", "x:y|z")[a] if a < 3 else f"arm{a}", approved=True, purpose=purpose)
            for a, purpose in zip(range(arms), ("promotional", "transactional") * arms, strict=False)
        ),
        hold_name="no message",
    )
    features = (_spec("value", "numeric"), _spec("zip code", "categorical"), _spec("noise", "numeric"))
    return World(catalog, FeatureSchema(features=features))


@pytest.fixture(scope="session")
def make_world():
    """`make_world(C, H, K)`."""
    return _world


@pytest.fixture(scope="session")
def world() -> World:
    """2 channels x 3 hours x 3 arms + hold = 19 actions."""
    return _world(2, 3, 3)
