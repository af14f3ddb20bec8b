"""Running count, mean and spread of a stream, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Moments:
    """Count, mean and sum of squared deviations (Chan, Golub & LeVeque 1983, equation 2.1).

    Attributes:
        n: values seen.
        mean: their mean.
        squares: sum of their squared deviations from the mean.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Add finite values (n,)."""
        if not len(values):
            return
        mean = float(np.mean(values, dtype=np.float64))
        total = self.n + len(values)
        delta = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + delta * delta * self.n * len(values) / total
        self.mean += delta * len(values) / total
        self.n = total

    @property
    def scale(self) -> float:
        """Standard deviation (divided by n); 1 where nothing varies, so that it can be divided by."""
        deviation = float(np.sqrt(self.squares / self.n)) if self.n else 0.0
        # A spread that is rounding noise of the mean is none.
        constant = not np.isfinite(deviation) or deviation <= 1e-12 * max(1.0, abs(self.mean))
        return 1.0 if constant else deviation
