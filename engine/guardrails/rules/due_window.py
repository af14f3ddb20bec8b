"""Arms that make sense only near a date: the last days of a trial, the weeks before a renewal (requirements R34, R37).

An arm with the attribute `due_within_days` may only be sent in so many days before the contact's `due_at`. By arm, so
judged over the whole span of planned instants: the first must not be too early, and the last, with the queue's delay,
not after the date. A contact whose date is unknown gets no such arm.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
import numpy as np

from engine.catalog import Arm
from engine.errors import ConfigError
from engine.guardrails.history.bounds import alone, first_after, first_instants, last_instants
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.time.localtime import DAY_US, datetime_of
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

DUE: Final = "due_at"
WITHIN: Final = "due_within_days"
_LONGEST_DAYS: Final = 3660


class DueWindowRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms outside of their days before the contact's due date; it has no numbers, the arms have them."""

    reads: ClassVar[tuple[str, ...]] = ()
    may_read: ClassVar[tuple[str, ...]] = (DUE,)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """By arm; the same on every channel.

        Raises:
            ConfigError: an arm whose `due_within_days` is no number of days.
        """
        days = np.array([window_days(arm) for arm in scene.catalog.arms])
        windowed = np.flatnonzero(~np.isnan(days))
        if not len(windowed) or not scene.contacts.n:
            return Verdict()
        closed = np.zeros((scene.contacts.n, len(days)), dtype=np.bool_)
        for arm in windowed.tolist():
            closed[:, arm] = ~_inside(scene, days[arm])
        return Verdict(channel_arm=closed[:, None, :])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The date against the arm's days."""
        one, days = alone(scene, row), window_days(scene.catalog.arms[cell.arm])
        due = int(_due_at(one)[0])
        limit = {WITHIN: days}
        if due == NOT_AN_INSTANT:
            return Finding("unknown", limit, "nobody knows when something falls due for this contact")
        at = datetime_of(due).isoformat()
        opens = due - int(days * DAY_US)
        zone = int(one.contacts.zone_code[0])
        if int(last_instants(one)[zone]) + one.margin_us > due:
            return Finding(at, limit, f"sent up to the last slot the message might come after {at}")
        following = first_after(one, 0, opens)
        return Finding(at, limit, f"{at} is more than {days:g} days away", self._opened(one, cell, following))

    def _opened(self, one: Scene, cell: Cell, following: int | None) -> int | None:
        """The instant from which the arm passes; None where the slots of the catalog span more than the window."""
        if following is None:
            return None
        then = Scene(one.catalog, one.contacts, following, one.latency_margin_s, one.conditions)
        return following if _inside(then, window_days(one.catalog.arms[cell.arm]))[0] else None


def window_days(arm: Arm) -> float:
    """Days before the due date in which an arm may be sent; NaN where it may be sent at any time.

    Raises:
        ConfigError: the attribute is no number of days.
    """
    value = arm.attributes.get(WITHIN)
    if value is None:
        return float("nan")
    if not isinstance(value, int | float) or not 0 < value <= _LONGEST_DAYS:
        raise ConfigError(
            f"`{WITHIN}` of arm {arm.id!r} must be in (0, {_LONGEST_DAYS}] days, got {value!r}",
            hint="take it out where the arm may be sent at any time",
        )
    return float(value)


def _due_at(scene: Scene) -> IntArray:
    """(n,) when something falls due; `NOT_AN_INSTANT` where nobody knows."""
    due: IntArray | None = scene.contacts.extra.get(DUE)
    return np.full(scene.contacts.n, NOT_AN_INSTANT, dtype=np.int64) if due is None else due


def _inside(scene: Scene, days: float) -> BoolArray:
    """(n,) whether every planned instant lies in the days before the due date."""
    due, zone = _due_at(scene), scene.contacts.zone_code
    known = due != NOT_AN_INSTANT
    early = first_instants(scene)[zone] < np.where(known, due, 0) - int(days * DAY_US)
    late = last_instants(scene)[zone] + scene.margin_us > due
    inside: BoolArray = known & ~early & ~late
    return inside


RULE = DueWindowRule
