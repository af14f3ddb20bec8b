"""From consent records to one level per contact, channel and purpose.

A grant counts where it has a source and an instant that has come, has not expired, and is newer than every refusal. An
implied grant never outweighs a refusal, whenever it came: only an express one does. At the same instant the refusal
wins. A refusal counts from when it is in the store, whatever its instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from engine.contacts import NO, UNKNOWN, YES
from engine.state.facts import EXPRESS, GRANTED, PROFILING
from engine.types import NOT_AN_INSTANT, PURPOSES, IntArray

WITHOUT_END: Final = np.iinfo(np.int64).max


def fold_consents(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], channels: tuple[str, ...], now_at: int
) -> tuple[NDArray[np.int8], IntArray]:
    """Consent levels (n, C, P) and when they expire (n, C, P).

    Args:
        rows: of the table `consent`.
        row_of: contact -> row in [0, n).
        channels: C names.
        now_at: microseconds.

    Returns:
        1 granted, 0 refused or lapsed, -1 no record that counts; and the last instant of expiry, the largest int64 for
        a consent without end, `NOT_AN_INSTANT` where there is no consent.
    """
    shape = (len(row_of), len(channels), len(PURPOSES))
    level = np.full(shape, UNKNOWN, dtype=np.int8)
    expires = np.full(shape, NOT_AN_INSTANT, dtype=np.int64)
    refused = np.full(shape, NOT_AN_INSTANT, dtype=np.int64)
    refusals = [row for row in rows if row.status != GRANTED]
    cells = _cells(refusals, row_of, channels)
    for row, where in zip(refusals, cells, strict=True):
        refused[where] = np.maximum(refused[where], row.recorded_at)
        level[where] = NO
    grants = [
        row
        for row in rows
        if row.status == GRANTED
        and row.source
        and row.recorded_at is not None
        and row.recorded_at <= now_at
        and row.channel in channels
        and row.purpose in PURPOSES
    ]
    if not grants:
        return level, expires
    cell = tuple(
        np.array(axis)
        for axis in zip(
            *((row_of[row.contact_id], channels.index(row.channel), PURPOSES.index(row.purpose)) for row in grants),
            strict=True,
        )
    )
    given = np.array([row.recorded_at for row in grants], dtype=np.int64)
    until = np.array([WITHOUT_END if row.expires_at is None else row.expires_at for row in grants], dtype=np.int64)
    express = np.array([row.kind == EXPRESS for row in grants], dtype=np.bool_)
    free = refused[cell] == NOT_AN_INSTANT
    holds = (until > now_at) & (free | (express & (given > refused[cell])))
    level[cell] = np.maximum(level[cell], NO)
    holding = tuple(axis[holds] for axis in cell)
    level[holding] = YES
    np.maximum.at(expires, holding, until[holds])
    return level, expires


def profiling_objections(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], channels: tuple[str, ...]
) -> NDArray[np.int8]:
    """(n, C) 1 where the contact has objected to profiling for a channel (or all) and not agreed again since."""
    refused = np.full((len(row_of), len(channels)), NOT_AN_INSTANT, dtype=np.int64)
    agreed = np.full_like(refused, NOT_AN_INSTANT)
    for row in rows:
        if row.purpose is not None and row.purpose != PROFILING:
            continue
        target = agreed if row.status == GRANTED else refused
        if row.recorded_at is None or (row.status == GRANTED and not row.source):
            continue
        where = (row_of[row.contact_id], _positions(row.channel, channels))
        target[where] = np.maximum(target[where], row.recorded_at)
    objected: NDArray[np.int8] = ((refused != NOT_AN_INSTANT) & (refused >= agreed)).astype(np.int8)
    return objected


def _cells(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], channels: tuple[str, ...]
) -> list[tuple[int, Any, Any]]:
    return [
        (row_of[row.contact_id], _positions(row.channel, channels), _positions(row.purpose, PURPOSES)) for row in rows
    ]


def _positions(name: str | None, axis: tuple[str, ...]) -> slice:
    """The stretch of an axis that a name means: all of it for None, nothing for a name that it does not have."""
    if name is None:
        return slice(None)
    if name not in axis:
        return slice(0, 0)
    at = axis.index(name)
    return slice(at, at + 1)
