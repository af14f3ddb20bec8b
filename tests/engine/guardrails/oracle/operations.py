"""Rules on the sender from their words: switches, emergencies, volume, ramp, brakes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache

import numpy as np

from engine.identity import keyed_hash, unit_of
from tests.engine.guardrails.oracle.basic import Params
from tests.engine.guardrails.oracle.history import scoped
from tests.engine.guardrails.oracle.people import EPOCH, PROMOTIONAL, Action, Person, Setting


def operations(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O11: the kill switch, which nobody may leave unsaid unless the pack lets them, and what is paused by name."""
    world = setting.world
    if world.killed or (world.killed is None and params.get("silence_kills", True)):
        return True
    return (
        action.channel in {*world.paused_channels, *params.get("pause_channels", ())}
        or action.arm.id in {*world.paused_arms, *params.get("pause_arms", ())}
        or _use_case_paused(world.use_case, {*world.paused_use_cases, *params.get("pause_use_cases", ())})
    )


def _use_case_paused(use_case: str, paused: set[str]) -> bool:
    """A use case that nobody named may be the one that is paused."""
    return use_case in paused or (not use_case and bool(paused))


def emergency(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O13: nothing to who lives or has a number in a paused state; who may be anywhere may be there."""
    if not scoped(params, action):
        return False
    paused = {*setting.world.paused_states, *params.get("states", ())}
    return any(person.facts.get(name) in {None, *paused} for name in ("state", "area_state"))


def _sum(sent: Mapping[str, int] | None, channels: list[str]) -> int | None:
    """Sends on some channels together; None where nobody counted one of them."""
    counts = [(sent or {}).get(channel) for channel in channels]
    return None if None in counts else sum(count for count in counts if count is not None)


def volume(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F10: a budget of promotional sends per day and per seven days over all contacts."""
    channels = list(params.get("channels") or setting.catalog.channels)
    if action.arm.purpose != PROMOTIONAL or action.channel not in channels:
        return False
    world = setting.world
    for most, sent in ((params.get("max_per_day"), world.sent_today), (params.get("max_per_7d"), world.sent_7d)):
        if most is not None:
            used = _sum(sent, channels)
            if used is None or used >= most:
                return True
    return False


def ramp(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F11: one more send must not bring today above yesterday and a share of it, nor above the floor."""
    channels = list(params.get("channels") or setting.catalog.channels)
    if action.arm.purpose != PROMOTIONAL or action.channel not in channels:
        return False
    today = _sum(setting.world.sent_today, [action.channel])
    yesterday = _sum(setting.world.sent_yesterday, [action.channel])
    if today is None or yesterday is None:
        return True
    grown = (yesterday * (1 + Decimal(str(params["growth"])))).to_integral_value(ROUND_FLOOR)
    return today + 1 > max(int(grown), params["floor"])


def brake(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """D1, D4, D6-D8: stop or thin a channel whose bad rate is proven above a limit, or was and is held on."""
    spec, watched = params["brake"], params.get("channels")
    if not scoped(params, action) or (watched is not None and action.channel not in watched):
        return False
    health = (setting.world.health or {}).get(action.channel)
    if health is None:
        return True
    names = [tier["name"] for tier in spec["tiers"]]
    events = getattr(health, spec["rate"])
    limits = tuple(tier["above"] for tier in spec["tiers"])
    level = _proven(min(events, health.sent), health.sent, limits, spec.get("confidence", 0.95))
    if health.sent < spec.get("min_sent", 1000):
        level = -1
    held = health.held.get(spec["rate"])
    if held is not None:
        level = max(level, names.index(held.tier) if held.tier in names else len(names) - 1)
    if level < 0:
        return False
    tier = spec["tiers"][level]
    if tier["effect"] == "stop":
        return True
    if tier["effect"] == "warn" or setting.world.dispatching:
        return False
    day = (setting.now - EPOCH).days
    return _draw(person.name, action.channel, spec["rate"], day) >= tier.get("share", 0.5)


@lru_cache(maxsize=10_000)
def _proven(events: int, sent: int, limits: tuple[float, ...], confidence: float) -> int:
    """The highest tier whose limit lies below the exact bound: were it the rate, so many events would be too rare."""
    proven = [at for at, limit in enumerate(limits) if events and _tail(events, sent, limit) < 1 - confidence]
    return max(proven, default=-1)


def _tail(events: int, sent: int, rate: float) -> float:
    """P(X >= events) of a binomial, term by term."""
    fewer = (
        math.exp(
            math.lgamma(sent + 1)
            - math.lgamma(i + 1)
            - math.lgamma(sent - i + 1)
            + i * math.log(rate)
            + (sent - i) * math.log1p(-rate)
        )
        for i in range(events)
    )
    return 1 - math.fsum(fewer)


@lru_cache(maxsize=1_000_000)
def _draw(name: str, channel: str, rate: str, day: int) -> float:
    """The contact's number of the day; the hash itself is the engine's, the oracle has no other one."""
    names = np.array([name], dtype=object)
    return float(unit_of(keyed_hash(names, f"brake/{channel}/{rate}"), f"day/{day}")[0])
