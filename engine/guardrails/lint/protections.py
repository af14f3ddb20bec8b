"""What a pack lacks that people would miss: said loudly wherever it starts, because nothing else would show it."""

from __future__ import annotations

from typing import Any

from engine.guardrails.hours.weekly import week_table
from engine.guardrails.layer import Guardrails
from engine.guardrails.rule import Rule
from engine.guardrails.rules.frequency import FrequencyRule
from engine.guardrails.rules.quiet_hours import QuietHoursRule
from engine.guardrails.rules.suppression import SuppressionRule

PROMOTIONAL = "promotional"


def warnings_of(guardrails: Guardrails) -> tuple[str, ...]:
    """A sentence on each protection that a pack does not give; none where it gives all of them.

    Args:
        guardrails: the pack, bound to the catalog: a cap on a channel that the catalog does not have caps nothing.
    """
    pack, rules = guardrails.pack, [rule for _, rule in guardrails.rules]
    channels = guardrails.catalog.channels
    found = []
    if pack.audience != "people":
        found.append("is for simulated contacts alone")
    if pack.latency_margin_s == 0:
        found.append("has latency_margin_s 0: what waits in a queue leaves at hours that nobody checked")
    for what, protects in (
        ("cap on how often a contact is written to", _caps),
        ("quiet hours", _is_quiet),
        ("rule for suppressed contacts (opt-outs, bounces, complaints)", _suppresses),
    ):
        without = [name for name in channels if not any(protects(rule, name) for rule in rules)]
        if without:
            where = "" if len(without) == len(channels) else f" on {', '.join(without)}"
            found.append(f"has no {what}{where}")
    return tuple(f"guardrail pack {pack.name!r} {sentence}" for sentence in found)


def _caps(rule: Rule, channel: str) -> bool:
    return (
        isinstance(rule, FrequencyRule)
        and PROMOTIONAL in rule.applies_to
        and any(cap.max is not None and (cap.channels is None or channel in cap.channels) for cap in rule.caps)
    )


def _is_quiet(rule: Rule, channel: str) -> bool:
    if not isinstance(rule, QuietHoursRule) or PROMOTIONAL not in rule.applies_to:
        return False
    windows: dict[str, Any] = rule.windows.get(channel, rule.windows.get("*", {}))
    return not bool(week_table(windows).all())


def _suppresses(rule: Rule, channel: str) -> bool:  # noqa: ARG001 - the rule looks at every channel
    return isinstance(rule, SuppressionRule)
