"""The confidence sequence of a figure: which sums bound it from below, and which from above.

With a declared largest weight the terms have limits on both sides. Without one the weighted reward w (r - low) is still
never negative, and neither is w (high - r): the first bounds the value from below, the second from above, because the
mean weight is 1 (Waudby-Smith et al. 2022, sections 3.2 and 3.3). For the difference of two policies the same holds of
w1 (r - low) + w2 (high - r), whose mean is the difference plus the reward's spread.
"""

from __future__ import annotations

import math

from engine.ope.intervals.figure import Figure
from engine.ope.intervals.ratio import Bounds, Form, Ratio, ratio_of
from engine.ope.intervals.sequence import lower_bound
from engine.ope.layout import ONE_COLUMN
from engine.ope.terms import WEIGHTED_REWARD


def sequence(figure: Figure) -> Bounds | None:
    """The bounds after all rows; valid at every number of rows. None where no limit of the terms is known."""
    lowest, highest = figure.value_range()
    width = figure.inversion_width()
    if width is not None:
        above, below, _ = figure.ratios[0][0]
        return _both(ratio_of(figure.totals, {above: 1.0}, {below: 1.0}), (width, width), (lowest, highest), figure)
    form, limits = figure.form, figure.term_range()
    if form is None or limits is None:
        return None
    if math.isfinite(limits[0]) and math.isfinite(limits[1]):
        scales = (highest - limits[0], limits[1] - lowest)
        return _both(ratio_of(figure.totals, form, {ONE_COLUMN: 1.0}), scales, (lowest, highest), figure)
    if all(part.estimator.numerator == WEIGHTED_REWARD for part in figure.parts):
        return _without_largest_weight(figure)
    return None


def _both(
    ratio: Ratio | None, scales: tuple[float, float], values: tuple[float, float], figure: Figure
) -> Bounds | None:
    if ratio is None or not math.isfinite(scales[0]) or not math.isfinite(scales[1]):
        return None
    low = lower_bound(ratio, scales[0], values[0], figure.alpha / 2)
    return low, -lower_bound(ratio.negated(), scales[1], -values[1], figure.alpha / 2)


def _without_largest_weight(figure: Figure) -> Bounds | None:
    """From below: sum of w (r - low), plus w (high - r) of the other policy; from above the same with roles changed."""
    (low, high), spread = figure.setup.reward_range, figure.parts[0].limits.spread
    ends = []
    for own, other in (
        (_above(figure, 0, low), _below(figure, 1, high)),
        (_below(figure, 0, high), _above(figure, 1, low)),
    ):
        form = dict(own)
        for column, factor in other.items():
            form[column] = form.get(column, 0.0) + factor
        ratio = ratio_of(figure.totals, form, {ONE_COLUMN: 1.0})
        if ratio is None:
            return None
        top = spread * len(figure.parts)
        ends.append(lower_bound(ratio, top, 0.0, figure.alpha / 2))
    if len(figure.parts) == 2:
        return ends[0] - spread, spread - ends[1]
    return low + ends[0], high - ends[1]


def _above(figure: Figure, place: int, low: float) -> Form:
    """Columns of w (r - low) of a part; nothing where there is no such part."""
    if place >= len(figure.parts):
        return {}
    part = figure.parts[place]
    return {part.ratios[0].above: 1.0, part.below: -low}


def _below(figure: Figure, place: int, high: float) -> Form:
    """Columns of w (high - r) of a part; nothing where there is no such part."""
    if place >= len(figure.parts):
        return {}
    part = figure.parts[place]
    return {part.ratios[0].above: -1.0, part.below: high}
