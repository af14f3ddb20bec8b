"""Deliverability brakes as statistics: counts in, a tier out. Pure functions; no clock, no contacts.

A brake goes on where the lower confidence bound of the rate lies above a tier's limit, so that one complaint among 39
sends (2.6 %) proves nothing; it goes off only after straight days below a release limit (hysteresis), so that it does
not flutter around its limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from scipy.special import betaincinv

from engine.errors import ParameterError
from engine.guardrails.conditions import ChannelHealth, Conditions, Held
from engine.numeric.money import exact

RATES: Final = ("complaints", "hard_bounces", "carrier_filtered", "opt_outs")
FREE: Final = "none"

Rate = Literal["complaints", "hard_bounces", "carrier_filtered", "opt_outs"]
Effect = Literal["warn", "slow", "stop"]


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step of a brake.

    Attributes:
        name: unique in its brake.
        effect: warn (noted only), slow (a share of the contacts stays) or stop.
        above: the tier is on where the rate is above this, in (0, 1).
        release_below: the tier goes off below this; null is `above`.
        release_days: for so many straight days.
        share: of contacts that slow lets through, in [0, 1].
    """

    name: str
    effect: Effect
    above: float
    release_below: float | None = None
    release_days: int = 1
    share: float = 0.5

    def __post_init__(self) -> None:
        limits = {"above": (self.above, 1.0), "release_below": (self.release, self.above)}
        for field, (value, most) in limits.items():
            if not 0 < value <= most:
                raise ParameterError(field, f"tier {self.name!r}", allowed=f"above 0, at most {most:g}", got=value)
        if not 1 <= self.release_days <= 366:
            raise ParameterError("release_days", f"tier {self.name!r}", allowed="in 1..366", got=self.release_days)
        if not 0 <= self.share <= 1:
            raise ParameterError("share", f"tier {self.name!r}", allowed="in [0, 1]", got=self.share)
        if self.name in ("", FREE):
            raise ParameterError("name", "a tier", allowed=f"non-empty, not {FREE!r}", got=self.name)

    @property
    def release(self) -> float:
        return self.above if self.release_below is None else self.release_below


class Brake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rate with its tiers.

    Attributes:
        rate: one of `RATES`, per dispatched send.
        tiers: at least one, their limits rising, their effects never weaker than the one before.
        confidence: of the one-sided bound, in [0.5, 1).
        min_sent: fewer sends prove nothing.
    """

    rate: Rate
    tiers: tuple[Tier, ...]
    confidence: float = 0.95
    min_sent: int = 1000

    def __post_init__(self) -> None:
        limits, names = [tier.above for tier in self.tiers], [tier.name for tier in self.tiers]
        effects = [("warn", "slow", "stop").index(tier.effect) for tier in self.tiers]
        if not limits or sorted(set(limits)) != limits or sorted(effects) != effects or len(set(names)) != len(names):
            raise ParameterError(
                "tiers",
                f"brake on {self.rate}",
                allowed="at least one, limits rising, effects not weakening, names unique",
                got=names,
            )
        if not 0.5 <= self.confidence < 1:
            raise ParameterError("confidence", f"brake on {self.rate}", allowed="in [0.5, 1)", got=self.confidence)
        if self.min_sent < 1:
            raise ParameterError("min_sent", f"brake on {self.rate}", allowed="1 or more", got=self.min_sent)


def lower_bound(events: int, sent: int, confidence: float) -> float:
    """One-sided lower Clopper-Pearson bound of a rate; 0 where nothing happened.

    Exact: over all rates the bound lies above the true one in at most 1 - confidence of cases. Wilson's interval, tried
    first, does not keep that for rates of a tenth of a percent.

    Source: Clopper & Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.

    Args:
        events: 0 or more; more than were sent (reports of earlier sends) count as all of them.
        sent: 0 or more.
        confidence: in (0, 1).
    """
    events = min(events, sent)
    return float(betaincinv(events, sent - events + 1, 1.0 - confidence)) if events else 0.0


def proven_tier(brake: Brake, events: int, sent: int) -> int:
    """Position of the highest tier that the counts prove, -1 for none."""
    if sent < brake.min_sent:
        return -1
    bound = lower_bound(events, sent, brake.confidence)
    return sum(bound > tier.above for tier in brake.tiers) - 1


def tier_on(brake: Brake, health: ChannelHealth) -> int:
    """Position of the tier that is on: proven by the counts or held since the last look, the higher one; -1 for none.

    A held tier that the brake does not know counts as its highest.
    """
    held = health.held.get(brake.rate)
    return max(_position(brake, held), proven_tier(brake, getattr(health, brake.rate), health.sent))


def tiers_on(rules: Iterable[object], conditions: Conditions) -> dict[str, str]:
    """ "channel rate" -> tier, of every brake that is on, warnings too: what an operator must see.

    Args:
        rules: of a pack; those that hold no brake are passed over.
        conditions: the sender's side.
    """
    on = {}
    for rule in rules:
        brake, watched = getattr(rule, "brake", None), getattr(rule, "channels", None)
        for channel, health in (conditions.health or {}).items():
            if isinstance(brake, Brake) and (watched is None or channel in watched):
                position = tier_on(brake, health)
                if position >= 0:
                    on[f"{channel} {brake.rate}"] = brake.tiers[position].name
    return on


def review(brake: Brake, held: Held | None, window: ChannelHealth, today: ChannelHealth, day: int) -> Held:
    """The daily look at a brake: the next state.

    A tier goes on as soon as the window's counts prove it. It goes off when the day's own rate has been below its
    release limit on `release_days` straight days and the window does not prove it any more; then the brake falls to
    what the window proves. A day without sends and without events is below; one that nobody looked at breaks the row.

    Args:
        held: the state before, None for none.
        window: counts over the brake's window.
        today: counts of the day alone.
        day: days since 1970, not before the last look; the same day again does not count twice.

    Raises:
        ParameterError: a day before the last look.
    """
    if held is not None and day < held.day:
        raise ParameterError("day", "review", allowed=f"{held.day} or later, the last look", got=day)
    before = _position(brake, held)
    proven = proven_tier(brake, getattr(window, brake.rate), window.sent)
    if held is None or before < 0 or proven >= before:
        return _state(brake, proven, 0, day)
    events = getattr(today, brake.rate)
    tier = brake.tiers[before]
    # In decimals: 0.07 of 100 is 7, not a little more, so 7 events are not below it.
    if events and not events < exact(tier.release) * today.sent:
        return Held(tier.name, 0, day)
    if day == held.day:
        return held
    straight = 1 + (held.days_below if day - held.day == 1 else 0)
    if straight >= tier.release_days:
        return _state(brake, proven, 0, day)
    return Held(tier.name, straight, day)


def _position(brake: Brake, held: Held | None) -> int:
    if held is None or held.tier == FREE:
        return -1
    names = [tier.name for tier in brake.tiers]
    return names.index(held.tier) if held.tier in names else len(names) - 1


def _state(brake: Brake, position: int, days_below: int, day: int) -> Held:
    return Held(FREE if position < 0 else brake.tiers[position].name, days_below, day)
