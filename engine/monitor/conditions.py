"""What the monitor tells `tactful decide`: the sender's conditions with health, counts, pauses and the kill switch.

It only ever takes away: nothing that was paused before is opened, and a kill switch of which nobody said that it is off
stays unsaid, so that everything stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.guardrails.brakes import Brake, review
from engine.guardrails.conditions import ChannelHealth, Conditions, Held
from engine.monitor.escalate import Raised
from engine.monitor.rates import RateSums

# Event of the outcome file -> count of a channel's health.
COUNTED: Final = {"complained": "complaints", "bounced": "hard_bounces", "unsubscribed": "opt_outs"}


def conditions_after(
    before: Conditions, raised: Sequence[Raised], rates: RateSums | None, brakes: Sequence[Brake], window_days: int
) -> Conditions:
    """The conditions for the decisions that follow.

    Args:
        before: conditions as they were given.
        raised: escalations that are on.
        rates: counts of `COUNTED`; None leaves health and volumes as they were.
        brakes: of the pack; each is reviewed as on a daily look.
        window_days: days over which the health is counted.
    """
    channels = {one.scope for one in raised if one.effect == "pause_channel"}
    arms = {one.scope for one in raised if one.effect == "pause_arm"}
    killed = True if any(one.effect == "kill" for one in raised) else before.killed
    after = msgspec.structs.replace(
        before,
        killed=killed,
        paused_channels=before.paused_channels | channels,
        paused_arms=before.paused_arms | arms,
    )
    if rates is None or rates.last_day is None:
        return after
    day = rates.last_day
    health = _health(rates, day, window_days)
    held = {name: _held(before, name, health[name], _health(rates, day, 1)[name], brakes, day) for name in health}
    return msgspec.structs.replace(
        after,
        health={name: msgspec.structs.replace(one, held=held[name]) for name, one in health.items()},
        sent_today=dict.fromkeys(health, 0),
        sent_yesterday=rates.sent(day, 1),
        sent_7d=rates.sent(day, 6),
    )


def _health(rates: RateSums, day: int, span: int) -> dict[str, ChannelHealth]:
    sent = rates.sent(day, span)
    counts = {what: rates.happened(event, day, span) for event, what in COUNTED.items()}
    return {
        name: msgspec.convert(
            {"sent": sent[name]} | {what: found[name] for what, found in counts.items()}, ChannelHealth
        )
        for name in sent
    }


def _held(
    before: Conditions, name: str, window: ChannelHealth, today: ChannelHealth, brakes: Sequence[Brake], day: int
) -> dict[str, Held]:
    known = (before.health or {}).get(name)
    held = dict(known.held) if known else {}
    for brake in brakes:
        state = held.get(brake.rate)
        if state is None or state.day <= day:
            held[brake.rate] = review(brake, state, window, today, day)
    return held
