"""Limits in force and the store that everybody shares: one block through both."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog import Catalog
from engine.limits.admission import Admission, Draw
from engine.limits.block import LimitedBlock, admit_block
from engine.limits.config import LimitSet
from engine.limits.quota import QuotaStore
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
    ) -> tuple[Admission, list[list[Shortage]]]:
        """`admit_block`, and what each contact lost to which limit.

        Args:
            name: of the block: the same content must have the same name, other content another one.
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
        limits = self.limits.limits
        block = LimitedBlock(self.store.next_name(name), limits, catalog, planned, self.limits.zone)
        admission = admit_block(
            block,
            self.store,
            eligible,
            decision_ids,
            draw,
            seed=seed,
            now_at=now_at,
            lease_s=self.limits.lease_s,
            share=self.limits.share,
        )
        costs, days = block.costs(now_at)
        return admission, shortages(Metered(costs, days, tuple(limit.name for limit in limits)), eligible, admission)
