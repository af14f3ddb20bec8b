"""Deliverability brakes per channel: complaints, hard bounces, carrier filtering, opt-outs (catalogue D1, D4, D6-D8).

Slow thins: on each UTC day a keyed hash of the contact's pseudonym picks the share of contacts that the channel keeps.
The hash knows nothing of the decision's own uniform and what it removed is missing from the logged eligible set, so
logged propensities stay exact. At dispatch only stop holds: the thinning has been done.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.brakes import Brake, Tier, lower_bound, tier_on
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.identity import keyed_hash, unit_of
from engine.time.localtime import DAY_US
from engine.types import PURPOSES, BoolArray, ObjectArray

# A contact that a share of the days lets through is let through within so many days, or practically never.
_SEARCHED_DAYS = 60


class BrakeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thins or closes channels whose health is bad, and closes those whose health nobody knows.

    Attributes:
        brake: the rate, its tiers and how sure one must be.
        channels: that the brake watches; null is all. A channel that is not named is left alone.
        applies_to: purposes that are braked.
    """

    brake: Brake
    channels: tuple[str, ...] | None = None
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        unknown = set(self.applies_to) - set(PURPOSES)
        if unknown or not self.applies_to:
            raise ParameterError("applies_to", "brake", allowed=f"among {PURPOSES}, not empty", got=self.applies_to)
        if self.channels is not None and not self.channels:
            raise ParameterError("channels", "brake", allowed="a list of channels, or null for all", got=self.channels)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def verdict(self, scene: Scene) -> Verdict:
        """A factor without hours; where only stop holds it is the same for every contact and costs nothing."""
        names, n = scene.catalog.channels, scene.contacts.n
        closed = np.array([self._stopped(scene, name) for name in names], dtype=np.bool_)
        thinned = [position for position, name in enumerate(names) if self._slow(scene, name) is not None]
        if not closed.any() and not thinned:
            return Verdict()
        scope = purpose_mask(self.applies_to)[:, None]
        if not thinned:
            return Verdict(
                channel_hour=np.broadcast_to((scope & closed)[None, :, :, None], (n, *scope.shape[:1], len(names), 1))
            )
        by_contact = np.broadcast_to(closed, (n, len(names))).copy()
        for position in thinned:
            by_contact[:, position] |= self._thinned(scene, names[position])
        return Verdict(channel_hour=(scope & by_contact[:, None, :])[..., None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The rate with its bound, or the day on which the thinning lets the contact through."""
        name, rate = scene.catalog.channels[cell.channel], self.brake.rate
        health = (scene.conditions.health or {}).get(name)
        if health is None:
            return Finding("unknown", [tier.above for tier in self.brake.tiers], f"nobody counted {rate} on {name}")
        tier = self.brake.tiers[tier_on(self.brake, health)]
        events = getattr(health, rate)
        observed = {
            "events": events,
            "sent": health.sent,
            "lower_bound": lower_bound(events, health.sent, self.brake.confidence),
        }
        limit = {"tier": tier.name, "above": tier.above, "release_below": tier.release, "days": tier.release_days}
        if tier.effect == "stop":
            return Finding(observed, limit, f"{name} is stopped: {rate} are at tier {tier.name!r}")
        reason = f"{name} is slowed: {rate} are at tier {tier.name!r}, {tier.share:.0%} of the contacts stay each day"
        return Finding(observed, {**limit, "share": tier.share}, reason, self._next_day(scene, row, name, tier))

    def _tier(self, scene: Scene, channel: str) -> Tier | None:
        health = (scene.conditions.health or {}).get(channel)
        position = -1 if health is None else tier_on(self.brake, health)
        return None if position < 0 else self.brake.tiers[position]

    def _watched(self, channel: str) -> bool:
        return self.channels is None or channel in self.channels

    def _stopped(self, scene: Scene, channel: str) -> bool:
        known = channel in (scene.conditions.health or {})
        tier = self._tier(scene, channel)
        return self._watched(channel) and (not known or (tier is not None and tier.effect == "stop"))

    def _slow(self, scene: Scene, channel: str) -> Tier | None:
        tier = self._tier(scene, channel)
        slows = tier is not None and tier.effect == "slow" and not scene.conditions.dispatching
        return tier if slows and self._watched(channel) else None

    def _thinned(self, scene: Scene, channel: str) -> BoolArray:
        """(n,) contacts whom the channel does not keep today."""
        tier = self._slow(scene, channel)
        share = 1.0 if tier is None else tier.share
        return _draws(scene.contacts.contact_id, channel, self.brake.rate, scene.now_at // DAY_US) >= share

    def _next_day(self, scene: Scene, row: int, channel: str, tier: Tier) -> int | None:
        one, today = scene.contacts.contact_id[[row]], scene.now_at // DAY_US
        for day in range(today + 1, today + 1 + _SEARCHED_DAYS):
            if _draws(one, channel, self.brake.rate, day)[0] < tier.share:
                return int(day * DAY_US)
        return None


def _draws(contact_ids: ObjectArray, channel: str, rate: str, day: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(n,) floats in [0, 1), one per contact, channel, rate and UTC day; independent of every decision's uniform."""
    return unit_of(keyed_hash(contact_ids, f"brake/{channel}/{rate}"), f"day/{day}")


RULE = BrakeRule
