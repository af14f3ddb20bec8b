"""Content: only approved arms, in date, made for the channel, the contact's language and its lists (catalogue O8).

Validity is judged over the whole span in which a decision taken now may be sent: from now to the last slot of the
catalog in the contact's zone, plus the latency margin. An arm that ends inside that span is removed from every slot,
because eligibility is factored and no factor holds (arm, hour): the stricter reading.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ClassVar

import msgspec
import numpy as np

from engine.catalog import Arm, Catalog
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.time.localtime import FARTHEST_SLOT_US, datetime_of
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BEFORE_ALL = NOT_AN_INSTANT
_AFTER_ALL = np.iinfo(np.int64).max


class ContentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms that are not approved, not in date, not for the channel, in another language or for other people.

    An arm with tags is for contacts that are on every one of these lists (column `lists`); it is removed where the
    lists are not known.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """Static checks by (channel, arm); dates by (zone, arm); language by (locale, arm)."""
        contacts = scene.contacts
        dates, languages = _out_of_date(scene), _other_language(scene.catalog, contacts.locales)
        by_contact = dates[contacts.zone_code] | languages[contacts.locale_code]
        if any(arm.tags for arm in scene.catalog.arms):
            by_contact |= _not_tagged(scene)
        return Verdict(channel_arm=by_contact[:, None, :] | _not_sendable(scene.catalog)[None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The first check that fails, those that no waiting mends first."""
        arm = scene.catalog.arms[cell.arm]
        if not arm.approved:
            return Finding("not approved", "approved", f"arm {arm.id!r} is not approved")
        if _not_sendable(scene.catalog)[cell.channel, cell.arm]:
            channel = scene.catalog.channels[cell.channel]
            return Finding(channel, list(arm.channels), f"arm {arm.id!r} is not made for {channel}")
        code = int(scene.contacts.locale_code[row])
        if _other_language(scene.catalog, scene.contacts.locales)[code, cell.arm]:
            if code < 0:
                reason = f"arm {arm.id!r} is in {arm.locale}, and nobody knows what the contact reads"
                return Finding("unknown", arm.locale, reason)
            locale = scene.contacts.locales[code]
            return Finding(locale, arm.locale, f"arm {arm.id!r} is in {arm.locale}, the contact reads {locale}")
        if arm.tags and _not_tagged(scene)[row, cell.arm]:
            lists = contact_lists(scene)[row]
            observed = "unknown" if lists is None else sorted(lists)
            return Finding(observed, list(arm.tags), f"arm {arm.id!r} is for contacts on the lists {list(arm.tags)}")
        return _date_finding(scene, row, arm)


def contact_lists(scene: Scene) -> list[set[str] | None]:
    """(n,) names of the lists of each contact; None where unknown."""
    contacts = scene.contacts
    if "lists" not in contacts.extra:
        return [None] * contacts.n
    sets = [*({name for name in level.split(",") if name} for level in contacts.levels["lists"]), None]
    return [sets[code] for code in contacts.extra["lists"].tolist()]


def _not_tagged(scene: Scene) -> BoolArray:
    """(n, K) whether a contact is not known to be on every list that an arm asks for."""
    codes = {tags: at for at, tags in enumerate(dict.fromkeys(arm.tags or () for arm in scene.catalog.arms))}
    lists = contact_lists(scene)
    missing = [[bool(tags) and (own is None or not own.issuperset(tags)) for tags in codes] for own in lists]
    by_tags = np.array(missing, dtype=np.bool_).reshape(len(lists), len(codes))
    return np.asarray(by_tags[:, [codes[arm.tags or ()] for arm in scene.catalog.arms]])


def validity(arm: Arm) -> tuple[int, int]:
    """[from, until) of an arm in microseconds; the catalog has checked both dates."""
    return _instant(arm.valid_from, _BEFORE_ALL), _instant(arm.valid_until, _AFTER_ALL)


def _instant(text: str | None, default: int) -> int:
    return default if text is None else (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=64)
def _validities(arms: tuple[tuple[str, str | None, str | None], ...]) -> IntArray:
    spans = [validity(Arm(id=name, valid_from=begin, valid_until=end)) for name, begin, end in arms]
    return np.array(spans, dtype=np.int64).T


def _dates(catalog: Catalog) -> IntArray:
    """(2, K) first and last-excluded instant of each arm."""
    return _validities(tuple((arm.id, arm.valid_from, arm.valid_until) for arm in catalog.arms))


def _last_sends(scene: Scene) -> IntArray:
    """(Z + 1,) latest instant at which a decision taken now may still be sent, by zone; the last is the unknown one."""
    last = scene.slots.max(axis=1, initial=scene.now_at)
    if any(isinstance(hour, int) for hour in scene.catalog.hours):
        last[-1] = scene.now_at + FARTHEST_SLOT_US
    latest: IntArray = last + scene.margin_us
    return latest


def _out_of_date(scene: Scene) -> BoolArray:
    """(Z + 1, K) whether an arm is out of date somewhere in the span of a zone."""
    begin, end = _dates(scene.catalog)
    out: BoolArray = (_last_sends(scene)[:, None] >= end[None]) | (scene.now_at < begin)[None]
    return out


def _not_sendable(catalog: Catalog) -> BoolArray:
    """(C, K) whether an arm is not approved, or not made for a channel."""
    rows = [
        [not arm.approved or bool(arm.channels and channel not in arm.channels) for arm in catalog.arms]
        for channel in catalog.channels
    ]
    return np.array(rows, dtype=np.bool_)


def _other_language(catalog: Catalog, locales: tuple[str, ...]) -> BoolArray:
    """(L + 1, K) whether an arm's language is not, or may not be, the contact's; the last row is an unknown one."""
    rows = [[not speaks(locale, arm.locale) for arm in catalog.arms] for locale in locales]
    return np.array([*rows, [bool(arm.locale) for arm in catalog.arms]], dtype=np.bool_)


def speaks(locale: str, arm_locale: str) -> bool:
    """Whether an arm fits a contact's locale: its tag is the contact's, or a prefix of it (RFC 4647, section 3.3.1)."""
    wanted, offered = (tag.replace("_", "-").lower() for tag in (locale, arm_locale))
    return not offered or wanted == offered or wanted.startswith(f"{offered}-")


def _date_finding(scene: Scene, row: int, arm: Arm) -> Finding:
    begin, end = validity(arm)
    limit = {"valid_from": arm.valid_from, "valid_until": arm.valid_until}
    last = int(_last_sends(scene)[scene.contacts.zone_code[row]])
    observed = f"{datetime_of(scene.now_at).isoformat()} to {datetime_of(last).isoformat()}"
    reason = f"arm {arm.id!r} is not in date from the decision to the last possible send"
    following = None
    if scene.now_at < begin:
        then = Scene(scene.catalog, scene.contacts, begin, scene.latency_margin_s)
        if int(_last_sends(then)[scene.contacts.zone_code[row]]) < end:
            following = begin
    return Finding(observed, limit, reason, following)


RULE = ContentRule
