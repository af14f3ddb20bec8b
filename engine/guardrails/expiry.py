"""Slots that come too late: the span from the planned instant to the latest send must end before an instant."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.guardrails.rule import Scene
from engine.time.localtime import FARTHEST_SLOT_US
from engine.types import NOT_AN_INSTANT, BoolArray, IntArray

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
