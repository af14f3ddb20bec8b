"""What the guardrail rules see of the contacts: the same arrays that a contact file would give."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.features import ContextBatch
from engine.types import BoolArray, IntArray
from simulator.people.people import People
from simulator.world.inputs import Inputs
from simulator.world.response import Moment
from simulator.world.state import State


def contact_batch(
    people: People,
    state: State,
    moment: Moment,
    context: ContextBatch,
    catalog: Catalog,
    rows: IntArray,
    history_known: BoolArray,
    inputs: Inputs,
) -> ContactBatch:
    """Some rows of a batch as contacts.

    Args:
        people / state: people and state of the batch.
        moment: the step.
        context: context of the m rows.
        catalog: catalog of the sends that are remembered.
        rows: (m,) rows.
        history_known: (m,) bool.
        inputs: what the pack reads besides.
    """
    sends = state.sends
    offsets, places = sends.of(rows, history_known)
    arms = sends.arm.ravel()[places]
    m = len(rows)
    further = inputs.of(state, moment, rows, arms, history_known)
    return ContactBatch(
        contact_id=people.contact_id[rows],
        zone_code=people.zone_code[rows],
        zones=people.zones,
        context=context,
        consent=state.consent[rows],
        suppressed=state.suppressed[rows],
        sent_offsets=offsets,
        sent_at=sends.at.ravel()[places],
        sent_channel=sends.channel.ravel()[places].astype(np.int32),
        sent_purpose=catalog.purpose_codes.astype(np.int32)[arms],
        history_known=history_known,
        locale_code=np.full(m, -1, dtype=np.int32),
        extra=further.extra,
        sent_details=further.sent_details,
        levels=further.levels,
        events=further.events,
    )
