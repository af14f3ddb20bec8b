"""Permission and hours from their words: consent, quiet hours."""

from __future__ import annotations

from tests.engine.guardrails.oracle.basic import Params, within
from tests.engine.guardrails.oracle.clocks import planned
from tests.engine.guardrails.oracle.people import PROMOTIONAL, Action, Person, Setting


def consent(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    return person.consent[action.channel, action.arm.purpose].state != "granted"


def quiet_hours(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    at = planned(person.zone, action.hour, setting.now)
    if person.zone is None or at is None:
        return True
    if action.arm.purpose not in params.get("applies_to", [PROMOTIONAL]):
        return False
    windows = params["windows"]
    week = windows.get(action.channel, windows.get("*", {}))
    return not within(week, person.zone, at, at + setting.margin)
