"""Rewards that have not wholly arrived: counted by the share that has, on average, arrived by their age.

A decision of age e shows the rewards whose delay is at most e. With F(e) the share of the reward that has arrived by
age e, its expectation is F(e) times that of the whole reward, as far as delays do not depend on context and action, so

    reward so far / F(age)        with importance F(age)

has the right mean (inverse weighting by the chance of having arrived), where the reward so far is too small by 1 - F.
Chapelle (KDD 2014, section 4) models F as 1 - exp(-rate e); here it is the share itself, learnt from decisions whose
window has closed. Learnt from decisions of all ages it would be too large: late rewards are missing there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import LearnError, ParameterError
from engine.types import FloatArray

# With less arrived, a reward is blown up by more than five: such decisions wait.
LEAST_SHARE = 0.2


@dataclass(frozen=True)
class Arrivals:
    """The share F of one metric that has arrived by each age.

    Attributes:
        age_days: (m,) ascending, above 0.
        share: (m,) arrived by then, in [0, 1]; before the first age nothing has, after the last one all.
    """

    age_days: FloatArray
    share: FloatArray

    def by(self, age_days: FloatArray) -> FloatArray:
        """(n,) shares at any ages: those of the last known age before, so never too large."""
        at = np.searchsorted(self.age_days, age_days, side="right")
        return np.append(0.0, self.share)[at]


def learn_arrivals(age_days: FloatArray, so_far: FloatArray, whole: FloatArray) -> Arrivals:
    """Shares from decisions whose window has closed.

    Args:
        age_days: (m,) ascending ages, above 0; the last is that of the window's end.
        so_far: (m, n) reward of n decisions that had arrived by each age.
        whole: (n,) reward within the window.

    Raises:
        ParameterError: shapes or ages that do not fit.
        LearnError: rewards that add up to nothing, or arrive against the sign of their sum.
    """
    if so_far.shape != (len(age_days), len(whole)):
        allowed = f"of shape {(len(age_days), len(whole))}"
        raise ParameterError("so_far", "learn_arrivals", allowed=allowed, got=so_far.shape)
    if not len(age_days) or (np.diff(age_days) <= 0.0).any() or age_days[0] <= 0.0:
        raise ParameterError("age_days", "learn_arrivals", allowed="ascending, above 0", got=age_days.tolist())
    total = float(whole.sum())
    share = so_far.sum(axis=1) / total if total else np.full(len(age_days), np.nan)
    if not np.isfinite(share).all() or (share < 0.0).any():
        raise LearnError(
            "the rewards add up to nothing, so it cannot be said which part of them has arrived",
            hint="learn from a metric with one sign (clicks, orders), or wait for the window to close",
        )
    return Arrivals(age_days.astype(np.float64), np.minimum(np.maximum.accumulate(share), 1.0))


def matured(so_far: FloatArray, age_days: FloatArray, arrivals: Arrivals) -> tuple[FloatArray, FloatArray]:
    """Rewards as if they had wholly arrived, and the importance of each.

    Returns:
        (n,) corrected rewards, NaN where less than `LEAST_SHARE` has arrived, and (n,) shares.
    """
    share = arrivals.by(age_days)
    enough = share >= LEAST_SHARE
    corrected: FloatArray = np.where(enough, so_far / np.where(enough, share, 1.0), np.nan)
    return corrected, share
