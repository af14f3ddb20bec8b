"""The sender's side of the guardrails: counts over all batches of a campaign in, conditions out, once a day.

Every batch of a day is judged under the same conditions, made from the days before; so neither their order nor the
number of processes matters. What a batch adds on a day is a few whole numbers per channel (`Counts`), which add up
in any order. Complaints, bounces and opt-outs count on the day on which they are reported, not on the day of the send.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.brakes import Brake, review
from engine.guardrails.conditions import ChannelHealth, Conditions, Held
from engine.guardrails.layer import Guardrails
from engine.time.localtime import DAY_US
from engine.types import PURPOSES, IntArray
from simulator.rollout import Actor, play
from simulator.world.happened import Happened
from simulator.world.world import World

# Days that the brakes look back, with the one that is just over; ours, platforms say "daily" or "seven days".
WINDOW_DAYS: Final = 7
COUNTED: Final = ("sent", "promotional", "complaints", "hard_bounces", "carrier_filtered", "opt_outs")
_REPORTED: Final = {"complaints": "complained", "hard_bounces": "bounced", "opt_outs": "unsubscribed"}
_HEALTH: Final = ("sent", "complaints", "hard_bounces", "carrier_filtered", "opt_outs")


@dataclass(frozen=True)
class Counts:
    """What a campaign, or a batch of it, sent and heard on one day.

    Attributes:
        day: days since 1970, UTC.
        by_channel: name in `COUNTED` -> one whole number per channel of the catalog.
    """

    day: int
    by_channel: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        widths = {len(values) for values in self.by_channel.values()}
        if set(self.by_channel) != set(COUNTED) or len(widths) != 1:
            raise ParameterError(
                "by_channel", "Counts", allowed=f"exactly {COUNTED}, one number per channel", got=dict(self.by_channel)
            )

    def __add__(self, other: Counts) -> Counts:
        """Both together.

        Raises:
            ParameterError: counts of different days.
        """
        if other.day != self.day:
            raise ParameterError("day", "Counts", allowed=str(self.day), got=other.day)
        return Counts(
            self.day,
            {
                name: tuple(map(sum, zip(own, other.by_channel[name], strict=True)))
                for name, own in self.by_channel.items()
            },
        )

    def to_builtins(self) -> dict[str, Any]:
        """Plain data, for checkpoints: `Counts(**data)` reads it back."""
        return {"day": self.day, "by_channel": {name: list(values) for name, values in self.by_channel.items()}}


def nothing_on(day: int, channels: int) -> Counts:
    """A day on which nothing was sent or heard."""
    return Counts(day, dict.fromkeys(COUNTED, (0,) * channels))


def counts_of(world: World, happened: Happened) -> Counts:
    """What one batch did in the step that has just been taken.

    Args:
        world: after `advance`; it knows what was reported by then.
        happened: what the step brought.
    """
    channels, catalog = len(world.catalog.channels), world.catalog
    promotional = catalog.purpose_codes[happened.arm] == PURPOSES.index("promotional")
    day = happened.step * world.moment.step_days
    down = [
        any(one.kind == "channel_outage" and one.on(day) and one.concerns(name) for one in world.scenario.spec.faults)
        for name in catalog.channels
    ]
    filtered = happened.bounced_soft & np.array(down, dtype=np.bool_)[happened.channel]
    step_us = round(world.moment.step_days * DAY_US)
    return Counts(
        int((world.moment.now_at - step_us) // DAY_US),
        {
            "sent": _tally(happened.channel, channels),
            "promotional": _tally(happened.channel[promotional], channels),
            "carrier_filtered": _tally(happened.channel[filtered], channels),
            **{name: tuple(world.reported[event].tolist()) for name, event in _REPORTED.items()},
        },
    )


def _tally(channel: IntArray, channels: int) -> tuple[int, ...]:
    return tuple(np.bincount(channel, minlength=channels).tolist())


@dataclass(frozen=True)
class Ledger:
    """What a sender remembers between days.

    Attributes:
        days: counts, oldest first, at most one per day.
        held: (channel, rate) -> the brake as its last look left it.
    """

    days: tuple[Counts, ...] = ()
    held: Mapping[tuple[str, str], Held] = field(default_factory=dict)


class Sender:
    """From counts to conditions.

    Where two brakes of a pack watch one rate on one channel, both see the counts and the first one's look is held.

    Args:
        guardrails: its brakes are looked at.
        use_case: written into the conditions.
        window_days: that the brakes look back, at least 1.

    Raises:
        ParameterError: `window_days` below 1.
    """

    def __init__(self, guardrails: Guardrails, use_case: str, window_days: int = WINDOW_DAYS) -> None:
        if window_days < 1:
            raise ParameterError("window_days", "Sender", allowed="at least 1", got=window_days)
        self._channels = guardrails.catalog.channels
        self._use_case = use_case
        self._window_days = window_days
        self._brakes: dict[tuple[str, str], Brake] = {}
        for _, rule in guardrails.rules:
            brake, watched = getattr(rule, "brake", None), getattr(rule, "channels", None)
            if isinstance(brake, Brake):
                for name in self._channels if watched is None else watched:
                    self._brakes.setdefault((name, brake.rate), brake)

    def after(self, ledger: Ledger, counts: Counts) -> Ledger:
        """The ledger after a day, or after a further part of its last day: the daily look at every brake.

        Args:
            ledger: before.
            counts: counts of all batches together.

        Raises:
            ParameterError: a day before the last one.
        """
        days = ledger.days
        if days and counts.day < days[-1].day:
            raise ParameterError("counts", "Sender", allowed=f"of day {days[-1].day} or later", got=counts.day)
        if days and counts.day == days[-1].day:
            days, counts = days[:-1], days[-1] + counts
        # Eight days and those of the window: what budgets and brakes look at.
        kept = (*(one for one in days if counts.day - one.day < max(self._window_days, 8)), counts)
        held = {}
        for (name, rate), brake in self._brakes.items():
            if name in self._channels:
                window = self._health(kept, name, counts.day)
                today = self._health((counts,), name, counts.day)
                held[name, rate] = review(brake, ledger.held.get((name, rate)), window, today, counts.day)
        return Ledger(kept, held)

    def replayed(self, days: Sequence[Counts]) -> Ledger:
        """The ledger after some days, from the first one on."""
        ledger = Ledger()
        for counts in days:
            ledger = self.after(ledger, counts)
        return ledger

    def conditions(self, ledger: Ledger, now_at: int) -> Conditions:
        """The sender's side for the decisions of an instant.

        Args:
            ledger: after everything that happened before.
            now_at: microseconds.
        """
        today = int(now_at // DAY_US)
        return Conditions(
            use_case=self._use_case,
            health={name: self._held(self._health(ledger.days, name, today), ledger, name) for name in self._channels},
            sent_today=self._sent(ledger, today, 1),
            sent_yesterday=self._sent(ledger, today - 1, 1),
            sent_7d=self._sent(ledger, today, 7),
            killed=False,
        )

    def _health(self, days: Sequence[Counts], channel: str, today: int) -> ChannelHealth:
        at = self._channels.index(channel)
        # Today is not over when decisions are taken: the window ends with the last day that has counts.
        last = max((one.day for one in days), default=today)
        inside = [one for one in days if last - one.day < self._window_days]
        return msgspec.convert(
            {name: sum(one.by_channel[name][at] for one in inside) for name in _HEALTH}, ChannelHealth
        )

    def _held(self, health: ChannelHealth, ledger: Ledger, channel: str) -> ChannelHealth:
        held = {rate: state for (name, rate), state in ledger.held.items() if name == channel}
        return msgspec.structs.replace(health, held=held)

    def _sent(self, ledger: Ledger, last: int, span: int) -> dict[str, int]:
        inside = [one.by_channel["promotional"] for one in ledger.days if last - span < one.day <= last]
        return {name: sum(counts[at] for counts in inside) for at, name in enumerate(self._channels)}


@dataclass(frozen=True)
class CampaignStep:
    """One step of a campaign over some batches.

    Attributes:
        conditions: under which everybody was decided for.
        happened: by batch.
        ledger: after it.
    """

    conditions: Conditions
    happened: tuple[Happened, ...]
    ledger: Ledger


def campaign(worlds: Sequence[World], actor: Actor, steps: int, sender: Sender | None = None) -> Iterator[CampaignStep]:
    """Step some batches together, under one sender.

    Args:
        worlds: batches of one scenario at the same step.
        actor: who decides.
        steps: how many.
        sender: made from the first batch where None.

    Raises:
        ParameterError: no batch, or batches at different steps.
    """
    if not worlds or len({world.state.step for world in worlds}) > 1:
        raise ParameterError(
            "worlds", "campaign", allowed="batches at the same step", got=[world.state.step for world in worlds]
        )
    sender = sender or Sender(worlds[0].guardrails, worlds[0].scenario.name)
    ledger = Ledger()
    for _ in range(steps):
        conditions = sender.conditions(ledger, worlds[0].moment.now_at)
        happened = tuple(play(world, actor, conditions) for world in worlds)
        counts = [counts_of(world, one) for world, one in zip(worlds, happened, strict=True)]
        ledger = sender.after(ledger, sum(counts[1:], counts[0]))
        yield CampaignStep(conditions, happened, ledger)
