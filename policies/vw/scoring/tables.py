"""The compiled scorer: a VW model over context x (channel, hour, arm, pairs) is a sum of small tables.

With x the encoded context and (x, 1) the same with the constant, the predicted reward of sending arm a on channel c in
hour slot h is

    (x, 1) . (base + channel[c] + hour[h] + arm[a]) + channel_hour[c, h] + channel_arm[c, a] + hour_arm[h, a]

and that of hold (x, 1) . (base + hold). The entries are VW's weights, read by hash, so hash collisions are included.
Sums run in one fixed order, feature by feature in float64: the same bytes in any batch size, with numpy or numba.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, ParameterError, reason_of
from engine.types import Float32Array, FloatArray

BATCH_ROWS: Final = 512


@dataclass(frozen=True)
class StoredTables(ABC):
    """Float32 arrays that are kept in one file of a trained folder; each subclass names them as its fields."""

    @staticmethod
    @abstractmethod
    def shapes(catalog: Catalog, d: int) -> dict[str, tuple[int, ...]]:
        """Shape of every table for a catalog and d encoded features."""

    def save(self, path: Path) -> None:
        """Write an npz of plain arrays."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path, catalog: Catalog, d: int) -> Self:
        """Read tables and check every shape; pickles are never loaded.

        Raises:
            ArtefactError: unreadable, incomplete, not finite, or not of this catalog and encoder.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
            tables = cls(**arrays)
        except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
            raise ArtefactError(f"{path} holds no score tables: {reason_of(error)}", hint="train again") from error
        for name, shape in cls.shapes(catalog, d).items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float32:
                raise ArtefactError(f"{path}: {name} has shape {array.shape} {array.dtype}, expected {shape} float32")
            if name != "limits" and not np.isfinite(array).all():
                raise ArtefactError(f"{path}: {name} is not finite", hint="train again with a smaller learning rate")
        return tables


@dataclass(frozen=True)
class ScoreTables(StoredTables):
    """The weights of a model as arrays, float32, in reward units (the sign of VW's costs is turned).

    Attributes:
        base: (d + 1,) context alone; the constant comes last here and below.
        hold: (d + 1,) what hold adds.
        channel: (C, d + 1).
        hour: (H, d + 1).
        arm: (K, d + 1).
        channel_hour: (C, H).
        channel_arm: (C, K).
        hour_arm: (H, K).
        limits: (2,) scores are clipped to [low, high]; -inf and inf where they are not.
    """

    base: Float32Array
    hold: Float32Array
    channel: Float32Array
    hour: Float32Array
    arm: Float32Array
    channel_hour: Float32Array
    channel_arm: Float32Array
    hour_arm: Float32Array
    limits: Float32Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of the axes of sends: (C, H, K)."""
        return len(self.channel), len(self.hour), len(self.arm)

    @property
    def k(self) -> int:
        channels, hours, arms = self.shape
        return 1 + channels * hours * arms

    @property
    def d(self) -> int:
        return len(self.base) - 1

    @cached_property
    def linear(self) -> FloatArray:
        """(d + 1, 1 + C + H + K): hold, channels (each with the base), hours, arms, as one matrix."""
        base = self.base.astype(np.float64)
        rows: FloatArray = np.vstack([base + self.hold, base + self.channel, self.hour, self.arm])
        return np.ascontiguousarray(rows.T)

    @cached_property
    def pairs(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The pair tables (C, H), (C, K), (H, K) in float64."""
        wide = [np.ascontiguousarray(t, dtype=np.float64) for t in (self.channel_hour, self.channel_arm, self.hour_arm)]
        return wide[0], wide[1], wide[2]

    def scores(self, x: Float32Array) -> FloatArray:
        """Encoded contexts (n, d) -> (n, k) predicted rewards of every action, eligible or not.

        Raises:
            ParameterError: another number of columns.
        """
        if x.ndim != 2 or x.shape[1] != self.d:
            raise ParameterError("x", "ScoreTables.scores", allowed=f"of shape (n, {self.d})", got=x.shape)
        out = np.empty((len(x), self.k), dtype=np.float64)
        for start in range(0, len(x), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            self.score_into(x[rows], out[rows])
        return out

    def score_into(self, x: Float32Array, out: FloatArray) -> None:
        """`scores` of a batch of at most some hundred rows into an array of the caller, (n, k)."""
        channels, hours, arms = self.shape
        channel_hour, channel_arm, hour_arm = self.pairs
        parts = affine(x, self.linear)
        by_channel, by_hour, by_arm = np.split(parts[:, 1:], [channels, channels + hours], axis=1)
        first = by_channel[:, :, None] + by_hour[:, None, :] + channel_hour
        second = by_arm[:, None, :] + channel_arm
        cells = out[:, 1:].reshape(len(x), channels, hours, arms)
        np.add(first[:, :, :, None], second[:, :, None, :], out=cells)
        np.add(cells, hour_arm, out=cells)
        out[:, 0] = parts[:, 0]
        if np.isfinite(self.limits).any():
            np.clip(out, self.limits[0], self.limits[1], out=out)

    @staticmethod
    def shapes(catalog: Catalog, d: int) -> dict[str, tuple[int, ...]]:
        """Shape of every table for a catalog and d encoded features."""
        channels, hours, arms = catalog.shape
        return {
            "base": (d + 1,),
            "hold": (d + 1,),
            "channel": (channels, d + 1),
            "hour": (hours, d + 1),
            "arm": (arms, d + 1),
            "channel_hour": (channels, hours),
            "channel_arm": (channels, arms),
            "hour_arm": (hours, arms),
            "limits": (2,),
        }


def affine(x: Float32Array, linear: FloatArray) -> FloatArray:
    """(n, d) and (d + 1, m) -> (n, m): the constant row plus each row's non-zero columns, from left to right.

    A matrix product would multiply mostly zeros, and its rounding depends on how many rows come together.
    """
    rows, columns = np.nonzero(x)
    values = x[rows, columns].astype(np.float64)[:, None]
    counts = np.bincount(rows, minlength=len(x))
    first = np.cumsum(counts) - counts
    out = np.repeat(linear[-1:], len(x), axis=0)
    for rank in range(int(counts.max(initial=0))):
        # The rank-th non-zero column of every row that has as many.
        some = np.flatnonzero(counts > rank)
        at = first[some] + rank
        if len(some) == len(x):
            out += linear[columns[at]] * values[at]
        else:
            out[some] += linear[columns[at]] * values[at]
    return out
