"""From suppression records to one level per contact and channel.

A suppression holds from when it is in the store, until its end or until a later row lifts it. A lift ends rows of its
own channel and reason only: START after STOP does not make a number reachable that also bounced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.contacts import YES

SUPPRESSION_COLUMNS: Final = ("channel", "reason", "at", "until_at", "lifted")


def fold_suppressions(
    found: Mapping[str, Sequence[Any]], n: int, channels: tuple[str, ...], now_at: int
) -> NDArray[np.int8]:
    """(n, C): 1 suppressed, 0 not.

    Args:
        found: `SUPPRESSION_COLUMNS` and `owner`, the contact's row in [0, n).
        n: contacts.
        channels: C names.
        now_at: microseconds; lifts that lie later do not count yet.
    """
    level = np.zeros((n, len(channels)), dtype=np.int8)
    rows = list(zip(found["owner"], *(found[name] for name in SUPPRESSION_COLUMNS), strict=True))
    lifted_at: dict[tuple[int, str | None, str], int] = {}
    for owner, channel, reason, at, _, lifted in rows:
        if lifted and at <= now_at:
            key = (owner, channel, reason)
            lifted_at[key] = max(lifted_at.get(key, at), at)
    for owner, channel, reason, at, until_at, lifted in rows:
        if lifted or (until_at is not None and until_at <= now_at):
            continue
        if lifted_at.get((owner, channel, reason), at) > at:
            continue
        if channel is None:
            level[owner] = YES
        elif channel in channels:
            level[owner, channels.index(channel)] = YES
    return level
