"""Features as indicators: each numeric feature by its quantiles, each categorical one by its levels, and its states.

The cuts are made from the first chunk's features. They look at no action and at no outcome, so an indicator is as fixed
before the draw as the feature itself.
"""

from __future__ import annotations

import numpy as np

from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.types import Float32Array, FloatArray

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
OTHER = "other"


class FeatureBins:
    """F indicators, disjoint and complete within each feature.

    Args:
        schema: feature schema of the log.
        top_levels: levels of a categorical feature with an indicator of their own.
    """

    def __init__(self, schema: FeatureSchema, top_levels: int) -> None:
        self._schema, self._top = schema, top_levels
        self._cuts: dict[str, FloatArray] = {}
        self._levels: dict[str, tuple[str, ...]] = {}
        self.names: tuple[str, ...] = ()
        self.feature: tuple[int, ...] = ()

    def indicators(self, context: ContextBatch) -> Float32Array:
        """(n, F) 0 or 1; the first call fixes the cuts."""
        if not self.names:
            self._fix(context)
        out = np.zeros((context.n, len(self.names)), dtype=np.float32)
        start = 0
        rows = np.arange(context.n)
        for spec in self._schema.features:
            out[rows, start + self._place(spec, context.columns[spec.name])] = 1.0
            start += len(self._labels(spec))
        return out

    def _fix(self, context: ContextBatch) -> None:
        names, feature = [], []
        for position, spec in enumerate(self._schema.features):
            column = context.columns[spec.name]
            present = column.values[column.state == PRESENT]
            if spec.type == "numeric":
                values = np.asarray(present, dtype=np.float64)
                self._cuts[spec.name] = np.unique(np.quantile(values, _QUANTILES)) if len(values) else np.zeros(1)
            else:
                counts = np.bincount(np.asarray(present, dtype=np.int64), minlength=len(column.levels))
                order = np.argsort(-counts, kind="stable")[: self._top]
                self._levels[spec.name] = tuple(column.levels[level] for level in order if counts[level])
            labels = self._labels(spec)
            names += [f"{spec.name} {label}" for label in labels]
            feature += [position] * len(labels)
        self.names, self.feature = tuple(names), tuple(feature)

    def _labels(self, spec: FeatureSpec) -> tuple[str, ...]:
        """Missing and stale first, then the bins."""
        if spec.type == "numeric":
            cuts = [f"{cut:g}" for cut in self._cuts[spec.name]]
            bins = (f"<= {cuts[0]}", *(f"> {cut}" for cut in cuts))
        else:
            bins = tuple(f"= {level}" for level in (*self._levels[spec.name], OTHER))
        return ("missing", "stale", *bins)

    def _place(self, spec: FeatureSpec, column: Column) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(n,) which indicator of the feature is 1."""
        if spec.type == "numeric":
            values = np.nan_to_num(np.asarray(column.values, dtype=np.float64))
            place = np.searchsorted(self._cuts[spec.name], values, side="left")
        else:
            known = self._levels[spec.name]
            of = {level: position for position, level in enumerate(known)}
            table = np.array([*(of.get(level, len(known)) for level in column.levels), len(known)], dtype=np.int64)
            place = table[np.asarray(column.values, dtype=np.int64)]
        place = place + 2
        place = np.where(column.state == MISSING, 0, place)
        return np.where(column.state == STALE, 1, place).astype(np.int64)
