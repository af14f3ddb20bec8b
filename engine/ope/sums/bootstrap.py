"""The cluster bootstrap over a bag of clusters: flat memory, keyed draws, one set of draws for all policies.

Units are clusters; where there are more than `BUCKETS` of them, each is put by a keyed hash of its key into one of
`BUCKETS` buckets, and buckets are resampled. That is valid because the buckets are themselves independent clusters: a
hash that does not look at the data splits independent clusters into independent groups, and the variance of a sum of
mean-zero influences over groups equals that over their members in expectation (a bag of clusters is a cluster; for the
bootstrap by cluster see Cameron, Gelbach & Miller 2008). What is lost is a relative error of
about sqrt(1 / (2 BUCKETS)) = 1.1 % in the width, less than the Monte Carlo error of 1,000 draws. A replicate
recomputes numerator and denominator on the resampled units (the ratio bootstrap), so the denominator of SNIPS is as
random as its numerator, and a difference is recomputed from both policies on the same draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from engine.identity import fold_of
from engine.numeric.matmul import matmul
from engine.ope.sums.exact import two_sum
from engine.types import FloatArray, IntArray, KeyArray

BUCKETS: Final = 4096
_DRAWS_PER_BLOCK: Final = 100


def bucket_of(keys: KeyArray, seed: int) -> IntArray:
    """(n,) keys -> (n,) bucket in [0, BUCKETS)."""
    return fold_of(keys, BUCKETS, f"bootstrap/{seed}")


def sum_by_bucket(buckets: IntArray, values: FloatArray) -> FloatArray:
    """(n,) buckets and (n, m) values -> (BUCKETS, m) sums."""
    return np.stack([np.bincount(buckets, column, BUCKETS) for column in values.T], axis=1)


class BucketSums:
    """Sums per bucket over a stream of rows, each row its own unit; mergeable in any order to the same bytes.

    Args:
        columns: m.
        seed: Seed of the hash.
    """

    def __init__(self, columns: int, seed: int) -> None:
        self.seed = seed
        self._high = np.zeros((BUCKETS, columns))
        self._low = np.zeros((BUCKETS, columns))

    def add(self, keys: KeyArray, values: FloatArray) -> None:
        """Add a canonical chunk: (n,) keys and (n, m) values."""
        self._accumulate(sum_by_bucket(bucket_of(keys, self.seed), values))

    def merge(self, other: BucketSums) -> None:
        """Add what another has summed."""
        self._accumulate(other._high)
        self._accumulate(other._low)

    def units(self) -> FloatArray:
        """(u, m) sums of the buckets that hold rows; column 0 must be the count of rows."""
        total = self.buckets()
        return total[total[:, 0] > 0]

    def buckets(self) -> FloatArray:
        """(BUCKETS, m) sums of all buckets, 0 where a bucket holds no row."""
        total: FloatArray = self._high + self._low
        return total

    def _accumulate(self, values: FloatArray) -> None:
        self._high, error = two_sum(self._high, values)
        self._low = self._low + error
        self._high, self._low = two_sum(self._high, self._low)


def units_of_clusters(keys: KeyArray, sums: FloatArray, seed: int) -> FloatArray:
    """Units to resample: the clusters themselves where there are at most `BUCKETS`, their buckets else.

    Args:
        keys: (c,) ascending.
        sums: (c, m), column 0 the count of rows.
        seed: Seed of the hash.
    """
    if len(keys) <= BUCKETS:
        return sums
    total = sum_by_bucket(bucket_of(keys, seed), sums)
    return total[total[:, 0] > 0]


def resampled_sums(units: FloatArray, draws: int, seed: int) -> FloatArray:
    """(draws, m) column sums of `draws` resamples with replacement of the (u, m) units."""
    return np.concatenate([matmul(counts, units) for counts in resample_counts(len(units), draws, seed)])


def resample_counts(units: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Blocks (b, u) of how often each unit is drawn; Philox keyed by the seed gives the same draws everywhere."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, 0x0BE], dtype=np.uint64)))
    for start in range(0, draws, _DRAWS_PER_BLOCK):
        size = min(_DRAWS_PER_BLOCK, draws - start)
        drawn = generator.integers(units, size=(size, units))
        flat = (drawn + np.arange(size)[:, None] * units).ravel()
        yield np.bincount(flat, minlength=size * units).reshape(size, units).astype(np.float64)
