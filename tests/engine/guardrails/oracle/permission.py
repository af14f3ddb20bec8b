"""Permission and hours from their words: consent, lists, lines, incidents, hours of contacts and of the law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.engine.guardrails.oracle.basic import Params, within
from tests.engine.guardrails.oracle.clocks import planned
from tests.engine.guardrails.oracle.history import scoped
from tests.engine.guardrails.oracle.people import PROMOTIONAL, PURPOSES, Action, Person, Setting

# Area codes of Canada; all others of the crowd are of the United States.
PROVINCES = {"ON": "CA", "QC": "CA", "BC": "CA"}


def consent(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """C1, C12: a record of its own for the channel and the purpose, granted, and not over when the send may leave.

    K9: a complaint, a hard bounce or an unsubscription closes its channel by itself.
    """
    if action.channel in person.stops:
        return True
    record = person.consent[action.channel, action.arm.purpose]
    return record.state != "granted" or _over(record.expires_at, person, action, setting)


def _over(end: datetime | None, person: Person, action: Action, setting: Setting) -> bool:
    """Whether a send may leave when something has ended; of a slot without a known instant nobody can tell."""
    at = planned(person.zone, action.hour, setting.now)
    return end is not None and (at is None or at + setting.margin >= end)


def consent_basis(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """C2, C3, C5: given in a way that the jurisdiction accepts, and not too long ago."""
    channels, country = params.get("channels"), person.facts.get("country")
    if not scoped(params, action) or (channels is not None and action.channel not in channels):
        return False
    countries, others = params.get("countries"), params.get("except_countries", ())
    if country is not None and ((countries is not None and country not in countries) or country in others):
        return False
    record, bases = person.consent[action.channel, action.arm.purpose], params["bases"]
    if record.state != "granted":
        return False  # the consent rule's to say
    if record.basis is None or record.basis not in bases:
        return True
    if record.basis == "soft_opt_in" and action.arm.attributes.get("own_similar") != "yes":
        return True
    days = bases[record.basis]
    if days is None:
        return False
    return record.at is None or _over(record.at + timedelta(days=days), person, action, setting)


def revoke_all(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """C4, C9: one refusal takes back every older consent, whatever it was for."""
    channels = params.get("channels") or setting.catalog.channels
    purposes = params.get("applies_to", PURPOSES)
    if action.channel not in channels or action.arm.purpose not in purposes:
        return False
    refusals = [
        record
        for (channel, purpose), record in person.consent.items()
        if channel in channels and purpose in purposes and record.state == "denied"
    ]
    own = person.consent[action.channel, action.arm.purpose]
    if refusals and own.state != "granted":
        return True
    return any(own.at is None or refusal.at is None or own.at <= refusal.at for refusal in refusals)


def profiling(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """C4: nothing personalised for promotion to who objects, or of whom nobody knows."""
    return action.arm.purpose == PROMOTIONAL and person.facts.get("profiling_objection") != "no"


def lists(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O10: nothing to who is on a list, unless the list is known to be harmless."""
    on = person.facts.get("lists")
    return on is None or any(name not in params.get("harmless", ()) for name in on.split(",") if name)


def line_type(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """K6: a channel that needs a kind of line needs to know that it is one."""
    allowed = params["allowed"].get(action.channel)
    return allowed is not None and person.facts.get("line_type") not in allowed


def incidents(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """K7, K9: so many bounces or complaints in a while close a channel for good."""
    if action.arm.purpose not in params.get("applies_to", PURPOSES):
        return False
    if person.events is None:
        return True
    for kind in params["closing"]:
        channels, count, window_s = kind.get("channels"), kind.get("count", 1), kind.get("window_s")
        if channels is not None and action.channel not in channels:
            continue
        at = [event.at for event in person.events if event.kind == kind["event"] and event.channel == action.channel]
        for first, last in zip(at, at[count - 1 :], strict=False):
            if window_s is None or last - first < timedelta(seconds=window_s):
                return True
    return False


def zones_of(person: Person) -> list[str]:
    """Where the contact is and may be besides; empty where nobody knows."""
    if person.zone is None:
        return []
    return [person.zone, *(person.facts.get("plausible_zones") or person.zone).split(",")]


def open_everywhere(week: Mapping[str, Any], person: Person, at: datetime | None, setting: Setting) -> bool:
    """Whether a slot surely arrives inside the windows, wherever the contact may be."""
    zones = zones_of(person)
    return bool(zones) and at is not None and all(within(week, zone, at, at + setting.margin) for zone in zones)


def quiet_hours(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """Q9, Q10, Q12: inside the windows of the channel, by the contact's own clock, as late as the queue may hold it."""
    at = planned(person.zone, action.hour, setting.now)
    if at is None:
        return True
    if action.arm.purpose not in params.get("applies_to", [PROMOTIONAL]):
        return not zones_of(person)
    windows = params["windows"]
    return not open_everywhere(windows.get(action.channel, windows.get("*", {})), person, at, setting)


def state_hours(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """Q1-Q8, Q11: the hours of every law that may hold, by residence and by area code, the stricter of both."""
    if not scoped(params, action) or action.channel not in params.get("channels", ["sms"]):
        return False
    at = planned(person.zone, action.hour, setting.now)
    return any(
        not open_everywhere(law["windows"], person, at, setting) for law in params["hours"] if _may_hold(law, person)
    )


def _may_hold(law: Mapping[str, Any], person: Person) -> bool:
    return place_may_hold(law["country"], law.get("states", ()), person)


def place_may_hold(country: str, states: Sequence[str], person: Person) -> bool:
    """Whether a contact may be there by residence or by area code; what is unknown may be anything in the country."""
    home, state, area = (person.facts.get(name) for name in ("country", "state", "area_state"))
    if area and (area in states if states else PROVINCES.get(area, "US") == country):
        return True
    return home in (None, country) and (not states or state is None or state in states or area is None)


def holidays(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """No texts on holidays of a place where the contact may be; years that nobody looked up are closed there."""
    if not scoped(params, action) or action.channel not in params.get("channels", ["sms"]):
        return False
    at = planned(person.zone, action.hour, setting.now)
    off = [dates for key, dates in params["days"].items() if _may_be(key, person)]
    if at is None or person.zone is None or not off:
        return bool(off)
    first, after = (_date(value) for value in params["covers"])
    for zone in zones_of(person):
        day, last = ((at + late).astimezone(ZoneInfo(zone)).date() for late in (timedelta(0), setting.margin))
        while day <= last:
            if not first <= day < after or any(day in map(_date, dates) for dates in off):
                return True
            day += timedelta(days=1)
    return False


def _date(value: date | str) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


def _may_be(place: str, person: Person) -> bool:
    country, _, state = place.partition("-")
    return place_may_hold(country, [state] if state else [], person)
