"""How well a score says whom a message helps: the uplift curve, its area and the Qini coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.sums.moments import Moments
from engine.ope.sums.ratios import PointEstimate, standard_error
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


def qini(score: FloatArray, effect: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Area between the uplift curve and the straight line of a score that knows nothing: 0 for such a score.

    Radcliffe (2007), with each row weighted by its propensity in place of the counts of a trial with even groups: the
    area under the curve less half of the mean effect.

    Args:
        score: (n,) higher means earlier.
        effect: (n,) of `engine.ope.uplift.effects`.
        cluster: (n,) keys of units within which rows depend.

    Raises:
        ParameterError: no rows, shapes that differ, or scores that are not finite.
    """
    _, influence, area = influences(score, effect)
    mean = float(effect.mean())
    return estimate_influence(area - mean / 2, influence - (effect - mean) / 2, cluster)


@dataclass(frozen=True)
class UpliftCurve:
    """What the contacts above each threshold gain, from the highest threshold down.

    Attributes:
        threshold: (b,) falling.
        share: (b,) of rows with a score of at least the threshold.
        gain: (b,) mean over all rows of the effect of those rows: gain per contact over sending to nobody.
        stderr: (b,) of the gain.
        area: under the curve through these points, (0, 0) and (1, gain of sending to all), by trapezoids.
        n: rows.
    """

    threshold: FloatArray
    share: FloatArray
    gain: FloatArray
    stderr: FloatArray
    area: float
    n: int


class UpliftSums:
    """Sums behind an `UpliftCurve`; any partition of chunks gives the same bytes.

    Args:
        thresholds: finite, distinct.

    Raises:
        ParameterError: no threshold, one that is not finite, or the same twice.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        values = np.sort(np.asarray(thresholds, dtype=np.float64))[::-1]
        if not len(values) or not np.isfinite(values).all() or (np.diff(values) == 0).any():
            raise ParameterError("thresholds", "UpliftSums", allowed="finite, distinct, at least one", got=thresholds)
        self.thresholds = np.append(values, -np.inf)
        size = len(self.thresholds)
        self._moments = Moments(2 * size, [(column, column) for column in range(size)])

    def add(self, chunk: int, score: FloatArray, effect: FloatArray) -> None:
        """Add a chunk of (n,) scores and effects (`engine.ope.uplift.effects`).

        Raises:
            DataError: the chunk was added before, or scores that are not finite.
        """
        if not np.isfinite(score).all():
            raise DataError(f"chunk {chunk} holds scores that are not finite")
        above = (score >= self.thresholds[:, None]).astype(np.float64)
        self._moments.add(chunk, np.concatenate([above * effect, above]))

    def merge(self, other: UpliftSums) -> None:
        """Take over the chunks of another with the same thresholds.

        Raises:
            DataError: some chunk is in both.
        """
        self._moments.merge(other._moments)

    def result(self) -> UpliftCurve:
        """The curve.

        Raises:
            DataError: no rows were added.
        """
        n, sums, seconds = self._moments.result()
        if n == 0:
            raise DataError("there are no rows to draw a curve of", hint="the log has no usable rows")
        size = len(self.thresholds)
        gain, share = sums[:size] / n, sums[size:] / n
        stderr = np.array([standard_error(seconds[column, column], n, n) for column in range(size)])
        across, up = np.append(0.0, share), np.append(0.0, gain)
        area = float((np.diff(across) * (up[1:] + up[:-1]) / 2).sum())
        return UpliftCurve(self.thresholds[:-1], share[:-1], gain[:-1], stderr[:-1], area, n)
