"""What the guardrail rules see of the contacts: the same arrays that a contact file would give."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.contacts import ContactBatch
from engine.features import ContextBlock
from engine.types import BoolArray, IntArray
from simulator.inputs import Inputs
from simulator.people import People
from simulator.response import Moment
from simulator.state import State


def contact_batch(
    people: People,
    state: State,
    moment: Moment,
    context: ContextBlock,
    catalog: Catalog,
    rows: IntArray,
    history_known: BoolArray,
    inputs: Inputs,
) -> ContactBatch:
    """Some rows of a block as contacts.

    Args:
        people / state: of the block.
        moment: the step.
        context: of the m rows.
        catalog: of the sends that are remembered.
        rows: (m,) rows.
        history_known: (m,) bool.
        inputs: what the pack reads besides.
    """
    sends = state.sends
    at = sends.at[rows]
    there = at > 0
    there &= history_known[:, None]
    arms = sends.arm[rows][there]
    m = len(rows)
    further = inputs.of(state, moment, rows, arms, history_known)
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
        extra=further.extra,
        sent_details=further.sent_details,
        levels=further.levels,
        events=further.events,
    )
