"""What rules that look back share: bounds of the span in which a decision may be sent, and the nth newest entry.

A rule by arm cannot tell slots apart, so it is judged over the whole span of planned instants of the catalog's slots:
an arm passes only where it passes at every one of them. Slots without an instant may lie anywhere from now on. A slot
is too late where the span from its planned instant to the latest send is not over before an instant.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from engine.catalog import NOW
from engine.errors import ParameterError
from engine.guardrails.rule import Scene
from engine.time.localtime import FARTHEST_SLOT_US, first_pass
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

NEVER: Final = np.iinfo(np.int64).max
LONGEST_S: Final = 3660 * 86_400


def first_instants(scene: Scene) -> IntArray:
    """(Z + 1,) earliest instant for which a decision taken now may be planned, by zone; the last row is no zone."""
    slots = scene.slots
    earliest: IntArray = np.where((slots == NOT_AN_INSTANT).any(axis=1), scene.now_at, slots.min(axis=1))
    return earliest


def last_instants(scene: Scene) -> IntArray:
    """(Z + 1,) latest instant for which a decision taken now may be planned, by zone; the last row is no zone."""
    slots = scene.slots
    unknown = (slots == NOT_AN_INSTANT).any(axis=1)
    latest: IntArray = np.where(unknown, scene.now_at + FARTHEST_SLOT_US, slots.max(axis=1))
    return latest


def rows_of(offsets: IntArray, positions: IntArray) -> IntArray:
    """Rows to which entries of compressed rows belong."""
    # A search costs about a hundred times as much per entry as naming every owner once.
    if len(positions) * 16 > len(offsets):
        owners: IntArray = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[positions]
        return owners
    rows: IntArray = np.searchsorted(offsets, positions, side="right") - 1
    return rows


def nth_newest(groups: IntArray, n: int) -> IntArray:
    """Positions of the nth newest entry of every group that has n.

    Args:
        groups: (m,) group of each entry, rising; within a group entries are oldest first.
        n: 1 or more.
    """
    if len(groups) < n:
        return np.empty(0, dtype=np.int64)
    ends = np.append(np.flatnonzero(groups[1:] != groups[:-1]) + 1, len(groups))
    begins = np.append(0, ends[:-1])
    found = ends - n
    return found[found >= begins]


def first_after(scene: Scene, row: int, release: int) -> int | None:
    """First later `now` from which no slot of a contact is planned before an instant."""
    zone, hours = scene.zone(row), scene.catalog.hours
    if release == NEVER:
        return None
    if zone is None or any(not isinstance(hour, int) for hour in hours):
        return release
    opens = partial(not_before, release)
    passes = [first_pass(zone, hour, scene.now_at, opens) for hour in hours]
    later = [at for at in passes if at is not None]
    return max(later) if len(later) == len(passes) else None


def not_before(release: int, planned: int) -> int:
    """First open instant at or after a planned one, of something closed until a release."""
    return max(release, planned)


def slot_passes(scene: Scene, row: int, slot: int, release: int) -> int | None:
    """First later `now` from which one slot of a contact is not planned before an instant."""
    if release == NEVER:
        return None
    zone, hour = scene.zone(row), scene.catalog.hours[slot]
    if hour == NOW or zone is None or not isinstance(hour, int):
        return release
    return first_pass(zone, hour, scene.now_at, partial(not_before, release))


def arms_in(scene: Scene, applies_to: tuple[str, ...]) -> BoolArray:
    """(K,) arms whose purpose is in a rule's scope."""
    return np.array([arm.purpose in applies_to for arm in scene.catalog.arms], dtype=np.bool_)


def require_purposes(owner: str, **fields: tuple[str, ...]) -> None:
    """Refuse names that are no purposes.

    Raises:
        ParameterError: such a name.
    """
    for field, names in fields.items():
        unknown = set(names) - set(PURPOSES)
        if unknown:
            raise ParameterError(field, owner, allowed=f"among {PURPOSES}", got=sorted(unknown))


def require_window(owner: str, field: str, window_s: int | None) -> None:
    """Refuse windows that are not longer than nothing, or longer than ten years; None is no window.

    Raises:
        ParameterError: such a window.
    """
    if window_s is not None and not 0 < window_s <= LONGEST_S:
        raise ParameterError(field, owner, allowed="in 1 s to 10 years", got=window_s)


def require_cap(owner: str, field: str, cap: float | None) -> None:
    """Refuse negative caps and NaN; null is no cap, 0 is never.

    Raises:
        ParameterError: such a cap.
    """
    if cap is not None and not cap >= 0:
        raise ParameterError(field, owner, allowed="0 or more, or null for no cap", got=cap)


def alone(scene: Scene, row: int) -> Scene:
    """The scene with one contact."""
    return replace(scene, contacts=scene.contacts.alone(row))


WITHOUT_END: Final = np.iinfo(np.int64).max


def too_late(scene: Scene, ends: IntArray) -> BoolArray | None:
    """(n, P, C, H or 1) slots whose span is not over before (n, C, P) ends; None where there is no such slot.

    A slot without a known instant is too late for any end but `WITHOUT_END`.
    """
    ends = ends.transpose(0, 2, 1)
    if (ends == WITHOUT_END).all():
        return None
    bounded = (ends != WITHOUT_END).any(axis=(1, 2))
    soon = (ends <= scene.now_at + FARTHEST_SLOT_US + scene.margin_us).any(axis=(1, 2))
    untimed = (scene.slots == NOT_AN_INSTANT).any(axis=1)[scene.contacts.zone_code]
    rows = np.flatnonzero(soon | (bounded & untimed))
    if not len(rows):
        return None
    planned = scene.planned[rows]
    last = np.where(planned == NOT_AN_INSTANT, WITHOUT_END - 1, planned + scene.margin_us)
    late = np.zeros((*ends.shape, planned.shape[1]), dtype=np.bool_)
    late[rows] = last[:, None, None, :] >= ends[rows][..., None]
    return late if late.any() else None
