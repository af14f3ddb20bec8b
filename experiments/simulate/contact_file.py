"""The contacts of a world as a contact file (docs/contacts.md), for commands that read contacts from files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.features import PRESENT
from engine.types import PURPOSES, IntArray
from simulator.world.world import World

# Whoever gave a permission did so this long ago; the world does not date it.
CONSENT_AGE_DAYS = 200
_SEND = pa.struct([("at", pa.string()), ("channel", pa.string()), ("purpose", pa.string())])


def contact_table(world: World, rows: IntArray) -> pa.Table:
    """Some contacts as they are known now. What is stale is left out, so it comes back as missing.

    Args:
        world: at the step of the decisions.
        rows: contacts.
    """
    batch, now = world.contacts(rows), world.now
    names = np.array([*batch.zones, None], dtype=object)
    columns: dict[str, Any] = {
        "contact_id": batch.contact_id.tolist(),
        "time_zone": names[batch.zone_code].tolist(),
        "as_of": [now.isoformat()] * batch.n,
    }
    for name, column in batch.context.columns.items():
        values = np.array([*column.levels, None], dtype=object)[column.values] if column.levels else column.values
        shown = column.state == PRESENT
        columns[name] = [value if seen else None for value, seen in zip(values.tolist(), shown, strict=True)]
    given = (now - timedelta(days=CONSENT_AGE_DAYS)).isoformat()
    for position, channel in enumerate(world.catalog.channels):
        for other, purpose in enumerate(PURPOSES):
            consent = f"consent_{channel}_{purpose}"
            columns[consent] = _flags(batch.consent[:, position, other])
            columns[f"{consent}_at"] = [given] * batch.n
            columns[f"{consent}_source"] = ["checkout"] * batch.n
        columns[f"suppressed_{channel}"] = _flags(batch.suppressed[:, position])
    table = pa.table(columns)
    return table.append_column("sends", pa.array(_sends(world, batch), pa.list_(_SEND)))


def _flags(codes: Any) -> list[bool | None]:
    return [None if code < 0 else bool(code) for code in codes.tolist()]


def _sends(world: World, batch: ContactBatch) -> list[list[dict[str, str]] | None]:
    at = np.datetime_as_string(batch.sent_at.astype("datetime64[us]"), unit="s")
    every = [
        {"at": f"{when}Z", "channel": world.catalog.channels[channel], "purpose": PURPOSES[purpose]}
        for when, channel, purpose in zip(
            at.tolist(), batch.sent_channel.tolist(), batch.sent_purpose.tolist(), strict=True
        )
    ]
    starts = batch.sent_offsets.tolist()
    return [
        every[start:end] if known else None
        for start, end, known in zip(starts, starts[1:], batch.history_known.tolist(), strict=False)
    ]
