"""A small shop whose messages act through a click, for the tests of parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.records.rounds import RoundBatch
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.vw.arguments import VwConfig

US_PER_DAY = 86_400_000_000
MOTIVES = ("price", "trust", "ease")
TASTES = ("shoes", "books")
RANGE = (-50.0, 500.0)
COSTS = (0.01, 0.05)
SPARSE: dict[str, Any] = {"ridges": (10.0,), "worth_ridges": (100.0,), "smooth": False, "past": False}


def catalog() -> Catalog:
    """Two channels, two hours, three arms, and hold: 13 actions."""
    arms = (
        Arm(id="cheap", approved=True, category="shoes", attributes={"motive": "price", "brand": "own", "length": 2}),
        Arm(id="safe", approved=True, category="books", attributes={"motive": "trust", "brand": "own", "length": 4}),
        Arm(id="sale", approved=True, discount_depth=0.2, attributes={"motive": "price", "brand": "own", "length": 4}),
    )
    return Catalog(name="small_shop", channels=("email", "sms"), hours=(9, 18), arms=arms)


def spec(name: str, levels: tuple[str, ...] = ()) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        type="categorical" if levels else "numeric",
        unit="level" if levels else "count",
        source="test",
        collected_where="test",
        customer_benefit="fewer and more useful messages",
        levels=levels,
    )


SCHEMA = FeatureSchema(
    features=(spec("age"), spec("motive", MOTIVES), spec("product_affinity", TASTES)),
)


def context(n: int, seed: int) -> ContextBatch:
    """One in twenty ages is missing."""
    rng = np.random.default_rng([seed, 1])
    state = np.full(n, PRESENT, dtype=np.uint8)
    age = np.where(rng.random(n) < 0.05, 1, 0).astype(np.uint8)
    columns = {
        "age": Column(rng.uniform(18.0, 80.0, n), age, ()),
        "motive": Column(rng.integers(3, size=n).astype(np.int32), state, MOTIVES),
        "product_affinity": Column(rng.integers(2, size=n).astype(np.int32), state, TASTES),
    }
    return ContextBatch(SCHEMA, columns, n)


def log(n: int = 3000, seed: int = 1, contacts: int | None = None, **rewards: np.ndarray | None) -> RoundBatch:
    """Uniform decisions; a click has chance 0.15, doubled where the motive fits, and brings 5, or 8 to the young.

    Args:
        contacts: distinct ones; each row is another one by default.
        rewards: columns that replace those of the world; None removes one.
    """
    rng = np.random.default_rng([seed, 2])
    shown, catalogue = context(n, seed), catalog()
    action = rng.integers(catalogue.k, size=n).astype(np.int32)
    channel, _, arm = catalogue.split(np.maximum(action, 1))
    sent = action > 0
    fits = np.array([0, 1, 0])[arm] == shown.columns["motive"].values
    clicked = sent & (rng.random(n) < np.where(fits, 0.3, 0.15))
    brings = np.where(shown.columns["age"].values < 40, 8.0, 5.0)
    cost = np.where(sent, np.array(COSTS)[channel], 0.0)
    made = {
        "margin": np.where(clicked, brings, 0.0) + np.where(rng.random(n) < 0.1, 3.0, 0.0) - cost,
        "clicked": clicked.astype(np.float64),
        "send_cost": -cost,
        "unsubscribed": (sent & (rng.random(n) < np.where(channel == 0, 0.01, 0.05))).astype(np.float64),
    }
    made |= rewards
    who = np.arange(n) if contacts is None else rng.integers(contacts, size=n)
    return RoundBatch(
        chunk=0,
        decision_id=np.array([f"{seed}-{row}" for row in range(n)], dtype=object),
        context=shown,
        action=action,
        propensity=np.full(n, 1.0 / catalogue.k),
        eligible=pack(np.ones((n, catalogue.k), dtype=np.bool_)),
        k=catalogue.k,
        cluster=(who.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)),
        rewards={name: values for name, values in made.items() if values is not None},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=(20_000 * US_PER_DAY + np.arange(n) * (20 * US_PER_DAY // n)).astype(np.int64),
        extra={},
    )


def learner(exploration: ExplorationConfig | None = None, *, metric: str = "margin", **parts: Any) -> PartsLearner:
    """A learner with one penalty and straight lines, where nothing else is asked for."""
    config = VwConfig(parts=PartsConfig(**{**SPARSE, **parts}), bit_precision=16)
    limits = RANGE if metric == "margin" else (-1.0, 1.0)
    return PartsLearner(catalog(), SCHEMA, metric, limits, config, exploration or ExplorationConfig(kind="greedy"))


def learnt(*batches: RoundBatch, metric: str = "margin", **parts: Any) -> PartsLearner:
    """The same after learning."""
    made = learner(metric=metric, **parts)
    made.learn(list(batches) or [log()])
    return made
