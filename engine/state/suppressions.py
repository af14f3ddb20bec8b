"""From suppression records to one level per contact and channel.

A suppression holds from when it is in the store, until its end or until a later row lifts it. A lift ends rows of its
own channel and reason only: START after STOP does not make a number reachable that also bounced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from engine.contacts import YES


def fold_suppressions(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], channels: tuple[str, ...], now_at: int
) -> NDArray[np.int8]:
    """(n, C): 1 suppressed, 0 not.

    Args:
        rows: of the table `suppression`.
        row_of: contact -> row in [0, n).
        channels: C names.
        now_at: microseconds; lifts that lie later do not count yet.
    """
    level = np.zeros((len(row_of), len(channels)), dtype=np.int8)
    lifted: dict[tuple[str, str | None, str], int] = {}
    for row in rows:
        if row.lifted and row.at <= now_at:
            key = (row.contact_id, row.channel, row.reason)
            lifted[key] = max(lifted.get(key, row.at), row.at)
    for row in rows:
        if row.lifted or (row.until_at is not None and row.until_at <= now_at):
            continue
        ended = lifted.get((row.contact_id, row.channel, row.reason))
        if ended is not None and ended > row.at:
            continue
        if row.channel is None:
            level[row_of[row.contact_id]] = YES
        elif row.channel in channels:
            level[row_of[row.contact_id], channels.index(row.channel)] = YES
    return level
