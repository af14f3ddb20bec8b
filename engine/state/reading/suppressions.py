"""From suppression records to one level per contact and channel.

A suppression holds from when it is in the store, until its end or until a later row lifts it. A lift ends rows of its
own channel and reason only: START after STOP does not make a number reachable that also bounced. Names are compared as
`engine.names` understands them; a suppression whose channel cannot be told closes every channel until it is lifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.contacts.contacts import NO, UNTOLD_CHANNEL, YES, channel_codes
from engine.names import channel_of, name_key, usual_channel
from engine.state.facts import STOP_KINDS
from engine.types import BoolArray

SUPPRESSION_COLUMNS: Final = ("channel", "reason", "at", "until_at", "lifted")

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Lifts:
    """When which reason was last lifted for whom and where."""

    at: Mapping[tuple[int, str | None, str], int]
    channels: tuple[str, ...]

    def end(self, owner: int, channel: str | None, reason: str, at: int) -> bool:
        """Whether a later lift ends what began at an instant."""
        return self.at.get(_place(owner, channel, reason, self.channels), at) > at


def lifts_of(found: Columns, channels: tuple[str, ...], now_at: int) -> Lifts:
    """The lifts among suppression records; those that lie after now do not count yet."""
    lifted_at: dict[tuple[int, str | None, str], int] = {}
    for owner, channel, reason, at, lifted in zip(
        *(found[name] for name in ("owner", "channel", "reason", "at", "lifted")), strict=True
    ):
        if lifted and at <= now_at:
            key = _place(owner, channel, reason, channels)
            lifted_at[key] = max(lifted_at.get(key, at), at)
    return Lifts(lifted_at, channels)


def fold_suppressions(found: Columns, n: int, channels: tuple[str, ...], now_at: int, lifts: Lifts) -> NDArray[np.int8]:
    """(n, C): 1 suppressed, 0 not.

    Args:
        found: `SUPPRESSION_COLUMNS` and `owner`, the contact's row in [0, n).
        n: contacts.
        channels: C names.
        now_at: microseconds; what has ended by then is over.
        lifts: lifts of the same records.
    """
    level = np.full((n, len(channels)), NO, dtype=np.int8)
    rows = zip(found["owner"], *(found[name] for name in SUPPRESSION_COLUMNS), strict=True)
    for owner, channel, reason, at, until_at, lifted in rows:
        if lifted or (until_at is not None and until_at <= now_at) or lifts.end(owner, channel, reason, at):
            continue
        code = int(channel_codes([channel], channels, none=UNTOLD_CHANNEL)[0])
        if code == UNTOLD_CHANNEL:
            level[owner] = YES
        elif code >= 0:
            level[owner, code] = YES
    return level


def standing_events(found: Columns, lifts: Lifts) -> Columns:
    """Events without the stops that a later lift of their own channel and kind has ended."""
    kept: BoolArray = np.array(
        [
            kind not in STOP_KINDS or not lifts.end(owner, channel, kind, at)
            for owner, kind, channel, at in zip(
                *(found[name] for name in ("owner", "kind", "channel", "at")), strict=True
            )
        ],
        dtype=np.bool_,
    )
    if kept.all():
        return found
    return {name: [value for value, stays in zip(column, kept, strict=True) if stays] for name, column in found.items()}


def _place(owner: int, channel: str | None, reason: str, channels: tuple[str, ...]) -> tuple[int, str | None, str]:
    where = None if channel is None else channel_of(channel, channels) or name_key(usual_channel(channel))
    return owner, where, name_key(reason)
