"""Cressie-Read: an empirical-likelihood interval that knows that weights have mean 1 and a largest value.

Karampatziakis, Langford & Mineiro, "Empirical likelihood for contextual bandits", NeurIPS 2020, section 4 and appendix,
with the divergence CR(-2), whose dual is a quadratic with a closed form: among all reweightings of the rows, one
unseen row included, that keep the mean weight at 1 and lie within the divergence, the smallest and the largest value.
The unseen row stands at the corner of the range that is worst: this is where the known largest weight enters. The same
closed form with two constraints (the mean weight of each policy is 1) gives the difference of two policies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import fdtri

from engine.numeric.matmul import matmul
from engine.ope.estimators.doubly_robust import Dr, Mrdr
from engine.ope.estimators.terms import WEIGHTED_REWARD
from engine.ope.estimators.weighting import Clipped
from engine.ope.intervals.figure import Figure, Part, value_range, weight_range
from engine.ope.intervals.ratio import Bounds, Form, Sums, product, total
from engine.types import FloatArray

_ATOL: Final = 1e-9


@dataclass(frozen=True)
class Corner:
    """An unseen row: (p,) weights and its term."""

    weights: tuple[float, ...]
    term: float


@dataclass(frozen=True)
class WeightedTerms:
    """Sums over n rows of p weights c and a term x.

    Attributes:
        n: rows.
        weights: (p,) sum of c.
        squares: (p, p) sum of c c'.
        term: sum of x.
        cross: (p,) sum of c x.
        term_squares: sum of x^2.
    """

    n: int
    weights: FloatArray
    squares: FloatArray
    term: float
    cross: FloatArray
    term_squares: float

    def negated(self) -> WeightedTerms:
        """The same rows with their terms negated."""
        return WeightedTerms(self.n, self.weights, self.squares, -self.term, -self.cross, self.term_squares)


def weighted_terms(sums: Sums, weights: Sequence[int], term: Form) -> WeightedTerms:
    """From the sums of an evaluation: columns of the weights, and the linear form of the term."""
    forms: list[Form] = [{column: 1.0} for column in weights]
    return WeightedTerms(
        n=sums.n,
        weights=np.array([total(sums, form) for form in forms]),
        squares=np.array([[product(sums, a, b) for b in forms] for a in forms]).reshape(len(forms), len(forms)),
        term=total(sums, term),
        cross=np.array([product(sums, form, term) for form in forms]),
        term_squares=product(sums, term, term),
    )


def cressie_read_low(
    rows: WeightedTerms, largest: Sequence[float], corners: Sequence[Corner], lowest: float, alpha: float
) -> float:
    """Lower end of the interval; the upper one is minus the lower end of the negated terms.

    Args:
        rows: the sums.
        largest: (p,) largest weights, finite; the smallest is 0.
        corners: The places where an unseen row may stand, with the smallest terms there.
        lowest: smallest possible value.
        alpha: error of both sides together, in (0, 1).
    """
    n = rows.n
    start = tuple(top if s < n else 0.0 for top, s in zip(largest, rows.weights, strict=True))
    mean, spread, _, _, _ = _with(rows, Corner(start, 0.0))
    excess = (1 + n) * _quadratic(spread, 1 - mean)
    phi = (-excess - float(fdtri(1, n, 1 - alpha))) / (2 * (1 + n))
    found = [bound for corner in corners if (bound := _bound(rows, corner, phi)) is not None]
    return max(lowest, min(found)) if found else lowest


def _bound(rows: WeightedTerms, corner: Corner, phi: float) -> float | None:
    """The smallest value where the unseen row stands at `corner`; None where no reweighting keeps the mean weights."""
    mean, spread, term, cross, variance = _with(rows, corner)
    away = 1 - mean
    x = term + float(matmul(cross, _solve(spread, away)))
    y = _quadratic(spread, cross) - variance
    z = phi + _quadratic(spread, away) / 2
    if abs(y * z) <= _ATOL * _ATOL:
        return x - math.sqrt(2) * _ATOL
    return x - math.sqrt(2 * y * z) if z <= 0 and y * z >= 0 else None


def _with(rows: WeightedTerms, corner: Corner) -> tuple[FloatArray, FloatArray, float, FloatArray, float]:
    """Means and central moments of the rows and the unseen one: weights, their spread, term, cross, variance."""
    count = 1 + rows.n
    weights = np.array(corner.weights, dtype=np.float64)
    mean = (weights + rows.weights) / count
    term = (corner.term + rows.term) / count
    spread = (np.outer(weights, weights) + rows.squares) / count - np.outer(mean, mean)
    cross = (weights * corner.term + rows.cross) / count - mean * term
    return mean, spread, term, cross, (corner.term * corner.term + rows.term_squares) / count - term * term


def _quadratic(spread: FloatArray, vector: FloatArray) -> float:
    return float(matmul(vector, _solve(spread, vector)))


def _solve(spread: FloatArray, vector: FloatArray) -> FloatArray:
    if len(vector) == 0:
        return vector
    if len(vector) == 1:
        return vector / spread[0] if spread[0, 0] > 0 else np.zeros_like(vector)
    # Two policies may have the same weights on every row: a pseudo-inverse keeps the one constraint that is left.
    solved: FloatArray = np.asarray(
        matmul(np.linalg.pinv(spread, rcond=1e-12, hermitian=True), vector), dtype=np.float64
    )
    return solved


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
    for weights in itertools.product(*(part.limits.weight if not part.logged else (1.0,) for part in parts)):
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
