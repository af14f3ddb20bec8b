"""Targets of evaluations over modular content: the probability of the logged action, and of it alone.

What needs a policy's whole distribution (DM, DR and their kin, MIPS, OffCEM) is not defined for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.content.drawing import BlockChooser, probability_of
from engine.ope.target import TargetBatch
from engine.records.rounds import RoundBatch
from engine.types import HOLD


@dataclass(frozen=True)
class BlockTarget:
    """A policy over assemblies.

    Attributes:
        policy: gives the joint probability of an action.
        name: stands in results.
    """

    policy: BlockChooser
    name: str
    knows_all: bool = False

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """The joint probability of the logged action over the logged eligible set.

        Raises:
            ParameterError: a probability outside [0, 1], or a policy that writes to what it is given.
        """
        logged = probability_of(self.policy, rounds.context, rounds.eligible_blocks(), rounds.action)
        return TargetBatch(logged, None, np.zeros(rounds.n))


@dataclass(frozen=True)
class UniformBlockTarget:
    """Every eligible action with the same probability."""

    name: str = "uniform"
    knows_all: bool = False

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """1 / the number of eligible actions."""
        return TargetBatch(1.0 / rounds.eligible_counts(), None, np.zeros(rounds.n))


@dataclass(frozen=True)
class AlwaysBlockTarget:
    """One action wherever it is eligible, else hold.

    Attributes:
        action: its index.
        name: stands in results.
    """

    action: int
    name: str
    knows_all: bool = False

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """1 where the log took what the target takes."""
        may = rounds.eligible_blocks().contains(np.full(rounds.n, self.action, dtype=np.int32))
        taken = np.where(may, self.action, HOLD)
        return TargetBatch((rounds.action == taken).astype(np.float64), None, np.zeros(rounds.n))
