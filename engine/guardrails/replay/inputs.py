"""What the rules read of a contact, as JSON in the decision's record, and back: any decision can be explained later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.contacts import EVENTS, SENT_DETAIL, UNKNOWN, ContactBatch, Events, plain_contacts
from engine.errors import DataError, reason_of
from engine.types import PURPOSES

_NO_SENDS: Final[tuple[tuple[int, int, int], ...]] = ()
_NO_EVENTS: Final[tuple[tuple[int, str, int, str | None], ...]] = ()


class RuleInputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One contact as the rules saw it; codes are positions on the catalog's channels and in the purposes.

    Attributes:
        zone / locale: None where unknown.
        consent: C x P levels, row by row.
        suppressed: C levels.
        sends: (at in microseconds, channel, purpose), oldest first; None where the history is unknown.
        extra: further columns that rules declared, of Python objects.
        coded: further columns of levels; None is missing.
        arrays: further columns of numbers: type and (nested) values; null in a float column is missing.
        sent: details of the sends, in their order: levels or numbers.
        events: (at, kind, channel, category), oldest first; None where unknown, absent where nobody looked.
        limits: (limit, day, left) of each set-level limit that took a send (see `engine.limits.reasons`).
        refused: why the chosen send was suppressed at once: the caps that another promise had used up.
    """

    consent: list[int]
    suppressed: list[int]
    sends: list[tuple[int, int, int]] | None
    zone: str | None = None
    locale: str | None = None
    extra: dict[str, Any] = {}
    coded: dict[str, str | None] = {}
    arrays: dict[str, tuple[str, Any]] = {}
    sent: dict[str, list[Any]] = {}
    events: list[tuple[int, str, int, str | None]] | msgspec.UnsetType | None = msgspec.UNSET
    limits: Sequence[Any] = ()
    refused: Sequence[str] = ()


def contacts_from_rule_inputs(inputs: Sequence[bytes], contact_ids: Sequence[str], catalog: Catalog) -> ContactBatch:
    """The contacts as the rules saw them, without context.

    Args:
        inputs: (n,) what `rule_inputs` wrote.
        contact_ids: (n,) ids to show.
        catalog: the catalog of the decisions.

    Raises:
        DataError: an entry that cannot be read, or one of another catalog.
    """
    seen = _decoded(inputs, catalog)
    channels, purposes = len(catalog.channels), len(PURPOSES)
    zones, zone_code = _coded([one.zone for one in seen])
    locales, locale_code = _coded([one.locale for one in seen])
    sends = np.array([send for one in seen for send in one.sends or _NO_SENDS], dtype=np.int64).reshape(-1, 3)
    extra, levels = _extra_columns(seen)
    details, detail_levels = _details(seen)
    return plain_contacts(
        np.array(contact_ids, dtype=object),
        catalog,
        zones=zones,
        zone_code=zone_code,
        locales=locales,
        locale_code=locale_code,
        consent=np.array([one.consent for one in seen], dtype=np.int8).reshape(-1, channels, purposes),
        suppressed=np.array([one.suppressed for one in seen], dtype=np.int8).reshape(-1, channels),
        history_known=np.array([one.sends is not None for one in seen], dtype=np.bool_),
        sent_offsets=_offsets([len(one.sends or _NO_SENDS) for one in seen]),
        sent_at=sends[:, 0].copy(),
        sent_channel=sends[:, 1].astype(np.int32),
        sent_purpose=sends[:, 2].astype(np.int32),
        extra=extra,
        levels=levels | detail_levels,
        sent_details=details,
        events=_events(seen),
    )


def _decoded(inputs: Sequence[bytes], catalog: Catalog) -> list[RuleInputs]:
    decode = msgspec.json.Decoder(RuleInputs).decode
    try:
        seen = [decode(entry) for entry in inputs]
    except msgspec.MsgspecError as error:
        raise DataError(
            f"rule inputs cannot be read: {reason_of(error)}", hint="the record is damaged or of another version"
        ) from error
    channels = len(catalog.channels)
    if any(len(one.consent) != channels * len(PURPOSES) or len(one.suppressed) != channels for one in seen):
        raise DataError("rule inputs belong to another catalog", hint="take the catalog from the log's footer")
    for one in seen:
        if any(kind not in EVENTS for _, kind, _, _ in one.events or _NO_EVENTS):
            raise DataError("rule inputs cannot be read: an event of an unknown kind")
        if any(len(values) != len(one.sends or _NO_SENDS) for values in one.sent.values()):
            raise DataError("rule inputs cannot be read: details of other sends than there are")
    return seen


def _extra_columns(seen: list[RuleInputs]) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """Columns of objects, of levels and of numbers; a row that lacks one is missing there."""
    columns = {name: _objects([one.extra.get(name) for one in seen]) for name in _names(one.extra for one in seen)}
    levels: dict[str, tuple[str, ...]] = {}
    for name in _names(one.coded for one in seen):
        levels[name], columns[name] = _coded([one.coded.get(name) for one in seen])
    for name in _names(one.arrays for one in seen):
        kind = next(one.arrays[name][0] for one in seen if name in one.arrays)
        if any(name not in one.arrays or one.arrays[name][0] != kind for one in seen):
            raise DataError(f"rule inputs cannot be read together: {name!r} is not of one type in all of them")
        columns[name] = _numbers(kind, [one.arrays[name][1] for one in seen], name)
    return columns, levels


def _numbers(kind: str, values: list[Any], name: str) -> NDArray[Any]:
    try:
        # JSON has no NaN: a missing float came as null.
        return np.array(values, dtype=np.float64 if kind[1:2] == "f" else kind).astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"rule inputs cannot be read: {name!r}: {error}") from error


def _details(seen: list[RuleInputs]) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    columns: dict[str, NDArray[Any]] = {}
    levels: dict[str, tuple[str, ...]] = {}
    for name in _names(one.sent for one in seen):
        lengths = [len(one.sends or _NO_SENDS) for one in seen]
        values = [
            value for one, length in zip(seen, lengths, strict=True) for value in one.sent.get(name) or [None] * length
        ]
        if name == f"{SENT_DETAIL}discount":
            columns[name] = _numbers("<f8", values, name)
        else:
            levels[name], columns[name] = _coded(values)
    return columns, levels


def _events(seen: list[RuleInputs]) -> Events | None:
    """None where no record carries events; a record without them among others knows nothing."""
    if all(one.events is msgspec.UNSET for one in seen):
        return None
    lists = [one.events or _NO_EVENTS for one in seen]
    flat = [event for events in lists for event in events]
    categories, category = _coded([event[3] for event in flat])
    return Events(
        _offsets([len(events) for events in lists]),
        np.array([event[0] for event in flat], dtype=np.int64),
        np.array([EVENTS.index(event[1]) for event in flat], dtype=np.int32),
        np.array([event[2] for event in flat], dtype=np.int32),
        category,
        categories,
        np.array([isinstance(one.events, list) for one in seen], dtype=np.bool_),
    )


def _names(rows: Any) -> list[str]:
    return sorted({name for row in rows for name in row})


def _offsets(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _objects(values: list[Any]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _coded(values: list[str | None]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Distinct values in order of appearance, and each value's position; -1 for None."""
    codes: dict[str, int] = {}
    positions = [UNKNOWN if value is None else codes.setdefault(value, len(codes)) for value in values]
    return tuple(codes), np.array(positions, dtype=np.int32)
