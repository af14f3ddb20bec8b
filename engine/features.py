"""The feature schema: what a feature is, where it was collected, and what the customer gains from its use.

A feature without a benefit sentence is refused (requirement R10). A value older than `max_age_days` becomes the level
STALE, an absent one MISSING; neither is ever a silent zero (R15).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import msgspec
import numpy as np

from engine.errors import ConfigError, DataError, ParameterError, reason_of
from engine.sealing import sealed
from engine.types import ByteArray, CodeArray, FloatArray

PRESENT: Final = 0
MISSING: Final = 1
STALE: Final = 2
STATE_NAMES: Final = ("present", "missing", "stale")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\- ]*")


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature of the context.

    Attributes:
        name: letters, digits, space and `_ . -`, starting with a letter.
        type: numeric (finite floats) or categorical (strings).
        unit: of a numeric value ("usd", "days", "count"); "level" for a categorical.
        source: the system or data set that delivers it.
        collected_where: where the contact gave it away ("checkout", "preference centre").
        customer_benefit: a sentence: what the contact gains when this signal is used.
        max_age_days: older values become the level stale; None where a value does not age.
        signal_group: group for ablations ("cart", "lifecycle"), or "".
        low / high: allowed range of a numeric value, inclusive; None means unbounded.
        levels: allowed levels of a categorical; empty means any.
    """

    name: str
    type: Literal["numeric", "categorical"]
    unit: str
    source: str
    collected_where: str
    customer_benefit: str
    max_age_days: float | None = None
    signal_group: str = ""
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        owner = f"feature {self.name!r}"
        if not _NAME.fullmatch(self.name):
            raise ParameterError(
                "name", "a feature", allowed="letters, digits, space, _ . - (letter first)", got=self.name
            )
        if len(self.customer_benefit.split()) < 3:
            raise ParameterError(
                "customer_benefit",
                owner,
                allowed="a sentence of at least three words",
                got=self.customer_benefit,
                hint="say what the contact gains; without a benefit the signal may not be used",
            )
        for field in ("unit", "source", "collected_where"):
            if not getattr(self, field).strip():
                raise ParameterError(field, owner, allowed="a non-empty string", got=getattr(self, field))
        if self.max_age_days is not None and not self.max_age_days > 0:
            raise ParameterError("max_age_days", owner, allowed="positive, or null", got=self.max_age_days)
        # JSON has no infinity: it would come back from a file footer as null, under another version.
        for field in ("low", "high", "max_age_days"):
            value = getattr(self, field)
            if value is not None and not math.isfinite(value):
                raise ParameterError(field, owner, allowed="finite, or null", got=value)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ParameterError("low", owner, allowed=f"at most high = {self.high}", got=self.low)


class FeatureSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """The features of a context, in order, with unique names."""

    features: tuple[FeatureSpec, ...]

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.features]
        if len(set(names)) != len(names):
            raise ParameterError("features", "FeatureSchema", allowed="unique by name", got=names)

    @cached_property
    def version(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON."""
        canonical = json.dumps(msgspec.to_builtins(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.features)

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for yaml, JSON and file footers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def schema_from(data: Any, *, source: str = "feature schema") -> FeatureSchema:
    """Validate plain data as a feature schema.

    Raises:
        ConfigError: unknown key, wrong type, or a feature without what it must declare.
    """
    try:
        return msgspec.convert(data, FeatureSchema)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(f"{source} is no feature schema: {reason_of(error)}", hint="see docs/features.md") from error


@dataclass(frozen=True)
class Column:
    """One feature of n rows.

    Attributes:
        values: (n,) float64 for a numeric feature (NaN unless PRESENT), (n,) int32 codes into `levels` for a
            categorical one (-1 unless PRESENT).
        state: (n,) uint8: PRESENT, MISSING or STALE.
        levels: of a categorical feature; empty for a numeric one.
    """

    values: FloatArray | CodeArray
    state: ByteArray
    levels: tuple[str, ...] = ()

    def take(self, rows: slice | np.ndarray[Any, Any]) -> Column:
        return Column(self.values[rows], self.state[rows], self.levels)

    def sealed(self) -> Column:
        """The same, in arrays that nobody can write to (`engine.sealing`)."""
        values: Any = sealed(self.values)
        return Column(values, sealed(self.state), self.levels)


@dataclass(frozen=True)
class ContextBatch:
    """The context of n rows, column by column, as the schema declares it; nothing is encoded yet."""

    schema: FeatureSchema
    columns: Mapping[str, Column]
    n: int

    def take(self, rows: slice | np.ndarray[Any, Any]) -> ContextBatch:
        """The rows of a slice, an index array or a mask."""
        taken = {name: column.take(rows) for name, column in self.columns.items()}
        n = len(np.empty(self.n, dtype=np.uint8)[rows])
        return ContextBatch(self.schema, taken, n)

    def sealed(self) -> ContextBatch:
        """The same, for hands that must not change it: a mapping of its own, arrays that nobody can write to."""
        return ContextBatch(self.schema, {name: column.sealed() for name, column in self.columns.items()}, self.n)


def numeric_column(spec: FeatureSpec, values: FloatArray, state: ByteArray) -> Column:
    """Check a numeric column and blank what is not PRESENT.

    Args:
        values: (n,) floats; entries that are not PRESENT are ignored.
        state: (n,) uint8.

    Raises:
        DataError: an infinite or NaN value that claims to be PRESENT, or one outside [low, high].
    """
    present = state == PRESENT
    bad = present & ~np.isfinite(values)
    low = -np.inf if spec.low is None else spec.low
    high = np.inf if spec.high is None else spec.high
    bad |= present & ((values < low) | (values > high))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"feature {spec.name!r} must be finite and in [{low:g}, {high:g}], got {values[row]!r} in row "
            f"{row} ({int(bad.sum())} such rows)",
            hint="mark absent values as missing, never as NaN",
        )
    return Column(np.where(present, values, np.nan), state.astype(np.uint8, copy=False))


def categorical_column(spec: FeatureSpec, codes: CodeArray, levels: tuple[str, ...], state: ByteArray) -> Column:
    """Check a categorical column and blank what is not PRESENT.

    Raises:
        DataError: a level that the schema does not allow, or a code without a level.
    """
    present = state == PRESENT
    if present.any() and (codes[present].min() < 0 or codes[present].max() >= len(levels)):
        raise DataError(f"feature {spec.name!r} holds codes without a level")
    if spec.levels:
        used = {levels[code] for code in np.unique(codes[present])}
        unknown = sorted(used - set(spec.levels))
        if unknown:
            raise DataError(f"feature {spec.name!r} must be one of {list(spec.levels)}, got {unknown[:5]}")
    blank = np.where(present, codes, -1).astype(np.int32)
    return Column(blank, state.astype(np.uint8, copy=False), levels)


def age_states(
    state: ByteArray,
    as_of_at: np.ndarray[Any, Any],
    now_at: np.ndarray[Any, Any] | int,
    max_age_days: float | None,
    unknown: int,
) -> ByteArray:
    """States after ageing: STALE where older than allowed, MISSING where newer than now or of unknown age.

    Args:
        state: (n,) uint8 before ageing.
        as_of_at: (n,) int64 microseconds UTC at which each value was true; `unknown` where not known.
        now_at: the decision's instant(s), same unit.
        max_age_days: None where the value does not age.
        unknown: the sentinel in `as_of_at`.
    """
    known = as_of_at != unknown
    future = known & (as_of_at > now_at)
    aged = np.where((state == PRESENT) & future, MISSING, state)
    if max_age_days is not None:
        limit = round(max_age_days * 86_400_000_000)
        old = known & ~future & (now_at - np.where(known, as_of_at, now_at) > limit)
        aged = np.where((aged == PRESENT) & old, STALE, aged)
        aged = np.where((aged == PRESENT) & ~known, STALE, aged)
    return aged.astype(np.uint8)
