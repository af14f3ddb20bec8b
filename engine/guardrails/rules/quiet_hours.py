"""Quiet hours in the contact's own time (catalogue Q9, Q10, Q12).

A slot passes only where the whole span from its planned instant to the latest real send (latency margin) lies inside
the windows of its channel, in every zone where the contact may be. Windows are half-open: a send at exactly 20:00:00
is outside "09:00-20:00". A slot without a planned instant (unknown zone) is removed for every purpose: nobody can tell
when it would arrive.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.hours.local import inside_windows, local_time, next_pass, open_slots
from engine.guardrails.hours.places import Whereabouts, whereabouts_of
from engine.guardrails.hours.weekly import week_table
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.time.localtime import slot_instants
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray

OTHERWISE = "*"


class QuietHoursRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Removes slots that may arrive outside their channel's windows.

    Attributes:
        windows: channel -> days -> windows ("09:00-20:00"); "*" for channels without an entry. A channel without
            either has no window: nothing may be sent on it.
        applies_to: purposes to which the windows apply.
    """

    windows: dict[str, dict[str, tuple[str, ...]]]
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        for purpose in self.applies_to:
            if purpose not in PURPOSES:
                raise ParameterError("applies_to", "quiet_hours", allowed=f"among {PURPOSES}", got=purpose)
        _ = self._tables

    @property
    def reads(self) -> tuple[str, ...]:
        return ("zone",)

    @cached_property
    def _tables(self) -> dict[str, BoolArray]:
        return {channel: week_table(spec) for channel, spec in self.windows.items()}

    def _tables_of(self, channels: tuple[str, ...]) -> BoolArray:
        """(C, 10080) windows of the catalog's channels."""
        closed = week_table({})
        fallback = self._tables.get(OTHERWISE, closed)
        return np.stack([self._tables.get(channel, fallback) for channel in channels])

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by group of contacts first, then gather."""
        channels, hours, _ = scene.catalog.shape
        tables = self._tables_of(scene.catalog.channels)
        groups, code = whereabouts_of(scene.contacts)
        # A group without a zone stays closed whatever the purpose.
        by_group = np.ones((len(groups), len(PURPOSES), channels, hours), dtype=np.bool_)
        scope = purpose_mask(self.applies_to)
        for row, group in enumerate(groups):
            if group.zone is None:
                continue
            by_group[row, scope] = ~open_slots(tables, group, scene)
            planned = slot_instants((group.zone,), scene.catalog.hours, scene.now_at)[0]
            by_group[row, ~scope] = planned == NOT_AN_INSTANT
        return Verdict(channel_hour=np.take(by_group, code, axis=0))

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The planned local time against the windows."""
        group = _group(scene, row)
        planned = int(scene.planned[row, cell.hour])
        channel = scene.catalog.channels[cell.channel]
        windows = self.windows.get(channel, self.windows.get(OTHERWISE, {}))
        if group.zone is None or planned == NOT_AN_INSTANT:
            return Finding("unknown", windows, "the contact's time zone is unknown, so no local time can be kept")
        local = local_time(group.zone, planned)
        is_open = inside_windows(self._tables_of((channel,))[0], group, scene.margin_us)
        following = next_pass(group, scene.catalog.hours[cell.hour], scene.now_at, is_open)
        zones = ", ".join(group.zones)
        reason = f"{channel} at {local} ({zones}), up to {scene.latency_margin_s} s later, is not inside a window"
        return Finding(local, windows, reason, following)


def _group(scene: Scene, row: int) -> Whereabouts:
    groups, code = whereabouts_of(scene.contacts.take(np.array([row])))
    return groups[int(code[0])]


RULE = QuietHoursRule
