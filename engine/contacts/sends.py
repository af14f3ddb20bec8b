"""The `sends` column: what was sent to a contact and when; absent means unknown, an empty list means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.columns import Block, numbers
from engine.contacts.contacts import channel_codes, order_sends
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


LAYOUT: Final = Layout(
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


def sends_of(block: Block, catalog: Catalog) -> Sends:
    """The histories of a block.

    Raises:
        DataError: a send without instant, channel or purpose, an unknown purpose, or a discount outside [0, 1).
    """
    entries = entries_of(block, LAYOUT)
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
