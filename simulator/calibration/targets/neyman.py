"""Means per segment and arm, and differences from a control arm with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.errors import DataError, ParameterError
from engine.types import FloatArray, IntArray


@dataclass(frozen=True)
class SegmentEffects:
    """Means and effects by segment, arm and outcome; s segments, m arms of which the first is the control, r outcomes.

    Attributes:
        segments: (s,) names.
        arms: (m,) names.
        outcomes: (r,) names.
        rows: (s, m) counts.
        mean: (s, m, r) in the unit of each outcome.
        mean_se: (s, m, r) standard errors of the means.
        effect: (s, m - 1, r) difference from the control arm.
        effect_se: (s, m - 1, r) Neyman's standard error of the difference.
    """

    segments: tuple[str, ...]
    arms: tuple[str, ...]
    outcomes: tuple[str, ...]
    rows: IntArray
    mean: FloatArray
    mean_se: FloatArray
    effect: FloatArray
    effect_se: FloatArray

    def table(self) -> pd.DataFrame:
        """One row per segment, arm and outcome: rows, mean, mean_se, effect, effect_se (NaN for the control arm)."""
        control = np.full((len(self.segments), 1, len(self.outcomes)), np.nan)
        index = pd.MultiIndex.from_product(
            [self.segments, self.arms, self.outcomes], names=["segment", "arm", "outcome"]
        )
        columns = {
            "rows": np.repeat(self.rows, len(self.outcomes)),
            "mean": self.mean.ravel(),
            "mean_se": self.mean_se.ravel(),
            "effect": np.concatenate([control, self.effect], axis=1).ravel(),
            "effect_se": np.concatenate([control, self.effect_se], axis=1).ravel(),
        }
        return pd.DataFrame(columns, index=index).reset_index()


def segment_effects(
    segment: IntArray,
    arm: IntArray,
    outcome: FloatArray,
    *,
    segments: Sequence[str],
    arms: Sequence[str],
    outcomes: Sequence[str],
) -> SegmentEffects:
    """Means and treatment effects of a randomised experiment, segment by segment.

    Neyman (1923): the variance of a difference of means is at most s1^2 / n1 + s0^2 / n0 with the samples' own
    variances (divisor n - 1); Imbens & Rubin (2015), equation 6.17.

    Args:
        segment: (n,) codes into `segments`.
        arm: (n,) codes into `arms`; 0 is the control.
        outcome: (n, r) finite.
        segments / arms / outcomes: names.

    Raises:
        ParameterError: shapes that do not fit, or a code outside its names.
        DataError: a segment with fewer than 2 rows of an arm, or an outcome that is not finite.
    """
    _check(segment, arm, outcome, (len(segments), len(arms), len(outcomes)))
    cells, width = len(segments) * len(arms), len(outcomes)
    cell = segment * len(arms) + arm
    rows = np.bincount(cell, minlength=cells)
    if (rows < 2).any():
        at = int(np.argmin(rows))
        raise DataError(
            f"segment {segments[at // len(arms)]!r} has {rows[at]} rows of arm {arms[at % len(arms)]!r}",
            hint="a variance needs at least 2; use coarser segments",
        )
    mean, square = np.empty((cells, width)), np.empty((cells, width))
    for column in range(width):
        values = outcome[:, column]
        mean[:, column] = np.bincount(cell, values, minlength=cells) / rows
        square[:, column] = np.bincount(cell, (values - mean[cell, column]) ** 2, minlength=cells)
    variance = (square / (rows - 1)[:, None] / rows[:, None]).reshape(len(segments), len(arms), width)
    mean = mean.reshape(variance.shape)
    return SegmentEffects(
        tuple(segments),
        tuple(arms),
        tuple(outcomes),
        rows.reshape(variance.shape[:2]).astype(np.int64),
        mean,
        np.sqrt(variance),
        mean[:, 1:] - mean[:, :1],
        np.sqrt(variance[:, 1:] + variance[:, :1]),
    )


def _check(segment: IntArray, arm: IntArray, outcome: FloatArray, sizes: tuple[int, int, int]) -> None:
    if segment.ndim != 1 or arm.shape != segment.shape or outcome.shape != (len(segment), sizes[2]):
        raise ParameterError(
            "outcome", "segment_effects", allowed=f"({len(segment)}, {sizes[2]}), one row per code", got=outcome.shape
        )
    for name, codes, size in (("segment", segment, sizes[0]), ("arm", arm, sizes[1])):
        if len(codes) and not (codes.min() >= 0 and codes.max() < size):
            raise ParameterError(
                name, "segment_effects", allowed=f"codes in [0, {size})", got=(codes.min(), codes.max())
            )
    if not np.isfinite(outcome).all():
        raise DataError("an outcome is not finite", hint="each row must be complete")
