"""Which limit took which send from whom: what was left at each contact's turn, small enough to be logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import DataError, reason_of
from engine.guardrails.layer import Removal
from engine.limits.admission import Admission
from engine.limits.costs import Costs
from engine.limits.kinds import SetLimit
from engine.limits.quota import ALL_DAYS
from engine.time.localtime import DAY_US, local_us
from engine.types import HOLD, BoolArray, IntArray

LIMIT_RULE = "limit"


class Shortage(msgspec.Struct, frozen=True, array_like=True):
    """A meter that closed something for one contact.

    Attributes:
        limit: its name.
        day: days since 1970 in the limits' zone; 0 where one meter is for all days.
        left: what was left at the contact's turn.
    """

    limit: str
    day: int
    left: int


@dataclass(frozen=True)
class Metered:
    """A batch's meters: its costs and the days of its positions."""

    costs: Costs
    days: tuple[int, ...]
    names: tuple[str, ...]


def shortages(metered: Metered, before: BoolArray, admission: Admission) -> list[list[Shortage]]:
    """(n,) for each contact the meters that took an action which the guardrails had left.

    Args:
        metered: meters of the batch.
        before: (n, k) what the guardrails left.
        admission: admission of the batch.
    """
    found: list[list[Shortage]] = [[] for _ in range(len(before))]
    lost = np.flatnonzero((before & ~admission.eligible).any(axis=1))
    if not len(lost):
        return found
    costs = metered.costs
    order = np.argsort(admission.turn)
    spent = costs.meters(order, admission.action[order], of=costs.amount)
    left = np.empty_like(spent)
    left[order] = admission.remaining - (np.cumsum(spent, axis=0) - spent)
    for row in lost.tolist():
        cells = (before[row] & ~admission.eligible[row])[HOLD + 1 :].reshape(costs.channels, -1, costs.arms)
        for limit, name in enumerate(metered.names):
            pooled = bool(costs.pooled[limit])
            for column in [0] if pooled else np.unique(costs.day[row]).tolist():
                on = np.ones(cells.shape[1], dtype=np.bool_) if pooled else costs.day[row] == column
                dear = costs.amount[limit] > left[row, limit, column]
                if (cells & on[None, :, None] & dear[:, None, :]).any():
                    day = ALL_DAYS if pooled else metered.days[column]
                    found[row].append(Shortage(name, day, int(left[row, limit, column])))
    return found


class RecordedReasons(msgspec.Struct, frozen=True):
    """Why a decision's record says that sends were taken: `limits`, and the caps that `refused` the chosen one."""

    limits: tuple[Shortage, ...] = ()
    refused: tuple[str, ...] = ()


def limits_of(rule_inputs: bytes) -> tuple[Shortage, ...]:
    """The shortages that a decision's record keeps.

    Raises:
        DataError: a damaged record.
    """
    return recorded_reasons(rule_inputs).limits


def recorded_reasons(rule_inputs: bytes) -> RecordedReasons:
    """What limits and caps took, as a decision's record keeps it.

    Raises:
        DataError: a damaged record.
    """
    try:
        return msgspec.json.decode(rule_inputs, type=RecordedReasons)
    except msgspec.MsgspecError as error:
        raise DataError(f"rule inputs cannot be read: {reason_of(error)}", hint="the record is damaged") from error


def removed_by_limits(
    limits: Sequence[SetLimit], found: Sequence[Shortage], catalog: Catalog, planned: IntArray, zone: str
) -> list[tuple[int, Removal]]:
    """(action, why) of every send that what was left did not afford.

    Args:
        limits: limits that were in force.
        found: shortages of one contact.
        catalog: catalog of the actions.
        planned: (H,) planned instants, the decision's own where unknown.
        zone: time zone in which the limits' days begin.
    """
    days = local_us(zone, planned) // DAY_US
    channels, hours, arms = catalog.shape
    by_name = {limit.name: limit for limit in limits}
    removed = []
    for shortage in found:
        limit = by_name[shortage.limit]
        amount, _ = limit.amounts(catalog)
        on = (days == shortage.day) if limit.per_day else np.ones(hours, dtype=np.bool_)
        closed = np.broadcast_to((amount > shortage.left)[:, None, :] & on[None, :, None], (channels, hours, arms))
        when = "in all" if not limit.per_day else str(np.datetime64(shortage.day, "D"))
        for cell in np.flatnonzero(closed).tolist():
            needs = int(amount[cell // (hours * arms), cell % arms])
            reason = f"removed by limit {shortage.limit}: it needs {needs}, {shortage.left} were left ({when})"
            removed.append((HOLD + 1 + cell, Removal(LIMIT_RULE, shortage.limit, needs, shortage.left, None, reason)))
    return removed
