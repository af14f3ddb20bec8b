"""The Qini coefficient."""

from __future__ import annotations

from engine.ope.terms import PointEstimate
from engine.ope.uplift.auuc import influences
from engine.ope.uplift.effects import estimate_influence
from engine.types import FloatArray, KeyArray


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
