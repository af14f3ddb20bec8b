"""Public holidays on which nothing promotional is texted.

The dates are data of the pack and cover a span of years: outside it nobody knows the holidays, and slots are closed
until the pack is brought up to date. Where a contact lives is decided as for the hours of states: what is unknown may
be anywhere.
"""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import ClassVar

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.hours.local import IsOpen, KeptSlots, next_pass
from engine.guardrails.hours.places import MOST_PLACES, Place, Whereabouts, whereabouts_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.time.localtime import DAY_US, local_us, slot_instants
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

_EPOCH = dt.date(1970, 1, 1)


class HolidaysRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Removes slots whose span touches a holiday of a place where the contact is, or may be.

    Attributes:
        days: "US" or "US-TX" -> dates.
        covers: first date and the date after the last one for which the holidays are known.
        channels: names of the channels to which it applies.
        applies_to: purposes to which it applies.
    """

    may_read: ClassVar[tuple[str, ...]] = ("country", "state", "area_state")

    days: dict[str, tuple[dt.date, ...]]
    covers: tuple[dt.date, dt.date]
    channels: tuple[str, ...] = ("sms",)
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        if not set(self.applies_to) <= set(PURPOSES):
            raise ParameterError("applies_to", "holidays", allowed=f"among {PURPOSES}", got=self.applies_to)
        if not self.covers[0] < self.covers[1]:
            raise ParameterError("covers", "holidays", allowed="two rising dates", got=self.covers)
        if not 0 < len(self.days) <= MOST_PLACES:
            raise ParameterError("days", "holidays", allowed=f"1 to {MOST_PLACES} places", got=len(self.days))
        for place in self._places:
            place.check("holidays")
        for name, dates in self.days.items():
            outside = [date for date in dates if not self.covers[0] <= date < self.covers[1]]
            if outside:
                raise ParameterError(name, "holidays", allowed=f"dates in {self.covers}", got=outside)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def _kept(self) -> KeptSlots:
        return KeptSlots()

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        parts = (name.partition("-") for name in self.days)
        return tuple(Place(country, (state,) if state else ()) for country, _, state in parts)

    @cached_property
    def _tables(self) -> BoolArray:
        """(places, days covered + 2) closed days; the first and the last stand for all before and after."""
        first, end = ((date - _EPOCH).days for date in self.covers)
        closed = np.zeros((len(self.days), end - first + 2), dtype=np.bool_)
        closed[:, [0, -1]] = True
        for row, dates in enumerate(self.days.values()):
            closed[row, [(date - _EPOCH).days - first + 1 for date in dates]] = True
        return closed

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by group of contacts first, then gather."""
        named = np.array([channel in self.channels for channel in scene.catalog.channels])
        if not named.any():
            return Verdict()
        groups, code = whereabouts_of(scene.contacts, self._places)
        if not groups:
            return Verdict()
        scope = purpose_mask(self.applies_to)[:, None, None] & named[:, None]
        closed = self._kept.rows(scene, groups, lambda group: self._closed(group, scene))
        by_group = scope & np.stack(closed)[:, None, None, :]
        return Verdict(channel_hour=by_group[code]) if by_group.any() else Verdict()

    def _closed(self, group: Whereabouts, scene: Scene) -> BoolArray:
        """(H,) slots that touch a holiday, or that have no known instant."""
        if not group.laws:
            return np.zeros(len(scene.catalog.hours), dtype=np.bool_)
        if group.zone is None:
            return np.ones(len(scene.catalog.hours), dtype=np.bool_)
        planned = slot_instants((group.zone,), scene.catalog.hours, scene.now_at)[0]
        closed: BoolArray = planned == NOT_AN_INSTANT
        closed[~closed] = ~self._free(group, scene.margin_us)(planned[~closed])
        return closed

    def _free(self, group: Whereabouts, margin_us: int) -> IsOpen:
        table: BoolArray = np.logical_or.reduce(self._tables[list(group.laws)], axis=0)
        first = (self.covers[0] - _EPOCH).days

        def is_open(instants: IntArray) -> BoolArray:
            free = np.ones(len(instants), dtype=np.bool_)
            for zone in group.zones:
                for at in (instants, instants + margin_us):  # a margin of at most a day touches two dates
                    day = local_us(zone, at) // DAY_US - first + 1
                    free &= ~table[np.clip(day, 0, len(table) - 1)]
            return free

        return is_open

    def _openings(self, group: Whereabouts, now_at: int) -> list[int]:
        """Starts of the first free day after each run of closed ones that lie ahead, in UTC."""
        table: BoolArray = np.logical_or.reduce(self._tables[list(group.laws)], axis=0)
        days = np.flatnonzero(table[:-1] & ~table[1:]) + (self.covers[0] - _EPOCH).days
        return [day * DAY_US for day in days.tolist() if day * DAY_US > now_at]

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The dates that the span touches."""
        groups, code = whereabouts_of(scene.contacts.take(np.array([row])), self._places)
        group = groups[int(code[0])]
        names = [list(self.days)[law] for law in group.laws]
        limit = f"no holiday in {', '.join(names)}"
        planned = int(scene.planned[row, cell.hour])
        if group.zone is None or planned == NOT_AN_INSTANT:
            return Finding("unknown", limit, "the contact's time zone is unknown, so no holiday can be kept")
        days = local_us(group.zone, np.array([planned, planned + scene.margin_us])) // DAY_US
        dates = sorted({(_EPOCH + dt.timedelta(days=int(day))).isoformat() for day in days})
        is_open = self._free(group, scene.margin_us)
        hour = scene.catalog.hours[cell.hour]
        following = next_pass(group, hour, scene.now_at, is_open, self._openings(group, scene.now_at))
        return Finding(dates, limit, f"{' / '.join(dates)} is a holiday, or not covered by the pack", following)


RULE = HolidaysRule
