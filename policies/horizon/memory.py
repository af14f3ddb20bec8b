"""Which past counts: that since the world changed, and of it the old less than the new.

The change is found by a two-sided cumulative-sum test on the daily means of what a model did not expect.

    high' = max(0, high + z - slack)      low' = max(0, low - z - slack)      alarm where either exceeds the bound

(Page, Biometrika 1954; Basseville & Nikiforov 1993, section 2.2.) z is a day's mean residual, less that of the first
two weeks, over its spread, which is taken from differences of successive days, so that a change does not hide itself by
widening its own yardstick. After an alarm the memory begins where the sum that rang was 0 for the last time: the usual
estimate of the day of the change.

Without a change, independent normal z ring once in about (exp(2 s b) - 2 s b - 1) / (4 s^2) days with s the slack and
b = bound + 1.166 (Siegmund 1985, equation 2.57, both sides). A shift of d spreads is seen after about b / (d - s) days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray

SLACK: Final = 1.0
BOUND: Final = 6.0
# Days that say what is usual; the test begins after them.
USUAL_DAYS: Final = 14
# Median of the square of a standard normal: the median is not moved by the one difference that holds the change.
_MEDIAN_OF_SQUARE: Final = 0.454937


@dataclass(frozen=True)
class Alarm:
    """A change that was seen.

    Attributes:
        begun: position of the first value after the change.
        seen: position of the value that rang.
        up: whether values rose.
    """

    begun: int
    seen: int
    up: bool


def first_alarm(values: FloatArray, *, slack: float = SLACK, bound: float = BOUND) -> Alarm | None:
    """The first alarm on standardised values (T,) in the order of time; None where nothing rings.

    Raises:
        ParameterError: slack below 0 or bound not above 0.
    """
    if slack < 0.0 or not bound > 0.0:
        raise ParameterError("bound", "first_alarm", allowed="above 0, slack at least 0", got=(slack, bound))
    sums, begun = [0.0, 0.0], [0, 0]
    for position, value in enumerate(values.tolist()):
        for side, signed in enumerate((value, -value)):
            sums[side] += signed - slack
            if sums[side] <= 0.0:
                sums[side], begun[side] = 0.0, position + 1
            elif sums[side] > bound:
                return Alarm(begun[side], position, side == 0)
    return None


def changed_at(at_days: FloatArray, residual: FloatArray) -> float | None:
    """The day since which the residuals are others; None where no change is seen, or there are too few days.

    Args:
        at_days: (n,) instants in days, NaN where unknown.
        residual: (n,) what a model did not expect, NaN where not known.
    """
    known = np.isfinite(at_days) & np.isfinite(residual)
    day, position = np.unique(np.floor(at_days[known]), return_inverse=True)
    if len(day) <= USUAL_DAYS:
        return None
    counts = np.bincount(position.ravel())
    mean = np.bincount(position.ravel(), weights=residual[known]) / counts
    # Days with few decisions spread more.
    usual = np.average(mean[:USUAL_DAYS], weights=counts[:USUAL_DAYS])
    scaled = (mean - usual) * np.sqrt(counts)
    spread = float(np.sqrt(np.median(np.diff(scaled) ** 2) / (2.0 * _MEDIAN_OF_SQUARE)))
    if not spread > 0.0:
        return None
    alarm = first_alarm(scaled[USUAL_DAYS:] / spread)
    return None if alarm is None else float(day[USUAL_DAYS + alarm.begun])


def decayed(at_days: FloatArray, half_life_days: float | None) -> FloatArray:
    """(n,) importance 2^(-age / half life), age counted from the newest; 1 where the instant is not known.

    The weights of decisions that come once a day sum to less than 1 / (1 - 2^(-1 / half life)) days, however long the
    log is: about 1.44 half lives.

    Args:
        at_days: (n,) instants in days, NaN where unknown.
        half_life_days: above 0; None keeps all alike.

    Raises:
        ParameterError: a half life that is not above 0.
    """
    if half_life_days is None or not np.isfinite(at_days).any():
        return np.ones(len(at_days))
    if not half_life_days > 0.0:
        raise ParameterError("half_life_days", "decayed", allowed="above 0, or null", got=half_life_days)
    age = np.nan_to_num(np.nanmax(at_days) - at_days, nan=0.0)
    weight: FloatArray = np.exp2(-age / half_life_days)
    # A weight of 0 is no importance that a learner takes.
    return np.maximum(weight, 1e-6)
