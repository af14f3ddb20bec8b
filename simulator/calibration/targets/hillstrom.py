"""Effects of men's and women's e-mail by purchase history in Hillstrom's e-mail challenge (2008, real, randomised)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.types import BoolArray, IntArray
from simulator.calibration.targets.neyman import SegmentEffects, segment_effects
from simulator.calibration.targets.tables import read_columns

ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
OUTCOMES = ("visit", "conversion", "spend")
HISTORIES = ("mens only", "womens only", "both")


def hillstrom_effects(path: Path, *, by_newbie: bool = False, pooled: bool = False) -> SegmentEffects:
    """Means and effects of visit, conversion and spend (shares, USD; two weeks) against no e-mail.

    Args:
        path: path of the csv, plain or compressed, with or without its column `row`.
        by_newbie: split each history into customers new in the past year and older ones.
        pooled: one segment of all customers instead of the histories.

    Raises:
        DataError: a file that cannot be read or lacks a column, a customer without a history, an unknown arm.
    """
    table = read_columns(path, ("mens", "womens", "newbie", *OUTCOMES), ("segment",))
    arm = np.array([ARMS.index(name) if name in ARMS else -1 for name in table["segment"]], dtype=np.int64)
    if (arm < 0).any():
        raise DataError(f"{table['segment'].iloc[int(np.argmin(arm))]!r} is no arm of the test", hint=f"one of {ARMS}")
    history = _history(table["mens"].to_numpy() > 0, table["womens"].to_numpy() > 0)
    segment, names = history, list(HISTORIES)
    if by_newbie:
        segment = 2 * history + (table["newbie"].to_numpy() > 0)
        names = [f"{name}, {age}" for name in HISTORIES for age in ("older", "newbie")]
    if pooled:
        segment, names = np.zeros_like(history), ["all"]
    outcome = table[list(OUTCOMES)].to_numpy(dtype=np.float64)
    return segment_effects(segment, arm, outcome, segments=names, arms=ARMS, outcomes=OUTCOMES)


def _history(mens: BoolArray, womens: BoolArray) -> IntArray:
    """(n,) codes into HISTORIES: what a customer bought in the past year."""
    if not (mens | womens).all():
        row = int(np.argmin(mens | womens)) + 1
        raise DataError(f"the customer in row {row} bought neither men's nor women's", hint="use the published file")
    return np.where(mens & womens, 2, np.where(womens, 1, 0)).astype(np.int64)
