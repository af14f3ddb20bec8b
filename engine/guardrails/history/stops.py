"""Events that close their channel by themselves: an unsubscription, a complaint, a hard bounce (catalogue K9, C1).

Whoever reports one has said all that is needed; no suppression has to be recorded beside it. The consent rule asks
here, because every pack has it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.contacts.contacts import EVENTS, STOP_EVENTS, UNTOLD_CHANNEL, ContactBatch
from engine.guardrails.history.bounds import rows_of
from engine.types import BoolArray, IntArray

_STOPS: Final = np.array([kind in STOP_EVENTS for kind in EVENTS], dtype=np.bool_)


def stopped(contacts: ContactBatch) -> BoolArray | None:
    """(n, C) channels that an event has closed, whenever it is dated; None where the batch holds no such event.

    Contacts of whom nobody knows what happened are left alone here: rules that ask for events remove them.
    """
    at = _stops(contacts)
    if contacts.events is None or not len(at):
        return None
    rows, channel = rows_of(contacts.events.offsets, at), contacts.events.channel[at]
    closed: BoolArray = np.zeros(contacts.suppressed.shape, dtype=np.bool_)
    named = channel >= 0
    closed[rows[named], channel[named]] = True
    closed[rows[channel == UNTOLD_CHANNEL]] = True
    return closed


def stops_on(contacts: ContactBatch, row: int, channel: int) -> list[str]:
    """Kinds of the events that have closed a channel of one contact."""
    one = contacts.alone(row)
    if one.events is None:
        return []
    at = _stops(one)
    at = at[(one.events.channel[at] == channel) | (one.events.channel[at] == UNTOLD_CHANNEL)]
    return sorted({EVENTS[code] for code in one.events.kind[at].tolist()})


def _stops(contacts: ContactBatch) -> IntArray:
    """Positions of the events that close a channel."""
    return np.empty(0, np.int64) if contacts.events is None else np.flatnonzero(_STOPS[contacts.events.kind])
