"""What some intervals must know of the single terms beyond their moments, gathered while the log is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from engine.ope.intervals.clopper_pearson import FewValues
from engine.ope.intervals.histogram import LogHistogram
from engine.ope.intervals.names import CATONI, CLOPPER_PEARSON
from engine.ope.layout import ONE_COLUMN, Ratios, members
from engine.ope.terms import WEIGHT
from engine.types import FloatArray

if TYPE_CHECKING:
    from engine.ope.setup import Setup

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
        wanted, range_ = _wanted(setup), setup.reward_range
        shares = setup.interval == CLOPPER_PEARSON
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
    if setup.interval not in (CATONI, CLOPPER_PEARSON):
        return {}
    layout, found = setup.layout, dict[Key, None]()
    for unit, target in enumerate(setup.units):
        if setup.interval == CLOPPER_PEARSON:
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
            if setup.interval == CLOPPER_PEARSON:
                found.update((key_of({ratio.above: 1.0}), None) for ratio in (*mine, *base))
    return found
