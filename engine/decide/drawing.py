"""The one draw of a decision, whatever the policy and the eligible sets are.

A drawer asks a policy over eligible sets of one kind. There are three ways to ask: any policy for its distribution, a
fused policy for its own draw, and a policy over assemblies block by block (`engine.content.drawing`). All of them hand
the policy sealed copies and hold its answer against the eligible sets (`engine.decide.asking`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from engine.decide.asking import EligibleSets, choice_of, distribution_of
from engine.eligibility import DenseEligibility, Eligibility
from engine.features import ContextBatch
from engine.protocols import FusedPolicy, Policy
from engine.records.schema import GROUPS, TREATMENT, UNIFORM_SLICE
from engine.sampling import draw
from engine.types import HOLD, BoolArray, CodeArray, FloatArray

# Bytes of a (rows, k) distribution that is built at once where a policy has no fused path.
_DISTRIBUTION_BYTES: Final = 32 << 20

Drawn = tuple[CodeArray, FloatArray]
_Sets = TypeVar("_Sets", bound=EligibleSets)
_Sets_contra = TypeVar("_Sets_contra", bound=EligibleSets, contravariant=True)


class Drawer(Protocol[_Sets_contra]):
    """Draws for n contacts from eligible sets of one kind, by one uniform (n,) each."""

    def by_policy(self, context: ContextBatch, eligibility: _Sets_contra, uniform: FloatArray) -> Drawn:
        """The policy's own draw: action (n,) and the policy's probability of it (n,)."""
        ...

    def at_random(self, context: ContextBatch, eligibility: _Sets_contra, uniform: FloatArray) -> Drawn:
        """A uniform eligible action (n,), and the policy's probability of it (n,)."""
        ...


def draw_in_groups(
    drawer: Drawer[_Sets],
    context: ContextBatch,
    eligibility: _Sets,
    uniform: FloatArray,
    group: CodeArray,
    share: float,
) -> Drawn:
    """Draw within each row's group.

    Args:
        drawer: asks the policy.
        context / eligibility: features and eligible sets of the n rows.
        uniform: (n,) in [0, 1).
        group: (n,) positions in `engine.records.schema.GROUPS`.
        share: probability of the uniform slice in a row that is not held out.

    Returns:
        action (n,) and its probability (n,) over the draw of the slice too; hold and 1 in control.

    Raises:
        ParameterError: the policy's answer is no distribution over the eligible set, its action is a removed one, or
            it writes to what it is given.
    """
    action, propensity = np.full(len(group), HOLD, dtype=np.int32), np.ones(len(group))
    for name, drawn in ((TREATMENT, drawer.by_policy), (UNIFORM_SLICE, drawer.at_random)):
        own_rows = np.flatnonzero(group == GROUPS.index(name))
        if not len(own_rows):
            continue
        # A slice of all rows copies nothing.
        rows = slice(None) if len(own_rows) == len(group) else own_rows
        part = eligibility.take(rows)
        action[rows], own = drawn(context.take(rows), part, uniform[rows])
        propensity[rows] = share / part.counts() + (1.0 - share) * own if share else own
    return action, propensity


@dataclass(frozen=True)
class DistributionDrawer:
    """Draws from the distribution that any policy gives, which is built for some rows at a time."""

    policy: Policy

    def by_policy(
        self, context: ContextBatch, eligibility: Eligibility | DenseEligibility, uniform: FloatArray
    ) -> Drawn:
        """See `Drawer`."""
        return self._in_parts(context, eligibility, uniform, lambda given, _, one: draw(given, one))

    def at_random(
        self, context: ContextBatch, eligibility: Eligibility | DenseEligibility, uniform: FloatArray
    ) -> Drawn:
        """See `Drawer`."""

        def drawn(given: FloatArray, eligible: BoolArray, one: FloatArray) -> Drawn:
            action, _ = draw(eligible / eligible.sum(axis=1, keepdims=True), one)
            return action, _probability(given, action)

        return self._in_parts(context, eligibility, uniform, drawn)

    def _in_parts(
        self,
        context: ContextBatch,
        eligibility: Eligibility | DenseEligibility,
        uniform: FloatArray,
        drawn: Callable[[FloatArray, BoolArray, FloatArray], Drawn],
    ) -> Drawn:
        n, size = eligibility.n, max(1, _DISTRIBUTION_BYTES // (8 * eligibility.k))
        action, own = np.empty(n, dtype=np.int32), np.empty(n)
        for start in range(0, n, size):
            rows = np.arange(start, min(start + size, n))
            eligible = eligibility.take(rows).dense()
            given = distribution_of(self.policy, context.take(rows), eligible)
            action[rows], own[rows] = drawn(given, eligible, uniform[rows])
        return action, own


@dataclass(frozen=True)
class LimitedDrawer(DistributionDrawer):
    """The same from what set-level limits leave, which is no product of factors, so that no fused path reads it."""

    def by_policy(
        self, context: ContextBatch, eligibility: Eligibility | DenseEligibility, uniform: FloatArray
    ) -> Drawn:
        """See `Drawer`."""

        def drawn(given: FloatArray, _: BoolArray, one: FloatArray) -> Drawn:
            action, _own = draw(given, one)
            # Not the draw's own: summed in another order, it may differ in the last bit from what limited logs hold.
            return action, _probability(given, action)

        return self._in_parts(context, eligibility, uniform, drawn)


@dataclass(frozen=True)
class FusedDrawer(DistributionDrawer):
    """Lets a policy draw by itself, without a distribution; only a uniform action needs one."""

    policy: FusedPolicy

    def by_policy(self, context: ContextBatch, eligibility: Any, uniform: FloatArray) -> Drawn:
        """See `Drawer`."""
        return choice_of(self.policy, context, eligibility, uniform)


def _probability(distribution: FloatArray, action: CodeArray) -> FloatArray:
    probability: FloatArray = distribution[np.arange(len(action)), action] / distribution.sum(axis=1)
    return probability
