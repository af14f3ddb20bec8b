"""Consent columns: level, when and how it was given, and when it ends, per channel and purpose.

A record counts with source and timestamp, and from its timestamp on; a refusal counts always.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.columns import ColumnBatch, coded, flags, known, text
from engine.contacts.contacts import CONSENT_BASES, UNKNOWN, YES, LevelArray
from engine.types import NOT_AN_INSTANT, PURPOSES, IntArray

DETAILS = ("consent_at", "consent_basis", "consent_expires_at")


def consent_of(batch: ColumnBatch, catalog: Catalog, now_at: int) -> tuple[LevelArray, dict[str, NDArray[Any]]]:
    """(n, C, P) levels, and the details that `ContactBatch.extra` carries.

    Raises:
        DataError: a level that is neither true nor false, an unknown basis, or a wrong instant.
    """
    shape = (batch.n, len(catalog.channels), len(PURPOSES))
    levels = np.full(shape, UNKNOWN, dtype=np.int8)
    given_at, expires_at = (np.full(shape, NOT_AN_INSTANT, dtype=np.int64) for _ in range(2))
    basis = np.full(shape, UNKNOWN, dtype=np.int8)
    found = False
    for position, channel in enumerate(catalog.channels):
        for purpose_position, purpose in enumerate(PURPOSES):
            name = f"consent_{channel}_{purpose}"
            if batch.column(name) is None:
                continue
            found = True
            where = (slice(None), position, purpose_position)
            given_at[where] = batch.instants(f"{name}_at")
            expires_at[where] = batch.instants(f"{name}_expires_at")
            basis[where] = _bases(batch, f"{name}_basis")
            levels[where] = _levels(batch, name, given_at[where], now_at)
    columns: tuple[NDArray[Any], ...] = (given_at, basis, expires_at)
    details = dict(zip(DETAILS, columns, strict=True)) if found else {}
    return levels, details


def _levels(batch: ColumnBatch, name: str, given_at: IntArray, now_at: int) -> LevelArray:
    level = flags(batch, name, batch.columns[name])
    source = batch.column(f"{name}_source")
    proven = (given_at != NOT_AN_INSTANT) & (given_at <= now_at)
    proven &= False if source is None else known(text(source))
    counted: LevelArray = np.where(proven | (level != YES), level, UNKNOWN).astype(np.int8)
    return counted


def _bases(batch: ColumnBatch, name: str) -> LevelArray:
    column = batch.column(name)
    if column is None:
        return np.full(batch.n, UNKNOWN, dtype=np.int8)
    codes, names = coded(column)
    positions = np.array([*(CONSENT_BASES.index(one) if one in CONSENT_BASES else -2 for one in names), UNKNOWN])
    basis: LevelArray = positions[codes].astype(np.int8)
    batch.fail(name, basis < UNKNOWN, column, f"must be one of {', '.join(CONSENT_BASES)}")
    return basis
