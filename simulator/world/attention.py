"""Fatigue: a stock of recent messages that halves in a fixed time, and what it does to attention.

The stock follows F' = F 2^(-dt / half_life) + 1 per message. The share of attention that is left is the q-exponential

    m(F) = [1 + bend F]_+ ^ (-drop / bend)      (bend -> 0: exp(-drop F))

One formula covers what the sources show: a power law for e-mail opens by newsletters per week (GetResponse: bend > 0),
and a fall in a straight line to zero for a push that comes several times a day (HeartSteps, Klasnja et al. 2019:
bend < 0). `drop` is the relative fall per unit of the stock at F = 0.

When contacts read is a table: log odds of seeing a message by local hour, for each kind of contact. The average over
kinds is nearly flat on purpose: published hour effects of whole lists are small and contradict each other, and the one
randomised test found none; what a contact's own habit does is assumed, and swept.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.types import FloatArray, IntArray
from simulator.people.people import HOUR_KINDS


def decay(half_life_days: FloatArray | float, step_days: float) -> FloatArray:
    """What is left of a stock after one step."""
    left: FloatArray = np.exp2(-step_days / np.asarray(half_life_days, dtype=np.float64))
    return left


def attention(stock: FloatArray, drop: FloatArray, bend: FloatArray) -> FloatArray:
    """Share of attention left, in [0, 1].

    Args:
        stock: (m,) at least 0.
        drop: (m,) at least 0.
        bend: (m,) any; below 0 attention reaches zero at `stock = -1 / bend`.
    """
    base = np.maximum(1.0 + bend * stock, 0.0)
    safe = np.where(np.abs(bend) < 1e-9, 1.0, bend)
    with np.errstate(divide="ignore"):
        curved = np.exp(np.where(base > 0.0, np.log(np.where(base > 0.0, base, 1.0)) * (-drop / safe), -np.inf))
    left: FloatArray = np.where(np.abs(bend) < 1e-9, np.exp(-drop * stock), curved)
    return np.where((drop > 0.0) | (stock <= 0.0), left, 1.0)


def steady_stock(per_day: float, half_life_days: float) -> float:
    """The stock just before a message, after evenly spaced messages for a long time."""
    left = float(np.exp2(-1.0 / (per_day * half_life_days)))
    return left / (1.0 - left)


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
