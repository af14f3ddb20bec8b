"""Parts of a batch from rows of the store, in the words of `ContactBatch`: places and facts, sends, events.

Places and single facts go through the very readers of contact files, so that both say the same of the same contact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.contacts.attributes import AttributeReader
from engine.contacts.columns import ColumnBatch
from engine.contacts.contacts import (
    EVENTS,
    NO,
    OTHER_CHANNEL,
    STOP_EVENTS,
    UNKNOWN,
    UNTOLD_CHANNEL,
    Events,
    channel_codes,
)
from engine.contacts.histories import FAVOURABLE, NO_CHANNEL, ON_A_CHANNEL
from engine.contacts.places import PlaceReader
from engine.records.schema import INSTANT
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, CodeArray, IntArray, ObjectArray

Columns = Mapping[str, Sequence[Any]]

DEVICE: Final = "device"
_ENGAGED: Final = ("open", "click", "reply", "purchase")
# What the store calls an event, and what the rules call it; deliveries are no rule's matter.
EVENT_NAMES: Final = {
    "open": "opened",
    "click": "clicked",
    "reply": "replied",
    "hard_bounce": "hard_bounced",
    "soft_bounce": "soft_bounced",
    "unreachable": "unreachable",
    "complaint": "complained",
    "purchase": "purchased",
    "ticket_opened": "ticket_opened",
    "ticket_closed": "ticket_closed",
    "unsubscribe": "unsubscribed",
}
_SOURCE: Final = "the state store"


@dataclass(frozen=True)
class Places:
    """Zones, and further columns of `extra` with their levels."""

    zone_code: CodeArray
    zones: tuple[str, ...]
    extra: dict[str, NDArray[Any]]
    levels: dict[str, tuple[str, ...]]


def place_part(named: Mapping[str, NDArray[Any]], zone: ObjectArray, objected: IntArray, now_at: int) -> Places:
    """Places and single facts of n contacts.

    Args:
        named: profile columns, of objects (None: not known), and `zone_observed_at`.
        zone: (n,) IANA names or None.
        objected: (n,) 1 where the contact objects to profiling, 0 where not, -1 where nobody knows.
        now_at: microseconds.

    Raises:
        DataError: a profile whose state, area code or list is none.
    """
    n = len(zone)
    by_device = named["zone_source"] == DEVICE
    seen_at = pa.array(named["zone_observed_at"], pa.int64(), mask=named["zone_observed_at"] == NOT_AN_INSTANT)
    nowhere: ObjectArray = np.full(n, None, dtype=object)
    told = {"time_zone": np.where(by_device, nowhere, zone), "device_time_zone": np.where(by_device, zone, nowhere)}
    told |= {"country": named["country"], "state": named["region"], "phone_area_code": named["area_code"]}
    told |= {"line_type": named["line_type"], "lists": named["lists"]}
    columns = {name: pa.array(values, pa.string()) for name, values in told.items()}
    columns |= {f"{name}_at": seen_at.cast(INSTANT) for name in ("time_zone", "device_time_zone")}
    columns["motive_price"] = pa.array(named["motive_price"], pa.float64())
    columns["profiling_objection"] = pa.array(
        np.array(["true", "false", None], dtype=object)[1 - objected], pa.string()
    )
    block = ColumnBatch(columns, 1, n, _SOURCE)
    places, facts = PlaceReader(), AttributeReader()
    found = places.read(block, np.full(n, NOT_AN_INSTANT, dtype=np.int64), now_at)
    extra = found.extra | facts.read(block)
    levels = places.levels() | facts.levels()
    return Places(found.zone_code, tuple(places.zones), extra, {name: levels[name] for name in extra if name in levels})


def levels_of(values: Iterable[str | None]) -> tuple[CodeArray, tuple[str, ...]]:
    """Codes into the sorted distinct values; None and "" are -1."""
    listed = list(values)
    levels = sorted({value for value in listed if value})
    code: dict[str | None, int] = {level: at for at, level in enumerate(levels)}
    return np.array([code.get(value, UNKNOWN) for value in listed], dtype=np.int32), tuple(levels)


def send_part(
    offsets: IntArray, sent: Mapping[str, NDArray[Any]], channels: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Fields of the batch, and the levels of the coded details."""
    purpose = {name: at for at, name in enumerate(PURPOSES)}
    details: dict[str, NDArray[Any]] = {}
    levels: dict[str, tuple[str, ...]] = {}
    for name in ("topic", "template", "category"):
        details[f"sent_{name}"], levels[f"sent_{name}"] = levels_of(sent[name])
    details["sent_discount"] = np.array(sent["discount"], dtype=np.float64)
    fields = {
        "sent_offsets": offsets,
        "sent_at": sent["at"],
        "sent_channel": _channels(sent["channel"], channels, none=UNTOLD_CHANNEL),
        "sent_purpose": np.array([purpose[name] for name in sent["purpose"]], dtype=np.int32),
        "sent_details": details,
    }
    return fields, levels


def event_part(found: Columns, known: BoolArray, channels: tuple[str, ...], now_at: int) -> Events:
    """What happened; what speaks for a send is not seen before it happened, what speaks against one always is.

    A bounce, complaint or unsubscription whose channel is not said or cannot be told counts on every channel.
    """
    rows: list[tuple[int, int, int, int, str | None]] = []
    codes = _channels(found["channel"], channels, none=NO_CHANNEL).tolist()
    for owner, at, kind, code, category in zip(
        *(found[name] for name in ("owner", "at", "kind")), codes, found["category"], strict=True
    ):
        name = EVENT_NAMES.get(kind)
        if name is None or (name in FAVOURABLE and at > now_at):
            continue
        if code == NO_CHANNEL:
            code = UNTOLD_CHANNEL if name in {*ON_A_CHANNEL, *STOP_EVENTS} else OTHER_CHANNEL
        rows.append((owner, at, EVENTS.index(name), code, category))
    rows.sort(key=lambda row: row[:2])
    category_code, categories = levels_of(row[4] for row in rows)
    counts = np.bincount(np.array([row[0] for row in rows], dtype=np.int64), minlength=len(known))
    return Events(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int32),
        np.array([row[3] for row in rows], dtype=np.int32),
        category_code,
        categories,
        known,
    )


def _channels(names: Iterable[str | None], channels: tuple[str, ...], *, none: int) -> CodeArray:
    """(m,) `channel_codes`, each distinct name looked up once."""
    listed = list(names)
    distinct = list(dict.fromkeys(listed))
    table = channel_codes(distinct, channels, none=none).tolist()
    code = dict(zip(distinct, table, strict=True))
    return np.array([code[name] for name in listed], dtype=np.int32)


def ticket_part(found: Columns, known: BoolArray, now_at: int) -> dict[str, NDArray[Any]]:
    """Instants of the last events, as columns of `extra`."""
    owner = np.array(found["owner"], dtype=np.int64)
    at = np.array(found["at"], dtype=np.int64)
    kind = np.array(found["kind"], dtype=object)

    def last(kinds: Iterable[str]) -> IntArray:
        newest = np.full(len(known), NOT_AN_INSTANT, dtype=np.int64)
        chosen = np.isin(kind, list(kinds)) & (at <= now_at)
        np.maximum.at(newest, owner[chosen], at[chosen])
        return newest

    opened, closed = last(["ticket_opened"]), last(["ticket_closed"])
    # A ticket that is opened and closed in the same instant counts as open: the order of the two is not known.
    ticket = ((opened != NOT_AN_INSTANT) & (opened >= closed)).astype(np.int8)
    ticket[~known & (ticket == NO)] = UNKNOWN
    return {
        "open_ticket": ticket,
        "ticket_closed_at": closed,
        "engaged_at": last(_ENGAGED),
        "purchased_at": last(["purchase"]),
    }
