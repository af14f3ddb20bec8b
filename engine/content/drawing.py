"""Drawing assemblies: channel and hour first, then block by block, from one uniform per decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from engine.content.eligibility import BlockEligibility, catalog_groups
from engine.content.nested import picked, placed
from engine.decide.asking import checked_choice, checked_probability, only_reading
from engine.features import ContextBlock
from engine.sealing import sealed
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


@dataclass(frozen=True)
class AssemblyDrawer:
    """Draws assemblies from a policy that never lists them (see `engine.decide.drawing.Drawer`)."""

    policy: BlockChooser

    def by_policy(
        self, context: ContextBlock, eligibility: BlockEligibility, uniform: FloatArray
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
        self, context: ContextBlock, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """A uniform eligible action (n,), and the policy's probability of it (n,).

        Raises:
            ParameterError: see `probability_of`.
        """
        action = uniform_actions(eligibility, uniform)
        return action, probability_of(self.policy, context, eligibility, action)


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
