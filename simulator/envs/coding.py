"""From what is known of a contact to the numbers that a learner reads: fixed, documented, nothing is fitted.

A numeric feature becomes three columns: its value on a fixed scale (0 unless present), `missing`, `stale`. A
categorical one becomes an indicator per level, then `missing` and `stale`. The scale follows from the feature's unit:

    days, count, pages, usd    sign(x) log(1 + |x|) / log(1 + top), cut to [-1, 1]; top is 365, 50, 100, 5000
    share                      x
    anything else              x / (1 + |x|)

Four columns of the clock come first: the share of the episode that is over, whether a decision is taken in this step,
and sine and cosine of the weekday. So every number lies in [-1, 1], and the same contact gives the same numbers in any
environment, batch and process.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np

from engine.errors import DataError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSpec
from engine.types import BoolArray, Float32Array, FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.world.world import World

TOP: Final = {"days": 365.0, "count": 50.0, "pages": 100.0, "usd": 5000.0}
LINEAR: Final = ("share",)
CLOCK: Final = ("progress", "deciding", "weekday_sin", "weekday_cos")
STATES: Final = ("missing", "stale")


class Coding:
    """The encoding of one scenario's observations.

    Args:
        scenario: whose features and levels are coded.

    Attributes:
        names: (d,) of the columns.
        low / high: (d,) float32 limits.
    """

    def __init__(self, scenario: Scenario) -> None:
        # Levels are properties of the scenario, and every contact's columns carry them.
        columns = World(scenario, 1, 0).contacts(np.zeros(1, dtype=np.int64)).context.columns
        self._specs = scenario.features.features
        self._levels = {spec.name: spec.levels or columns[spec.name].levels for spec in self._specs}
        names, low = list(CLOCK), [0.0, 0.0, -1.0, -1.0]
        self._start: dict[str, int] = {}
        for spec in self._specs:
            self._start[spec.name] = len(names)
            if spec.type == "numeric":
                shown: tuple[str, ...] = (spec.name, *(f"{spec.name}={state}" for state in STATES))
                low += [0.0 if spec.low is not None and spec.low >= 0.0 else -1.0, 0.0, 0.0]
            else:
                shown = tuple(f"{spec.name}={level}" for level in (*self._levels[spec.name], *STATES))
                low += [0.0] * len(shown)
            names += shown
        self.names: tuple[str, ...] = tuple(names)
        self.low = np.array(low, dtype=np.float32)
        self.high = np.ones(len(names), dtype=np.float32)
        self._lookups: dict[tuple[str, tuple[str, ...]], IntArray] = {}

    @property
    def d(self) -> int:
        return len(self.names)

    def into(
        self, out: Float32Array, context: ContextBatch, deciding: BoolArray, progress: float, now: datetime
    ) -> None:
        """Write the observations of m contacts.

        Args:
            out: (m, d) float32, overwritten.
            context: context of the m contacts.
            deciding: (m,) whether a decision is taken.
            progress: share of the episode that is over.
            now: the step's instant.

        Raises:
            DataError: a level that the scenario did not have at the start.
        """
        angle = 2.0 * np.pi * now.weekday() / 7.0
        out[:] = 0.0
        out[:, 0] = progress
        out[:, 1] = deciding
        out[:, 2] = np.sin(angle)
        out[:, 3] = np.cos(angle)
        rows = np.arange(context.n)
        for spec in self._specs:
            column, start = context.columns[spec.name], self._start[spec.name]
            if spec.type == "numeric":
                out[:, start] = scaled(spec, np.where(column.state == PRESENT, column.values, 0.0))
                out[:, start + 1] = column.state == MISSING
                out[:, start + 2] = column.state == STALE
            else:
                out[rows, start + self._positions(spec, column)] = 1.0

    def _positions(self, spec: FeatureSpec, column: Column) -> IntArray:
        """(m,) position of each row's indicator among the feature's columns."""
        levels = self._levels[spec.name]
        unknown = set(column.levels) - set(levels)
        if unknown:
            raise DataError(
                f"feature {spec.name!r} has levels {sorted(unknown)} that it did not have at the start",
                hint="declare the feature's levels in its schema",
            )
        key = spec.name, column.levels
        if key not in self._lookups:
            self._lookups[key] = np.array([*(levels.index(level) for level in column.levels), 0], dtype=np.int64)
        present = self._lookups[key][column.values.astype(np.int64)]
        return np.where(column.state == PRESENT, present, len(levels) - MISSING + column.state.astype(np.int64))


def scaled(spec: FeatureSpec, values: FloatArray) -> FloatArray:
    """(m,) values of a numeric feature -> (m,) in [-1, 1]; see the module's table."""
    if spec.unit in LINEAR:
        return np.clip(values, -1.0, 1.0)
    size: FloatArray = np.abs(values)
    if spec.unit in TOP:
        logged: FloatArray = np.minimum(np.log1p(size) / np.log1p(TOP[spec.unit]), 1.0)
        return np.copysign(logged, values)
    return np.asarray(values / (1.0 + size), dtype=np.float64)
