"""The numba kernel of assemblies: scores, stages and draw of a row in one go. Optional, as the other kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.content.eligibility import BlockEligibility
from engine.content.groups import SlotGroup
from engine.types import Float32Array, FloatArray, IntArray
from policies.content.tables import BlockTables
from policies.exploring.bounds import check_bounds
from policies.exploring.config import ExplorationConfig
from policies.vw.scoring.kernels import AVAILABLE, readable, run

__all__ = ["AVAILABLE", "choose"]

# Codes of `policies.content.jitted`.
_UNIFORM, _SOFTMAX, _SQUARECB = 0, 1, 2


def choose(
    x: Float32Array,
    tables: BlockTables,
    groups: Sequence[SlotGroup],
    eligibility: BlockEligibility,
    exploration: ExplorationConfig,
    rounds: int,
    uniform: FloatArray,
) -> tuple[IntArray, list[IntArray], FloatArray]:
    """Encoded contexts (n, d) -> cells (n,), per group combinations (n,), and propensities (n,)."""
    kind, parameter, spread = _coded(exploration, rounds)
    n, ceiling = len(x), exploration.ceiling
    first = np.cumsum([0, *(group.m for group in groups)]).astype(np.int64)
    width = max(len(group.slots) for group in groups)
    blocks = np.full((int(first[-1]), width), -1, dtype=np.int64)
    for at, group in enumerate(groups):
        blocks[first[at] : first[at + 1], : len(group.slots)] = group.blocks
    combinations = (
        first,
        blocks,
        np.concatenate([group.allowed for group in groups]),
        np.concatenate([tables.pairs_of(group) for group in groups]),
    )
    chosen = np.zeros((n, 1 + len(groups)), dtype=np.int64)
    propensity, exploring = np.empty(n), np.zeros(n)
    run(
        "policies.content.jitted",
        "choose_rows",
        np.ascontiguousarray(x),
        (tables.linear, *tables.wide),
        combinations,
        (readable(eligibility.channel_block), readable(eligibility.channel_hour)),
        (kind, parameter, spread, 2.0 if ceiling is None else ceiling),
        readable(uniform.astype(np.float64, copy=False)),
        (chosen, propensity, exploring),
    )
    check_bounds(exploring, propensity, ceiling, 0.0)
    return chosen[:, 0], [np.ascontiguousarray(chosen[:, 1 + at]) for at in range(len(groups))], propensity


def _coded(exploration: ExplorationConfig, rounds: int) -> tuple[int, float, float]:
    if exploration.kind == "softmax":
        return _SOFTMAX, exploration.inverse_temperature, 1.0
    if exploration.kind == "squarecb":
        return _SQUARECB, exploration.gamma(rounds), 1.0
    return _UNIFORM, 0.0, exploration.epsilon if exploration.kind == "epsilon_greedy" else 0.0
