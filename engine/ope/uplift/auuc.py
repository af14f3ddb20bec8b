"""The area under the uplift curve."""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate
from engine.ope.uplift.effects import estimate_influence
from engine.types import FloatArray, KeyArray


def auuc(score: FloatArray, effect: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Area under the curve of the gain per contact when the share s with the highest scores gets the message, s = 0..1.

    Rzepakowski & Jaroszewicz (2010); Gutierrez & Gerardy (2017), section 5. The gain at s is the mean of the effects of
    those rows over all rows, and the area is mean(effect_i F(score_i)), F the share of rows with a lower score (ties
    count half). Its error is that of a V-statistic of order two (Hoeffding 1948).

    Args:
        score: (n,) higher means earlier.
        effect: (n,) of `engine.ope.uplift.effects`.
        cluster: (n,) keys of units within which rows depend.

    Raises:
        ParameterError: no rows, shapes that differ, or scores that are not finite.
    """
    _, influence, area = influences(score, effect)
    return estimate_influence(area, influence, cluster)


def influences(score: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """(n,) shares of rows with a lower score, (n,) influences on the area, and the area.

    Raises:
        ParameterError: no rows, shapes that differ, or scores that are not finite.
    """
    n = len(score)
    if n == 0 or score.shape != effect.shape or not np.isfinite(score).all():
        raise ParameterError("score", "auuc", allowed="finite, (n,) like the effects, n at least 1", got=score.shape)
    _, position, count = np.unique(score, return_inverse=True, return_counts=True)
    by_score = np.bincount(position, effect)
    below = np.cumsum(count) - 0.5 * count
    above = by_score[::-1].cumsum()[::-1] - 0.5 * by_score
    share = below[position] / n
    area = float((effect * share).mean())
    return share, effect * share + above[position] / n - 2 * area, area
