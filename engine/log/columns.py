"""Single columns of a log: labels, instants, and columns in the type that the schema declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.types import NOT_AN_INSTANT, CodeArray, IntArray


def labels(codes: CodeArray | IntArray, names: Sequence[str]) -> pa.DictionaryArray:
    """(n,) codes into names -> dictionary column; negative codes are null."""
    positions = np.asarray(codes, dtype=np.int32)
    masked = pa.array(positions, mask=positions < 0)
    return pa.DictionaryArray.from_arrays(masked, pa.array(list(names), pa.string()))


def instants(array: pa.Array) -> IntArray:
    """Timestamps -> (n,) int64 microseconds UTC, `NOT_AN_INSTANT` where null."""
    micros = array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(NOT_AN_INSTANT)
    values: IntArray = micros.to_numpy(zero_copy_only=False)
    return values


def conform(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column in the declared type, refused where it cannot be or where it has holes that the schema forbids.

    Raises:
        ValueError: nulls in a column that has none by its schema; Arrow's errors are of this kind too.
    """
    if column.null_count and not field.nullable:
        raise ValueError(f"{column.null_count} nulls in a column that may have none")
    if column.type == field.type:
        return column
    if pa.types.is_timestamp(field.type) and not pa.types.is_null(column.type):
        zone = column.type.tz if pa.types.is_timestamp(column.type) else None
        if zone is None:
            raise ValueError(f"instants must be timestamps with a time zone, got {column.type}")
    if pa.types.is_dictionary(field.type):
        return column.cast(pa.string()).dictionary_encode()
    return column.cast(field.type)


def used_labels(column: pa.DictionaryArray) -> set[str]:
    """The labels that occur in a column; a dictionary may hold others, and nulls have none."""
    names = column.dictionary.to_pylist()
    codes = np.unique(column.indices.drop_null().to_numpy(zero_copy_only=False))
    return {names[code] for code in codes.tolist()}
