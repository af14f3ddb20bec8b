"""What the rules read of n contacts, as n JSON texts, built column by column with Arrow's string kernels.

The texts are those of `msgspec.json` for `engine.guardrails.replay.inputs.RuleInputs`, byte for byte; one object per
contact would take as long as all the rest of a decision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.contacts.contacts import EVENTS, ContactBatch, Events
from engine.errors import DataError, reason_of
from engine.types import IntArray

_encode: Final = msgspec.json.Encoder().encode
_Texts = Any  # a pyarrow string array; its kernels have no types


def rule_inputs(
    contacts: ContactBatch,
    limits: Sequence[Sequence[Any]] | None = None,
    refused: Sequence[Sequence[str]] | None = None,
) -> pa.Array:
    """(n,) binary: JSON of what the rules read of each contact.

    Args:
        contacts: n contacts.
        limits: (n,) shortages of set-level limits; None is none for anybody.
        refused: (n,) caps that refused the chosen send; None is none for anybody.

    Raises:
        DataError: an extra column with values that JSON cannot hold.
    """
    try:
        members = [
            _member("consent", _levels(contacts.consent)),
            _member("suppressed", _levels(contacts.suppressed)),
            _member("sends", _sends(contacts)),
            _member("zone", _labels(contacts.zone_code, contacts.zones)),
            _member("locale", _labels(contacts.locale_code, contacts.locales)),
            *_extras(contacts),
            *_sent(contacts),
            *_events(contacts.events),
            *_lists("limits", limits),
            *_lists("refused", refused),
        ]
    except (TypeError, msgspec.MsgspecError) as error:
        raise DataError(f"an input of the rules cannot be written as JSON: {reason_of(error)}") from error
    return _object(members).cast(pa.binary())


def _json(value: Any) -> str:
    return _encode(value).decode()


def _member(name: str, values: _Texts) -> _Texts:
    """Members of objects; null, which leaves the member out, where the value is null."""
    return pc.binary_join_element_wise(f"{_json(name)}:", values, "", null_handling="emit_null")


def _object(members: Sequence[_Texts]) -> _Texts:
    inner = pc.binary_join_element_wise(*members, ",", null_handling="skip")
    return pc.binary_join_element_wise("{", inner, "}", "")


def _levels(levels: NDArray[Any]) -> _Texts:
    """Lists of the levels of each contact; few of them differ."""
    flat = np.ascontiguousarray(levels.reshape(len(levels), math.prod(levels.shape[1:])))
    if not flat.size:
        return pa.array(["[]"] * len(flat), pa.string())
    keys = flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1])))[:, 0]
    _, first, code = np.unique(keys, return_index=True, return_inverse=True)
    return _taken([_json(row) for row in flat[first].tolist()], code)


def _taken(texts: Sequence[str | None], codes: NDArray[Any]) -> _Texts:
    """Text by code; code -1 is the last."""
    return pc.take(pa.array(texts, pa.string()), pa.array(np.where(codes < 0, len(texts) - 1, codes)))


def _labels(codes: NDArray[Any], levels: Sequence[str]) -> _Texts:
    return _taken([*(_json(level) for level in levels), None], codes)


def _numbers(column: NDArray[Any]) -> _Texts:
    """JSON of one column of numbers, flags or lists of them; NaN is null."""
    if column.ndim > 1:
        return pa.array([_json(row) for row in column.tolist()], pa.string())
    return pa.array(_json(column.tolist())[1:-1].split(",") if len(column) else [], pa.string())


def _joined(entries: Sequence[_Texts | str], offsets: IntArray) -> _Texts:
    """Lists per contact of entries that are made of pieces."""
    whole = pc.binary_join_element_wise(*entries, "") if len(entries) > 1 else entries[0]
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), whole)
    return pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")


def _or_null(known: NDArray[np.bool_], values: _Texts) -> _Texts:
    return pc.if_else(pa.array(known), values, "null")


def _digits(column: NDArray[Any]) -> _Texts:
    return pa.array(column).cast(pa.string())


def _sends(contacts: ContactBatch) -> _Texts:
    at, channel, purpose = (_digits(c) for c in (contacts.sent_at, contacts.sent_channel, contacts.sent_purpose))
    lists = _joined(["[", at, ",", channel, ",", purpose, "]"], contacts.sent_offsets)
    return _or_null(contacts.history_known, lists)


def _extras(contacts: ContactBatch) -> list[_Texts]:
    objects, coded, arrays = [], [], []
    for name, column in contacts.extra.items():
        if column.dtype == object:
            objects.append(_member(name, pa.array([_json(value) for value in column], pa.string())))
        elif name in contacts.levels:
            coded.append(_member(name, pc.fill_null(_labels(column, contacts.levels[name]), "null")))
        else:
            kind = _json(column.dtype.str)
            arrays.append(_member(name, pc.binary_join_element_wise(f"[{kind},", _numbers(column), "]", "")))
    return [
        _member(name, _object(members))
        for name, members in (("extra", objects), ("coded", coded), ("arrays", arrays))
        if members
    ]


def _sent(contacts: ContactBatch) -> list[_Texts]:
    members = []
    for name, column in contacts.sent_details.items():
        if name in contacts.levels:
            values = pc.fill_null(_labels(column, contacts.levels[name]), "null")
        else:
            values = _numbers(column)
        members.append(_member(name, _joined([values], contacts.sent_offsets)))
    return [_member("sent", _object(members))] if members else []


def _events(events: Events | None) -> list[_Texts]:
    if events is None:
        return []
    kind = pc.fill_null(_labels(events.kind, EVENTS), "null")
    category = pc.fill_null(_labels(events.category, events.categories), "null")
    pieces = ["[", _digits(events.at), ",", kind, ",", _digits(events.channel), ",", category, "]"]
    return [_member("events", _or_null(events.known, _joined(pieces, events.offsets)))]


def _lists(name: str, values: Sequence[Sequence[Any]] | None) -> list[_Texts]:
    if values is None:
        return []
    return [_member(name, pa.array([_json(value) if value else None for value in values], pa.string()))]
