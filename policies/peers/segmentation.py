"""Segments: from a context to a segment number, by the levels and bins of a few features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import ConfigError
from engine.features import MISSING, PRESENT, STALE, ContextBatch, FeatureSchema
from engine.types import FloatArray, IntArray

# A sample of this many values settles the quartiles of a feature well within what a segment rule can notice.
_SAMPLE_ROWS = 100_000
_MAX_LEVELS = 20


@dataclass(frozen=True)
class Cut:
    """How one feature is cut: into bins at `edges` where numeric, by `levels` where categorical.

    Missing, stale and (for categories) other values are cells of their own.
    """

    feature: str
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    numeric: bool = True

    @property
    def cells(self) -> int:
        return (len(self.edges) + 1 if self.numeric else len(self.levels) + 1) + 2

    def cell_of(self, context: ContextBatch) -> IntArray:
        """(n,) cell of each row in [0, cells)."""
        column = context.columns[self.feature]
        if self.numeric:
            cell = np.searchsorted(np.array(self.edges), np.nan_to_num(column.values), side="right")
        else:
            position = {level: i for i, level in enumerate(self.levels)}
            lookup = np.array([position.get(level, len(self.levels)) for level in column.levels] + [0])
            cell = lookup[column.values]
        cell = np.where(column.state == MISSING, self.cells - 2, cell)
        return np.where(column.state == STALE, self.cells - 1, cell).astype(np.int64)


@dataclass(frozen=True)
class Segmentation:
    """The cross product of a few cuts."""

    cuts: tuple[Cut, ...]

    @property
    def segments(self) -> int:
        return int(np.prod([cut.cells for cut in self.cuts], dtype=np.int64)) if self.cuts else 1

    def segment_of(self, context: ContextBatch) -> IntArray:
        """(n,) segment of each row in [0, segments)."""
        segment = np.zeros(context.n, dtype=np.int64)
        for cut in self.cuts:
            segment = segment * cut.cells + cut.cell_of(context)
        return segment

    def only(self, features: Sequence[str]) -> Segmentation:
        """The segmentation by some of the features."""
        return Segmentation(tuple(cut for cut in self.cuts if cut.feature in features))


def fit_cuts(
    schema: FeatureSchema, features: Sequence[str], contexts: Iterable[ContextBatch], bins: int
) -> Segmentation:
    """Find quantile edges and frequent levels from the first 100,000 rows.

    Args:
        schema: the schema of the contexts.
        features: names to cut by.
        contexts: batches of the training log.
        bins: numeric features are cut into this many bins of about equal size (duplicates merged).

    Raises:
        ConfigError: a name that the schema does not know.
    """
    types = {spec.name: spec.type for spec in schema.features}
    unknown = [name for name in features if name not in types]
    if unknown:
        raise ConfigError(f"segments name unknown features {unknown}", hint=f"the log knows {list(types)}")
    sample, rows = [], 0
    for batch in contexts:
        sample.append(batch)
        rows += batch.n
        if rows >= _SAMPLE_ROWS:
            break
    return Segmentation(tuple(_cut(name, types[name] == "numeric", sample, bins) for name in features))


def _cut(name: str, numeric: bool, sample: Sequence[ContextBatch], bins: int) -> Cut:
    columns = [batch.columns[name] for batch in sample]
    if numeric:
        values: FloatArray = np.concatenate([c.values[c.state == PRESENT] for c in columns] or [np.zeros(0)])
        quantiles = np.quantile(values, np.arange(1, bins) / bins) if len(values) else np.zeros(0)
        edges = tuple(float(edge) for edge in np.unique(quantiles) if len(values) and edge > values.min())
        return Cut(name, edges=edges)
    counts: dict[str, int] = {}
    for column in columns:
        seen = np.bincount(column.values[column.state == PRESENT], minlength=len(column.levels))
        for level, count in zip(column.levels, seen, strict=True):
            counts[level] = counts.get(level, 0) + int(count)
    frequent = sorted((level for level in counts if counts[level]), key=lambda level: (-counts[level], level))
    return Cut(name, levels=tuple(frequent[:_MAX_LEVELS]), numeric=False)
