"""Slates of logged rounds over modular content: channel with hour (or hold) as the first slot, then every group."""

from __future__ import annotations

import numpy as np

from engine.content.drawing import cells_of
from engine.ope.slates.slates import Slates
from engine.records.rounds import RoundBatch
from engine.types import HOLD, FloatArray, IntArray
from policies.content.policy import BlockPolicy
from policies.content.stages import Stages


def slates_of(rounds: RoundBatch, metric: str, target: BlockPolicy, logging: BlockPolicy) -> Slates:
    """The weights that the estimators of `engine.ope.slates` need; the reward stands in the last slot.

    Args:
        rounds: n rounds that `logging` decided, alone.
        metric: known in every round.
        target: the policy that is judged; both policies have the same groups.
        logging: the policy that drew the actions.

    Raises:
        DataError: the rounds are not of a modular catalog.
        ParameterError: the rounds are of another catalog than the policies.
    """
    eligible = rounds.eligible_blocks()
    wanted, drawn = (policy.stages(rounds.context, eligible) for policy in (target, logging))
    cell, members = cells_of(target.catalog, target.groups, rounds.action)
    reward = np.zeros((rounds.n, 1 + len(members)))
    reward[:, -1] = rounds.rewards[metric]
    return Slates(
        reward,
        slot_weight=marginals(wanted, cell, members) / marginals(drawn, cell, members),
        chain_weight=_ratios(chances(wanted, cell, members), chances(drawn, cell, members)),
    )


def chances(stages: Stages, cell: IntArray, members: list[IntArray]) -> FloatArray:
    """(n, L) probability of the slots from the first to each: the last column is that of the action."""
    rows, channel, send = np.arange(len(cell)), stages.channel(cell), cell != HOLD
    staged = stages.cells[rows, cell] / stages.cells.sum(axis=1)
    same = cell == stages.best_cell
    columns = [np.where(same, 1.0 - stages.spread, 0.0) + stages.spread * staged]
    for weight, best, member in zip(stages.members, stages.best(), members, strict=True):
        staged = staged * np.where(send, _share(weight)[rows, channel, member], 1.0)
        same &= (member == best) | ~send
        columns.append(np.where(same, 1.0 - stages.spread, 0.0) + stages.spread * staged)
    return np.stack(columns, axis=1)


def marginals(stages: Stages, cell: IntArray, members: list[IntArray]) -> FloatArray:
    """(n, L) probability of what stands in each slot, whatever stands in the others; no block stands in a hold."""
    n = len(cell)
    rows, send, sends = np.arange(n), cell != HOLD, stages.best_cell != HOLD
    shares = stages.cells / stages.cells.sum(axis=1, keepdims=True)
    by_channel = shares[:, 1:].reshape(n, -1, stages.hours).sum(axis=2)
    sure = 1.0 - stages.spread
    columns = [np.where(cell == stages.best_cell, sure, 0.0) + stages.spread * shares[rows, cell]]
    for weight, best, member in zip(stages.members, stages.best(), members, strict=True):
        own = (by_channel * _share(weight)[rows, :, member]).sum(axis=1)
        spread = np.where(send, own, shares[:, HOLD])
        same = np.where(send, sends & (best == member), ~sends)
        columns.append(np.where(same, sure, 0.0) + stages.spread * spread)
    return np.stack(columns, axis=1)


def _share(weight: FloatArray) -> FloatArray:
    total = weight.sum(axis=2, keepdims=True)
    share: FloatArray = weight / np.where(total > 0.0, total, 1.0)
    return share


def _ratios(wanted: FloatArray, drawn: FloatArray) -> FloatArray:
    """(n, L) target / logging probability of each slot given those above; 0 where the target never comes."""
    prefix = wanted / drawn
    above = np.concatenate([np.ones((len(prefix), 1)), prefix[:, :-1]], axis=1)
    ratios: FloatArray = np.divide(prefix, above, out=np.zeros_like(prefix), where=above > 0.0)
    return ratios
