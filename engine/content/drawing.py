"""Drawing assemblies: channel and hour first, then block by block, from one uniform per decision.

The uniform is inverted step by step: it picks a channel and hour, what is left of it a block, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import BlockEligibility, catalog_groups, modular_of
from engine.content.groups import SlotGroup
from engine.decide.asking import checked_choice, checked_probability, only_reading
from engine.features import ContextBatch
from engine.sealing import sealed
from engine.types import HOLD, CodeArray, FloatArray, IntArray

# The largest float below 1: what is left of a uniform must stay below 1.
_BELOW_ONE = float(np.nextafter(1.0, 0.0))


def picked(weight: FloatArray, uniform: FloatArray) -> tuple[IntArray, FloatArray]:
    """Pick one column per row in proportion to its weight, by inversion of the running sum.

    Given the pick, what is left of the uniform is again uniform on [0, 1), so the next pick needs no other one. A draw
    among m actions uses up log2(m) of its 53 bits.

    Args:
        weight: (n, m), not negative, some of each row positive.
        uniform: (n,) in [0, 1).

    Returns:
        (n,) columns of positive weight, and (n,) what is left of the uniforms, in [0, 1).
    """
    running = np.cumsum(weight, axis=1)
    total = running[:, -1]
    point = uniform * total
    # Rounding of the product may reach the total: then the column that completes the sum is meant.
    last = np.argmax(running >= total[:, None], axis=1)
    column = np.minimum((running <= point[:, None]).sum(axis=1), last)
    rows = np.arange(len(weight))
    size = weight[rows, column]
    left = (point - (running[rows, column] - size)) / size
    return column.astype(np.int64), np.clip(left, 0.0, _BELOW_ONE)


def placed(catalog: Catalog, groups: Sequence[SlotGroup], cell: IntArray, members: Sequence[IntArray]) -> CodeArray:
    """The actions of picked cells and combinations.

    Args:
        cell: (n,) 0 for hold, else 1 + channel x hours + hour.
        members: per group (n,) its combination.
    """
    modular = modular_of(catalog)
    positions = np.empty((len(cell), len(modular.sizes)), dtype=np.int64)
    for group, member in zip(groups, members, strict=True):
        positions[:, group.slots] = group.positions[member]
    arm = modular.arm(positions)
    action = 1 + (cell - 1) * modular.arms + arm
    return np.where(cell == HOLD, HOLD, action).astype(np.int32)


def cells_of(catalog: Catalog, groups: Sequence[SlotGroup], action: CodeArray) -> tuple[IntArray, list[IntArray]]:
    """Cells (n,) and per group combinations (n,) of actions; the inverse of `placed`. Hold has combination 0."""
    channel, hour, arm = catalog.split(action)
    modular = modular_of(catalog)
    positions = modular.positions(np.maximum(arm, 0))
    cell = np.where(arm < 0, HOLD, 1 + channel * catalog.shape[1] + hour)
    return cell, [
        np.asarray(np.ravel_multi_index(tuple(positions[:, group.slots].T), [modular.sizes[s] for s in group.slots]))
        for group in groups
    ]


@runtime_checkable
class BlockChooser(Protocol):
    """A policy over assemblies that never lists them."""

    def choose_blocks(
        self, context: ContextBatch, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and its propensity (n,)."""
        ...

    def block_probability(self, context: ContextBatch, eligibility: BlockEligibility, action: CodeArray) -> FloatArray:
        """(n,) probability of a given action in each row; 0 where it is not eligible."""
        ...


@dataclass(frozen=True)
class AssemblyDrawer:
    """Draws assemblies from a policy that never lists them (see `engine.decide.drawing.Drawer`)."""

    policy: BlockChooser

    def by_policy(
        self, context: ContextBatch, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """The policy's own draw: action (n,) and its probability (n,).

        Raises:
            ParameterError: the action is a removed one, its probability is not in (0, 1], or the policy writes to what
                it is given.
        """
        name = _name(self.policy)
        with only_reading(name):
            answer = self.policy.choose_blocks(context.sealed(), eligibility.sealed(), sealed(uniform))
        return checked_choice(answer, eligibility, name)

    def at_random(
        self, context: ContextBatch, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """A uniform eligible action (n,), and the policy's probability of it (n,).

        Raises:
            ParameterError: see `probability_of`.
        """
        action = uniform_actions(eligibility, uniform)
        return action, probability_of(self.policy, context, eligibility, action)


def probability_of(
    policy: BlockChooser, context: ContextBatch, eligibility: BlockEligibility, action: CodeArray
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
