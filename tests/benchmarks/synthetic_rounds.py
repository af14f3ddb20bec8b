"""Rounds for the benchmarks: the reference catalog (3 x 24 x 8 + hold = 577 actions) and ten features."""

from __future__ import annotations

import numpy as np

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema, FeatureSpec, categorical_column, numeric_column
from engine.records.rounds import CHUNK_ROWS, RoundBatch

LEVELS = ("gold", "silver", "bronze", "new", "lapsed", "guest")


def reference_catalog() -> Catalog:
    return Catalog(
        name="reference",
        channels=("email", "sms", "push"),
        hours=tuple(range(24)),
        arms=tuple(Arm(id=f"arm {a}", approved=True) for a in range(8)),
    )


def reference_schema() -> FeatureSchema:
    """Five numeric and five categorical features."""
    kinds = ["numeric"] * 5 + ["categorical"] * 5
    return FeatureSchema(
        features=tuple(
            FeatureSpec(
                name=f"feature {i}",
                type=kind,
                unit="u",
                source="bench",
                collected_where="bench",
                customer_benefit="fewer useless messages arrive",
            )
            for i, kind in enumerate(kinds)
        )
    )


def reference_rounds(rows: int, seed: int = 0) -> list[RoundBatch]:
    """Chunks of rounds with uniform propensities over random eligible sets and a click as reward."""
    return [
        _chunk(chunk, min(CHUNK_ROWS, rows - start), seed) for chunk, start in enumerate(range(0, rows, CHUNK_ROWS))
    ]


def _chunk(chunk: int, n: int, seed: int) -> RoundBatch:
    rng = np.random.default_rng([seed, chunk])
    k = reference_catalog().k
    context = reference_context(rng, n)
    eligible = rng.random((n, k)) < 0.6
    eligible[:, 0] = True
    action = np.where(eligible, rng.random((n, k)), -1.0).argmax(axis=1).astype(np.int32)
    first = np.nan_to_num(context.columns["feature 0"].values)
    click = rng.random(n) < 0.1 + 0.08 * (action % 8 == 3) * (first > 0)
    return RoundBatch(
        chunk=chunk,
        decision_id=np.array([f"{chunk}-{i}" for i in range(n)], dtype=object),
        context=context,
        action=action,
        propensity=1.0 / eligible.sum(axis=1),
        eligible=pack(eligible),
        k=k,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"click": click.astype(np.float64)},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


def reference_context(rng: np.random.Generator, n: int) -> ContextBatch:
    """n random contexts with missing and stale values."""
    schema = reference_schema()
    columns = {}
    for spec in schema.features:
        state = rng.choice(3, p=[0.9, 0.05, 0.05], size=n).astype(np.uint8)
        if spec.type == "numeric":
            columns[spec.name] = numeric_column(spec, rng.normal(size=n), state)
        else:
            codes = rng.integers(len(LEVELS), size=n).astype(np.int32)
            columns[spec.name] = categorical_column(spec, codes, LEVELS, state)
    return ContextBatch(schema, columns, n)
