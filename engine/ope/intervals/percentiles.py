"""The percentile bootstrap: quantiles of the figure on resampled units."""

from __future__ import annotations

import numpy as np

from engine.ope.intervals.ratio import NOTHING, Bounds
from engine.ope.layout import Ratios
from engine.types import FloatArray


def percentiles(replicates: FloatArray, figures: tuple[Ratios, ...], alpha: float) -> Bounds:
    """Quantiles of a value, or of the difference of two, over the resamples (Efron & Tibshirani 1993, section 13.3).

    Args:
        replicates: (draws, m) column sums.
        figures: ratios whose sum is a value; two for a difference.
        alpha: error, in (0, 1).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [
            sum((factor * replicates[:, above] / replicates[:, below] for above, below, factor in ratios), np.zeros(1))
            for ratios in figures
        ]
    drawn = values[0] - values[1] if len(values) == 2 else values[0]
    kept = drawn[np.isfinite(drawn)]
    # A replicate without any weight has no value; where that is not rare, no interval is honest.
    if len(kept) < 0.99 * len(drawn):
        return NOTHING
    low, high = np.quantile(kept, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
