"""The encoder: from a context block to the float32 matrix that learners and the compiled scorer read.

Fitted once, in one streaming pass; then a constant. A categorical feature becomes one indicator per known level plus
`other`, `missing` and `stale`; a numeric one its standardised value plus `missing` and `stale`. So what is absent, too
old or never seen always has a column of its own and is never a silent zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import DataError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema
from engine.numeric.moments import Moments
from engine.types import BoolArray, Float32Array, FloatArray, IntArray

CLIP: Final = 8.0
OTHER: Final = "other"
SPECIAL: Final = (OTHER, "missing", "stale")


class NumericCoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="numeric"):
    """How one numeric feature is coded: `(value - centre) / scale`, clipped to +-8."""

    name: str
    centre: float
    scale: float

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}=missing", f"{self.name}=stale")


class CategoricalCoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="categorical"):
    """How one categorical feature is coded: an indicator per level, then `other`, `missing`, `stale`."""

    name: str
    levels: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={shown}" for shown in (*map(_shown, self.levels), *SPECIAL))


class Encoder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A fitted encoder.

    Attributes:
        schema_version: version of the feature schema it was fitted to.
        codings: one per feature, in schema order.
    """

    schema_version: str
    codings: tuple[NumericCoding | CategoricalCoding, ...]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """(d,) names: `recency`, `recency=missing`, `zip_code=Urban`, ..."""
        return tuple(name for coding in self.codings for name in coding.columns)

    @property
    def d(self) -> int:
        return len(self.column_names)

    def parts(self, context: ContextBatch) -> list[tuple[IntArray, Float32Array | None]]:
        """Feature by feature the sparse form of `encode`.

        Returns:
            Per feature: (n,) position of the row's indicator among the coding's columns, and for a numeric feature
            its (n,) standardised values (0 unless present; there position 0 means "the value itself"), else None.

        Raises:
            DataError: the context has another schema.
        """
        self._require_schema(context)
        return [_part(coding, context.columns[coding.name]) for coding in self.codings]

    def encode(self, context: ContextBatch) -> Float32Array:
        """Context of n rows -> (n, d) float32, finite.

        Raises:
            DataError: the context has another schema.
        """
        out = np.zeros((context.n, self.d), dtype=np.float32)
        flat, begin = out.reshape(-1), np.arange(context.n) * self.d
        start = 0
        for coding, (position, values) in zip(self.codings, self.parts(context), strict=True):
            position += begin
            flat[position + start] = 1.0
            if values is not None:
                out[:, start] = values
            start += len(coding.columns)
        return out

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for a manifest."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    def _require_schema(self, context: ContextBatch) -> None:
        if context.schema.version != self.schema_version:
            raise DataError(
                f"the context has feature schema {context.schema.version}, the encoder was fitted to "
                f"{self.schema_version}",
                hint="encode with the schema that the policy was trained with, or train again",
            )


def fit_encoder(schema: FeatureSchema, blocks: Iterable[ContextBatch], max_levels: int = 64) -> Encoder:
    """Fit in one pass over context blocks, in memory that does not grow with the rows.

    Args:
        schema: schema that every block has.
        blocks: contexts to learn levels, centres and scales from.
        max_levels: most levels kept per categorical feature, the frequent ones first, ties by name; at least 1.

    Raises:
        ParameterError: `max_levels` below 1.
        DataError: a block with another schema, or a present numeric value that is not finite.
    """
    if max_levels < 1:
        raise ParameterError("max_levels", "fit_encoder", allowed="at least 1", got=max_levels)
    moments = {spec.name: Moments() for spec in schema.features if spec.type == "numeric"}
    counts: dict[str, Counter[str]] = {spec.name: Counter() for spec in schema.features if spec.type != "numeric"}
    for block in blocks:
        if block.schema.version != schema.version:
            raise DataError(f"a block has feature schema {block.schema.version}, expected {schema.version}")
        for name, moment in moments.items():
            moment.add(_present(name, block.columns[name]))
        for name, counter in counts.items():
            _count(counter, block.columns[name])
    return Encoder(
        schema.version,
        tuple(
            NumericCoding(spec.name, moments[spec.name].mean, moments[spec.name].scale)
            if spec.type == "numeric"
            else CategoricalCoding(spec.name, _frequent(counts[spec.name], max_levels))
            for spec in schema.features
        ),
    )


def _present(name: str, column: Column) -> FloatArray:
    values: FloatArray = np.asarray(column.values[column.state == PRESENT], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"feature {name!r} holds a present value that is not finite", hint="mark it as missing")
    return values


def _count(counter: Counter[str], column: Column) -> None:
    codes = column.values[column.state == PRESENT].astype(np.int64)
    for code, times in enumerate(np.bincount(codes, minlength=len(column.levels)).tolist()):
        if times:
            counter[column.levels[code]] += times


def _frequent(counter: Counter[str], max_levels: int) -> tuple[str, ...]:
    ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    return tuple(level for level, _ in ranked[:max_levels])


def _part(coding: NumericCoding | CategoricalCoding, column: Column) -> tuple[IntArray, Float32Array | None]:
    if isinstance(coding, NumericCoding):
        position: IntArray = column.state.astype(np.int64)
        return position, _standardised(coding, column.values, column.state == PRESENT)
    known = {level: index for index, level in enumerate(coding.levels)}
    other = len(coding.levels)
    lookup = np.array([known.get(level, other) for level in column.levels] or [other], dtype=np.int64)
    present = lookup[np.where(column.state == PRESENT, column.values, 0).astype(np.int64)]
    absent = other + np.array([0, MISSING, STALE])[column.state]
    return np.where(column.state == PRESENT, present, absent), None


def _standardised(coding: NumericCoding, values: Any, present: BoolArray) -> Float32Array:
    filled: FloatArray = np.where(present, values, coding.centre).astype(np.float64)
    if not np.isfinite(filled).all():
        raise DataError(f"feature {coding.name!r} holds a present value that is not finite", hint="mark it as missing")
    return np.clip((filled - coding.centre) / coding.scale, -CLIP, CLIP).astype(np.float32)


def _shown(level: str) -> str:
    """A level's name in a column; quoted where it could be taken for `other`, `missing` or `stale`."""
    return f"'{level}" if level in SPECIAL or level.startswith("'") else level
