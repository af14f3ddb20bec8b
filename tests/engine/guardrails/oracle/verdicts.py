"""All rules of a pack on one contact, one action, one instant: the ids of those that remove it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.guardrails.pack import Pack
from tests.engine.guardrails.oracle import basic, history, offers, operations, permission
from tests.engine.guardrails.oracle.people import Action, Person, Setting


def permits_everything(params: Mapping[str, Any], person: Person, action: Action, setting: Setting) -> bool:
    """O9 stops the start, not a send."""
    return False


ORACLE: dict[str, Callable[[Mapping[str, Any], Person, Action, Setting], bool]] = {
    "consent": permission.consent,
    "quiet_hours": permission.quiet_hours,
    "suppression": basic.suppression,
    "frequency": basic.frequency,
    "content": basic.content,
    "topic_cap": history.topic_cap,
    "cooldown": history.cooldown,
    "sequence": history.sequence,
    "sunset": history.sunset,
    "recent_purchase": history.recent_purchase,
    "open_ticket": history.open_ticket,
    "discount": offers.discount,
    "first_touch": offers.first_touch,
    "sticky_price": offers.sticky_price,
    "due_window": offers.due_window,
    "features_allowed": permits_everything,
    "consent_basis": permission.consent_basis,
    "revoke_all": permission.revoke_all,
    "profiling": permission.profiling,
    "lists": permission.lists,
    "line_type": permission.line_type,
    "incidents": permission.incidents,
    "holidays": permission.holidays,
    "state_hours": permission.state_hours,
    "margin_floor": offers.margin_floor,
    "operations": operations.operations,
    "emergency": operations.emergency,
    "volume": operations.volume,
    "ramp": operations.ramp,
    "brake": operations.brake,
}


def reasons(pack: Pack, person: Person, action: Action, setting: Setting) -> set[str]:
    """Ids of the rules that remove an action."""
    return {entry.id for entry in pack.rules if ORACLE[entry.rule](entry.params, person, action, setting)}
