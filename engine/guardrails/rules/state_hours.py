"""Hours that the law of a country or state allows (catalogue Q1-Q8, Q11, Q13).

The law of a state holds for its residents and for phones with its area codes: the stricter of both. Where the country,
the state or the area code is unknown, every law that may hold does: the intersection of all windows of the table.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.hours.local import KeptSlots, inside_windows, local_time, next_pass, open_slots
from engine.guardrails.hours.places import MOST_PLACES, Place, Whereabouts, whereabouts_of
from engine.guardrails.hours.weekly import week_table
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.time.localtime import MINUTES_PER_WEEK
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray


class Law(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The hours that one place allows, with where they come from.

    Attributes:
        id: the catalogue's, or a name of your own.
        country: ISO 3166 alpha-2.
        states: codes of states; none is the whole country.
        windows: days -> windows of local time.
        source: where it can be read.
        confidence: letter as in a pack's entry.
        conflicting: whether sources disagree; the stricter reading stands here.
    """

    id: str
    country: str
    windows: dict[str, tuple[str, ...]]
    source: str
    states: tuple[str, ...] = ()
    confidence: Literal["V", "S", "M", "-"] = "-"
    conflicting: bool = False

    def __post_init__(self) -> None:
        self.place.check(f"hours {self.id!r}")
        if not week_table(self.windows).any():
            raise ParameterError("windows", f"hours {self.id!r}", allowed="at least one window", got=self.windows)

    @property
    def place(self) -> Place:
        return Place(self.country, self.states)


class StateHoursRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Removes slots that may arrive outside the hours of any place whose law may hold.

    Attributes:
        hours: the table of laws.
        channels: channels to which it applies.
        applies_to: purposes to which it applies.
    """

    may_read: ClassVar[tuple[str, ...]] = ("country", "state", "area_state")

    hours: tuple[Law, ...]
    channels: tuple[str, ...] = ("sms",)
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        if not set(self.applies_to) <= set(PURPOSES):
            raise ParameterError("applies_to", "state_hours", allowed=f"among {PURPOSES}", got=self.applies_to)
        if not 0 < len(self.hours) <= MOST_PLACES:
            raise ParameterError("hours", "state_hours", allowed=f"1 to {MOST_PLACES} long", got=len(self.hours))

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def _kept(self) -> KeptSlots:
        return KeptSlots()

    @cached_property
    def _tables(self) -> list[BoolArray]:
        return [week_table(law.windows) for law in self.hours]

    def _table(self, group: Whereabouts) -> BoolArray:
        """(10080,) the intersection of all windows that may hold for a group."""
        whole = np.ones(MINUTES_PER_WEEK, dtype=np.bool_)
        for law in group.laws:
            whole &= self._tables[law]
        return whole

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by group of contacts first, then gather; a group for which no law holds is left alone."""
        named = np.array([channel in self.channels for channel in scene.catalog.channels])
        if not named.any():
            return Verdict()
        groups, code = whereabouts_of(scene.contacts, [law.place for law in self.hours])
        if not groups:
            return Verdict()
        scope = purpose_mask(self.applies_to)
        closed = self._kept.rows(scene, groups, lambda group: self._closed(group, scene))
        by_group = (scope[:, None, None] & named[:, None]) & np.stack(closed)[:, None, None, :]
        return Verdict(channel_hour=by_group[code]) if by_group.any() else Verdict()

    def _closed(self, group: Whereabouts, scene: Scene) -> BoolArray:
        """(H,) slots outside the hours of some law that may hold."""
        if not group.laws:
            return np.zeros(len(scene.catalog.hours), dtype=np.bool_)
        closed: BoolArray = ~open_slots(self._table(group)[None], group, scene)[0]
        return closed

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The planned local time against every law that may hold."""
        groups, code = whereabouts_of(scene.contacts.take(np.array([row])), [law.place for law in self.hours])
        group = groups[int(code[0])]
        laws = [self.hours[law] for law in group.laws]
        limit = {law.id: law.windows for law in laws}
        planned = int(scene.planned[row, cell.hour])
        if group.zone is None or planned == NOT_AN_INSTANT:
            return Finding("unknown", limit, "the contact's time zone is unknown, so no lawful hour can be kept")
        is_open = inside_windows(self._table(group), group, scene.margin_us)
        following = next_pass(group, scene.catalog.hours[cell.hour], scene.now_at, is_open)
        local = local_time(group.zone, planned)
        names = ", ".join(limit)
        reason = f"{local} ({', '.join(group.zones)}) is not inside the hours of every law that may hold: {names}"
        return Finding(local, limit, reason, following)


RULE = StateHoursRule
