"""Reads a VW model's weights into tables of blocks, and measures how far they are from VW's own predictions."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.encoder import Encoder
from engine.types import CodeArray, Float32Array, FloatArray
from policies.content.names import (
    SEND_FEATURE,
    SLOT_SPACES,
    block_features,
    interactions,
    lines_of,
    slot_links,
)
from policies.content.tables import BlockTables
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.examples import HOLD_FEATURE, channel_features, context_row, escape, hour_features
from policies.vw.scoring.compiler import random_contexts

PARITY_ACTIONS: Final = 400


def compile_blocks(
    model: wall.Model, encoder: Encoder, catalog: Catalog, config: VwConfig, *, scale: float, shift: float
) -> BlockTables:
    """Tables of a linear model.

    Args:
        model: loaded.
        encoder / catalog / config: those that its examples were written with.
        scale / shift: reward = shift + scale x the model's prediction.
    """
    reader = _Reader(model, encoder, set(interactions(config, catalog)))
    channels = [[(_hash(model, "c", name), 1.0)] if name else [] for name in channel_features(catalog)]
    hours = [[(_hash(model, "h", name), 1.0)] if name else [] for name in hour_features(catalog)]
    blocks = [
        (SLOT_SPACES[slot], [(_hash(model, SLOT_SPACES[slot], name), value) for name, value in block_features(block)])
        for slot, one in enumerate(modular_of(catalog).slots)
        for block in one.blocks
    ]
    sends = reader.row("a", [(_hash(model, "a", SEND_FEATURE), 1.0)])
    base = reader.alone()
    base[-1] += shift / scale
    linked = slot_links(config, catalog)
    found = {
        "base": base,
        "hold": reader.row("a", [(_hash(model, "a", HOLD_FEATURE), 1.0)]),
        "channel": np.stack([sends + reader.row("c", own) for own in channels]),
        "hour": np.stack([reader.row("h", own) for own in hours]),
        "block": np.stack([reader.row(space, own) for space, own in blocks]),
        "channel_hour": reader.table([("c", own) for own in channels], [("h", own) for own in hours]),
        "channel_block": reader.table([("c", own) for own in channels], blocks),
        "pair": reader.table(blocks, blocks) if linked else np.zeros((len(blocks), len(blocks))),
    }
    return BlockTables(**{name: (scale * values).astype(np.float32) for name, values in found.items()})


_Features = list[tuple[int, float]]


class _Reader:
    def __init__(self, model: wall.Model, encoder: Encoder, pairs: set[str]) -> None:
        self._model, self._pairs = model, pairs
        self._context = [_hash(model, "x", escape(name)) for name in encoder.column_names]

    def alone(self) -> FloatArray:
        """(d + 1,) weights of the context."""
        return np.array([self._model.weight(own) for own in (*self._context, wall.CONSTANT_HASH)])

    def row(self, space: str, features: _Features) -> FloatArray:
        """(d + 1,) weights of features: their products with the context, then their own."""
        out: FloatArray = np.zeros(len(self._context) + 1)
        for own, value in features:
            if f"x{space}" in self._pairs:
                out[:-1] += value * np.array([self._model.weight(column, own) for column in self._context])
            out[-1] += value * self._model.weight(own)
        return out

    def table(self, first: list[tuple[str, _Features]], second: list[tuple[str, _Features]]) -> FloatArray:
        """Weights of the products of two lists of feature sets; 0 where the pair is not learnt."""
        out = np.zeros((len(first), len(second)))
        for i, (space, ones) in enumerate(first):
            for j, (other_space, others) in enumerate(second):
                if f"{space}{other_space}" in self._pairs:
                    out[i, j] = sum(a * b * self._model.weight(one, other) for one, a in ones for other, b in others)
        return out


def _hash(model: wall.Model, space: str, name: str) -> int:
    return model.hash_of(space, name)


def block_parity(
    model: wall.Model,
    tables: BlockTables,
    encoder: Encoder,
    catalog: Catalog,
    *,
    scale: float,
    shift: float,
    seed: int = 0,
    contexts: int = 40,
) -> float:
    """Largest |score - VW's prediction| over random contexts, each with hold and 400 random actions, in reward units.

    Every table is read out by name, so a wrong entry shows wherever its block is drawn.
    """
    x = random_contexts(encoder, contexts, seed)
    generator = np.random.default_rng(seed)
    worst = 0.0
    for row in range(contexts):
        count = min(PARITY_ACTIONS, catalog.k - 1)
        actions = np.concatenate([[0], generator.choice(catalog.k - 1, count, replace=False) + 1]).astype(np.int32)
        text = "\n".join(lines_of(catalog, actions))
        costs = model.costs(f"shared {context_row(encoder.column_names, x[row])}\n{text}\n", len(actions))
        ours = action_scores(tables, catalog, np.repeat(x[row : row + 1], len(actions), axis=0), actions)
        worst = max(worst, float(np.abs(ours - (shift + scale * costs)).max()))
    return worst


def action_scores(tables: BlockTables, catalog: Catalog, x: Float32Array, action: CodeArray) -> FloatArray:
    """(n,) predicted reward of one action per row."""
    rows, modular = np.arange(len(x)), modular_of(catalog)
    hold, cells, blocks = tables.parts(x)
    channel, hour, arm = (np.maximum(axis, 0) for axis in catalog.split(action))
    total = cells[rows, channel, hour]
    own = modular.positions(arm) + np.array(modular.first)
    for column in own.T:
        total = total + blocks[rows, channel, column]
    for one in range(own.shape[1]):
        for other in range(one + 1, own.shape[1]):
            total = total + tables.pair[own[:, one], own[:, other]].astype(np.float64)
    return np.where(np.asarray(action) == 0, hold, total)
