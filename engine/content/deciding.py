"""Drawing assemblies: channel and hour first, then block by block, from one uniform per decision."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from engine.content.eligibility import BlockEligibility, catalog_groups
from engine.content.nested import picked, placed
from engine.decide.asking import checked_choice, checked_probability, only_reading
from engine.decide.sealing import sealed
from engine.features import ContextBlock
from engine.records.schema import CONTROL, GROUPS, UNIFORM_SLICE
from engine.types import HOLD, CodeArray, FloatArray, IntArray


@runtime_checkable
class BlockChooser(Protocol):
    """A policy over assemblies that never lists them."""

    def choose_blocks(
        self, context: ContextBlock, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and its propensity (n,)."""
        ...

    def block_probability(self, context: ContextBlock, eligibility: BlockEligibility, action: CodeArray) -> FloatArray:
        """(n,) probability of a given action in each row; 0 where it is not eligible."""
        ...


def choose_assemblies(
    policy: BlockChooser,
    context: ContextBlock,
    eligibility: BlockEligibility,
    uniform: FloatArray,
    group: CodeArray,
    share: float,
) -> tuple[CodeArray, FloatArray]:
    """Draw within each row's group, as `engine.decide.deciding` does of plain catalogs.

    Args:
        policy: gives the joint distribution.
        context / eligibility: of the n rows.
        uniform: (n,) in [0, 1).
        group: (n,) positions in `engine.records.schema.GROUPS`.
        share: probability of the uniform slice in a row that is not held out.

    Returns:
        action (n,) and its probability (n,) over the draw of the slice too; 1 in control.

    Raises:
        ParameterError: the policy's action is a removed one, its propensity is not in (0, 1], or it writes to what it
            is given.
    """
    action, propensity = np.full(eligibility.n, HOLD, dtype=np.int32), np.ones(eligibility.n)
    sliced = group == GROUPS.index(UNIFORM_SLICE)
    treated = np.flatnonzero(~sliced & (group != GROUPS.index(CONTROL)))
    if len(treated):
        part = eligibility if len(treated) == eligibility.n else eligibility.take(treated)
        seen = context if len(treated) == eligibility.n else context.take(treated)
        with only_reading(_name(policy)):
            answer = policy.choose_blocks(seen.sealed(), part.sealed(), sealed(uniform[treated]))
        action[treated], own = checked_choice(answer, part, _name(policy))
        propensity[treated] = share / part.counts() + (1.0 - share) * own if share else own
    rows = np.flatnonzero(sliced)
    if len(rows):
        part = eligibility.take(rows)
        action[rows] = uniform_actions(part, uniform[rows])
        own = probability_of(policy, context.take(rows), part, action[rows])
        propensity[rows] = share / part.counts() + (1.0 - share) * own
    return action, propensity


def probability_of(
    policy: BlockChooser, context: ContextBlock, eligibility: BlockEligibility, action: CodeArray
) -> FloatArray:
    """(n,) a policy's probability of given actions; it is handed sealed copies.

    Raises:
        ParameterError: a value outside [0, 1], or a policy that writes to what it is given.
    """
    with only_reading(_name(policy)):
        answer = policy.block_probability(context.sealed(), eligibility.sealed(), sealed(action))
    return checked_probability(answer, eligibility.n, _name(policy))


def _name(policy: BlockChooser) -> str:
    return str(getattr(policy, "name", type(policy).__name__))


def uniform_actions(eligibility: BlockEligibility, uniform: FloatArray) -> CodeArray:
    """(n,) one of the eligible actions, each as likely as any other."""
    catalog = eligibility.catalog
    each = eligibility.assemblies()
    weight = (eligibility.channel_hour * each[:, :, None]).reshape(eligibility.n, -1).astype(np.float64)
    cell, left = picked(np.concatenate([np.ones((eligibility.n, 1)), weight], axis=1), uniform)
    channel = np.maximum(cell - 1, 0) // catalog.shape[1]
    rows = np.arange(eligibility.n)
    members: list[IntArray] = []
    for group in catalog_groups(catalog):
        may = eligibility.members(group)[rows, channel].astype(np.float64)
        # Where it holds no block is drawn; some row without a block must not divide by nothing.
        may[cell == HOLD] = 1.0
        member, left = picked(may, left)
        members.append(member)
    return placed(catalog, catalog_groups(catalog), cell, members)
