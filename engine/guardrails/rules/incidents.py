"""Incidents that close a channel: bounces, unreachable handsets, complaints (catalogue K7, K9).

So many incidents of one kind on one channel within one window close it for good, also when the window has passed:
what opens it again is a decision of whoever keeps the contact's state, who then drops the events. A single hard bounce
or complaint closes at once.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.contacts.contacts import EVENTS, Events
from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.types import MICROSECONDS_PER_S, PURPOSES, BoolArray, IntArray


class Incident(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many incidents close a channel.

    Attributes:
        event: kind, one of `engine.contacts.contacts.EVENTS`.
        count: so many close.
        window_s: within less than so many seconds; null is ever.
        channels: on which the incident counts; null is any.
    """

    event: str
    count: int = 1
    window_s: int | None = None
    channels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            raise ParameterError("event", "incidents", allowed=f"one of {EVENTS}", got=self.event)
        if self.count < 1:
            raise ParameterError("count", "incidents", allowed="1 or more", got=self.count)
        if self.window_s is not None and not 0 < self.window_s <= 3660 * 86_400:
            raise ParameterError("window_s", "incidents", allowed="in 1 s to 10 years, or null", got=self.window_s)


class IncidentsRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes sends on channels that incidents have closed.

    Attributes:
        closing: what closes a channel.
        applies_to: purposes that are closed.
    """

    closing: tuple[Incident, ...]
    applies_to: tuple[str, ...] = PURPOSES

    def __post_init__(self) -> None:
        if not set(self.applies_to) <= set(PURPOSES):
            raise ParameterError("applies_to", "incidents", allowed=f"among {PURPOSES}", got=self.applies_to)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("events",)

    def verdict(self, scene: Scene) -> Verdict:
        """Counted over all events of the block at once."""
        events, channels = scene.contacts.events, scene.catalog.channels
        if events is None or not len(events.at):
            return Verdict()
        closed = np.zeros((scene.contacts.n, len(channels)), dtype=np.bool_)
        for incident in self.closing:
            rows, at = _reached(incident, events, channels)
            closed[rows, at] = True
        if not closed.any():
            return Verdict()
        return Verdict(channel_hour=(purpose_mask(self.applies_to)[:, None] & closed[:, None, :])[..., None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The first kind of incident that closed the channel."""
        events, channels = scene.contacts.events, scene.catalog.channels
        for incident in self.closing:
            if events is None:
                break
            rows, at = _reached(incident, events, channels)
            if ((rows == row) & (at == cell.channel)).any():
                limit = {"event": incident.event, "count": incident.count, "window_s": incident.window_s}
                reason = f"{channels[cell.channel]}: {incident.count} x {incident.event}"
                return Finding(f"{incident.event} on {channels[cell.channel]}", limit, reason)
        return Finding("unknown", "known events", "nobody knows what happened to this contact")


def _reached(incident: Incident, events: Events, channels: tuple[str, ...]) -> tuple[IntArray, IntArray]:
    """(contact, channel) pairs with enough incidents; pairs may come twice."""
    counted = (events.kind == EVENTS.index(incident.event)) & _on(incident, events, channels)
    which, channel = _on_channels(np.flatnonzero(counted), events, len(channels))
    if incident.channels is not None:
        named = np.array([name in incident.channels for name in channels], dtype=np.bool_)[channel]
        which, channel = which[named], channel[named]
    owner = np.searchsorted(events.offsets, which, side="right") - 1
    key = owner * len(channels) + channel
    order = np.argsort(key, kind="stable")  # events are oldest first: within a key they stay so
    key, at = key[order], events.at[which][order]
    back = incident.count - 1
    same = key[back:] == key[: len(key) - back]
    if incident.window_s is not None:
        same &= at[back:] - at[: len(at) - back] < incident.window_s * MICROSECONDS_PER_S
    found = key[back:][same]
    return found // len(channels), found % len(channels)


def _on(incident: Incident, events: Events, channels: tuple[str, ...]) -> BoolArray:
    """(m,) events on a channel of the catalog that counts."""
    named = [incident.channels is None or channel in incident.channels for channel in channels]
    # The last two are a channel that cannot be told, which counts on every one, and another one.
    counts: BoolArray = np.array([*named, True, False])[events.channel]
    return counts


def _on_channels(which: IntArray, events: Events, channels: int) -> tuple[IntArray, IntArray]:
    """Events and the channels on which each counts; one whose channel cannot be told counts on all of them."""
    told = events.channel[which].astype(np.int64)
    spread = np.where(told < 0, channels, 1)
    starts = np.repeat(np.where(told < 0, 0, told), spread)
    within = np.arange(spread.sum()) - np.repeat(np.cumsum(spread) - spread, spread)
    return np.repeat(which, spread), starts + within


RULE = IncidentsRule
