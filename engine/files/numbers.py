"""Numbers that are written as texts."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.types import FloatArray

_DECIMAL: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def numbers_of(texts: pa.Array) -> FloatArray:
    """(n,) float64 of texts in decimal notation, rounded to the nearest; NaN where null or no such number.

    The same text gives the same float as a Python literal does. The quick parser of pandas before 3 is off in the last
    digit, so that one amount in a table and in a Parquet file would be two.
    """
    decimal = pc.match_substring_regex(texts, _DECIMAL).fill_null(fill_value=False)
    plain = pc.utf8_ltrim(pc.if_else(decimal, texts, pa.scalar(None, texts.type)), "+")
    values: FloatArray = plain.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return values
