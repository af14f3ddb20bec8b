"""What some intervals must know of the single terms beyond their moments, gathered while the log is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from engine.ope.estimators.terms import WEIGHT
from engine.ope.settings import CATONI, CLOPPER_PEARSON
from engine.ope.setup import members
from engine.ope.sums.exact import two_sum
from engine.ope.sums.ratios import ONE_COLUMN, Ratios
from engine.types import FloatArray, IntArray

if TYPE_CHECKING:
    from engine.ope.setup import Setup


MOST_VALUES: Final = 6
_DIGITS: Final = 12


def rounded(value: float) -> float:
    """A value to 12 significant digits, by which terms are compared."""
    return float(f"{value:.{_DIGITS}g}") + 0.0  # -0.0 is 0


class FewValues:
    """How often each value comes, as long as there are at most `MOST_VALUES`; mergeable in any order.

    Values are compared to 12 significant digits, because weights are quotients of rounded probabilities.
    """

    def __init__(self) -> None:
        self._counts: dict[float, int] | None = {}

    def add(self, values: FloatArray) -> None:
        """Add (n,) values."""
        if self._counts is None:
            return
        found, counts = np.unique(values, return_counts=True)
        if len(found) > 64 * MOST_VALUES:
            self._counts = None
            return
        self._take({float(value): int(count) for value, count in zip(found, counts, strict=True)})

    def merge(self, other: FewValues) -> None:
        """Add what another has counted."""
        if other._counts is None:
            self._counts = None
        else:
            self._take(other._counts)

    def counts(self) -> Mapping[float, int] | None:
        """Value -> rows; None where there were more than `MOST_VALUES` values."""
        return self._counts

    def _take(self, counts: Mapping[float, int]) -> None:
        if self._counts is None:
            return
        for value, count in counts.items():
            key = rounded(value)
            self._counts[key] = self._counts.get(key, 0) + count
        if len(self._counts) > MOST_VALUES:
            self._counts = None


_PER_OCTAVE: Final = 64
_LOWEST, _HIGHEST = -40, 24
_HALF: Final = (_HIGHEST - _LOWEST) * _PER_OCTAVE


class LogHistogram:
    """Counts and sums of terms in bins that are at most 1.6 % wide; mergeable in any order to the same bytes.

    The bins are those of DDSketch (Masson, Rim & Lee, VLDB 2019) with linear steps within an octave; each keeps the sum
    of its terms too, so the mean is exact and a smooth function of the terms is off by the curvature within a bin only.
    Terms below 2^-40 of the scale count as 0 with their sum; terms above 2^24 of it share the last bin.

    Args:
        scale: The scale of the terms, positive: the largest possible reward.
    """

    def __init__(self, scale: float) -> None:
        self._exponent = math.frexp(scale)[1]
        self._counts = np.zeros(2 * _HALF + 1)
        self._high = np.zeros(2 * _HALF + 1)
        self._low = np.zeros(2 * _HALF + 1)

    def add(self, values: FloatArray) -> None:
        """Add (n,) finite values."""
        slots = self._slots(values)
        self._counts += np.bincount(slots, minlength=len(self._counts))
        sums: FloatArray = np.bincount(slots, weights=values, minlength=len(self._counts)).astype(np.float64)
        self._accumulate(sums)

    def merge(self, other: LogHistogram) -> None:
        """Add what another of the same scale has counted."""
        self._counts += other._counts
        self._accumulate(other._high)
        self._accumulate(other._low)

    def bins(self) -> tuple[FloatArray, FloatArray]:
        """Counts and mean terms of the bins that hold rows."""
        held = self._counts > 0
        return self._counts[held], (self._high + self._low)[held] / self._counts[held]

    def _slots(self, values: FloatArray) -> IntArray:
        mantissa, exponent = np.frexp(np.abs(values))
        step = ((mantissa - 0.5) * (2 * _PER_OCTAVE)).astype(np.int64)
        octave = exponent.astype(np.int64) - self._exponent - _LOWEST
        slot = np.clip(octave * _PER_OCTAVE + step, -1, _HALF - 1) + 1
        slot[values == 0] = 0
        slots: IntArray = np.where(values < 0, _HALF - slot, _HALF + slot)
        return slots

    def _accumulate(self, values: FloatArray) -> None:
        self._high, error = two_sum(self._high, values)
        self._low = self._low + error
        self._high, self._low = two_sum(self._high, self._low)


Key: TypeAlias = tuple[tuple[int, float], ...]


def key_of(form: Mapping[int, float]) -> Key:
    """A linear form as a key; terms that cancel are left out."""
    return tuple(sorted((column, factor) for column, factor in form.items() if factor))


def mean_form(figures: tuple[Ratios, ...]) -> dict[int, float] | None:
    """The linear form whose mean is the figure, or the difference of two; None where some denominator varies."""
    form: dict[int, float] = {}
    for sign, ratios in zip((1.0, -1.0), figures, strict=False):
        for above, below, factor in ratios:
            if below != ONE_COLUMN:
                return None
            form[above] = form.get(above, 0.0) + sign * factor
    return form


class Streams:
    """One accumulator for each term whose shape an interval reads; empty for intervals that need moments alone.

    Args:
        setup: what is asked for.
    """

    def __init__(self, setup: Setup) -> None:
        wanted, range_ = _wanted(setup), setup.question.reward_range
        shares = setup.settings.interval == CLOPPER_PEARSON
        scale = max(abs(range_[0]), abs(range_[1]))
        self._counts = {key: FewValues() for key in wanted if shares}
        self._histograms = {key: LogHistogram(scale) for key in wanted if not shares}

    def add(self, columns: FloatArray) -> None:
        """Add a chunk: (m, n) columns."""
        for key, counts in self._counts.items():
            counts.add(_terms(columns, key))
        for key, histogram in self._histograms.items():
            histogram.add(_terms(columns, key))

    def merge(self, other: Streams) -> None:
        """Add what another of the same setup has gathered."""
        for key, counts in self._counts.items():
            counts.merge(other._counts[key])
        for key, histogram in self._histograms.items():
            histogram.merge(other._histograms[key])

    def counts(self, form: Mapping[int, float]) -> Mapping[float, int] | None:
        """How often each value of a term came; None where there were too many values."""
        held = self._counts.get(key_of(form))
        return None if held is None else held.counts()

    def histogram(self, form: Mapping[int, float]) -> LogHistogram | None:
        """The histogram of a term, or None where it was not gathered."""
        return self._histograms.get(key_of(form))


def _terms(columns: FloatArray, key: Key) -> FloatArray:
    terms = np.zeros(columns.shape[1])
    for column, factor in key:
        terms += factor * columns[column]
    return terms


def _wanted(setup: Setup) -> dict[Key, None]:
    """Terms of every figure of the setup; for shares the weights and self-normalised numerators too."""
    if setup.settings.interval not in (CATONI, CLOPPER_PEARSON):
        return {}
    layout, found = setup.layout, dict[Key, None]()
    for unit, target in enumerate(setup.units):
        if setup.settings.interval == CLOPPER_PEARSON:
            found[key_of({layout.columns[unit, WEIGHT]: 1.0})] = None
        for asked in setup.estimators:
            judge = layout.baseline_estimator(asked)
            own = judge if unit == 0 else asked
            if setup.obstacle(target, own) is not None:
                continue
            mine, base = layout.form(unit, members(own)[0]), layout.form(0, members(judge)[0])
            for figures in ((mine,), (mine, base)):
                form = mean_form(figures)
                if form is not None:
                    found[key_of(form)] = None
            if setup.settings.interval == CLOPPER_PEARSON:
                found.update((key_of({ratio.above: 1.0}), None) for ratio in (*mine, *base))
    return found
