"""Limits in force and the store that everybody shares: one block through both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.catalog import Catalog
from engine.limits.admission import Admission, Draw
from engine.limits.block import LimitedBlock, Settlement, admit_unsettled
from engine.limits.config import LimitSet
from engine.limits.quota import OtherMetersError, QuotaStore
from engine.limits.reasons import Metered, Shortage, shortages
from engine.types import BoolArray, IntArray, ObjectArray


@dataclass(frozen=True)
class SharedLimits:
    """Set-level limits.

    Attributes:
        limits: what holds.
        store: shared by all blocks and processes whom the limits couple.
    """

    limits: LimitSet
    store: QuotaStore

    def admit(
        self,
        name: str,
        catalog: Catalog,
        planned: IntArray,
        eligible: BoolArray,
        decision_ids: ObjectArray,
        draw: Draw,
        *,
        seed: int,
        now_at: int,
    ) -> tuple[Admission, list[list[Shortage]], Settlement]:
        """`admit_unsettled`, and what each contact lost to which limit.

        Args:
            name: of the block, made of its decision ids: the same decisions find the grant that they hold.
            catalog: of the actions.
            planned: (n, H) planned instants.
            eligible: (n, k) what the guardrails left.
            decision_ids: (n,).
            draw: see `admit`.
            seed: of the run.
            now_at: of the decisions.

        Raises:
            DataError, StorageError: as `admit_block`.
        """

        def admitted() -> tuple[Admission, Settlement]:
            more = {"lease_s": self.limits.lease_s, "share": self.limits.share}
            return admit_unsettled(block, self.store, eligible, decision_ids, draw, seed=seed, now_at=now_at, **more)

        limits = self.limits.limits
        block = LimitedBlock(self.store.next_name(name), limits, catalog, planned, self.limits.zone)
        try:
            admission, due = admitted()
        except OtherMetersError:
            # Held by a run of these decisions that died before it had decided anything, when other days were in
            # question. Were it still at work, its own settlement would now fail.
            self.store.abandon(block.grant_id)
            block = replace(block, grant_id=self.store.next_name(name))
            admission, due = admitted()
        costs, days = block.costs(now_at)
        found = shortages(Metered(costs, days, tuple(limit.name for limit in limits)), eligible, admission)
        return admission, found, due
