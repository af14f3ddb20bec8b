"""The `sends` column: what was sent to a contact and when; absent means unknown, an empty list means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import Catalog
from engine.contact_columns import Block, coded, instants, is_text, known, text
from engine.contacts import OTHER_CHANNEL, order_sends
from engine.errors import DataError
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, CodeArray, IntArray

FIELDS = ("at", "channel", "purpose")
_HINT = 'a list of {"at": ISO 8601 with an offset, "channel": ..., "purpose": ...}; [] where nothing was sent'


class _Send(msgspec.Struct, forbid_unknown_fields=True):
    at: str | float
    channel: str
    purpose: str


@dataclass(frozen=True)
class Sends:
    """Histories as CSR, oldest first, in the words of `ContactBatch`."""

    offsets: IntArray
    at: IntArray
    channel: CodeArray
    purpose: CodeArray
    known: BoolArray


def sends_of(block: Block, catalog: Catalog) -> Sends:
    """The histories of a block.

    Raises:
        DataError: a send without instant, channel or purpose, or an unknown purpose.
    """
    column = block.column("sends")
    if column is None:
        nothing = np.zeros(block.n + 1, dtype=np.int64)
        empty = np.empty(0, dtype=np.int32)
        return Sends(nothing, np.empty(0, dtype=np.int64), empty, empty, np.zeros(block.n, dtype=np.bool_))
    if is_text(column):
        column = _from_text(block, text(column))
    lists, is_known = _checked(block, column), known(column)
    lengths = np.where(is_known, np.nan_to_num(_lengths(lists)), 0).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return _coded(block, lists.flatten(), offsets, is_known, catalog)


def _from_text(block: Block, column: pa.Array) -> pa.Array:
    """JSON text per row, as a CSV has it."""
    decode = msgspec.json.Decoder(list[_Send]).decode
    rows: list[Any] = []
    for row, cell in enumerate(column.to_pylist()):
        try:
            decoded = None if cell is None else decode(cell)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"{block.source}: column 'sends' cannot be read in row {block.first_row + row}: {error}", hint=_HINT
            ) from error
        rows.append(None if decoded is None else [_plain(send) for send in decoded])
    return pa.array(rows, type=pa.list_(pa.struct([(name, pa.string()) for name in FIELDS])))


def _plain(send: _Send) -> dict[str, str]:
    at = send.at if isinstance(send.at, str) else f"{send.at:.6f}"
    return {"at": at, "channel": send.channel, "purpose": send.purpose}


def _checked(block: Block, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_null(kind.value_type):  # nothing but empty lists
            return column.cast(pa.list_(pa.struct([(name, pa.string()) for name in FIELDS])))
        if pa.types.is_struct(kind.value_type):
            absent = set(FIELDS) - {field.name for field in kind.value_type}
            if not absent:
                return column
    raise DataError(f"{block.source}: column 'sends' must be a list of structs, is {kind}", hint=_HINT)


def _lengths(lists: pa.Array) -> np.ndarray[Any, Any]:
    lengths: np.ndarray[Any, Any] = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    return lengths


def _coded(block: Block, flat: pa.Array, offsets: IntArray, is_known: BoolArray, catalog: Catalog) -> Sends:
    owner = np.repeat(np.arange(block.n), np.diff(offsets))
    cells = Block({name: pc.struct_field(flat, name) for name in FIELDS}, 1, len(flat), f"{block.source}, sends")
    at, channels, purposes = (cells.column(name) for name in FIELDS)
    if len(flat) and (at is None or channels is None or purposes is None):
        raise DataError(f"{block.source}: sends must have {', '.join(FIELDS)} in every row", hint=_HINT)
    if not len(flat) or at is None or channels is None or purposes is None:
        none = np.empty(0, dtype=np.int32)
        return Sends(offsets, np.empty(0, dtype=np.int64), none, none, is_known)
    sent_at = _instants(block, cells, at, owner)
    channel, channel_names = coded(channels)
    purpose, purpose_names = coded(purposes)
    purpose_of = [PURPOSES.index(name) if name in PURPOSES else -1 for name in purpose_names]
    channel_of = [catalog.channels.index(name) if name in catalog.channels else OTHER_CHANNEL for name in channel_names]
    purpose_code = np.array([*purpose_of, -1], dtype=np.int32)[purpose]
    _fail(block, owner, sent_at == NOT_AN_INSTANT, "a send without `at`")
    _fail(block, owner, channel < 0, "a send without `channel`")
    _fail(block, owner, purpose_code < 0, f"a send whose `purpose` is none of {', '.join(PURPOSES)}")
    channel_code = np.array([*channel_of, OTHER_CHANNEL], dtype=np.int32)[channel]
    sent_at, channel_code, purpose_code = order_sends(offsets, sent_at, channel_code, purpose_code)
    return Sends(offsets, sent_at, channel_code, purpose_code, is_known)


def _instants(block: Block, cells: Block, column: pa.Array, owner: IntArray) -> IntArray:
    try:
        return instants(cells, "at", column)
    except DataError as error:
        for position in range(len(column)):  # only after a failure: find the contact's row
            try:
                instants(cells, "at", column.slice(position, 1))
            except DataError:
                row = block.first_row + int(owner[position])
                raise DataError(
                    f"{block.source}: column 'sends' holds {column[position].as_py()!r} in row {row}, which is no "
                    "instant with a UTC offset",
                    hint=_HINT,
                ) from error
        raise


def _fail(block: Block, owner: IntArray, bad: BoolArray, what: str) -> None:
    if bad.any():
        row = block.first_row + int(owner[int(np.argmax(bad))])
        raise DataError(f"{block.source}: column 'sends' holds {what} in row {row}", hint=_HINT)
