"""The `sends` column: what was sent to a contact and when; absent means unknown, an empty list means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contact_columns import Block, numbers
from engine.contact_entries import Entries, Layout, entries_of
from engine.contacts import OTHER_CHANNEL, order_sends
from engine.types import PURPOSES, BoolArray, CodeArray, IntArray

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
    channel, purpose = channel_codes(entries, catalog), _purposes(entries)
    entries.fail(channel < OTHER_CHANNEL, "a send without `channel`")
    entries.fail(purpose < 0, f"a send whose `purpose` is none of {', '.join(PURPOSES)}")
    coded = {f"sent_{name}": entries.codes(name) for name in CODED_DETAILS}
    names = [*coded, "sent_discount"]
    columns = order_sends(
        entries.offsets, at, channel, purpose, *(codes for codes, _ in coded.values()), _discounts(entries)
    )
    at, channel, purpose, *details = columns
    levels = {name: found for name, (_, found) in coded.items()}
    return Sends(entries.offsets, at, channel, purpose, entries.known, dict(zip(names, details, strict=True)), levels)


def channel_codes(entries: Entries, catalog: Catalog) -> CodeArray:
    """(m,) position on the catalog's channels; -1 another channel, -2 none."""
    codes, names = entries.codes("channel")
    positions = [catalog.channels.index(name) if name in catalog.channels else OTHER_CHANNEL for name in names]
    return np.array([*positions, OTHER_CHANNEL - 1], dtype=np.int32)[codes]


def _purposes(entries: Entries) -> CodeArray:
    codes, names = entries.codes("purpose")
    positions = [PURPOSES.index(name) if name in PURPOSES else -1 for name in names]
    return np.array([*positions, -1], dtype=np.int32)[codes]


def _discounts(entries: Entries) -> NDArray[np.float64]:
    column = entries.cells.column("discount")
    if column is None:
        return np.full(entries.m, np.nan)
    depth, present = numbers(entries.cells, "discount", column)
    entries.fail(present & ~((depth >= 0) & (depth < 1)), "a send whose `discount` is not in [0, 1)")
    return depth
