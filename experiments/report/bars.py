"""Intervals and shares as marks on a common scale, in percent of its width: pictures that shrink with the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear scale.

    Attributes:
        start / end: values at its ends.
        labels: (percent, value) of what is written below it.
    """

    start: float
    end: float
    labels: tuple[tuple[float, float], ...]

    def at(self, value: float) -> float:
        """Percent of the width, kept within the scale."""
        return 100.0 * min(max((value - self.start) / (self.end - self.start), 0.0), 1.0)


@dataclass(frozen=True)
class Mark:
    """A value with its interval on a scale; None where there is none.

    Attributes:
        value / low / high: percent of the width.
        zero: percent of the value 0, or None where the scale does not hold it.
    """

    value: float | None
    low: float | None
    high: float | None
    zero: float | None


def scale_of(values: Iterable[float | None], *, zero: bool = True) -> Scale:
    """A scale with round ends that holds all values, and 0 if asked for."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if zero or not known:
        known.append(0.0)
    low, high = min(known), max(known)
    if low == high:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    step = _step(high - low)
    start, end = step * math.floor(low / step), step * math.ceil(high / step)
    marks = [start, end] if start >= 0 or end <= 0 else [start, 0.0, end]
    scale = Scale(start, end, ())
    return Scale(start, end, tuple((scale.at(mark), mark) for mark in _apart(scale, marks)))


def mark(scale: Scale, value: float | None, low: float | None, high: float | None) -> Mark:
    """A figure on a scale."""
    places = [None if one is None else scale.at(one) for one in (value, low, high)]
    zero = scale.at(0.0) if scale.start <= 0.0 <= scale.end else None
    return Mark(places[0], places[1], places[2], zero)


def _apart(scale: Scale, marks: Sequence[float]) -> list[float]:
    """Labels that would touch are one too many: the ends give way to 0."""
    if len(marks) < 3:
        return list(marks)
    return [one for one in marks if one == 0.0 or abs(scale.at(one) - scale.at(0.0)) > 18.0]


def _step(width: float) -> float:
    """A round step, a quarter of the width or less."""
    power = 10.0 ** math.floor(math.log10(width / 4.0))
    return next(factor * power for factor in (5.0, 2.0, 1.0) if factor * power <= width / 4.0 * (1.0 + 1e-9))
