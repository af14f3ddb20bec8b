"""A randomised slice of decisions: with some probability a policy's decision is taken at random instead."""

from __future__ import annotations

from dataclasses import dataclass

from engine.decide.asking import unchecked_distribution
from engine.features import ContextBlock
from engine.protocols import Policy
from engine.types import BoolArray, FloatArray
from experiments.simulate.job import DayPolicy
from policies.peers.constant import UniformPolicy


@dataclass(frozen=True)
class ExploredPolicy:
    """(1 - share) policy + share uniform, decision by decision.

    Like the uniform slice of a plan (`uniform_share`), but part of the policy: its rows are in group treatment, and
    the version says so.

    Attributes:
        policy: that decides otherwise.
        share: of the decisions that are taken at random, in [0, 1].
    """

    policy: Policy
    share: float

    @property
    def name(self) -> str:
        return f"{self.policy.name}, {self.share:g} at random"

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) the mixture.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        mixed: FloatArray = (1.0 - self.share) * unchecked_distribution(self.policy, context, eligible)
        mixed += self.share * UniformPolicy().distribution(context, eligible)
        return mixed


def explored(who: DayPolicy, share: float) -> DayPolicy:
    """The policy of a day with its randomised slice; the version says so."""
    if not share:
        return who
    return DayPolicy(ExploredPolicy(who.policy, share), f"{who.version}, {share:g} at random")
