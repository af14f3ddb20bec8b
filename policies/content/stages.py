"""Exploration of assemblies in stages: channel and hour (or hold) first, then every group of slots by itself.

A joint distribution is held as weights of the cells (hold, and every channel x hour) and, given the channel, weights of
the combinations of every group; the probability of an action is the product of its shares, and exact. In full, with
u[c, h] the score of a cell, v[c, b] the sum of an assembly's blocks on c, and top[c] the best eligible such sum:

- softmax: exp(l (u[c, h] + v[c, b])) / Z. As v is a sum over groups, Z is a sum of products of sums over groups: this
  IS the softmax over all eligible actions.
- uniform (of epsilon-greedy): likewise the uniform distribution over all eligible actions.
- squarecb: inverse gap weighting stage by stage. Cells by u[c, h] + top[c], each as good as the best assembly in it;
  then the combinations of every group by their own scores. This is NOT the inverse gap weighting of Foster & Rakhlin
  (2020) over all assemblies, whose normaliser does not factorise; within a stage it is theirs.

The best action is the first one, in the order of actions, of the highest sum u[c, h] + top[c]; hold comes first. What
`greedy`, `epsilon_greedy` and the ceiling leave to it is a point mass beside the stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.content.drawing import picked
from engine.content.eligibility import BlockEligibility
from engine.content.groups import SlotGroup
from engine.types import HOLD, BoolArray, Float32Array, FloatArray, IntArray
from policies.content.tables import BlockTables
from policies.exploring.config import ExplorationConfig


@dataclass(frozen=True)
class Stages:
    """The joint distributions of n rows.

    Attributes:
        cells: (n, 1 + C H) weights of hold and of every channel x hour.
        members: per group (n, C, m) weights of its combinations, given the channel.
        best_cell: (n,) cell of the best action.
        best_members: per group (n, C) the best combination on each channel.
        spread: (n,) probability that the stages are drawn from; the rest is on the best action.
        hours: H.
    """

    cells: FloatArray
    members: tuple[FloatArray, ...]
    best_cell: IntArray
    best_members: tuple[IntArray, ...]
    spread: FloatArray
    hours: int

    def channel(self, cell: IntArray) -> IntArray:
        """(n,) channel of a cell; 0 for hold, where no block is drawn."""
        return np.asarray(np.maximum(cell - 1, 0) // self.hours)

    def staged(self, cell: IntArray, members: Sequence[IntArray]) -> FloatArray:
        """(n,) probability of an action by the stages alone."""
        rows = np.arange(len(cell))
        probability: FloatArray = self.cells[rows, cell] / np.cumsum(self.cells, axis=1)[:, -1]
        channel, send = self.channel(cell), cell != HOLD
        for weight, member in zip(self.members, members, strict=True):
            own = weight[rows, channel]
            total = np.cumsum(own, axis=1)[:, -1]
            share = own[rows, member] / np.where(total > 0.0, total, 1.0)
            probability = probability * np.where(send, share, 1.0)
        return probability

    def best(self) -> list[IntArray]:
        """Per group (n,) the combination of the best action."""
        rows, channel = np.arange(len(self.best_cell)), self.channel(self.best_cell)
        return [member[rows, channel] for member in self.best_members]

    def probability(self, cell: IntArray, members: Sequence[IntArray]) -> FloatArray:
        """(n,) probability of an action."""
        same = cell == self.best_cell
        for member, best in zip(members, self.best(), strict=True):
            same &= (member == best) | (cell == HOLD)
        total: FloatArray = np.where(same, 1.0 - self.spread, 0.0) + self.spread * self.staged(cell, members)
        return total

    def draw(self, uniform: FloatArray) -> tuple[IntArray, list[IntArray]]:
        """(n,) cells and per group (n,) combinations, from one uniform per row."""
        rows, sure = np.arange(len(uniform)), 1.0 - self.spread
        best, left = uniform < sure, np.zeros(len(uniform))
        # What is left of the uniform after the point mass; no division by nothing where it took all.
        np.divide(uniform - sure, self.spread, out=left, where=~best)
        left = np.clip(left, 0.0, np.nextafter(1.0, 0.0))
        cell, left = picked(self.cells, left)
        cell = np.where(best, self.best_cell, cell)
        channel = self.channel(cell)
        members = []
        for weight, own in zip(self.members, self.best(), strict=True):
            # A row that holds draws no block: any weights do.
            some = np.where((best | (cell == HOLD))[:, None], 1.0, weight[rows, channel])
            member, left = picked(some, left)
            members.append(np.where(best, own, np.where(cell == HOLD, 0, member)))
        return cell, members


def stages(
    tables: BlockTables,
    groups: Sequence[SlotGroup],
    x: Float32Array,
    eligibility: BlockEligibility,
    exploration: ExplorationConfig,
    rounds: int,
) -> Stages:
    """The joint distributions of a batch of rows.

    Args:
        tables: scores.
        groups: the groups that the scores and the eligible sets factorise over.
        x: (n, d) encoded contexts.
        eligibility: the eligible sets of the n rows.
        exploration: without floor and votes.
        rounds: learnt from; SquareCB's gamma grows with them.
    """
    n = len(x)
    hold, cells, blocks = tables.parts(x)
    channels, hours = cells.shape[1:]
    scores = [tables.members(blocks, group) for group in groups]
    may = [eligibility.members(group) for group in groups]
    tops, firsts = zip(*(_top(score, own) for score, own in zip(scores, may, strict=True)), strict=True)
    reach = tops[0]
    for top in tops[1:]:
        reach = reach + top
    open_cells = eligibility.channel_hour & np.isfinite(reach)[:, :, None]
    flat = np.concatenate(
        [hold[:, None], np.where(open_cells, cells + reach[:, :, None], -np.inf).reshape(n, channels * hours)], axis=1
    )
    best_cell = flat.argmax(axis=1)
    gap = np.where(np.isfinite(flat), flat[np.arange(n), best_cell][:, None] - flat, 0.0)
    members, cell_weights = _weights(scores, may, tops, exploration, rounds)
    stage = Stages(
        cells=_cell_weights(flat, gap, cell_weights, hours, exploration, rounds),
        members=tuple(members),
        best_cell=best_cell,
        best_members=tuple(firsts),
        spread=np.full(n, _spread(exploration)),
        hours=hours,
    )
    return _under_ceiling(stage, exploration.ceiling)


def _spread(exploration: ExplorationConfig) -> float:
    return {"greedy": 0.0, "epsilon_greedy": exploration.epsilon}.get(exploration.kind, 1.0)


def _top(scores: FloatArray, may: BoolArray) -> tuple[FloatArray, IntArray]:
    masked = np.where(may, scores, -np.inf)
    first = masked.argmax(axis=2)
    return np.take_along_axis(masked, first[:, :, None], axis=2)[:, :, 0], first


def _weights(
    scores: Sequence[FloatArray],
    may: Sequence[BoolArray],
    tops: Sequence[FloatArray],
    exploration: ExplorationConfig,
    rounds: int,
) -> tuple[list[FloatArray], FloatArray]:
    """Weights of the combinations, and (n, C) their product of sums: what a cell's own weight is multiplied with."""
    volume = np.ones(tops[0].shape)
    members = []
    for score, own, top in zip(scores, may, tops, strict=True):
        gap = np.where(own, np.where(np.isfinite(top), top, 0.0)[:, :, None] - score, 0.0)
        if exploration.kind == "softmax":
            weight = np.where(own, np.exp(-exploration.inverse_temperature * gap), 0.0)
        elif exploration.kind == "squarecb":
            weight = _inverse_gap(gap, own, exploration.gamma(rounds))
        else:
            weight = own.astype(np.float64)
        if exploration.kind != "squarecb":
            volume = volume * np.cumsum(weight, axis=2)[:, :, -1]
        members.append(weight)
    return members, volume


def _cell_weights(
    flat: FloatArray,
    gap: FloatArray,
    volume: FloatArray,
    hours: int,
    exploration: ExplorationConfig,
    rounds: int,
) -> FloatArray:
    open_cells = np.isfinite(flat)
    if exploration.kind == "squarecb":
        return _inverse_gap(gap[:, None], open_cells[:, None], exploration.gamma(rounds))[:, 0]
    each = np.concatenate([np.ones((len(flat), 1)), np.repeat(volume, hours, axis=1)], axis=1)
    if exploration.kind == "softmax":
        each = each * np.exp(-exploration.inverse_temperature * gap)
    return np.where(open_cells, each, 0.0)


def _inverse_gap(gap: FloatArray, may: BoolArray, gamma: float) -> FloatArray:
    """1 / (m + gamma gap) for all but the first of the smallest gap, which gets the rest; along the last axis."""
    count = may.sum(axis=-1, keepdims=True)
    weight = np.where(may, 1.0 / (np.maximum(count, 1) + gamma * gap), 0.0)
    first = np.where(may, gap, np.inf).argmin(axis=-1)[..., None]
    np.put_along_axis(weight, first, 0.0, axis=-1)
    rest = np.where(count > 0, 1.0 - np.cumsum(weight, axis=-1)[..., -1:], 0.0)
    np.put_along_axis(weight, first, rest, axis=-1)
    return weight


def _under_ceiling(stage: Stages, ceiling: float | None) -> Stages:
    """At most the ceiling off the best action: what the stages spread is made smaller in proportion."""
    if ceiling is None:
        return stage
    exploring = stage.spread * (1.0 - stage.staged(stage.best_cell, stage.best()))
    over = exploring > ceiling
    spread = stage.spread * np.where(over, ceiling / np.where(over, exploring, 1.0), 1.0)
    return Stages(stage.cells, stage.members, stage.best_cell, stage.best_members, spread, stage.hours)
