"""Cressie-Read for a figure: the constraints on the weights, and where an unseen row may stand."""

from __future__ import annotations

import math
from itertools import product

from engine.ope.clipped import Clipped
from engine.ope.dr import Dr
from engine.ope.intervals.cressie_read import Corner, cressie_read_low, weighted_terms
from engine.ope.intervals.figure import Figure, Part
from engine.ope.intervals.ranges import value_range, weight_range
from engine.ope.intervals.ratio import Bounds
from engine.ope.mrdr import Mrdr
from engine.ope.terms import WEIGHTED_REWARD

_KNOWN = (WEIGHTED_REWARD, Dr.numerator, Mrdr.numerator)


def unseen(figure: Figure) -> Bounds | None:
    """The bounds; None where the estimator's terms have no known place for an unseen row.

    IPS and SNIPS have the same interval: it is that of the policy's value, given that weights have mean 1.
    """
    if not all(_is_known(part) for part in figure.parts):
        return None
    term: dict[int, float] = {}
    for sign, part in zip((1.0, -1.0), figure.parts, strict=False):
        column = part.ratios[0].above
        term[column] = term.get(column, 0.0) + sign
    weighted = [part for part in figure.parts if not part.logged]
    rows = weighted_terms(figure.totals, [part.below for part in weighted], term)
    largest = [part.limits.weight[1] for part in weighted]
    lowest, highest = figure.value_range()
    low = cressie_read_low(rows, largest, _corners(figure.parts, 1.0), lowest, figure.alpha)
    high = -cressie_read_low(rows.negated(), largest, _corners(figure.parts, -1.0), -highest, figure.alpha)
    return low, high


def _is_known(part: Part) -> bool:
    known = part.estimator.numerator in _KNOWN or isinstance(part.estimator, Clipped)
    return known and part.plain and math.isfinite(part.limits.weight[1])


def _corners(parts: tuple[Part, ...], sign: float) -> list[Corner]:
    """Every combination of smallest and largest weights, with the smallest term (times sign) that it allows."""
    found = []
    for weights in product(*(part.limits.weight if not part.logged else (1.0,) for part in parts)):
        if all(part.estimator.numerator == WEIGHTED_REWARD for part in parts):
            gap = weights[0] - weights[1] if len(parts) == 2 else weights[0]
            term = min(sign * gap * reward for reward in parts[0].limits.reward)
        else:
            term = sum(_term(part, w, sign * side) for part, w, side in zip(parts, weights, (1.0, -1.0), strict=False))
        free = tuple(w for part, w in zip(parts, weights, strict=True) if not part.logged)
        found.append(Corner(free, term))
    return found


def _term(part: Part, weight: float, sign: float) -> float:
    """The smallest sign * term of a part at a weight."""
    low, high = part.limits.reward
    if part.estimator.numerator == WEIGHTED_REWARD or isinstance(part.estimator, Clipped):
        kept = min(weight, weight_range(part.estimator, part.limits)[1])
        return min(sign * kept * low, sign * kept * high)
    floor, ceiling = value_range(part.estimator, part.limits)
    far = weight * part.limits.spread
    return min(sign * (floor - far), sign * (ceiling + far))
