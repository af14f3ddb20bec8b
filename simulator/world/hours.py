"""When contacts read: log odds of seeing a message by local hour, for each kind of contact.

The average over kinds is nearly flat on purpose: published hour effects of whole lists are small and contradict each
other, and the one randomised test found none; what a contact's own habit does is assumed, and swept.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.types import FloatArray, IntArray
from simulator.people.people import HOUR_KINDS

# Hours of the day that a kind reads at: centre and width in hours of a bump on the clock. Assumed.
PEAKS: Final = {"work_hours": (11.5, 3.5), "evening": (19.5, 2.0), "late_mobile": (22.5, 2.0), "early": (7.0, 1.5)}


def hour_table() -> FloatArray:
    """(kinds, 24) in units of the response's `hour_log_odds`; each row has mean 0 over the day and largest value 1."""
    hours = np.arange(24) + 0.5
    rows = []
    for kind in HOUR_KINDS:
        centre, width = PEAKS[kind]
        away = np.abs((hours - centre + 12.0) % 24.0 - 12.0)
        bump = np.exp(-0.5 * (away / width) ** 2)
        rows.append(bump - bump.mean())
    table = np.array(rows)
    scaled: FloatArray = table / table.max(axis=1, keepdims=True)
    return scaled


def slot_hours(hours: tuple[int | str, ...], now_hour: int) -> IntArray:
    """(H,) hour of the day of each slot; slots without an hour ("now", foreign labels) count as `now_hour`."""
    return np.array([hour if isinstance(hour, int) else now_hour for hour in hours], dtype=np.int64)
