"""What the guardrail rules see of the contacts: the same arrays that a contact file would give."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.contacts import ContactBatch
from engine.features import ContextBlock
from engine.types import BoolArray, IntArray
from simulator.people import People
from simulator.state import State


def contact_batch(
    people: People, state: State, context: ContextBlock, catalog: Catalog, rows: IntArray, history_known: BoolArray
) -> ContactBatch:
    """Some rows of a block as contacts.

    Args:
        people / state: of the block.
        context: of the m rows.
        catalog: of the sends that are remembered.
        rows: (m,) rows.
        history_known: (m,) bool.
    """
    sends = state.sends
    at = sends.at[rows]
    there = at > 0
    there &= history_known[:, None]
    arms = sends.arm[rows][there]
    m = len(rows)
    return ContactBatch(
        contact_id=people.contact_id[rows],
        zone_code=people.zone_code[rows],
        zones=people.zones,
        context=context,
        consent=state.consent[rows],
        suppressed=state.suppressed[rows],
        sent_offsets=np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64),
        sent_at=at[there],
        sent_channel=sends.channel[rows][there].astype(np.int32),
        sent_purpose=catalog.purpose_codes[arms].astype(np.int32),
        history_known=history_known,
        locale_code=np.full(m, -1, dtype=np.int32),
    )
