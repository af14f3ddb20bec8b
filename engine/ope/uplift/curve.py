"""The uplift curve over a stream, at thresholds that are fixed beforehand: flat memory, mergeable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.moments import Moments
from engine.ope.terms import standard_error
from engine.types import FloatArray


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
