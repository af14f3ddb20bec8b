"""States of decisions from what was reported of their dispatch, for batches that never saw the hot log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.records import schema as records
from engine.types import IntArray, ObjectArray

LEGAL: Final[Mapping[str, tuple[str, ...]]] = {
    records.DECIDED: (records.DISPATCHED, records.FAILED, records.SUPPRESSED),
    records.DISPATCHED: (records.DELIVERED, records.FAILED, records.SUPPRESSED),
    records.DELIVERED: (),
    records.FAILED: (),
    records.SUPPRESSED: (),
}


def advance_states(state: ObjectArray, row: IntArray, event: ObjectArray) -> tuple[ObjectArray, int]:
    """States after the events that name a state, taken in the order given.

    A report of delivery stands for the dispatch before it: senders often report the last step only.

    Args:
        state: (n,) states before.
        row: (m,) positions in `state`, each row's events in the order of their instants.
        event: (m,) events; those that are no state are passed over.

    Returns:
        The states after, and how many events named a state that could not follow.
    """
    after = state.copy()
    illegal = 0
    for position in np.flatnonzero(np.isin(event, list(records.STATES))):
        before, wanted = after[row[position]], event[position]
        if wanted == before:
            continue
        if wanted in LEGAL[before] or (before == records.DECIDED and wanted == records.DELIVERED):
            after[row[position]] = wanted
        else:
            illegal += 1
    return after, illegal
