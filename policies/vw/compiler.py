"""Reads a VW model's weights into score tables, and measures how far the tables are from VW's own predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.types import Float32Array, FloatArray
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.examples import context_row
from policies.vw.names import (
    HOLD_FEATURE,
    action_lines,
    arm_features,
    channel_features,
    escape,
    hour_features,
)
from policies.vw.tables import ScoreTables

PARITY_PAIRS: Final = 200_000


def compile_tables(
    model: wall.Model,
    encoder: Encoder,
    catalog: Catalog,
    config: VwConfig,
    *,
    scale: float,
    shift: float,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> ScoreTables:
    """Tables of a linear model.

    Args:
        model: loaded model, contextual bandit or regression.
        encoder: that its examples were written with.
        catalog: its actions.
        config: that it was trained with: the interactions tell which weights exist.
        scale / shift: reward = shift + scale x the model's prediction; scale is negative where it predicts costs.
        limits: scores are clipped to this range.
    """
    context = [model.hash_of("x", escape(name)) for name in encoder.column_names]
    channels = _hashes(model, "c", channel_features(catalog))
    hours = _hashes(model, "h", hour_features(catalog))
    arms = _hashes(model, "a", arm_features(catalog))
    pairs = set(config.interactions)

    def with_context(hashes: list[int | None], pair: str) -> Float32Array:
        rows = np.stack([_row(model, context, own, pair in pairs) for own in hashes])
        return (scale * rows).astype(np.float32)

    def table(first: list[int | None], second: list[int | None], pair: str) -> Float32Array:
        out = np.zeros((len(first), len(second)))
        if pair in pairs:
            for i, one in enumerate(first):
                for j, other in enumerate(second):
                    out[i, j] = 0.0 if one is None or other is None else scale * model.weight(one, other)
        return out.astype(np.float32)

    base = scale * np.array([model.weight(own) for own in (*context, wall.CONSTANT_HASH)])
    base[-1] += shift
    return ScoreTables(
        base=base.astype(np.float32),
        hold=with_context([model.hash_of("a", HOLD_FEATURE)], "xa")[0],
        channel=with_context(channels, "xc"),
        hour=with_context(hours, "xh"),
        arm=with_context(arms, "xa"),
        channel_hour=table(channels, hours, "ch"),
        channel_arm=table(channels, arms, "ca"),
        hour_arm=table(hours, arms, "ha"),
        limits=np.asarray(limits, dtype=np.float32),
    )


def random_contexts(encoder: Encoder, n: int, seed: int) -> Float32Array:
    """(n, d) encoded contexts such as `encode` gives: one indicator per feature, values within the clip."""
    generator = np.random.default_rng(seed)
    out = np.zeros((n, encoder.d), dtype=np.float32)
    start = 0
    for coding in encoder.codings:
        width = len(coding.columns)
        position = generator.integers(width, size=n)
        out[np.arange(n), start + position] = 1.0
        if not hasattr(coding, "levels"):
            values = np.clip(generator.normal(size=n) * 2.0, -8.0, 8.0).astype(np.float32)
            out[:, start] = np.where(position == 0, values, 0.0)
        start += width
    return out


def parity(
    model: wall.Model,
    tables: ScoreTables,
    encoder: Encoder,
    catalog: Catalog,
    *,
    scale: float,
    shift: float,
    seed: int = 0,
    contexts: int = 200,
    on_progress: Callable[[int], None] | None = None,
) -> float:
    """Largest |score - VW's prediction| over random contexts x every action, in reward units.

    Args:
        scale / shift: as for `compile_tables`.
        contexts: how many; fewer (at least 20) where contexts x k exceeds `PARITY_PAIRS`.
        on_progress: called with the number of contexts done.
    """
    n = max(min(contexts, PARITY_PAIRS // catalog.k), 20)
    x = random_contexts(encoder, n, seed)
    scores = tables.scores(x)
    actions = "\n".join(action_lines(catalog)) + "\n"
    worst = 0.0
    for row in range(n):
        costs = model.costs(f"shared {context_row(encoder.column_names, x[row])}\n{actions}", catalog.k)
        worst = max(worst, float(np.abs(scores[row] - (shift + scale * costs)).max()))
        if on_progress:
            on_progress(row + 1)
    return worst


def _hashes(model: wall.Model, namespace: str, features: tuple[str, ...]) -> list[int | None]:
    return [model.hash_of(namespace, feature) if feature else None for feature in features]


def _row(model: wall.Model, context: list[int], own: int | None, with_context: bool) -> FloatArray:
    """(d + 1,) weights of one value of an axis: its products with the context, then its own."""
    out: FloatArray = np.zeros(len(context) + 1)
    if own is None:
        return out
    if with_context:
        out[:-1] = [model.weight(feature, own) for feature in context]
    out[-1] = model.weight(own)
    return out
