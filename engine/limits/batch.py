"""One batch under set-level limits: take quota, admit, settle, and say what each contact lost to which limit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa

from engine.catalog import Catalog
from engine.errors import ParameterError, TactfulError
from engine.limits.admission import Admission, Draw, admission_order, admit
from engine.limits.costs import Costs
from engine.limits.kinds import SetLimit
from engine.limits.limit_set import LimitSet
from engine.limits.quota import ALL_DAYS, Meter, Need, OtherMetersError, QuotaStore, settle_in
from engine.limits.reasons import Metered, Shortage, shortages
from engine.time.localtime import DAY_US, local_us
from engine.types import NOT_AN_INSTANT, BoolArray, IntArray, ObjectArray


@dataclass(frozen=True)
class LimitedBatch:
    """What a batch needs to be admitted.

    Attributes:
        grant_id: names the batch; the same name again gives the same decisions.
        limits: L limits with distinct names.
        catalog: catalog of the actions.
        planned: (n, H) planned instants, `NOT_AN_INSTANT` where unknown (counted on the decision's day).
        zone: IANA name of the zone in which the limits' days begin.
    """

    grant_id: str
    limits: tuple[SetLimit, ...]
    catalog: Catalog
    planned: IntArray
    zone: str = "UTC"

    def __post_init__(self) -> None:
        names = [limit.name for limit in self.limits]
        if len(set(names)) != len(names):
            raise ParameterError("limits", "LimitedBatch", allowed="distinct names", got=names)

    def costs(self, now_at: int) -> tuple[Costs, tuple[int, ...]]:
        """The batch's meters, and their days (days since 1970 in the zone), D of them."""
        planned = np.where(self.planned == NOT_AN_INSTANT, now_at, self.planned)
        days, day = np.unique(local_us(self.zone, planned.ravel()) // DAY_US, return_inverse=True)
        if not len(days):
            days = np.array([now_at // DAY_US])
        channels, _, arms = self.catalog.shape
        empty = np.zeros((0, channels, arms), dtype=np.int64)
        amounts = [limit.amounts(self.catalog) for limit in self.limits]
        costs = Costs(
            amount=np.stack([used for used, _ in amounts]) if amounts else empty,
            earned=np.stack([earned for _, earned in amounts]) if amounts else empty,
            day=day.reshape(self.planned.shape).astype(np.int64),
            days=len(days),
            pooled=np.array([not limit.per_day for limit in self.limits], dtype=np.bool_),
        )
        return costs, tuple(int(number) for number in days)


@dataclass(frozen=True)
class Settlement:
    """What a batch used and earned, to be written down before anything of it is logged or sent.

    Attributes:
        grant_id: name of the batch.
        used / earned: amounts by meter.
    """

    grant_id: str
    used: Mapping[Meter, int]
    earned: Mapping[Meter, int]

    def settle(self, store: QuotaStore) -> None:
        """Settle in a transaction of its own.

        Raises:
            DataError, StorageError: see `SqlQuota.settle`.
        """
        store.settle(self.grant_id, self.used, self.earned)

    def settle_in(self, connection: sa.Connection) -> None:
        """Settle in a transaction that writes down more."""
        settle_in(connection, self.grant_id, self.used, self.earned)


def admit_batch(
    batch: LimitedBatch,
    store: QuotaStore,
    eligible: BoolArray,
    decision_ids: ObjectArray,
    draw: Draw,
    *,
    seed: int,
    now_at: int,
    lease_s: float = 600.0,
    share: float = 1.0,
) -> tuple[Admission, Settlement]:
    """Decide for a batch so that no limit is exceeded, whatever other processes do at the same time.

    What the batch may use is granted before anything is drawn, so the grant cannot depend on the batch's draws; within
    the grant the contacts are admitted one after the other (see `admission`). If this raises, nothing was used and
    nothing may be sent. Otherwise the caller settles what was used, which frees the rest, or abandons the grant.

    Args:
        batch: limits, catalog and planned instants.
        store: shared by everybody whom the limits couple.
        eligible: (n, k) what the guardrails allow.
        decision_ids: (n,) unique; with the seed they fix the order of admission.
        draw: draws for rows, as `admit` wants it.
        seed: seed of the run.
        now_at: instant of the decisions.
        lease_s: the batch's quota is given back if it has not settled by then.
        share: of the free quota that the batch may take, at most.

    Raises:
        ParameterError: what `admit` and the store refuse.
        DataError: the batch's name was used for another batch, or has expired.
        StorageError: the store refused, or the lease ran out.
    """
    costs, days = batch.costs(now_at)
    worst = costs.worst_case(eligible)
    meters = _meters(batch, days)
    needs = [
        Need(batch.limits[row], meter.day, int(worst[row, column]), unit=int(costs.amount[row].max(initial=0)))
        for (row, column), meter in meters.items()
    ]
    granted = store.acquire(batch.grant_id, needs, now_at=now_at, lease_s=lease_s, share=share)
    try:
        remaining = np.zeros(costs.shape, dtype=np.int64)
        for (row, column), meter in meters.items():
            remaining[row, column] = granted[meter]
        admission = admit(eligible, costs, remaining, admission_order(decision_ids, seed), draw)
    except BaseException:
        # Not a must: the lease gives the quota back as well, only later.
        with contextlib.suppress(TactfulError):
            store.abandon(batch.grant_id)
        raise
    used, earned = (
        {meter: int(amounts[position]) for position, meter in meters.items()}
        for amounts in (admission.used, admission.earned)
    )
    return admission, Settlement(batch.grant_id, used, earned)


def _meters(batch: LimitedBatch, days: Sequence[int]) -> Mapping[tuple[int, int], Meter]:
    """(limit, day position) -> meter; a limit that is not per day has position 0 only."""
    return {
        (row, column): Meter(limit.name, days[column] if limit.per_day else ALL_DAYS)
        for row, limit in enumerate(batch.limits)
        for column in range(len(days) if limit.per_day else 1)
    }


@dataclass(frozen=True)
class SharedLimits:
    """Set-level limits.

    Attributes:
        limit_set: the limits that hold, with their zone and lease.
        store: shared by all batches and processes whom the limits couple.
    """

    limit_set: LimitSet
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
        """Admit a batch, and say what each contact lost to which limit.

        Args:
            name: of the batch, made of its decision ids: the same decisions find the grant that they hold.
            catalog: catalog of the actions.
            planned: (n, H) planned instants.
            eligible: (n, k) what the guardrails left.
            decision_ids: (n,).
            draw: see `admit`.
            seed: seed of the run.
            now_at: instant of the decisions.

        Raises:
            DataError, StorageError: raised by `admit_batch`.
        """

        def admitted() -> tuple[Admission, Settlement]:
            more = {"lease_s": self.limit_set.lease_s, "share": self.limit_set.share}
            return admit_batch(batch, self.store, eligible, decision_ids, draw, seed=seed, now_at=now_at, **more)

        limits = self.limit_set.limits
        batch = LimitedBatch(self.store.next_name(name), limits, catalog, planned, self.limit_set.zone)
        try:
            admission, due = admitted()
        except OtherMetersError:
            # Held by a run of these decisions that died before it had decided anything, when other days were in
            # question. Were it still at work, its own settlement would now fail.
            self.store.abandon(batch.grant_id)
            batch = replace(batch, grant_id=self.store.next_name(name))
            admission, due = admitted()
        costs, days = batch.costs(now_at)
        found = shortages(Metered(costs, days, tuple(limit.name for limit in limits)), eligible, admission)
        return admission, found, due
