"""Money and shares compared as people write them: 6.01 - 0.2 * 30 - 0.01 is 0, and 0.1 + 0.2 is 0.3.

Binary floats cannot hold most decimal amounts, so a difference that is nothing on paper comes out as 1e-16 or -1e-16,
and a limit that is exactly met would be exceeded or not by chance. Single amounts are computed as decimals; sums and
arrays, which have been rounded already, are compared with a tolerance far below a cent.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import numpy as np

from engine.types import BoolArray, FloatArray

# Of the larger side, and at least of 1: a millionth of a cent, and far above the rounding of sums of a million floats.
TOLERANCE: Final = 1e-9


def exact(amount: float) -> Decimal:
    """The decimal number that a float was written as: the shortest that reads back as the same float."""
    return Decimal(repr(float(amount)))


def exceeds(amount: float, limit: float) -> bool:
    """Whether an amount lies above a limit by more than rounding."""
    return bool(amount - limit > TOLERANCE * max(1.0, abs(amount), abs(limit)))


def exceed(amounts: FloatArray, limit: FloatArray | float) -> BoolArray:
    """`exceeds` of arrays, element by element; NaN exceeds nothing."""
    scale = np.maximum(1.0, np.maximum(np.abs(amounts), np.abs(limit)))
    above: BoolArray = amounts - limit > TOLERANCE * scale
    return above
