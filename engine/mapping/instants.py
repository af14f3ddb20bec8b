"""Timestamps of a foreign log as instants: int64 microseconds UTC, never a guess about the zone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from engine.errors import ConfigError
from engine.mapping.cells import numbers
from engine.mapping.spec import DecidedAt
from engine.time.instants import impossible
from engine.time.zone_names import names_of_logs, zone_hint
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, IntArray, ObjectArray

UNREADABLE: Final = "timestamp does not fit the format"
NAIVE: Final = "timestamp without a time zone"
OUTSIDE: Final = "timestamp outside the years 1990 to 2199: perhaps a number of another unit, or a spreadsheet's serial"
SKIPPED: Final = "local time that the clocks skip or repeat"

_UNIT_US: Final = {"epoch_s": 1e6, "epoch_ms": 1e3, "hours_since": 3.6e9}
_OFFSET: Final = re.compile(r"\d[T ]\d.*(Z|z|[+-]\d{2}(:?\d{2})?)\s*$")
_LONGEST: Final = 100
_LIMIT_US: Final = 9e18  # whole microseconds end a little beyond


def zone_of(name: str, *, owner: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        ConfigError: no such zone.
    """
    if name not in names_of_logs():
        raise ConfigError(f"`time_zone` of {owner} must be an IANA name, got {name!r}", hint=zone_hint(name))
    return ZoneInfo(name)


def check_instants(spec: DecidedAt) -> None:
    """Refuse a time specification that leaves the instant open, or contradicts itself.

    Raises:
        ConfigError: unknown zone, naive format without a zone, origin missing, naive or not needed.
    """
    owner = "decided_at"
    if spec.time_zone is not None:
        zone_of(spec.time_zone, owner=owner)
    if (spec.format == "hours_since") != (spec.origin is not None):
        raise ConfigError(f"`origin` of {owner} must be given with the format hours_since only, got {spec.origin!r}")
    if spec.origin is not None:
        _origin_us(spec.origin)
    if spec.format in _UNIT_US:
        if spec.time_zone is not None:
            raise ConfigError(
                f"`time_zone` of {owner} must be left out with the format {spec.format}, got {spec.time_zone!r}",
                hint="such a number is an instant already",
            )
        return
    if spec.format == "iso":
        return
    if "%" not in spec.format:
        raise ConfigError(
            f"`format` of {owner} must be iso, epoch_s, epoch_ms, hours_since or like %d-%m-%Y %H:%M, "
            f"got {spec.format!r}"
        )
    if "%z" not in spec.format and spec.time_zone is None:
        raise ConfigError(
            f"`time_zone` of {owner} must be an IANA name where the format {spec.format!r} has no %z, got None",
            hint="add time_zone: UTC, or the zone in which the log was written",
        )


def instants_of(spec: DecidedAt, cells: ObjectArray) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    """(n,) strings -> (n,) microseconds UTC, `NOT_AN_INSTANT` where a fault says why.

    Returns:
        the instants, and pairs of (n,) bool and reason.
    """
    instants, faults = _read(spec, cells)
    outside = impossible(instants)
    return np.where(outside, NOT_AN_INSTANT, instants), [*faults, (outside, OUTSIDE)]


def _read(spec: DecidedAt, cells: ObjectArray) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    if spec.format in _UNIT_US:
        return _numeric(spec, cells)
    if spec.format == "iso":
        return _iso(spec, cells)
    if "%z" in spec.format:
        parsed = pd.to_datetime(pd.Index(cells, dtype=object), format=spec.format, utc=True, errors="coerce")
        return _checked(_micros(pd.DatetimeIndex(parsed)))
    naive = pd.DatetimeIndex(pd.to_datetime(pd.Index(cells, dtype=object), format=spec.format, errors="coerce"))
    return _localised(spec, naive)


def _numeric(spec: DecidedAt, cells: ObjectArray) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    values, _ = numbers(cells)
    exact = values * _UNIT_US[spec.format]
    bad = ~(np.abs(exact) < _LIMIT_US)
    micros = np.round(np.where(bad, 0.0, exact)).astype(np.int64)
    micros += _origin_us(spec.origin) if spec.origin is not None else 0
    return np.where(bad, NOT_AN_INSTANT, micros), [(bad, UNREADABLE)]


def _iso(spec: DecidedAt, cells: ObjectArray) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    # The pattern looks at every start, so that a long cell would take its length squared.
    aware = np.array([len(cell) <= _LONGEST and _OFFSET.search(cell) is not None for cell in cells], dtype=np.bool_)
    out = np.full(len(cells), NOT_AN_INSTANT, dtype=np.int64)
    parsed = pd.to_datetime(pd.Index(cells[aware], dtype=object), format="ISO8601", utc=True, errors="coerce")
    out[aware] = _micros(pd.DatetimeIndex(parsed))
    naive = pd.DatetimeIndex(pd.to_datetime(pd.Index(cells[~aware], dtype=object), format="ISO8601", errors="coerce"))
    if spec.time_zone is None:
        no_zone = np.zeros(len(cells), dtype=np.bool_)
        no_zone[~aware] = ~np.asarray(naive.isna())
        return out, [(no_zone, NAIVE), ((out == NOT_AN_INSTANT) & ~no_zone, UNREADABLE)]
    local, faults = _localised(spec, naive)
    out[~aware] = local
    spread = []
    for mask, reason in faults:
        wide = np.zeros(len(cells), dtype=np.bool_)
        wide[~aware] = mask
        spread.append((wide, reason))
    unreadable = (out == NOT_AN_INSTANT) & aware
    return out, [*spread, (unreadable, UNREADABLE)]


def _localised(spec: DecidedAt, naive: pd.DatetimeIndex) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    zone = zone_of(spec.time_zone or "UTC", owner="decided_at")
    unreadable = np.asarray(naive.isna())
    # `True` picks the first of two equal clock times, `False` the second; "NaT" keeps neither.
    ambiguous = "NaT" if spec.ambiguous == "reject" else np.full(len(naive), spec.ambiguous == "earlier")
    aware = naive.tz_localize(zone, ambiguous=ambiguous, nonexistent="NaT")  # type: ignore[arg-type]
    micros = _micros(aware)
    return micros, [(unreadable, UNREADABLE), ((micros == NOT_AN_INSTANT) & ~unreadable, SKIPPED)]


def _checked(micros: IntArray) -> tuple[IntArray, list[tuple[BoolArray, str]]]:
    return micros, [(micros == NOT_AN_INSTANT, UNREADABLE)]


def _micros(index: pd.DatetimeIndex) -> IntArray:
    # NaT is the smallest int64, which is NOT_AN_INSTANT.
    return np.asarray(index.as_unit("us").asi8, dtype=np.int64)


def _origin_us(origin: str) -> int:
    try:
        instant = datetime.fromisoformat(origin)
    except ValueError as error:
        raise ConfigError(f"`origin` of decided_at must be ISO 8601 with offset, got {origin!r}") from error
    if instant.tzinfo is None:
        raise ConfigError(
            f"`origin` of decided_at must carry an offset, got {origin!r}", hint=f"write {origin}+00:00 for UTC"
        )
    return round(instant.timestamp() * MICROSECONDS_PER_S)
