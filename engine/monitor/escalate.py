"""From what was counted to what is done: alert, pause an arm, pause a channel, or the kill switch.

What is done is told to `tactful decide` as the sender's conditions: health, counts, pauses and the kill switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from engine.audit.findings import FAIL, Finding
from engine.audit.windows import day_name
from engine.guardrails.brakes import Brake, review
from engine.guardrails.conditions import ChannelHealth, Conditions, Held
from engine.monitor.effects import DayEffect
from engine.monitor.feeds import FeedSums
from engine.monitor.foresight import Foresight
from engine.monitor.rates import Counted, RateSums, began, detector
from engine.monitor.rule import EFFECTS, Escalation, MonitorRule

# A day with fewer decisions says nothing of a feed.
_FEWEST = 50


@dataclass(frozen=True)
class Raised:
    """An escalation that is on.

    Attributes:
        name / effect: name and effect of the rule.
        scope: the channel, arm or feature; "" for all.
        value / limit: what was seen on the last days, and what is allowed.
        since: day on which it went on, YYYY-MM-DD; "" where no day is known.
        what: one sentence.
    """

    name: str
    effect: str
    scope: str
    value: float
    limit: float
    since: str
    what: str


@dataclass(frozen=True)
class Escalations:
    """What the rules say.

    Attributes:
        raised: escalations that are on, the strongest first.
        silent: name -> why a rule could not be judged.
    """

    raised: tuple[Raised, ...]
    silent: dict[str, str] = field(default_factory=dict)

    @property
    def strongest(self) -> str:
        """The strongest effect that is on; "" where none is."""
        return self.raised[0].effect if self.raised else ""


def judge(
    rule: MonitorRule,
    rates: dict[str, RateSums] | None,
    feeds: FeedSums,
    audit: Sequence[Finding],
    control: Sequence[DayEffect],
    foresight: Foresight | str,
) -> Escalations:
    """Try every rule.

    Args:
        rule: the rules.
        rates: name of a rule of a rate -> its counts; None where no outcomes were given.
        feeds: stale values and reach.
        audit: findings of the log.
        control: the effect against control by day.
        foresight: what next month's log will be able to say, or why that is not known.
    """
    raised: list[Raised] = []
    silent: dict[str, str] = {}
    for one in rule.escalations:
        found, why = _try(one, rule, rates, feeds, audit, control, foresight)
        raised += found
        if why:
            silent[one.name] = why
    order = sorted(raised, key=lambda at: (-EFFECTS.index(at.effect), at.name, at.scope))
    return Escalations(tuple(order), silent)


def _try(
    one: Escalation,
    rule: MonitorRule,
    rates: dict[str, RateSums] | None,
    feeds: FeedSums,
    audit: Sequence[Finding],
    control: Sequence[DayEffect],
    foresight: Foresight | str,
) -> tuple[list[Raised], str]:
    if one.watch == "rate":
        if rates is None:
            return [], "no outcomes were given (--outcomes)"
        every = rates[one.name].counted(one.event, one.scope)
        return [found for counted in every if (found := _rate(one, rule, counted))], "" if every else "nothing was sent"
    if one.watch == "reach":
        return _reach(one, rule, feeds)
    if one.watch == "stale":
        return _stale(one, feeds)
    if one.watch == "audit":
        return _audit(one, audit)
    if one.watch == "blind":
        return ([], foresight) if isinstance(foresight, str) else (_blind(one, foresight), "")
    return _loss(one, control)


def _rate(one: Escalation, rule: MonitorRule, counted: Counted) -> Raised | None:
    limit, above = (one.above, True) if one.above is not None else (float(one.below or 0.0), False)
    found = detector(counted, float(limit or 0.0), above=above, window_days=rule.window_days)
    on = np.flatnonzero(found >= 1.0 / rule.false_alarms)
    if not len(on):
        return None
    # The day on which it went on, not a later and clearer one: what is paused stays so until a person looked.
    last = int(on[0])
    first = began(counted, last, float(limit or 0.0), above=above, window_days=rule.window_days)
    day, inside = counted.days[last], slice(first, last + 1)
    sent, events = counted.sent[inside].sum(), counted.events[inside].sum()
    rate = float(events / max(sent, 1.0))
    where = f" on {counted.name}" if counted.name else ""
    what = f"{one.event}{where}: {events:.0f} of {sent:.0f} sends ({rate:.3%}) from {day_name(counted.days[first])} to "
    what += f"{day_name(day)}, {'at most' if above else 'at least'} {limit:.3%} is allowed"
    return Raised(one.name, one.effect, counted.name, rate, float(limit or 0.0), day_name(day), what)


def _reach(one: Escalation, rule: MonitorRule, feeds: FeedSums) -> tuple[list[Raised], str]:
    days, reach, drop = feeds.days, feeds.reach(), float(one.drop or 0.0)
    if len(days) < 2:
        return [], "the log has one day"
    for t in range(1, len(days)):
        before = float(reach[max(0, t - rule.window_days) : t].mean())
        fell = 1.0 - reach[t] / before if before > 0 else 0.0
        if fell > drop:
            what = f"{reach[t]:.1%} of the decisions are about contacts who may be written to, {before:.1%} were before"
            return [Raised(one.name, one.effect, "", float(fell), drop, day_name(days[t]), what)], ""
    return [], ""


def _stale(one: Escalation, feeds: FeedSums) -> tuple[list[Raised], str]:
    days, shares, limit = feeds.days, feeds.stale(), float(one.above or 0.0)
    if not days or not feeds.features:
        return [], "the log has no days, or no features"
    raised = []
    for place, name in enumerate(feeds.features):
        on = np.flatnonzero(shares[:, place] > limit)
        if len(on):
            share = float(shares[on[0] :, place].max())
            what = f"{name} is stale in up to {share:.1%} of the decisions of a day"
            raised.append(Raised(one.name, one.effect, name, share, limit, day_name(days[on[0]]), what))
    return raised, ""


def _audit(one: Escalation, audit: Sequence[Finding]) -> tuple[list[Raised], str]:
    found = next((finding for finding in audit if finding.check == one.check), None)
    if found is None or found.verdict == "n/a":
        return [], f"{one.check}: {'no such check' if found is None else found.what}"
    if found.verdict != FAIL:
        return [], ""
    details: dict[str, Any] = found.details
    windows = [name for name in details.get("windows", []) if len(name) == len("2026-01-01")]
    value, limit = float(found.value or 0.0), float(found.fail or 0.0)
    return [Raised(one.name, one.effect, "", value, limit, windows[0] if windows else "", found.what)], ""


def _blind(one: Escalation, seen: Foresight) -> list[Raised]:
    """Raised where the choice is gone, or next month's log would be too thin."""
    fewest, last = float(one.below or 1.0), list(seen.days)[-1]
    raised = []
    if seen.actions_per_context < fewest:
        what = (
            f"a decision is drawn from {seen.actions_per_context:.4g} actions in effect, at least {fewest:g} are asked "
        )
        what += f"for (the rarest choice has a propensity of {seen.smallest_propensity:.2g}): explore more"
        raised.append(Raised(one.name, one.effect, "", seen.actions_per_context, fewest, last, what))
    if seen.planned_ess < seen.needed_ess:
        what = f"next month's log is foreseen to hold {seen.planned_ess:,.0f} effective rows for another policy, "
        what += f"{seen.needed_ess:,.0f} are needed to judge one: explore more before it goes blind"
        raised.append(Raised(one.name, one.effect, "", seen.planned_ess, seen.needed_ess, last, what))
    return raised


def _loss(one: Escalation, control: Sequence[DayEffect]) -> tuple[list[Raised], str]:
    if not control:
        return [], "there is no control group, or it is too small yet"
    limit = float(one.above or 0.0)
    for day in control:
        if day.high < -limit:
            what = f"treatment is worse than control: {day.value:+.4g} per decision ({day.low:+.4g} to {day.high:+.4g})"
            return [Raised(one.name, one.effect, "", day.value, -limit, day.day, what)], ""
    return [], ""


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
