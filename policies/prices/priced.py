"""A policy under prices: of a compiled one they become part of its tables, so kernels stay as they are.

Of a policy without scores some sends are held back, by chance, so that propensities stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.catalog import Catalog
from engine.decide.asking import unchecked_distribution
from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.protocols import Policy
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from policies.parts.tables import PartTables
from policies.peers.segmentation import Cut
from policies.vw.scoring.compiled import CompiledPolicy, EnsemblePolicy
from policies.vw.scoring.tables import ScoreTables


def priced(policy: Policy, table: FloatArray, catalog: Catalog, cut: Cut | None = None) -> Policy:
    """The policy that sees every send's score less its price; without any price the policy itself.

    A policy that is not compiled has no scores that a price could be subtracted from: it is thinned.

    Args:
        policy: any.
        table: (G, C, K) in reward units.
        catalog: the catalog of the actions.
        cut: the groups of contacts; None where G is 1.

    Raises:
        ParameterError: clipped scores, or prices of another shape.
    """
    if not table.any():
        return policy
    channels, hours, arms = catalog.shape
    if table.shape != (cut.cells if cut else 1, channels, arms) or not np.isfinite(table).all():
        raise ParameterError("table", "prices", allowed=f"finite, (G, {channels}, {arms})", got=table.shape)
    if not isinstance(policy, CompiledPolicy):
        return thinned(policy, table, hours, cut)
    members = tuple(_priced(policy, group) for group in table)
    return GroupedPolicy(members, cut) if cut else members[0]


@dataclass(frozen=True)
class GroupedPolicy:
    """A policy for each group of contacts.

    Attributes:
        members: one per cell of the cut.
        cut: from context to group.
    """

    members: tuple[CompiledPolicy, ...]
    cut: Cut

    @property
    def name(self) -> str:
        return self.members[0].name

    def scores(self, context: ContextBatch) -> FloatArray:
        """(n, k) predicted rewards less prices.

        Raises:
            DataError: the context has another schema.
        """
        out = np.empty((context.n, self.members[0].catalog.k))
        for member, rows in self._parts(context):
            out[rows] = member.scores(context.take(rows))
        return out

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities; rows sum to 1, removed actions have exactly 0.

        Raises:
            EligibilityError, ParameterError, DataError: as of the members.
        """
        if eligible.shape != (context.n, self.members[0].catalog.k):
            return self.members[0].distribution(context, eligible)
        out = np.empty(eligible.shape)
        for member, rows in self._parts(context):
            out[rows] = member.distribution(context.take(rows), eligible[rows])
        return out

    def choose(
        self, context: ContextBatch, eligibility: Eligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and propensity (n,), each row by its group's policy.

        Raises:
            ParameterError, DataError: as of the members.
        """
        if eligibility.n != context.n or len(uniform) != context.n:
            return self.members[0].choose(context, eligibility, uniform)
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        for member, rows in self._parts(context):
            action[rows], propensity[rows] = member.choose(context.take(rows), eligibility.take(rows), uniform[rows])
        return action, propensity

    def _parts(self, context: ContextBatch) -> list[tuple[CompiledPolicy, np.ndarray[tuple[int], np.dtype[np.intp]]]]:
        group = self.cut.cell_of(context)
        parts = [(member, np.flatnonzero(group == number)) for number, member in enumerate(self.members)]
        return [(member, rows) for member, rows in parts if len(rows)]


def _priced(policy: CompiledPolicy, price: FloatArray) -> CompiledPolicy:
    if isinstance(policy, EnsemblePolicy):
        members = tuple(_cheaper(member, price) for member in policy.members)
        return replace(policy, tables=_tables(policy.tables, price), members=members)
    return replace(policy, tables=_tables(policy.tables, price))


def _tables(tables: ScoreTables | PartTables, price: FloatArray) -> ScoreTables | PartTables:
    return tables.less(price) if isinstance(tables, PartTables) else _cheaper(tables, price)


def _cheaper(tables: ScoreTables, price: FloatArray) -> ScoreTables:
    if np.isfinite(tables.limits).any():
        raise ParameterError("limits", "prices", allowed="scores that are not clipped", got=tables.limits.tolist())
    return replace(tables, channel_arm=(tables.channel_arm.astype(np.float64) - price).astype(np.float32))


@dataclass(frozen=True)
class ThinnedPolicy:
    """Every send keeps exp(-price) of its probability, hold gets the rest.

    For policies that rank nothing (uniform, segments, peers): a price cannot weigh a message's worth there, so all
    contacts pay alike. Subsidies change nothing, and where hold is not eligible nothing is thinned.

    Attributes:
        policy: the policy to be thinned.
        kept: (G, C, K) share of each send's probability that stays, in [0, 1].
        hours: H, number of hour slots.
        cut: groups of contacts; None where G is 1.
    """

    policy: Policy
    kept: FloatArray
    hours: int
    cut: Cut | None = None

    @property
    def name(self) -> str:
        return f"{self.policy.name}, thinned"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities; rows sum to 1, removed actions have exactly 0.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        before = unchecked_distribution(self.policy, context, eligible)
        group = self.cut.cell_of(context) if self.cut else np.zeros(context.n, dtype=np.int64)
        _, channels, arms = self.kept.shape
        out = before.copy()
        cells = out[:, HOLD + 1 :].reshape(context.n, channels, self.hours, arms)
        cells *= self.kept[group][:, :, None, :]
        # Summed over what was taken, not by difference: what was not thinned keeps its bytes.
        taken = np.cumsum((before - out)[:, HOLD + 1 :], axis=1)[:, -1]
        out[:, HOLD] += taken
        held = eligible[:, HOLD]
        out[~held] = before[~held]
        return out


def thinned(policy: Policy, table: FloatArray, hours: int, cut: Cut | None) -> ThinnedPolicy:
    """The policy under a price table (G, C, K), in units of exp(-price)."""
    return ThinnedPolicy(policy, np.exp(-np.maximum(table, 0.0)), hours, cut)
