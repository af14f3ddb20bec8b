"""Rounds over small modular catalogs, and learners on them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from engine.catalog import Catalog
from engine.content.drawing import uniform_actions
from engine.content.eligibility import BlockEligibility, modular_of
from engine.features import ContextBatch, FeatureSchema, categorical_column, numeric_column
from engine.records.rounds import RoundBatch
from policies.content.learner import BlockLearner
from policies.exploring.config import ExplorationConfig
from policies.vw.arguments import VwConfig
from tests.engine.content.modular_worlds import random_eligibility, small_catalog
from tests.strategies import categorical_spec, numeric_spec

SCHEMA = FeatureSchema(features=(numeric_spec("spend"), categorical_spec("motive")))
RANGE = (-1.0, 3.0)
CONFIG = VwConfig(learning_rate=0.1, passes=3)
KINDS = {
    "greedy": ExplorationConfig(kind="greedy"),
    "epsilon_greedy": ExplorationConfig(kind="epsilon_greedy", epsilon=0.2),
    "softmax": ExplorationConfig(kind="softmax", inverse_temperature=3.0),
    "squarecb": ExplorationConfig(kind="squarecb", gamma_scale=0.5),
    "ceiling": ExplorationConfig(kind="squarecb", gamma_scale=0.5, ceiling=0.1),
}


def contexts(n: int, seed: int = 0) -> ContextBatch:
    rng = np.random.default_rng(seed)
    state = rng.choice(3, p=[0.9, 0.05, 0.05], size=n).astype(np.uint8)
    columns = {
        "spend": numeric_column(SCHEMA.features[0], rng.normal(size=n), state),
        "motive": categorical_column(
            SCHEMA.features[1], rng.integers(2, size=n).astype(np.int32), ("price", "trust"), state
        ),
    }
    return ContextBatch(SCHEMA, columns, n)


def rewards(catalog: Catalog, context: ContextBatch, action: Any) -> np.ndarray[Any, Any]:
    """Warm headlines are worth 1, discounts 1 to those who look for a price; a send costs 0.2."""
    channel, _, arm = catalog.split(action)
    positions = modular_of(catalog).positions(np.maximum(arm, 0))
    motive = context.columns["motive"].values
    worth = 1.0 * (positions[:, 0] == 1) + 1.0 * (positions[:, -1] == 1) * (motive == 0) + 0.3 * (channel == 0) - 0.2
    return np.where(arm < 0, 0.0, worth)


def rounds(catalog: Catalog, n: int = 4096, seed: int = 0, eligibility: BlockEligibility | None = None) -> RoundBatch:
    """Uniformly drawn actions, their exact propensities and noisy rewards."""
    rng = np.random.default_rng(seed)
    context = contexts(n, seed)
    may = random_eligibility(catalog, n, seed, 0.8) if eligibility is None else eligibility
    action = uniform_actions(may, rng.random(n))
    return RoundBatch(
        chunk=0,
        decision_id=np.array([f"{seed}-{row}" for row in range(n)], dtype=object),
        context=context,
        action=action,
        propensity=1.0 / may.counts(),
        eligible=may.packed(),
        k=catalog.k,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"margin": np.clip(rewards(catalog, context, action) + rng.normal(size=n) * 0.2, *RANGE)},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
        modular=catalog,
    )


@cache
def trained(world: str) -> BlockLearner:
    """A learner that has seen 4,096 rounds of one of the worlds."""
    catalog, config = WORLDS[world]
    learner = BlockLearner(catalog, SCHEMA, "margin", RANGE, config, KINDS["squarecb"])
    learner.learn([rounds(catalog)])
    return learner


WORLDS = {
    "product": (small_catalog(), CONFIG),
    "forbidden": (small_catalog(forbidden=[["h1", "p2"]]), CONFIG),
    "pairs": (small_catalog(forbidden=[["h1", "p2"]]), VwConfig(learning_rate=0.1, slot_pairs=(("head", "offer"),))),
}
