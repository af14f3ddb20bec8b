"""The `events` column: what happened to a contact besides our sends; absent means unknown, an empty list means nothing.

What must not be overlooked (bounces, complaints, purchases, tickets) counts whenever it is dated; what speaks for a
send (opens, clicks, replies, a closed ticket) is not seen where it is dated after now.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.contacts.columns import Block
from engine.contacts.contacts import EVENTS, OTHER_CHANNEL, STOP_EVENTS, UNTOLD_CHANNEL, Events, order_sends
from engine.contacts.entries import Layout, entries_of
from engine.contacts.sends import NO_CHANNEL, entry_channels
from engine.names import codes_of
from engine.types import BoolArray, CodeArray

FAVOURABLE: Final = ("opened", "clicked", "replied", "ticket_closed")
ON_A_CHANNEL: Final = ("hard_bounced", "soft_bounced", "unreachable", "complained")


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    at: str | float
    event: str
    channel: str | None = None
    category: str | None = None


LAYOUT: Final = Layout(
    "events",
    _Event,
    ("at", "event"),
    'a list of {"at": ISO 8601 with an offset, "event": ...}, with "channel" and "category" where there are any; '
    "[] where nothing happened",
)


def events_of(block: Block, catalog: Catalog, now_at: int) -> Events | None:
    """The events of a block; None where the file has no such column.

    Raises:
        DataError: an event without instant, of an unknown kind, or a bounce or complaint without channel.
    """
    if block.column("events") is None:
        return None
    entries = entries_of(block, LAYOUT)
    at, channel = entries.instants(), entry_channels(entries, catalog)
    codes, names = entries.codes("event")
    kind = codes_of((*names, None), EVENTS, none=-1, unknown=-1)[codes]
    entries.fail(kind < 0, f"one whose `event` is none of {', '.join(EVENTS)}")
    placed = _is_one_of(kind, ON_A_CHANNEL)
    entries.fail(placed & (channel == NO_CHANNEL), f"one of {', '.join(ON_A_CHANNEL)} without `channel`")
    # Who unsubscribes without saying from what unsubscribes from everything.
    nowhere = np.where(_is_one_of(kind, STOP_EVENTS), UNTOLD_CHANNEL, OTHER_CHANNEL)
    channel = np.where(channel == NO_CHANNEL, nowhere, channel).astype(np.int32)
    category, categories = entries.codes("category")
    at, kind, channel, category = order_sends(entries.offsets, at, kind, channel, category)
    events = Events(entries.offsets, at, kind, channel, category, categories, entries.known)
    return _seen(events, _is_one_of(events.kind, FAVOURABLE) & (events.at > now_at))


def _is_one_of(kind: CodeArray, names: tuple[str, ...]) -> BoolArray:
    wanted: BoolArray = np.isin(kind, [EVENTS.index(name) for name in names])
    return wanted


def _seen(events: Events, hidden: BoolArray) -> Events:
    """Events without the hidden ones."""
    if not hidden.any():
        return events
    offsets = np.concatenate([[0], np.cumsum(~hidden)])[events.offsets].astype(np.int64)
    return Events(
        offsets,
        events.at[~hidden],
        events.kind[~hidden],
        events.channel[~hidden],
        events.category[~hidden],
        events.categories,
        events.known,
    )
