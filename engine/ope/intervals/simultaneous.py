"""Several answers at once: the largest of many differences, and adjusted p-values.

Within one evaluation all policies are judged on the same rows, so their differences are strongly dependent. The max-t
bootstrap uses that: the half-widths grow to the quantile of the largest |t| among the policies, which for 36 arms
that hardly differ is far below Bonferroni's, and it gives intervals, so that verdict and picture say the same. Holm's
method gives no intervals worth showing but needs nothing about dependence: it is for p-values of separate evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.bootstrap import resample_counts
from engine.types import FloatArray


def max_t_quantile(influences: FloatArray, draws: int, seed: int, alpha: float) -> float:
    """The factor of the standard error at which all intervals hold together with probability 1 - alpha.

    Romano & Wolf (2005), "Exact and approximate stepdown methods", single-step; for many policies by the bootstrap of
    Chernozhukov, Chetverikov & Kato (2013): the resampled mean influence over its standard error, the largest over
    the policies.

    Args:
        influences: (u, p) influences of independent units on p differences; each column sums to 0.
        draws: resamples.
        seed: of the draws.
        alpha: error of all together, in (0, 1).
    """
    error = np.sqrt((influences * influences).sum(axis=0))
    varying = influences[:, error > 0] / error[error > 0]
    if varying.shape[1] == 0:
        return 0.0
    largest = [np.abs(matmul(counts, varying)).max(axis=1) for counts in resample_counts(len(varying), draws, seed)]
    return float(np.quantile(np.concatenate(largest), 1 - alpha))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values: those below alpha may be rejected together with an error of at most alpha in all.

    Holm (1979), "A simple sequentially rejective multiple test procedure"; holds under any dependence.

    Raises:
        ParameterError: a p-value outside [0, 1].
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ParameterError("p_values", "holm", allowed="in [0, 1]", got=tuple(p_values))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return tuple(adjusted)
