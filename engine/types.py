"""Array aliases and the dimension letters that every docstring uses.

Letters: n rows (decisions or contacts), k actions including hold, d encoded features, C channels, H hour slots,
K arms, P purposes. Action 0 is hold. Instants are int64 microseconds since 1970-01-01 UTC (`*_at`), or
`NOT_AN_INSTANT` where unknown; durations are seconds (`*_s`) or days (`*_days`); money is US dollars (`*_usd`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
KeyArray = NDArray[np.uint64]
ObjectArray = NDArray[Any]

HOLD: Final = 0
NOT_AN_INSTANT: Final = np.iinfo(np.int64).min
MICROSECONDS_PER_S: Final = 1_000_000

PURPOSES: Final = ("promotional", "transactional")
