"""When one more send is too many: open intervals of time around sends that are close together, past and planned.

A window of length W holds two sends that are less than W apart. So n counted sends in a row that span less than W
forbid one more in the open interval (last - W, first + W): before it no window holds the new send and all n, and from
its end on none does either. A send that is planned for later than W after a slot binds nobody there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from engine.catalog import NOW
from engine.guardrails.history.bounds import NEVER, first_instants, last_instants
from engine.guardrails.rule import Scene
from engine.state.sends.caps import Span, first_free
from engine.time.localtime import FARTHEST_SLOT_US, OCCURRENCES, first_pass
from engine.types import NOT_AN_INSTANT, BoolArray, IntArray

# Before every instant: the start of a span that has been closed all along.
ALWAYS: Final = NOT_AN_INSTANT + 1


class Spans(NamedTuple):
    """Open intervals: where each belongs to, its start and its end, all of them (s,)."""

    groups: IntArray
    start: IntArray
    end: IntArray

    def kept(self, which: BoolArray | IntArray) -> Spans:
        """The intervals of a mask or of positions."""
        return Spans(self.groups[which], self.start[which], self.end[which])

    def and_also(self, other: Spans) -> Spans:
        """These intervals and others."""
        return Spans(*(np.concatenate(both) for both in zip(self, other, strict=True)))

    def pairs(self) -> list[Span]:
        """(start, end) of each."""
        return list(zip(self.start.tolist(), self.end.tolist(), strict=True))


def spans_of(groups: IntArray, at: IntArray, n: int, window_us: int) -> Spans:
    """The intervals in which one more entry of a group would make more than n in some window.

    Args:
        groups: (m,) group of each entry, rising.
        at: (m,) instants, oldest first within a group.
        n: 1 or more.
        window_us: length of the window.
    """
    last = np.arange(n - 1, len(at))
    first = last - (n - 1)
    together = np.flatnonzero((groups[first] == groups[last]) & (at[last] - at[first] < window_us))
    first, last = first[together], last[together]
    return Spans(groups[first], at[last] - window_us, at[first] + window_us)


def reached(scene: Scene, rows: IntArray, spans: Spans) -> BoolArray:
    """(s,) whether some slot of a contact may be planned inside each interval.

    Args:
        scene: gives the slots.
        rows: (s,) contact of each interval.
        spans: the intervals; their groups are not looked at.
    """
    zone = scene.contacts.zone_code[rows]
    first, last = first_instants(scene)[zone], last_instants(scene)[zone]
    hit: BoolArray = (spans.start < first) & (first < spans.end)
    rest = np.flatnonzero(~hit & (spans.start < last) & (first < spans.end))
    if len(rest):
        earliest, latest = slot_bounds(scene)
        start, end = spans.start[rest, None], spans.end[rest, None]
        hit[rest] = ((earliest[zone[rest]] < end) & (start < latest[zone[rest]])).any(axis=1)
    return hit


class Inside(NamedTuple):
    """Distinct contacts (r,), and (r, H) which of their slots may be planned inside an interval."""

    rows: IntArray
    slots: BoolArray


def inside_slots(scene: Scene, spans: Spans) -> Inside | None:
    """The contacts (the groups) some of whose slots may be planned inside an interval; None where there are none."""
    near_by = np.flatnonzero((spans.end > scene.now_at) & (spans.start < scene.now_at + FARTHEST_SLOT_US))
    if not len(near_by):
        return None
    groups, start, end = spans.kept(near_by[np.argsort(spans.groups[near_by], kind="stable")])
    earliest, latest = slot_bounds(scene)
    zone = scene.contacts.zone_code[groups]
    inside = (earliest[zone] < end[:, None]) & (start[:, None] < latest[zone])
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    return Inside(groups[firsts], np.logical_or.reduceat(inside, firsts, axis=0))


def slot_bounds(scene: Scene) -> tuple[IntArray, IntArray]:
    """(Z + 1, H) earliest and latest instant of each slot: the planned one, or all that are possible without."""
    unknown = scene.slots == NOT_AN_INSTANT
    return (
        np.where(unknown, scene.now_at, scene.slots),
        np.where(unknown, scene.now_at + FARTHEST_SLOT_US, scene.slots),
    )


def first_clear(scene: Scene, spans: Sequence[Span], slots: Sequence[int] | None = None) -> int | None:
    """First later `now` from which no slot is planned inside an open interval.

    Args:
        scene: scene of one contact.
        spans: the intervals.
        slots: positions of the slots that must be clear; None is all of them, for rules by arm.

    Returns:
        None where there is no such instant.
    """
    if any(end == NEVER for _, end in spans):
        return None
    hours = [scene.catalog.hours[slot] for slot in (range(len(scene.catalog.hours)) if slots is None else slots)]
    passes = [_pass_of(scene, hour, spans) for hour in hours]
    now = scene.now_at
    # Each round moves to the first instant at which one slot more is clear, so it ends behind the last interval.
    for _ in range(2 + len(hours) * (1 + len(spans))):
        found = [after(now) for after in passes]
        later = [at for at in found if at is not None]
        if len(later) < len(found):
            return None
        if max(later) == now:
            return now
        now = max(later)
    return None


def first_inside(scene: Scene, spans: Sequence[Span]) -> int:
    """The first instant at which a slot of the one contact may be planned inside some interval."""
    earliest, latest = (bound[int(scene.contacts.zone_code[0])].tolist() for bound in slot_bounds(scene))
    inside = [
        max(first, start + 1)
        for first, last in zip(earliest, latest, strict=True)
        for start, end in spans
        if first < end and start < last
    ]
    return min(inside, default=scene.now_at)


def near(at: IntArray, instant: int, window_us: int) -> int:
    """How many instants are less than a window away from one, before or after it."""
    return int((np.abs(at - instant) < window_us).sum())


def _pass_of(scene: Scene, hour: int | str, spans: Sequence[Span]) -> Callable[[int], int | None]:
    """Make a function from a decision's instant to the first one, not earlier, at which a slot is clear."""
    zone = scene.zone(0)
    if hour == NOW:
        return lambda now: first_free(now, spans)
    if zone is None or not isinstance(hour, int):
        # Such a slot may lie anywhere in the two days after the decision.
        wider = [(start - FARTHEST_SLOT_US, end) for start, end in spans]
        return lambda now: first_free(now, wider)
    looks = OCCURRENCES + 2 * len(spans)
    return lambda now: first_pass(zone, hour, now, lambda planned: first_free(planned, spans), looks)
