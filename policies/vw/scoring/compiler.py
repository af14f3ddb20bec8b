"""Reads a VW model's weights into score tables, and measures how far the tables are from VW's own predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.encoder import CategoricalCoding, Encoder
from engine.errors import ArtefactError
from engine.types import BoolArray, Float32Array, FloatArray
from policies.exploring.exploration import vote_shares, with_minimum
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.examples import (
    HOLD_FEATURE,
    Apart,
    action_lines,
    arm_features,
    channel_features,
    context_row,
    escape,
    hour_features,
)
from policies.vw.scoring.tables import ScoreTables

PARITY_PAIRS: Final = 200_000
_MARGIN: Final = 1e-5


def compile_tables(
    model: wall.Model,
    encoder: Encoder,
    catalog: Catalog,
    config: VwConfig,
    *,
    scale: float,
    shift: float,
    limits: tuple[float, float] = (-np.inf, np.inf),
    position: int = 0,
    hats: Apart | None = None,
) -> ScoreTables:
    """Tables of a linear model.

    Args:
        model: loaded model, contextual bandit or regression.
        encoder: the encoder that its examples were written with.
        catalog: its actions.
        config: the configuration that it was trained with: the interactions tell which weights exist.
        scale / shift: reward = shift + scale x the model's prediction; scale is negative where it predicts costs.
        limits: scores are clipped to this range.
        position: the position of the policy among those that the model interleaves.
        hats: where the columns that bend lines into curves stand (`context_text`); None is in x.
    """
    names = encoder.column_names
    of = [hats if hats is not None and name in encoder.hats else Apart("x", 1.0) for name in names]
    context = [model.hash_of(own.namespace, escape(name)) for own, name in zip(of, names, strict=True)]
    paired = [None if own is hats else feature for own, feature in zip(of, context, strict=True)]
    channels = _hashes(model, "c", channel_features(catalog))
    hours = _hashes(model, "h", hour_features(catalog))
    arms = _hashes(model, "a", arm_features(catalog))
    pairs = set(config.interactions)

    def with_context(hashes: list[int | None], pair: str) -> Float32Array:
        rows = np.stack([_row(model, paired, own, pair in pairs, position) for own in hashes])
        return (scale * rows).astype(np.float32)

    def table(first: list[int | None], second: list[int | None], pair: str) -> Float32Array:
        def weight(one: int, other: int) -> float:
            return scale * model.weight(one, other, position=position)

        out = np.zeros((len(first), len(second)))
        if pair in pairs:
            for i, one in enumerate(first):
                for j, other in enumerate(second):
                    out[i, j] = 0.0 if one is None or other is None else weight(one, other)
        return out.astype(np.float32)

    base = scale * np.array([model.weight(own, position=position) for own in (*context, wall.CONSTANT_HASH)])
    base[:-1] *= [own.weight for own in of]
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
    for coding, columns in encoder.places:
        start, width = columns.start, len(coding.columns)
        position = generator.integers(width, size=n)
        out[np.arange(n), start + position] = 1.0
        if not isinstance(coding, CategoricalCoding):
            # The first columns hold values; the last two say missing and stale.
            numbers = width - 2
            values = np.clip(generator.normal(size=(n, numbers)) * 2.0, -8.0, 8.0).astype(np.float32)
            out[:, start : start + numbers] = np.where(position[:, None] < numbers, values, 0.0)
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
    x = random_contexts(encoder, _pairs(contexts, catalog), seed)
    scores = tables.scores(x)
    worst = 0.0
    for row, costs in enumerate(_answers(model, encoder, catalog, x)):
        worst = max(worst, float(np.abs(scores[row] - (shift + scale * costs)).max()))
        if on_progress:
            on_progress(row + 1)
    return worst


def vote_parity(
    model: wall.Model,
    members: tuple[ScoreTables, ...],
    encoder: Encoder,
    catalog: Catalog,
    *,
    share: float,
    shift: float,
    seed: int = 0,
    contexts: int = 200,
) -> float:
    """Largest |probability - VW's| of an ensemble over random contexts x every action.

    VW shows the votes of an ensemble, not its scores, and lets costs tie that differ by 1e-4 of their size; here only
    equal ones do. So contexts where some member's two best scores are about that near are left out.

    Args:
        share: uniform share that VW predicts with.
        shift: as for `parity`.
        contexts: as for `parity`.

    Raises:
        ArtefactError: every context was left out.
    """
    x = random_contexts(encoder, _pairs(contexts, catalog), seed)
    every = np.ones((len(x), catalog.k), dtype=np.bool_)
    scores = [member.scores(x) for member in members]
    ours = with_minimum(vote_shares(scores, every), every, share)
    clear = np.all([_clear(one, shift) for one in scores], axis=0)
    if not clear.any():
        raise ArtefactError(
            "the policies of the ensemble prefer no action to any other", hint="train on more rounds, or one model"
        )
    answers = enumerate(_answers(model, encoder, catalog, x))
    return max(float(np.abs(ours[row] - theirs).max()) for row, theirs in answers if clear[row])


def _pairs(contexts: int, catalog: Catalog) -> int:
    return max(min(contexts, PARITY_PAIRS // catalog.k), 20)


def _answers(model: wall.Model, encoder: Encoder, catalog: Catalog, x: Float32Array) -> Iterator[FloatArray]:
    """What VW says of every action, context by context."""
    actions = "\n".join(action_lines(catalog)) + "\n"
    for row in x:
        yield model.costs(f"shared {context_row(encoder.column_names, row)}\n{actions}", catalog.k)


def _clear(scores: FloatArray, shift: float) -> BoolArray:
    """(n,) whether the best score is above the second by more than VW's tolerance of ties, twice over."""
    best = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    clear: BoolArray = best[:, 1] - best[:, 0] > _MARGIN + 2e-4 * np.abs(best - shift).max(axis=1)
    return clear


def _hashes(model: wall.Model, namespace: str, features: tuple[str, ...]) -> list[int | None]:
    return [model.hash_of(namespace, feature) if feature else None for feature in features]


def _row(
    model: wall.Model, context: list[int | None], own: int | None, with_context: bool, position: int
) -> FloatArray:
    """(d + 1,) weights of one value of an axis: its products with the context, then its own."""
    out: FloatArray = np.zeros(len(context) + 1)
    if own is None:
        return out
    if with_context:
        out[:-1] = [0.0 if feature is None else model.weight(feature, own, position=position) for feature in context]
    out[-1] = model.weight(own, position=position)
    return out
