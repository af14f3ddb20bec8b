"""How the chance of an event falls, or rises, with the messages that a contact had before: a monotone, shrunk curve.

The messages before a decision press on a contact. The pressure of one message halves with time; either the pressures
of all messages add up, or the last message alone counts, which is a curve in the days since it. Held-out contacts
choose among them. The curve is isotonic regression (Barlow, Bartholomew, Bremner & Brunk 1972) of the log odds that the
parts leave over without the features of the history, in bins of the pressure, shrunk towards a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit, log_expit

from engine.types import FloatArray, IntArray
from policies.parts.frequency.history import History

# Of the messages, by their pressure: finer where it is low, because that is where a rule that waits sends.
_QUANTILES: Final = np.concatenate([[0.005, 0.01, 0.02, 0.035], np.linspace(0.05, 0.95, 19)])
# A bin's log odds are drawn towards the mean as by so much information, so that one without an event stays finite.
_PRIOR: Final = 0.5
_NEWTON_STEPS: Final = 30
_LARGEST_STEP: Final = 1.0


@dataclass(frozen=True)
class Pressure:
    """How messages press on a contact.

    Attributes:
        half_days: days after which half of a message's pressure is gone.
        adds: whether the pressures of all messages add up; else the last one counts alone.
    """

    half_days: float
    adds: bool

    def later(self, pressure: FloatArray, days: FloatArray) -> FloatArray:
        """Pressure after some days without a message."""
        out: FloatArray = pressure * np.exp2(-days / self.half_days)
        return out

    def sent(self, pressure: FloatArray) -> FloatArray:
        """Pressure just after a message."""
        out: FloatArray = pressure + 1.0 if self.adds else np.ones_like(pressure)
        return out

    def steady(self, days: FloatArray) -> FloatArray:
        """Pressure just before a message, where one goes out every so many days."""
        left = np.exp2(-days / self.half_days)
        out: FloatArray = left / (1.0 - left) if self.adds else left
        return out

    def of(self, history: History) -> FloatArray:
        """(n,) pressure just before each decision, from the messages that the log shows."""
        out = np.zeros(history.n)
        pressure = np.zeros(len(history.start))
        before = history.at_days[history.start]
        for t, rows in enumerate(history.steps()):
            own = np.flatnonzero(history.length > t)
            now = self.later(pressure[own], history.at_days[rows] - before[own])
            out[rows] = now
            pressure[own] = np.where(history.sent[rows], self.sent(now), now)
            before[own] = history.at_days[rows]
        return out

    def to_builtins(self) -> dict[str, float | bool]:
        """For a manifest."""
        return {"half_days": self.half_days, "adds": self.adds}


# The half life of a pressure that does not add up only sets its unit.
PRESSURES: Final = (Pressure(3.0, adds=False), *(Pressure(days, adds=True) for days in (0.7, 1.5, 3.0, 6.0, 12.0)))


@dataclass(frozen=True)
class Curve:
    """Log odds that the pressure adds to an event.

    Attributes:
        at: (m,) pressures, ascending.
        odds: (m,) log odds there, monotone; between them they are interpolated, beyond them constant.
    """

    at: FloatArray
    odds: FloatArray

    def __call__(self, pressure: FloatArray) -> FloatArray:
        out: FloatArray = np.interp(pressure, self.at, self.odds)
        return out


def fit_curve(pressure: FloatArray, offset: FloatArray, event: FloatArray, *, rising: bool) -> Curve:
    """The curve of one event, from rows in which it could happen.

    Args:
        pressure: (n,) at least 0.
        offset: (n,) log odds without the pressure.
        event: (n,) 0 or 1.
        rising: whether the pressure can only raise the chance; else only lower it.
    """
    edges = np.unique(np.quantile(pressure, _QUANTILES)) if len(pressure) else np.empty(0)
    bins = np.searchsorted(edges, pressure, side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    held = np.flatnonzero(counts)
    bins = np.searchsorted(held, bins)
    at = np.bincount(bins, pressure) / counts[held] if len(held) else np.zeros(1)
    level, _ = _odds(np.zeros(len(event), dtype=np.int64), offset, event, 1, 0.0)
    own, known = _odds(bins, offset, event, max(len(held), 1), float(level[0]))
    fitted = np.asarray(isotonic_regression(own, weights=known, increasing=rising).x)
    return Curve(at, shrunk(fitted, known))


def shrunk(fitted: FloatArray, known: FloatArray) -> FloatArray:
    """A monotone fit drawn towards its mean as far as noise alone would have bent it.

    Of m equally known values without any order, isotonic regression is expected to make 1 + 1/2 + ... + 1/m levels, and
    their weighted sum of squares is expected to be one less (Robertson, Wright & Dykstra 1988, section 2.4): that much
    is taken from what is seen, as in the positive-part estimator of James & Stein (1961).

    Args:
        fitted: (m,) monotone.
        known: (m,) information about each: one over the variance of its error.
    """
    mean = float((fitted * known).sum() / known.sum())
    spread = float((known * (fitted - mean) ** 2).sum())
    noise = float((1.0 / np.arange(2, len(fitted) + 1)).sum())
    kept = max(1.0 - noise / spread, 0.0) if spread > 0.0 else 0.0
    out: FloatArray = mean + kept * (fitted - mean)
    return out


def _odds(
    bins: IntArray, offset: FloatArray, event: FloatArray, count: int, centre: float
) -> tuple[FloatArray, FloatArray]:
    """(count,) log odds of each bin over the offset, and the information about them."""
    odds, known = np.full(count, centre), np.full(count, _PRIOR)
    for _ in range(_NEWTON_STEPS):
        chance = expit(offset + odds[bins])
        slope = np.bincount(bins, event - chance, minlength=count) - _PRIOR * (odds - centre)
        known = np.bincount(bins, chance * (1.0 - chance), minlength=count) + _PRIOR
        odds = odds + np.clip(slope / known, -_LARGEST_STEP, _LARGEST_STEP)
    return odds, known


@dataclass(frozen=True)
class Chosen:
    """The pressure that held-out contacts chose.

    Attributes:
        pressure: see `Pressure`.
        gain: held-out loss that its curve saves against a constant, per message, and its standard error.
    """

    pressure: Pressure
    gain: tuple[float, float]

    @property
    def seen(self) -> bool:
        """Whether any effect of the pressure is seen: by two standard errors."""
        return self.gain[0] > 2.0 * self.gain[1]


def choose_pressure(
    pressures: Sequence[tuple[Pressure, FloatArray]],
    offset: FloatArray,
    event: FloatArray,
    contact: IntArray,
    half: IntArray,
) -> Chosen:
    """The pressure whose falling curve, fitted to one half of the contacts, predicts the other half best.

    Args:
        pressures: with the (n,) values of each.
        offset / event: (n,) as in `fit_curve`.
        contact: (n,) number of the contact.
        half: (n,) 0 or 1, one for all rows of a contact.
    """
    found = []
    for pressure, values in pressures:
        saved = np.zeros(len(event))
        for side in (0, 1):
            fit, held = half != side, half == side
            if not (fit.any() and held.any()):
                continue
            curve = fit_curve(values[fit], offset[fit], event[fit], rising=False)
            level = fit_curve(np.zeros(int(fit.sum())), offset[fit], event[fit], rising=False)
            plain = _loss(offset[held] + level(values[held]), event[held])
            saved[held] = plain - _loss(offset[held] + curve(values[held]), event[held])
        by_contact = np.bincount(contact, saved)
        error = float(np.sqrt((by_contact**2).sum())) / max(len(saved), 1)
        found.append(Chosen(pressure, (float(saved.sum()) / max(len(saved), 1), error)))
    return max(found, key=lambda one: one.gain[0])


def _loss(odds: FloatArray, event: FloatArray) -> FloatArray:
    out: FloatArray = -log_expit(np.where(event > 0.0, odds, -odds))
    return out
