"""The columns `sends` and `events`: what was sent to a contact, and what else happened.

An absent column means unknown, an empty list means nothing. Of the events, what must not be overlooked (bounces,
complaints, purchases, tickets) counts whenever it is dated; what speaks for a send (opens, clicks, replies, a closed
ticket) is not seen where it is dated after now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.columns import ColumnBatch, numbers
from engine.contacts.contacts import (
    EVENTS,
    OTHER_CHANNEL,
    STOP_EVENTS,
    UNTOLD_CHANNEL,
    Events,
    channel_codes,
    order_sends,
)
from engine.contacts.entries import Entries, Layout, entries_of
from engine.names import codes_of
from engine.types import PURPOSES, BoolArray, CodeArray, IntArray

NO_CHANNEL: Final = -3
CODED_DETAILS: Final = ("topic", "template", "category")


class _Send(msgspec.Struct, forbid_unknown_fields=True):
    at: str | float
    channel: str
    purpose: str
    topic: str | None = None
    template: str | None = None
    category: str | None = None
    discount: float | str | None = None


_SENDS: Final = Layout(
    "sends",
    _Send,
    ("at", "channel", "purpose"),
    'a list of {"at": ISO 8601 with an offset, "channel": ..., "purpose": ...}, with "topic", "template", "category" '
    'and "discount" where there are any; [] where nothing was sent',
)


@dataclass(frozen=True)
class Sends:
    """Histories as CSR, oldest first, in the words of `ContactBatch`."""

    offsets: IntArray
    at: IntArray
    channel: CodeArray
    purpose: CodeArray
    known: BoolArray
    details: dict[str, NDArray[Any]]
    levels: dict[str, tuple[str, ...]]


def sends_of(batch: ColumnBatch, catalog: Catalog) -> Sends:
    """The histories of a batch.

    Raises:
        DataError: a send without instant, channel or purpose, an unknown purpose, or a discount outside [0, 1).
    """
    entries = entries_of(batch, _SENDS)
    at = entries.instants()
    channel, purpose = entry_channels(entries, catalog), _purposes(entries)
    entries.fail(channel == NO_CHANNEL, "a send without `channel`")
    entries.fail(purpose < 0, f"a send whose `purpose` is none of {', '.join(PURPOSES)}")
    coded = {f"sent_{name}": entries.codes(name) for name in CODED_DETAILS}
    names = [*coded, "sent_discount"]
    columns = order_sends(
        entries.offsets, at, channel, purpose, *(codes for codes, _ in coded.values()), _discounts(entries)
    )
    at, channel, purpose, *details = columns
    levels = {name: found for name, (_, found) in coded.items()}
    return Sends(entries.offsets, at, channel, purpose, entries.known, dict(zip(names, details, strict=True)), levels)


def entry_channels(entries: Entries, catalog: Catalog) -> CodeArray:
    """(m,) codes of channels as in `channel_codes`; `NO_CHANNEL` where an entry names none."""
    codes, names = entries.codes("channel")
    return channel_codes((*names, None), catalog.channels, none=NO_CHANNEL)[codes]


def _purposes(entries: Entries) -> CodeArray:
    codes, names = entries.codes("purpose")
    return codes_of((*names, None), PURPOSES, none=-1, unknown=-1)[codes]


def _discounts(entries: Entries) -> NDArray[np.float64]:
    column = entries.cells.column("discount")
    if column is None:
        return np.full(entries.m, np.nan)
    depth, present = numbers(entries.cells, "discount", column)
    entries.fail(present & ~((depth >= 0) & (depth < 1)), "a send whose `discount` is not in [0, 1)")
    return depth


FAVOURABLE: Final = ("opened", "clicked", "replied", "ticket_closed")
ON_A_CHANNEL: Final = ("hard_bounced", "soft_bounced", "unreachable", "complained")


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    at: str | float
    event: str
    channel: str | None = None
    category: str | None = None


_EVENTS: Final = Layout(
    "events",
    _Event,
    ("at", "event"),
    'a list of {"at": ISO 8601 with an offset, "event": ...}, with "channel" and "category" where there are any; '
    "[] where nothing happened",
)


def events_of(batch: ColumnBatch, catalog: Catalog, now_at: int) -> Events | None:
    """The events of a batch; None where the file has no such column.

    Raises:
        DataError: an event without instant, of an unknown kind, or a bounce or complaint without channel.
    """
    if batch.column("events") is None:
        return None
    entries = entries_of(batch, _EVENTS)
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
