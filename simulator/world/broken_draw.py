"""The fault `broken_randomisation`: somebody misuses the random numbers, and the log does not say so.

The draw leans to the first actions of the eligible set (u becomes u^2, so hold and the first channel come too often),
while the propensity that is logged stays the nominal one: the mean weight of an honest evaluation shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.decide.asking import choice_of, distribution_of
from engine.eligibility import Eligibility
from engine.features import ContextBlock
from engine.protocols import FusedPolicy, Policy
from engine.sampling import draw
from engine.types import BoolArray, CodeArray, FloatArray
from simulator.world.faults import Fault

# Rows whose (rows, k) distribution is built at once for a policy without a fused path.
_DENSE_CELLS = 4_000_000


@dataclass(frozen=True)
class BrokenDraw:
    """A policy whose draws are wrong and whose propensities are right.

    Attributes:
        policy: that is misused.
    """

    policy: Policy

    @property
    def name(self) -> str:
        return self.policy.name

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) the nominal distribution.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return self.policy.distribution(context, eligible)

    def choose(
        self, context: ContextBlock, eligibility: Eligibility, draws: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """(n,) actions by uniforms that lean to 0, with the propensities of honest ones.

        Raises:
            EligibilityError: a row without an eligible action.
            ParameterError: the policy's answer is no distribution over the eligible set.
        """
        leaning = draws * draws
        if isinstance(self.policy, FusedPolicy):
            return choice_of(self.policy, context, eligibility, leaning)
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        size = max(1, _DENSE_CELLS // eligibility.k)
        for start in range(0, context.n, size):
            part = slice(start, min(start + size, context.n))
            eligible = eligibility.take(part).dense()
            probabilities = distribution_of(self.policy, context.take(part), eligible)
            action[part], propensity[part] = draw(probabilities, leaning[part])
        return action, propensity


def broken_at(policy: Policy, faults: tuple[Fault, ...], day: float) -> Policy:
    """The policy as it draws on a day of the world: broken where the fault is on."""
    broken = any(fault.kind == "broken_randomisation" and fault.on(day) for fault in faults)
    return BrokenDraw(policy) if broken else policy
