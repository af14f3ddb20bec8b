"""Which events were reported for which decision so far; windows and maturity play no part here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.identity import keyed_hash
from engine.records.outcomes import outcome_frame
from engine.types import BoolArray, IntArray, KeyArray, ObjectArray


class Reported:
    """Events by decision; memory holds 16 bytes for each outcome that is watched.

    Args:
        outcomes: as `engine.records.outcomes.read_outcomes` gives them.
        events: names that are watched.
        now_at: later ones are not known yet, microseconds.
    """

    def __init__(self, outcomes: pa.Table, events: Sequence[str], now_at: int) -> None:
        self.events = tuple(events)
        frame: pd.DataFrame = outcome_frame(outcomes)
        frame = frame[(frame["at"] <= now_at) & frame["event"].isin(self.events)]
        keys = keyed_hash(frame["decision_id"].to_numpy(dtype=object), "monitor/outcomes")
        codes = pd.Categorical(frame["event"], categories=list(self.events)).codes.astype(np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys: KeyArray = keys[order]
        self._codes: IntArray = codes[order]

    def of(self, decision_ids: ObjectArray) -> BoolArray:
        """(n, events) whether each was reported, once or more."""
        keys = keyed_hash(decision_ids, "monitor/outcomes")
        left = np.searchsorted(self._keys, keys, side="left")
        count = np.searchsorted(self._keys, keys, side="right") - left
        row = np.repeat(np.arange(len(keys)), count)
        place = np.repeat(left - np.cumsum(count) + count, count) + np.arange(len(row))
        happened = np.zeros((len(keys), len(self.events)), dtype=np.bool_)
        happened[row, self._codes[place]] = True
        return happened
