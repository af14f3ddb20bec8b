"""What was known of a contact before the first decision that is watched: nothing that treatment could have changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import DataError
from engine.features import PRESENT, FeatureSchema
from engine.records.rounds import RoundBlock
from engine.types import FloatArray, KeyArray

MOST = 10


def covariates_of(schema: FeatureSchema, asked: Sequence[str]) -> tuple[str, ...]:
    """Names of numeric features.

    Raises:
        DataError: an unknown name, or a feature that is not numeric.
    """
    numeric = [spec.name for spec in schema.features if spec.type == "numeric"]
    if tuple(asked) == ("auto",):
        return tuple(numeric[:MOST])
    wrong = sorted(set(asked) - set(numeric))
    if wrong:
        raise DataError(f"covariates must be numeric features, got {wrong}", hint=f"numeric are: {numeric}")
    return tuple(asked)


class FirstValues:
    """The first values of each contact; memory grows with contacts (8 bytes each, and 8 for each covariate).

    Args:
        names: of numeric features.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._keys: KeyArray = np.zeros(0, dtype=np.uint64)
        self._values: FloatArray = np.zeros((0, len(names)))

    def of(self, block: RoundBlock) -> FloatArray:
        """(n, d) values of each row's contact when it was seen first; 0 where the feature was absent then."""
        if not self._names:
            return np.zeros((block.n, 0))
        keys, first = np.unique(block.cluster, return_index=True)
        new = ~np.isin(keys, self._keys, assume_unique=True)
        if new.any():
            # First come, first kept: rows are read in the order in which they were decided.
            columns = [block.context.columns[name] for name in self._names]
            values = [np.where(column.state == PRESENT, np.nan_to_num(column.values), 0.0) for column in columns]
            added = np.stack(values, axis=1)[first[new]]
            order = np.argsort(np.concatenate([self._keys, keys[new]]), kind="stable")
            self._keys = np.concatenate([self._keys, keys[new]])[order]
            self._values = np.concatenate([self._values, added])[order]
        found: FloatArray = self._values[np.searchsorted(self._keys, block.cluster)]
        return found
