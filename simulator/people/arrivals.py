"""What becomes known, and when: events reach the sender by the delay curves, and the faults of the feed act here."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from engine.time.localtime import DAY_US, HOUR_US, local_us
from engine.types import BoolArray, FloatArray, IntArray
from simulator.people.people import HOUR_KINDS, People
from simulator.scenario import Scenario
from simulator.world.attention import PEAKS, decay, slot_hours
from simulator.world.happened import Happened
from simulator.world.response import Cells, Chances, Moment
from simulator.world.state import State

# Events of which a sender keeps count per channel.
REPORTED: Final = ("unsubscribed", "complained", "bounced")
# What an outcome file calls an event, where it is another word.
LOGGED_AS: Final = {"seen": "opened", "ordered": "purchased"}
# Quarters of the local day that reactions are counted in: night, morning, afternoon, evening.
QUARTER_ENDS: Final = (6, 12, 18)
# Middle of each kind's reading time on the clock (`simulator.world.attention`), and how far reactions stray from it.
READING_HOUR: Final = np.array([PEAKS[kind][0] for kind in HOUR_KINDS])
READING_SPREAD_HOURS: Final = 5.0


class Arrivals:
    """The way from events to knowledge, for one batch.

    Args:
        scenario: delay and faults.
        people: the batch.

    Attributes:
        reported: event -> (C,) how many became known at the start of the step.
    """

    def __init__(self, scenario: Scenario, people: People) -> None:
        self._scenario = scenario
        self._people = people
        self._draw = people.draw
        self.reported = self._nothing()

    def local_hours(self, hours: tuple[int | str, ...], moment: Moment) -> IntArray:
        """(Z + 1, H) hour of the day of each slot: the slot's own, or the zone's hour now; UTC where it is unknown."""
        table = np.empty((len(self._people.zones) + 1, len(hours)), dtype=np.int64)
        for row, zone in enumerate((*self._people.zones, "UTC")):
            now = int(local_us(zone, np.array([moment.now_at]))[0]) % DAY_US // HOUR_US
            table[row] = slot_hours(hours, now)
        return table

    def faulty(self, chances: Chances, cells: Cells, moment: Moment) -> Chances:
        """Chances with outages and complaint spikes that are on."""
        names = self._scenario.catalog.channels
        for fault in self._scenario.spec.faults:
            if not fault.on(moment.day):
                continue
            concerned = np.array([fault.concerns(name) for name in names], dtype=np.bool_)[cells.channel]
            if fault.kind == "channel_outage":
                soft = np.where(concerned, 1.0 - chances.hard_bounced, chances.soft_bounced)
                chances = replace(chances, soft_bounced=soft)
            elif fault.kind == "complaint_spike":
                more = np.where(concerned, np.minimum(chances.complained * fault.factor, 0.5), chances.complained)
                chances = replace(chances, complained=more)
        return chances

    def plan(self, state: State, happened: Happened, moment: Moment) -> None:
        """Put what happened on the way: each event becomes known after its delay."""
        rows, sent_after = happened.rows, happened.send_at - moment.now_at
        for event, flags in (
            ("clicked", happened.clicked),
            ("seen", happened.seen & ~happened.clicked),
            ("unsubscribed", happened.unsubscribed),
            ("complained", happened.complained),
            ("bounced", happened.bounced_hard),
        ):
            self._post(state, event, rows[flags], happened.channel[flags], sent_after[flags], moment)
        value = happened.order_usd + happened.organic_usd
        ordered = np.flatnonzero(happened.ordered | happened.organic)
        # An order by message follows the click.
        bought = happened.message_order
        after = np.zeros(len(value), dtype=np.int64)
        after[rows[bought]] = sent_after[bought] + self._delays(
            "clicked", rows[bought], happened.channel[bought], moment
        )
        self._post(state, "ordered", ordered, None, after[ordered], moment, value)
        state.known.unopened[rows] += 1
        visited = np.flatnonzero(state.browsed == moment.step)
        state.arriving.setdefault(moment.step + 1, []).append(("visited", visited, visited, np.zeros(len(visited))))

    def _post(
        self,
        state: State,
        event: str,
        rows: IntArray,
        channel: IntArray | None,
        after_us: IntArray | None,
        moment: Moment,
        value: FloatArray | None = None,
    ) -> None:
        if not len(rows):
            return
        channels = np.zeros(len(rows), dtype=np.int64) if channel is None else channel
        us = np.zeros(len(rows), dtype=np.int64) if after_us is None else after_us.copy()
        us += self._delays(event, rows, channels, moment)
        us, kept = self._fed(us, event, rows, moment)
        rows, channels, us = rows[kept], channels[kept], us[kept]
        steps = moment.step + np.maximum(np.ceil(us / (moment.step_days * DAY_US)), 1).astype(np.int64)
        worth = np.zeros(len(rows)) if value is None else value[rows]
        for step in _distinct(steps):
            due = steps == step
            state.arriving.setdefault(step, []).append((event, rows[due], channels[due], worth[due]))

    def _delays(self, event: str, rows: IntArray, channels: IntArray, moment: Moment) -> IntArray:
        us = np.zeros(len(rows), dtype=np.int64)
        uniform = self._draw(f"delay {event}", moment.step, rows)
        for position in _distinct(channels):
            own = channels == position
            name = self._scenario.catalog.channels[position]
            us[own] = self._scenario.delay.delay_us(event, name, uniform[own])
        return us

    def _fed(self, us: IntArray, event: str, rows: IntArray, moment: Moment) -> tuple[IntArray, BoolArray]:
        """Delays with those of a feed that lags, and what it does not lose; an event that comes twice counts once.

        The same draws as those of an outcome file, so that what a log lacks is not known either.
        """
        delay, name = self._scenario.delay, LOGGED_AS.get(event, event)
        late, lost = (getattr(delay, f"{kind}_share", 0.0) for kind in ("late", "lost"))
        if late:
            lag = round(getattr(delay, "late_hours", 0.0) * HOUR_US)
            us = us + lag * (self._draw(f"late {name}", moment.step, rows) < late)
        kept = self._draw(f"lost {name}", moment.step, rows) >= lost if lost else np.ones(len(rows), dtype=np.bool_)
        return us, kept

    def arrive(self, state: State, moment: Moment) -> None:
        """What becomes known by the start of a step; faults that change the records act here too."""
        known = state.known
        known.orders *= decay(180.0, moment.step_days)
        known.spend_usd *= decay(180.0, moment.step_days)
        known.visits *= decay(5.0, moment.step_days)
        self.reported = self._nothing()
        for event, rows, channels, value in state.arriving.pop(moment.step, ()):
            if event in self.reported:
                self.reported[event] += np.bincount(channels, minlength=len(self.reported[event]))
            if event == "unsubscribed":
                _take_back(state, rows, channels, moment)
            elif event in {"complained", "bounced"}:
                state.suppressed[rows, channels] = 1
            elif event == "ordered":
                known.ordered[rows] = moment.step - 1
                known.orders[rows] += 1.0
                known.spend_usd[rows] += value
            elif event == "visited":
                known.browsed[rows] = moment.step - 1
                known.visits[rows] += 1.0
            else:
                self._reacted(state, rows, moment)
        self._withdraw(state, moment)

    def _nothing(self) -> dict[str, IntArray]:
        channels = len(self._scenario.catalog.channels)
        return {event: np.zeros(channels, dtype=np.int64) for event in REPORTED}

    def _reacted(self, state: State, rows: IntArray, moment: Moment) -> None:
        known = state.known
        known.engaged[rows] = moment.step - 1
        known.unopened[rows] = 0
        known.reactions[rows] *= 0.9
        state.engaged[rows] = moment.step - 1
        quarter = np.searchsorted(QUARTER_ENDS, self._habit_hour(rows, moment.step), side="right")
        known.reactions[rows, quarter] += 1.0

    def _habit_hour(self, rows: IntArray, step: int) -> IntArray:
        """Local hour of a reaction: around the contact's own reading time, whenever the message came."""
        around = READING_SPREAD_HOURS * (2.0 * self._draw("reads at", step, rows) - 1.0)
        hour: IntArray = np.floor(READING_HOUR[self._people.hour_kind[rows]] + around).astype(np.int64) % 24
        return hour

    def _withdraw(self, state: State, moment: Moment) -> None:
        for number, fault in enumerate(self._scenario.spec.faults):
            first = fault.from_day <= moment.day < fault.from_day + moment.step_days
            if fault.kind == "consent_withdrawn" and first:
                rows = np.flatnonzero(self._draw(f"withdraws {number}") < fault.share)
                for position, name in enumerate(self._scenario.catalog.channels):
                    if fault.concerns(name):
                        _take_back(state, rows, np.full(len(rows), position), moment)


def _distinct(values: IntArray) -> list[int]:
    """The distinct values, rising; they lie close together, so counting beats sorting."""
    if not len(values):
        return []
    low = int(values.min())
    return (np.flatnonzero(np.bincount(values - low)) + low).tolist()


def _take_back(state: State, rows: IntArray, channels: IntArray, moment: Moment) -> None:
    """Promotional permissions that are on record as withdrawn from now on."""
    state.consent[rows, channels, 0] = 0
    state.withdrew[rows, channels] = moment.step
