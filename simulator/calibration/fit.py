"""The method of moments: move free numbers until simulated moments meet their targets, in units of the tolerances.

Simulated moments are expectations over the same draws at every trial, so they move smoothly with the numbers, and
`scipy.optimize.least_squares` (Branch, Coleman & Li 1999) does the rest, on log odds or logarithms of the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit, logit

from engine.errors import DataError, ParameterError
from engine.types import FloatArray

Moments = Mapping[str, float]
Changes = dict[str, Any]
# How far a number is moved, on its line, to see what it does.
STEP: Final = 0.03


@dataclass(frozen=True)
class Free:
    """A number that may move.

    Attributes:
        path: keys from the scenario's yaml down ("response", "seen", "email").
        start: where it starts.
        scale: share (log odds), positive (logarithm) or plain.
        tied: further numbers that move with it: path -> multiple of this one.
    """

    path: tuple[str, ...]
    start: float
    scale: Literal["share", "positive", "plain"] = "positive"
    tied: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    def to_line(self, value: float) -> float:
        """From the number to the real line."""
        if self.scale == "share":
            return float(logit(value))
        return float(np.log(value)) if self.scale == "positive" else value

    def from_line(self, value: float) -> float:
        """Back again."""
        if self.scale == "share":
            return float(expit(value))
        return float(np.exp(value)) if self.scale == "positive" else float(value)


@dataclass(frozen=True)
class Goal:
    """What a moment should be.

    Attributes:
        id: id of the figure.
        moment: name among the simulated moments.
        value / tolerance: in the figure's unit.
        unit: for tables.
        source: who published it.
    """

    id: str
    moment: str
    value: float
    tolerance: float
    unit: str = "fraction"
    source: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table: published, simulated, difference, tolerance."""

    id: str
    published: float
    simulated: float
    difference: float
    tolerance: float
    met: bool
    unit: str
    source: str


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    Attributes:
        changes: the numbers, as changes to a scenario's yaml.
        rows: the table at these numbers.
        trials: how often moments were simulated.
    """

    changes: Changes
    rows: tuple[Row, ...]
    trials: int
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every goal is met within its tolerance."""
        return all(row.met for row in self.rows)


def fit(
    free: Sequence[Free],
    goals: Sequence[Goal],
    measure: Callable[[Changes], Moments],
    *,
    trials: int = 400,
    say: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Find the numbers that meet the goals best.

    Args:
        free: numbers that move, at least one and no more than there are goals.
        goals: targets, each in units of its own tolerance.
        measure: from changes of the scenario to its moments; deterministic.
        trials: most simulations.
        say: told the progress, a line at a time.

    Raises:
        ParameterError: more free numbers than goals.
        DataError: a goal whose moment was not measured, or is not finite.
    """
    if not 1 <= len(free) <= len(goals):
        raise ParameterError("free", "fit", allowed=f"1 to {len(goals)} numbers for as many goals", got=len(free))
    count = 0
    start = np.array([one.to_line(one.start) for one in free])

    def misses(moved: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        moments = measure(changes_of(free, start + moved - 1.0))
        found = np.array([row.difference / row.tolerance for row in rows_of(goals, moments)])
        if count % (len(free) + 1) == 1:
            say(f"trial {count}: largest miss {np.abs(found).max():.2f} tolerances")
        return found

    rounds = max(2, trials // (len(free) + 1))
    # Steps are relative to the argument, so it is counted from 1: a number that starts at 0 on its line moves too.
    solved = least_squares(
        misses,
        np.ones(len(free)),
        diff_step=[STEP] * len(free),
        max_nfev=rounds,
        xtol=2e-3,
        ftol=2e-3,
    )
    best = start + solved.x - 1.0
    changes = changes_of(free, best)
    numbers = {".".join(one.path): one.from_line(value) for one, value in zip(free, best, strict=True)}
    return Fit(changes, rows_of(goals, measure(changes)), count, numbers)


def changes_of(free: Sequence[Free], line: FloatArray) -> Changes:
    """Points on the real line as changes of a scenario, rounded so that what ships is what was fitted."""
    changes: Changes = {}
    for one, value in zip(free, line, strict=True):
        for path, multiple in {one.path: 1.0, **one.tied}.items():
            place = changes
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = float(f"{multiple * one.from_line(float(value)):.5g}")
    return changes


def rows_of(goals: Sequence[Goal], moments: Moments) -> tuple[Row, ...]:
    """The table of goals at some moments.

    Raises:
        DataError: a goal whose moment is missing or not finite.
    """
    rows = []
    for goal in goals:
        simulated = moments.get(goal.moment, float("nan"))
        if not np.isfinite(simulated):
            raise DataError(f"{goal.id}: the moment {goal.moment!r} was not measured", hint="see docs/calibration.md")
        off = simulated - goal.value
        rows.append(
            Row(goal.id, goal.value, simulated, off, goal.tolerance, abs(off) <= goal.tolerance, goal.unit, goal.source)
        )
    return tuple(rows)
