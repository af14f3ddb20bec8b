"""The oldest rules from their words: consent, suppression, quiet hours, frequency, content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from tests.engine.guardrails.oracle.clocks import FARTHEST, inside, moments, planned
from tests.engine.guardrails.oracle.people import PROMOTIONAL, Action, Person, Sent, Setting

Params = Mapping[str, Any]


def suppression(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """K1-K9: a suppressed channel is closed for every purpose, and so is one of which nobody knows."""
    return person.suppressed[action.channel] is not False


def within(week: Mapping[str, Any], zone: str, start: datetime, end: datetime) -> bool:
    """Whether the clock of a zone stands in a window during the whole span, both ends included."""
    spelled = tuple((key, tuple(texts)) for key, texts in week.items())
    return _within(spelled, zone, start, end)


@lru_cache(maxsize=500_000)
def _within(week: tuple[tuple[str, tuple[str, ...]], ...], zone: str, start: datetime, end: datetime) -> bool:
    spec = {key: list(texts) for key, texts in week}
    return all(inside(spec, zone, at) for at in moments(start, end))


def counted(sends: Iterable[Sent], purposes: Iterable[str], channels: Iterable[str] | None) -> list[datetime]:
    """When the sends left, or are planned, that a cap counts."""
    return [sent.at for sent in sends if sent.purpose in purposes and (channels is None or sent.channel in channels)]


def fullest(times: list[datetime], at: datetime, window: timedelta) -> int:
    """The most sends that one rolling window over a moment holds; one exactly a window after its begin is out.

    Of all windows over the moment one that begins at it, or at a send before it, is as full as any.
    """
    begins = [at, *(time for time in times if at - window < time <= at)]
    return max(sum(begin <= time < begin + window for time in times) for begin in begins)


def frequency(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F3, F4, F5, F8: one more send must not exceed a cap; null is no cap, 0 is never."""
    if action.arm.purpose not in params.get("applies_to", [PROMOTIONAL]):
        return False
    at = planned(person.zone, action.hour, setting.now)
    counts = params.get("counts", [PROMOTIONAL])
    for cap in params["caps"]:
        channels = cap.get("channels") or None
        if cap["max"] is None or (channels is not None and action.channel not in channels):
            continue
        if cap["max"] == 0 or person.sends is None or at is None:
            return True
        window = timedelta(seconds=cap["window_s"])
        if fullest(counted(person.sends, counts, channels), at, window) >= cap["max"]:
            return True
    return False


def content(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O8: approved, made for the channel, in the contact's language, in date until the last slot has left."""
    arm = action.arm
    if not arm.approved or (arm.channels and action.channel not in arm.channels):
        return True
    if arm.valid_from and setting.now < datetime.fromisoformat(arm.valid_from):
        return True
    if arm.valid_until and last_slot(person, setting) + setting.margin >= datetime.fromisoformat(arm.valid_until):
        return True
    return bool(arm.locale) and (person.locale is None or not _speaks(arm.locale, person.locale))


def last_slot(person: Person, setting: Setting) -> datetime:
    """The last moment for which a decision taken now may plan; two days ahead where no clock is known."""
    hours = setting.catalog.hours
    if person.zone is None and any(hour != "now" for hour in hours):
        return setting.now + FARTHEST
    return max(at for at in slots(person, setting) if at is not None)


def slots(person: Person, setting: Setting) -> list[datetime | None]:
    """Every planned moment of the catalog's slots."""
    return [planned(person.zone, hour, setting.now) for hour in setting.catalog.hours]


def _speaks(offered: str, read: str) -> bool:
    tags = offered.lower().split("-")
    return read.lower().split("-")[: len(tags)] == tags
