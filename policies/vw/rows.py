"""Which logged rows may train, checked before Vowpal Wabbit sees them: it would take almost anything in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, CodeArray, FloatArray


def repeatable(rounds: Iterable[RoundBatch]) -> Iterable[RoundBatch]:
    """Rounds that can be read more than once; a one-shot iterator is read into memory."""
    return list(rounds) if isinstance(rounds, Iterator) else rounds


def trainable(
    batch: RoundBatch, metric: str, reward_range: tuple[float, float], catalog: Catalog, *, propensities: bool
) -> RoundBatch:
    """The rows that may train: usable, with a known metric (NaN means not known yet).

    Args:
        propensities: also check propensities and that the action was eligible.

    Raises:
        LearnError: one of these rows has a reward outside the declared range, a propensity outside (0, 1], or an
            action that was not eligible; or the batch lacks the metric or belongs to another catalog.
    """
    if batch.k != catalog.k:
        raise LearnError(f"the rounds have {batch.k} actions, the catalog has {catalog.k}", hint="check the catalog")
    if metric not in batch.rewards:
        raise LearnError(f"the rounds have no metric {metric!r}", hint=f"they know {sorted(batch.rewards)}")
    kept = batch.usable & ~np.isnan(batch.rewards[metric])
    rows = batch if kept.all() else batch.take(kept)
    reward = rows.rewards[metric]
    low, high = reward_range
    _refuse(~((reward >= low) & (reward <= high)), metric, f"finite and in [{low:g}, {high:g}]", reward, rows)
    _refuse((rows.action < 0) | (rows.action >= rows.k), "action", f"in [0, {rows.k})", rows.action, rows)
    if propensities:
        outside = ~((rows.propensity > 0) & (rows.propensity <= 1))
        _refuse(outside, "propensity", "in (0, 1]", rows.propensity, rows)
        _refuse(~rows.was_eligible(), "action", "among the eligible ones", rows.action, rows)
    return rows


def _refuse(bad: BoolArray, name: str, allowed: str, values: FloatArray | CodeArray, rows: RoundBatch) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise LearnError(
            f"`{name}` of a logged round must be {allowed}, got {values[row].item()!r} in decision "
            f"{rows.decision_id[row]!r} ({int(bad.sum())} such rows)",
            hint="correct the log; nothing was learnt from it",
        )
