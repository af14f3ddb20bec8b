"""From an interval's name to its bounds: each method reads what it needs of a figure, or says why it claims nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from engine.ope.intervals.asymptotic import boundary
from engine.ope.intervals.bernstein import bernstein
from engine.ope.intervals.bootstrapped import Fraction, percentiles, studentised
from engine.ope.intervals.catoni import catoni
from engine.ope.intervals.clopper_pearson import shares
from engine.ope.intervals.confidence_sequence import sequence
from engine.ope.intervals.cressie_read import unseen
from engine.ope.intervals.figure import Figure
from engine.ope.intervals.ratio import NOTHING, Bounds, CentredRatio, ratio_of
from engine.ope.settings import (
    ASYMPTOTIC_SEQUENCE,
    BOOTSTRAP,
    CATONI,
    CLOPPER_PEARSON,
    CONFIDENCE_SEQUENCE,
    CRESSIE_READ,
    DELTA,
    EMPIRICAL_BERNSTEIN,
    STUDENTISED,
)
from engine.ope.sums.ratios import ONE_COLUMN


@dataclass(frozen=True)
class Found:
    """Bounds, or the reason why there are none."""

    bounds: Bounds
    reason: str = ""


def interval_of(figure: Figure, reach: float | None = None) -> Found:
    """The interval of a figure by the method of its setup.

    Args:
        figure: a value or a difference, with a standard error.
        reach: standard errors on each side, where several differences are held together; the method's own where None.
    """
    if reach is not None:
        return Found((figure.value - reach * figure.stderr, figure.value + reach * figure.stderr))
    return METHODS[figure.setup.settings.interval](figure)


def _delta(figure: Figure) -> Found:
    # Student's t over the independent units: with 37 people the normal quantile would be 3 % too short.
    quantile = float(stdtrit(figure.totals.clusters - 1, 1 - figure.alpha / 2))
    return interval_of(figure, quantile)


def _bootstrap(figure: Figure) -> Found:
    if figure.totals.replicates is None:
        return Found(NOTHING, "there are no resamples")
    return _resampled(percentiles(figure.totals.replicates, figure.ratios, figure.alpha))


def _studentised(figure: Figure) -> Found:
    if figure.totals.resamples is None:
        return Found(NOTHING, "there are no resamples")
    fractions: list[Fraction] = [(above, below, factor) for above, below, factor in figure.ratios[0]]
    for ratios in figure.ratios[1:]:
        fractions += [(above, below, -factor) for above, below, factor in ratios]
    drawn = figure.totals.resamples.pivots(tuple(fractions))
    return _resampled(studentised(drawn, figure.value, figure.stderr, figure.alpha))


def _asymptotic(figure: Figure) -> Found:
    units = figure.totals.clusters
    reach = float(boundary(np.array([float(units)]), figure.alpha)[0]) * math.sqrt(units)
    return interval_of(figure, reach)


def _bernstein(figure: Figure) -> Found:
    mean = _mean(figure)
    limits = figure.term_range()
    if mean is not None and limits is not None:
        return Found(bernstein(mean, limits[1] - limits[0], figure.value_range(), figure.alpha))
    width = figure.inversion_width()
    if width is not None:
        above, below, _ = figure.ratios[0][0]
        ratio = ratio_of(figure.totals, {above: 1.0}, {below: 1.0})
        return Found(NOTHING) if ratio is None else Found(bernstein(ratio, width, figure.value_range(), figure.alpha))
    return by_halves(figure, _bernstein)


def _sequence(figure: Figure) -> Found:
    found = sequence(figure)
    return by_halves(figure, _sequence) if found is None else Found(found)


def _cressie_read(figure: Figure) -> Found:
    found = unseen(figure)
    return Found(NOTHING, _NO_RANGE) if found is None else Found(found)


def _clopper_pearson(figure: Figure) -> Found:
    found = shares(figure)
    if isinstance(found, str):
        return Found(NOTHING, found)
    return by_halves(figure, _clopper_pearson) if found is None else Found(found)


def _catoni(figure: Figure) -> Found:
    form = figure.form
    held = None if form is None else figure.totals.streams.histogram(form)
    if held is None:
        return Found(
            NOTHING, "Catoni's interval is one of a mean of terms, and this estimator is none: ask for ips or dr"
        )
    found = catoni(*held.bins(), figure.alpha, figure.setup.settings.largest_sd)
    return Found(found, "too few rows for Catoni's interval" if found == NOTHING else "")


def by_halves(figure: Figure, method: Callable[[Figure], Found]) -> Found:
    """A difference whose terms have no common form: each value at half the error, and the farthest ends (Bonferroni).

    It holds, but does not see that both policies are judged on the same rows.
    """
    if len(figure.parts) == 1:
        return Found(NOTHING, _NO_RANGE)
    first, second = (method(half) for half in figure.halves())
    (a, b), (c, d) = first.bounds, second.bounds
    if a is None or b is None or c is None or d is None:
        return Found(NOTHING, first.reason or second.reason)
    return Found((a - d, b - c))


_NO_RANGE: Final = "the interval needs the range of a row's term, which is not known for this estimator"

METHODS: Final[Mapping[str, Callable[[Figure], Found]]] = {
    DELTA: _delta,
    BOOTSTRAP: _bootstrap,
    STUDENTISED: _studentised,
    EMPIRICAL_BERNSTEIN: _bernstein,
    CLOPPER_PEARSON: _clopper_pearson,
    CRESSIE_READ: _cressie_read,
    CONFIDENCE_SEQUENCE: _sequence,
    ASYMPTOTIC_SEQUENCE: _asymptotic,
    CATONI: _catoni,
}


def _mean(figure: Figure) -> CentredRatio | None:
    form = figure.form
    return None if form is None else ratio_of(figure.totals, form, {ONE_COLUMN: 1.0})


def _resampled(bounds: Bounds) -> Found:
    return Found(bounds, "more than 1 % of the resamples have no value" if bounds == NOTHING else "")
