"""Intervals over seeds: each seed is a world, a slice and a learning of its own, and counts as one observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from engine.types import FloatArray


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its interval; no interval where nothing is known of the spread."""

    mean: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Better, worse or no difference than 0, by the interval; insufficient without one."""
        if self.low is None or self.high is None:
            return "insufficient"
        if self.low > 0.0:
            return "better"
        return "worse" if self.high < 0.0 else "no difference"


def over_seeds(values: Sequence[float] | FloatArray, stderr: float | None, alpha: float) -> Spread:
    """Mean of one figure per seed, with Student's interval over the seeds.

    Seeds are clusters: contacts of one seed share a slice, and so what was learnt from it, so that their own errors say
    nothing about another slice. With one seed the interval is that of its contacts, given what was learnt.

    Args:
        values: (S,) one figure per seed.
        stderr: standard error over the contacts of a single seed; used where S is 1.
        alpha: 1 - confidence.
    """
    given = np.asarray(values, dtype=np.float64)
    mean = float(given.mean())
    if len(given) > 1:
        half = float(stdtrit(len(given) - 1, 1.0 - alpha / 2.0) * given.std(ddof=1) / np.sqrt(len(given)))
    elif stderr is not None:
        half = float(ndtri(1.0 - alpha / 2.0)) * stderr
    else:
        return Spread(mean, None, None)
    return Spread(mean, mean - half, mean + half)


def ratio_over_seeds(above: Sequence[float], below: Sequence[float], alpha: float) -> Spread | None:
    """Ratio of two means over seeds, with the interval of its linearisation (delta method), seeds as clusters.

    None where the lower end of the denominator's own interval is not above 0: a share of nothing is no figure. One seed
    gives a ratio without an interval.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    whole = over_seeds(b, None, alpha)
    if not b.mean() > 0.0 or (whole.low is not None and whole.low <= 0.0):
        return None
    ratio = float(a.mean() / b.mean())
    if len(a) == 1:
        return Spread(ratio, None, None)
    around = over_seeds((a - ratio * b) / float(b.mean()), None, alpha)
    half = (around.high or 0.0) - around.mean
    return Spread(ratio, ratio - half, ratio + half)
