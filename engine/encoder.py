"""The encoder: from a context block to the float32 matrix that learners and the compiled scorer read.

Fitted once, in one streaming pass; then a constant. A categorical feature becomes one indicator per known level plus
`other`, `missing` and `stale`; a numeric one its standardised value plus `missing` and `stale`. So what is absent, too
old or never seen always has a column of its own and is never a silent zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate
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


class SmoothCoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="smooth"):
    """How one numeric feature is coded for a smooth curve: a standardised value, and hat functions around knots.

    A penalty on the hats alone leaves a straight line; each hat bends it near its knot. So a model that is linear in
    these columns follows any smooth curve, and shrinks towards a line where the data say little.

    Attributes:
        centre / scale: of the value, after the logarithm where there is one.
        logged: whether the logarithm of 1 + value - low is coded, for counts and money with large values far apart.
        low: smallest value seen; what is smaller counts as it.
        knots: ascending, in standardised units; at least three. The first and the last have no hat of their own.
    """

    name: str
    centre: float
    scale: float
    logged: bool
    low: float
    knots: tuple[float, ...]

    @property
    def hats(self) -> tuple[str, ...]:
        """Names of the columns that bend the line."""
        return tuple(f"{self.name}~{number}" for number in range(1, len(self.knots) - 1))

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name, *self.hats, f"{self.name}=missing", f"{self.name}=stale")

    def basis(self, values: FloatArray) -> Float32Array:
        """(n,) finite values -> (n, knots - 1): the standardised value, then the hats, each in [0, 1]."""
        own = np.log1p(np.maximum(values - self.low, 0.0)) if self.logged else values
        own = np.clip((own - self.centre) / self.scale, -CLIP, CLIP)
        knots = np.asarray(self.knots)
        inside = np.clip(own, knots[0], knots[-1])
        left = (inside[:, None] - knots[:-2]) / (knots[1:-1] - knots[:-2])
        right = (knots[2:] - inside[:, None]) / (knots[2:] - knots[1:-1])
        hats = np.maximum(np.minimum(left, right), 0.0)
        return np.column_stack([own, hats]).astype(np.float32)


class CategoricalCoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="categorical"):
    """How one categorical feature is coded: an indicator per level, then `other`, `missing`, `stale`."""

    name: str
    levels: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={shown}" for shown in (*map(_shown, self.levels), *SPECIAL))


class MemoryCoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="memory"):
    """How two counts of a contact's own past, sends and hits, are coded: what they say beyond everybody's rate.

    The rate of a contact is everybody's times a factor of mean 1 and variance 1 / k, a gamma distribution among
    contacts. Its posterior mean is (hits + k) / (expected + k), the empirical Bayes estimate of Clayton & Kaldor
    (Biometrics 43, 1987, equation 3; the idea is Robbins's, 1956); the column is its logarithm. Where a count is
    missing or stale the column is 0, which says "like everybody".

    Attributes:
        name / sends: features with the hits and the sends; the one column has the former's name.
        mean: hits per send of everybody.
        strength: k, in expected hits.
        whole: coding of all sends of the contact; its factor multiplies what is expected of some of them.
    """

    name: str
    sends: str
    mean: float
    strength: float
    whole: MemoryCoding | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def values(self, context: ContextBatch) -> FloatArray:
        """(n,) logarithms of the factor."""
        hits, sends = context.columns[self.name], context.columns[self.sends]
        known = (hits.state == PRESENT) & (sends.state == PRESENT)
        expected = np.where(known, sends.values, 0.0) * self.mean
        if self.whole is not None:
            expected *= np.exp(self.whole.values(context))
        factor = (np.where(known, hits.values, 0.0) + self.strength) / (expected + self.strength)
        return np.clip(np.where(known, np.log(factor), 0.0), -CLIP, CLIP)


Coding = NumericCoding | CategoricalCoding | SmoothCoding | MemoryCoding


class Encoder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A fitted encoder.

    Attributes:
        schema_version: version of the feature schema it was fitted to.
        codings: one per feature, in schema order; counts of a contact's own past are coded behind them, or not at all.
    """

    schema_version: str
    codings: tuple[Coding, ...]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """(d,) names: `recency`, `recency=missing`, `zip_code=Urban`, ..."""
        return tuple(name for coding in self.codings for name in coding.columns)

    @cached_property
    def hats(self) -> frozenset[str]:
        """Names of the columns that bend a line into a curve."""
        return frozenset(name for one in self.codings if isinstance(one, SmoothCoding) for name in one.hats)

    @property
    def d(self) -> int:
        return len(self.column_names)

    @cached_property
    def places(self) -> tuple[tuple[Coding, slice], ...]:
        """Every coding with the columns of `encode` that it fills."""
        stops = list(accumulate(len(coding.columns) for coding in self.codings))
        return tuple(zip(self.codings, map(slice, [0, *stops[:-1]], stops), strict=True)) if stops else ()

    def parts(self, context: ContextBatch) -> list[tuple[IntArray, Float32Array | None]]:
        """Feature by feature the sparse form of `encode`.

        Returns:
            Per feature: (n,) position of the row's indicator among the coding's columns, and for a numeric feature
            its (n, m) standardised values (0 unless present; there position 0 means "the values themselves"), which
            stand in the coding's first m columns, else None.

        Raises:
            DataError: the context has another schema.
        """
        self._require_schema(context)
        return [_part(coding, context) for coding in self.codings]

    def encode(self, context: ContextBatch) -> Float32Array:
        """Context of n rows -> (n, d) float32, finite.

        Raises:
            DataError: the context has another schema.
        """
        out = np.zeros((context.n, self.d), dtype=np.float32)
        flat, begin = out.reshape(-1), np.arange(context.n) * self.d
        for (_, columns), (position, values) in zip(self.places, self.parts(context), strict=True):
            position += begin
            flat[position + columns.start] = 1.0
            if values is not None:
                out[:, columns.start : columns.start + values.shape[1]] = values
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


def smooth_encoder(encoder: Encoder, sample: Iterable[ContextBatch], pieces: int = 6) -> Encoder:
    """The encoder with smooth curves for its numbers, knots at quantiles of a sample.

    A feature with fewer than `pieces` distinct values in the sample keeps its line: there is nothing to bend.

    Args:
        encoder: fitted.
        sample: contexts, held in memory.
        pieces: of each curve, at least 2: one knot more than pieces.

    Raises:
        ParameterError: `pieces` below 2.
    """
    if pieces < 2:
        raise ParameterError("pieces", "smooth_encoder", allowed="at least 2", got=pieces)
    batches = list(sample)
    codings: list[Coding] = []
    for coding in encoder.codings:
        smooth = None
        if isinstance(coding, NumericCoding) and batches:
            values = np.concatenate([_present(coding.name, batch.columns[coding.name]) for batch in batches])
            smooth = _smooth(coding.name, values, pieces)
        codings.append(smooth or coding)
    return msgspec.structs.replace(encoder, codings=tuple(codings))


def _smooth(name: str, values: FloatArray, pieces: int) -> SmoothCoding | None:
    if len(np.unique(values)) <= pieces:
        return None
    low = float(values.min())
    below, middle, above = np.quantile(values, (0.1, 0.5, 0.9))
    # A long tail upwards and none downwards is the mark of counts and money.
    logged = bool(low >= 0.0 and above - middle > 2.0 * (middle - below))
    own = np.log1p(values - low) if logged else values
    centre, scale = float(own.mean()), float(own.std()) or 1.0
    standard = np.clip((own - centre) / scale, -CLIP, CLIP)
    knots = np.unique(np.quantile(standard, np.linspace(0.02, 0.98, pieces + 1)))
    if len(knots) < 3 or float(np.diff(knots).min()) <= 1e-6:
        return None
    return SmoothCoding(name, centre, scale, logged, low, tuple(knots.tolist()))


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


def _part(coding: Coding, context: ContextBatch) -> tuple[IntArray, Float32Array | None]:
    if isinstance(coding, MemoryCoding):
        return np.zeros(context.n, dtype=np.int64), coding.values(context).astype(np.float32)[:, None]
    column = context.columns[coding.name]
    if not isinstance(coding, CategoricalCoding):
        present = column.state == PRESENT
        values = standardised(coding, column.values, present)
        # Behind the values stand `missing` and `stale`.
        position: IntArray = np.where(present, 0, column.state.astype(np.int64) + values.shape[1] - 1)
        return position, values
    known = {level: index for index, level in enumerate(coding.levels)}
    other = len(coding.levels)
    lookup = np.array([known.get(level, other) for level in column.levels] or [other], dtype=np.int64)
    level = lookup[np.where(column.state == PRESENT, column.values, 0).astype(np.int64)]
    absent = other + np.array([0, MISSING, STALE])[column.state]
    return np.where(column.state == PRESENT, level, absent), None


def standardised(coding: NumericCoding | SmoothCoding, values: Any, present: BoolArray) -> Float32Array:
    """(n, m) encoded values of a numeric coding; 0 where absent.

    Args:
        coding: fitted.
        values: (n,).
        present: (n,) whether there is a value.

    Raises:
        DataError: a present value that is not finite.
    """
    filled: FloatArray = np.where(present, values, 0.0).astype(np.float64)
    if not np.isfinite(filled).all():
        raise DataError(f"feature {coding.name!r} holds a present value that is not finite", hint="mark it as missing")
    if isinstance(coding, SmoothCoding):
        return np.where(present[:, None], coding.basis(filled), np.float32(0.0))
    own = np.clip((filled - coding.centre) / coding.scale, -CLIP, CLIP)
    return np.where(present, own, 0.0).astype(np.float32)[:, None]


def _shown(level: str) -> str:
    """A level's name in a column; quoted where it could be taken for `other`, `missing` or `stale`."""
    return f"'{level}" if level in SPECIAL or level.startswith("'") else level
